//! rustls without buffers: records are decrypted where they were read, and encrypted where they are sent
//! from.
//!
//! A connection of rustls' other interface keeps a buffer of 4 KiB for as long as it lives, which is half of
//! the memory of an idle connection.

use std::boxed::Box;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::ConnectionState::{
    BlockedHandshake, Closed, EncodeTlsData, PeerClosed, ReadEarlyData, ReadTraffic,
    TransmitTlsData, WriteTraffic,
};
use rustls::unbuffered::{self, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error, Side};

use super::memory::hold_apart;
use super::{ClientTls, ServerTls};

/// The plaintext of one record, at most (RFC 8446, section 5.1).
pub(super) const RECORD: usize = 16 * 1024;

/// The header of a record: its type, its version and its length.
pub(super) const HEADER: usize = 5;

/// What follows the data in an encrypted record of TLS 1.3: the content type, and the tag of its cipher (RFC
/// 8446, section 5.2).
const TRAILER: usize = 1 + 16;

/// A record of TLS 1.3 with as much plaintext as can be.
pub(super) const FULL_RECORD: usize = HEADER + RECORD + TRAILER;

/// What a record adds to its plaintext, at most: 22 bytes, or 29 with TLS 1.2, which a user's own settings may
/// allow; and before the first record a message of 27 bytes, by which TLS 1.3 changes keys.
pub(super) const OVERHEAD: usize = 64;

/// A connection of rustls.
pub(super) enum Records {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What to do as soon as there is nothing left to be taken in.
pub(super) enum Task<'a> {
    Nothing,
    /// Encrypt the first, into the second, which has room for [`OVERHEAD`] with each record.
    Encrypt(&'a [u8], &'a mut [u8]),
    CloseNotify,
}

/// The outcome of a step.
pub(super) enum Step {
    /// Data of the peer came.
    Data,
    /// The peer has ended its stream in good order.
    PeerClosed,
    /// All records were taken in, and the task is done; it has written so many bytes.
    Done(usize),
    /// All records were taken in. The task has to wait for more of them, or will never be done.
    Blocked,
}

impl Records {
    pub(super) fn client(tls: &ClientTls) -> Result<Self, Error> {
        let (config, name) = (Arc::clone(tls.config()), tls.server_name().clone());
        Ok(Self::Client(Box::new(UnbufferedClientConnection::new(config, name)?)))
    }

    pub(super) fn server(tls: &ServerTls) -> Result<Self, Error> {
        let config = Arc::clone(tls.config());
        Ok(Self::Server(Box::new(UnbufferedServerConnection::new(config)?)))
    }

    pub(super) const fn side(&self) -> Side {
        match self {
            Self::Client(_) => Side::Client,
            Self::Server(_) => Side::Server,
        }
    }

    /// Returns the state that both sides have.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(client) => client,
            Self::Server(server) => server,
        }
    }

    /// Takes in records from the front of `incoming`, up to the first that concerns the caller, or carries
    /// out `task`. Returns the number of bytes taken in, and the outcome. Data goes to `sink`; handshake
    /// messages and alerts for the peer go to `outgoing`.
    pub(super) fn step(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut BytesMut,
        sink: &mut dyn FnMut(&[u8]),
        task: &mut Task<'_>,
    ) -> (usize, Result<Step, Error>) {
        let mut used = 0;
        loop {
            let rest = incoming.get_mut(used..).unwrap_or_default();
            let (taken, step) = match self {
                Self::Client(client) => {
                    take_in(client.process_tls_records(rest), outgoing, sink, task)
                }
                Self::Server(server) => match server.process_tls_records(rest) {
                    UnbufferedStatus { discard, state: Ok(ReadEarlyData(records)) } => {
                        (discard + skip(records), Ok(None))
                    }
                    status => take_in(status, outgoing, sink, task),
                },
            };
            used += taken;
            match step {
                Ok(None) => {}
                Ok(Some(step)) => return (used, Ok(step)),
                Err(error) => {
                    let rest = incoming.get_mut(used..).unwrap_or_default();
                    self.encode_alert(rest, outgoing);
                    return (used, Err(error));
                }
            }
        }
    }

    /// Encodes what a connection that has just failed has left to send. The last message is an alert, which
    /// tells the peer why; not every failure has one.
    fn encode_alert(&mut self, incoming: &mut [u8], outgoing: &mut BytesMut) {
        loop {
            let begin = outgoing.len();
            let is_encoded = match self {
                Self::Client(client) => encode_one(client.process_tls_records(incoming), outgoing),
                Self::Server(server) => encode_one(server.process_tls_records(incoming), outgoing),
            };
            // Behind it, rustls would take in the record again that has failed.
            if !is_encoded || is_alert(outgoing.get(begin..).unwrap_or_default()) {
                return;
            }
        }
    }
}

