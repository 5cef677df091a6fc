//! TLS over any `Read + Write`, with no more memory than what is under way.

use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{Error, Side};

use super::failure::TlsFailure;
use super::memory::{keep, with_scratch};
use super::own::Own;
use super::records::{FULL_RECORD, HEADER, OVERHEAD, RECORD, Records, Step, Task};
use super::{ClientTls, Fingerprint, ServerTls, TlsFacts};
use crate::connection::{Buffer, consume, hand_over, retry};

/// Bytes that are read from a socket at a time, at least, if it is not known how many there are. All of a
/// handshake's flight is usually less.
const LEAST: usize = 4 * 1024;

/// The plaintext that is read or written at a time, at most.
const MOST: usize = 4 * RECORD;

/// The TLS state of one connection.
///
/// Over a non-blocking socket every call returns [`WouldBlock`](ErrorKind::WouldBlock) where it
/// would have to wait, and continues there when it is called again.
pub(crate) struct TlsConnection {
    records: Records,
    /// Bytes of the peer that were read and not taken in: part of a record, or records for which the last
    /// reader had no room.
    incoming: BytesMut,
    /// Decrypted data for which the last reader had no room.
    plaintext: BytesMut,
    /// Encrypted bytes that the socket has not accepted.
    outgoing: BytesMut,
    end: Option<End>,
    /// For the text of a failure.
    own: Arc<Own>,
}

/// Why no more data comes from the peer.
enum End {
    /// The peer has sent a close_notify.
    Closed,
    /// The connection has ended without one.
    Truncated,
    Failed(Box<Error>),
}

impl TlsConnection {
    pub(crate) fn client(tls: &ClientTls) -> io::Result<Self> {
        Self::new(Records::client(tls), Side::Client, tls.own())
    }

    pub(crate) fn server(tls: &ServerTls) -> io::Result<Self> {
        Self::new(Records::server(tls), Side::Server, tls.own())
    }

    fn new(records: Result<Records, Error>, side: Side, own: &Arc<Own>) -> io::Result<Self> {
        let own = Arc::clone(own);
        match records {
            Ok(records) => Ok(Self {
                records,
                incoming: BytesMut::new(),
                plaintext: BytesMut::new(),
                outgoing: BytesMut::new(),
                end: None,
                own,
            }),
            Err(error) => Err(TlsFailure::new(error, side, own).into_io(ErrorKind::InvalidInput)),
        }
    }

    /// Returns the parameters that the handshake has negotiated.
    pub(crate) fn facts(&self) -> TlsFacts {
        TlsFacts::of(self.records.state())
    }

    /// Returns the fingerprint of the certificate that the peer has proven to hold the key of. `None`
    /// if it has presented none, and before the handshake is complete.
    pub(crate) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        let state = self.records.state();
        let chain = state.peer_certificates().filter(|_| !state.is_handshaking())?;
        chain.first().map(Fingerprint::of)
    }

    /// Completes the handshake, and sends all of this end's part of it.
    pub(crate) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        // Data may come right behind the last message.
        let mut early = core::mem::take(&mut self.plaintext);
        self.take_in_kept(&mut early);
        let outcome = self.shake_hands(socket, &mut early);
        self.plaintext = early;
        outcome
    }

    fn shake_hands(
        &mut self,
        socket: &mut (impl Read + Write),
        early: &mut BytesMut,
    ) -> io::Result<()> {
        loop {
            self.tell_failure(socket)?;
            self.send(socket)?;
            if !self.records.state().is_handshaking() {
                return Ok(());
            }
            if self.end.is_some() {
                let text = "the peer closed the connection";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
            self.receive(socket, early, 0)?;
        }
    }

    /// Reads decrypted data. EOF without a close_notify alert is an
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof).
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut impl Buffer,
    ) -> io::Result<usize> {
        let room = buffer.room();
        if room == 0 {
            return Ok(0);
        }
        if !self.plaintext.is_empty() {
            return Ok(hand_over(&mut self.plaintext, buffer));
        }
        if !self.incoming.is_empty() {
            self.take_in_kept(buffer);
        }
        // As many full records as there is room for: the others would have to be kept.
        let full = (room.min(MOST) / RECORD).max(1) * FULL_RECORD;
        loop {
            let count = room - buffer.room();
            if count > 0 {
                return Ok(count);
            }
            self.tell_failure(socket)?;
            match self.end {
                None => self.receive(socket, buffer, full)?,
                Some(End::Truncated) => {
                    let text = "the peer closed the connection without a close_notify of TLS";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
                }
                Some(End::Closed | End::Failed(_)) => return Ok(0),
            }
        }
    }

    /// Encrypts data and sends as much as the socket accepts. The rest is sent by
    /// [`flush`](Self::flush) or the next write.
    pub(crate) fn write_vectored(
        &mut self,
        socket: &mut impl Write,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let Some(first) = data.iter().find(|slice| !slice.is_empty()) else { return Ok(0) };
        self.send(socket)?;
        let all: usize = data.iter().map(|slice| slice.len()).sum();
        let taken = all.min(MOST);
        if let Some(first) = first.get(..taken) {
            return with_scratch(encrypted(taken), |memory| self.write(socket, first, memory));
        }
        // Many small slices do not become as many records.
        with_scratch(taken + encrypted(taken), |memory| {
            let (plaintext, memory) = memory.split_at_mut_checked(taken).unwrap_or_default();
            gather(data, plaintext);
            self.write(socket, plaintext, memory)
        })
    }

    /// Writes all of `plaintext`, encrypted in `memory`.
    fn write(
        &mut self,
        socket: &mut impl Write,
        plaintext: &[u8],
        memory: &mut [u8],
    ) -> io::Result<usize> {
        let Step::Done(count) = self.carry_out(Task::Encrypt(plaintext, memory))? else {
            let text =
                "TLS can send no data: the handshake is not complete, or both ends have closed";
            return Err(io::Error::new(ErrorKind::NotConnected, text));
        };
        let bytes = memory.get(..count).unwrap_or_default();
        self.send_behind(socket, bytes).map(|()| plaintext.len())
    }

    /// Whether there are encrypted bytes to send.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Sends all encrypted bytes.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.send(socket)
    }

    /// Sends a close_notify alert.
    pub(crate) fn shutdown(&mut self, socket: &mut impl Write) -> io::Result<()> {
        // A failure was the last that the peer was told.
        if !matches!(self.end, Some(End::Failed(_))) {
            self.carry_out(Task::CloseNotify)?;
        }
        self.send(socket)
    }

    // --- inside ---------------------------------------------------------------------------------

    /// Reads once from the socket, and takes in what has come. With what was kept, this is so much as is
    /// wanted, or all of the record that has begun.
    fn receive(
        &mut self,
        socket: &mut impl Read,
        buffer: &mut impl Buffer,
        wanted: usize,
    ) -> io::Result<()> {
        let kept = self.incoming.len();
        let begun = record_length(&self.incoming);
        let size = if begun > kept { wanted.max(begun) } else { wanted.max(kept + LEAST) };
        with_scratch(size, |memory| {
            let (front, rest) = memory.split_at_mut_checked(kept).unwrap_or_default();
            front.copy_from_slice(&self.incoming);
            let rest = rest.get_mut(..size - kept).unwrap_or_default();
            let count = retry(|| socket.read(rest))?;
            if count == 0 {
                self.end = Some(End::Truncated);
            }
            let bytes = memory.get_mut(..kept + count).unwrap_or_default();
            let used = self.take_in(bytes, buffer);
            let left = bytes.get(used..).unwrap_or_default();
            if left.is_empty() || self.end.is_some() {
                self.incoming = BytesMut::new();
            } else {
                self.incoming.clear();
                keep(&mut self.incoming, left);
            }
            Ok(())
        })
    }

    /// Takes in what was read before and kept.
    fn take_in_kept(&mut self, buffer: &mut impl Buffer) {
        let mut kept = core::mem::take(&mut self.incoming);
        let used = self.take_in(&mut kept, buffer);
        if self.end.is_none() {
            consume(&mut kept, used);
            self.incoming = kept;
        }
    }

    /// Takes in records until there is no room for data, or no whole record is left. Returns the bytes of
    /// the records.
    fn take_in(&mut self, bytes: &mut [u8], buffer: &mut impl Buffer) -> usize {
        let mut used = 0;
        // Data that is kept is data for which there was no room.
        while self.end.is_none() && buffer.room() > 0 && self.plaintext.is_empty() {
            let Self { records, plaintext, outgoing, .. } = self;
            let mut sink = |data: &[u8]| {
                let (now, later) = data.split_at(data.len().min(buffer.room()));
                buffer.put(now);
                keep(plaintext, later);
            };
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let (taken, step) = records.step(rest, outgoing, &mut sink, &mut Task::Nothing);
            used += taken;
            match step {
                Ok(Step::Data) => {}
                Ok(Step::PeerClosed) => self.end = Some(End::Closed),
                Ok(_) => break,
                Err(error) => self.end = Some(End::Failed(Box::new(error))),
            }
        }
        used
    }

    /// Carries out a task, before which records that were kept have to be taken in.
    fn carry_out(&mut self, mut task: Task<'_>) -> io::Result<Step> {
        loop {
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            let Self { records, incoming, plaintext, outgoing, .. } = self;
            let mut sink = |data: &[u8]| keep(plaintext, data);
            let (used, step) = records.step(incoming, outgoing, &mut sink, &mut task);
            consume(incoming, used);
            match step {
                Ok(Step::Data) => {}
                Ok(Step::PeerClosed) => {
                    self.incoming = BytesMut::new();
                    self.end = Some(End::Closed);
                }
                Ok(step) => return Ok(step),
                Err(error) => self.end = Some(End::Failed(Box::new(error))),
            }
        }
    }

    /// The failure of the connection, if it has failed.
    fn failure(&self) -> Option<io::Error> {
        let Some(End::Failed(error)) = &self.end else { return None };
        let (error, side) = (Error::clone(error), self.records.side());
        Some(TlsFailure::new(error, side, Arc::clone(&self.own)).into_io(ErrorKind::InvalidData))
    }

    /// Returns the failure of the connection, if it has failed, and tells the peer.
    fn tell_failure(&mut self, socket: &mut impl Write) -> io::Result<()> {
        let Some(failure) = self.failure() else { return Ok(()) };
        // The alert tells the peer the reason. If it cannot be sent, the peer sees only EOF.
        let _ = self.send(socket);
        Err(failure)
    }

    fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            let count = send_once(socket, &self.outgoing)?;
            consume(&mut self.outgoing, count);
        }
        Ok(())
    }

    /// Sends `bytes` after all that is to be sent, and keeps what the socket does not accept.
    fn send_behind(&mut self, socket: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
        let mut sent = self.send(socket);
        while sent.is_ok() && !bytes.is_empty() {
            sent = send_once(socket, bytes).map(|count| {
                bytes = bytes.get(count..).unwrap_or_default();
            });
        }
        // Also after a failure, for a later call to meet it: a record must not be missing from the stream.
        keep(&mut self.outgoing, bytes);
        match sent {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }
}

/// The bytes of so much plaintext in full records, at most.
const fn encrypted(plaintext: usize) -> usize {
    plaintext + plaintext.div_ceil(RECORD) * OVERHEAD
}

/// The length of the record that begins with these bytes, as its header says (RFC 8446, section 5.1); zero
/// if they are not a header.
fn record_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    }
}

/// Fills `plaintext` with the first bytes of `data`.
fn gather(data: &[IoSlice<'_>], mut plaintext: &mut [u8]) {
    for slice in data {
        let part = slice.get(..slice.len().min(plaintext.len())).unwrap_or_default();
        let (place, rest) = plaintext.split_at_mut_checked(part.len()).unwrap_or_default();
        place.copy_from_slice(part);
        plaintext = rest;
    }
}

fn send_once(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    match retry(|| socket.write(bytes))? {
        0 => Err(ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

#[cfg(all(test, feature = "self-signed"))]
mod tests;