fn encode_one<Data>(status: UnbufferedStatus<'_, '_, Data>, outgoing: &mut BytesMut) -> bool {
    match status.state {
        Ok(EncodeTlsData(message)) => encode(message, outgoing).is_ok(),
        _ => false,
    }
}

/// Whether a record is an alert. Encrypted by TLS 1.3, it has a length that no other message has, as its data
/// are a level and a description (RFC 8446, section 6).
const fn is_alert(record: &[u8]) -> bool {
    match record {
        [0x15, ..] => true,
        [0x17, ..] => record.len() == HEADER + 2 + TRAILER,
        _ => false,
    }
}

/// Skips data of before the handshake, which only settings of the user's own allow: a pool could not tell
/// whether they were sent twice. Returns their bytes.
fn skip(mut records: unbuffered::ReadEarlyData<'_, '_, ServerConnectionData>) -> usize {
    let mut discard = 0;
    while let Some(Ok(record)) = records.next_record() {
        discard += record.discard;
    }
    discard
}

/// Deals with one state of a connection. Returns the bytes that it has taken in, and what concerns the caller.
fn take_in<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut BytesMut,
    sink: &mut dyn FnMut(&[u8]),
    task: &mut Task<'_>,
) -> (usize, Result<Option<Step>, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ReadTraffic(mut records)) => {
            let mut step = Ok(Some(Step::Data));
            while let Some(record) = records.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        sink(record.payload);
                    }
                    Err(error) => step = Err(error),
                }
            }
            step
        }
        Ok(EncodeTlsData(message)) => encode(message, outgoing).map(|()| None),
        // From here on, `outgoing` is responsible for them.
        Ok(TransmitTlsData(messages)) => {
            messages.done();
            Ok(None)
        }
        Ok(WriteTraffic(traffic)) => carry_out(task, traffic, outgoing),
        Ok(PeerClosed) => Ok(Some(Step::PeerClosed)),
        Ok(BlockedHandshake | Closed) => Ok(Some(Step::Blocked)),
        Ok(other) => Err(Error::General(std::format!("rustls is in an unknown state: {other:?}"))),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn encode<Data>(
    mut message: unbuffered::EncodeTlsData<'_, Data>,
    outgoing: &mut BytesMut,
) -> Result<(), Error> {
    let mut size = 0;
    loop {
        match append(outgoing, size, |place| message.encode(place)) {
            Ok(_) => return Ok(()),
            Err(EncodeError::InsufficientSize(least)) if least.required_size > size => {
                size = least.required_size;
            }
            Err(error) => return Err(Error::General(std::format!("rustls: {error}"))),
        }
    }
}

/// Lends up to `most` bytes behind `outgoing` to `write`, and keeps as many of them as it has written.
fn append<E>(
    outgoing: &mut BytesMut,
    most: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, E> {
    let begin = outgoing.len();
    outgoing.resize(begin + most, 0);
    let written = write(outgoing.get_mut(begin..).unwrap_or_default());
    outgoing.truncate(begin + written.as_ref().map_or(0, |count| *count));
    written
}

fn carry_out<Data>(
    task: &mut Task<'_>,
    mut traffic: unbuffered::WriteTraffic<'_, Data>,
    outgoing: &mut BytesMut,
) -> Result<Option<Step>, Error> {
    let encrypted = match task {
        Task::Nothing => return Ok(Some(Step::Done(0))),
        Task::Encrypt(data, encrypted) => {
            let _place = hold_apart(data);
            traffic.encrypt(data, encrypted)
        }
        Task::CloseNotify => {
            let queued = append(outgoing, OVERHEAD, |place| traffic.queue_close_notify(place));
            if queued.is_err() {
                // It waits behind other messages, and comes with them.
                *task = Task::Nothing;
                return Ok(None);
            }
            queued
        }
    };
    match encrypted {
        Ok(count) => Ok(Some(Step::Done(count))),
        // The overhead is an upper bound.
        Err(EncryptError::InsufficientSize(least)) => Err(Error::General(std::format!(
            "rustls needs {} bytes for a message of {OVERHEAD} bytes at most",
            least.required_size
        ))),
        Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
    }
}
