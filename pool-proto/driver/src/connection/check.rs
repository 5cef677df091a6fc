//! A connection in the pool: its checks and drains, and the early data that it keeps.

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Weak};

use bytes::{Buf, BytesMut};
use pool_proto::{CheckResult, OPENING_BYTE};

use super::handshake::Failure;
use super::limited::Limited;
use super::session::Session;
use super::{Connection, SharedSocket, Socket, lock};
use crate::shared::{PoolConnection, ReadinessWaker, Revocation, Revoker};
use crate::sync::MutexGuard;
use crate::tls::is_rejection;

/// Early data kept for the next holder, at most: one full TLS record. More stays in the kernel, where
/// it throttles the peer; of TLS, another record may have been read with it. (Behind that much data, only
/// the holder notices EOF.)
const EARLY_LIMIT: usize = 16 * 1024;

/// Bytes that a check reads at a time.
const CHUNK: usize = 4096;

/// Data discarded when a connection is put back, at most: as much as can have arrived on an ordinary
/// path, and little enough to read in a moment. With more, the connection is closed.
const DRAIN_LIMIT: usize = 256 * 1024;

/// Whether the first data of the peer, before any use, are still to be judged: a client with TLS may
/// have met a server without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstWords {
    /// Not yet: success of the handshake is reported after the first check, and would hide the cause.
    Later,
    Due,
    Judged,
}

enum ReadOutcome {
    /// Everything was read, and the readiness waker is armed.
    All,
    Enough,
    Eof,
    Failed(io::Error),
}

impl<S: Socket> PoolConnection for Box<Connection<S>> {
    fn check(&mut self) -> CheckResult {
        let result = self.check_socket();
        self.judge_first_words(result);
        result
    }

    fn drain(&mut self) -> CheckResult {
        self.first_words = FirstWords::Judged;
        let mut reader = self.reader();
        // Nothing of a revoked connection is sent any more, though its socket may be open still.
        if reader.session.is_shut_down() || reader.socket.revoked().is_some() {
            return CheckResult::Closed;
        }
        // Data that TLS could not send yet would go out with the next use.
        match reader.session.flush(&mut reader.socket.socket().now()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return CheckResult::Data,
            Err(_) => return CheckResult::Closed,
        }
        let mut drained = reader.early.len();
        *reader.early = BytesMut::new();
        let outcome = reader.read_available(|_, data| {
            drained += data.len();
            drained <= DRAIN_LIMIT
        });
        drop(reader);
        match outcome {
            ReadOutcome::All => {
                self.end_use();
                CheckResult::Quiet
            }
            ReadOutcome::Enough => CheckResult::Data,
            ReadOutcome::Eof | ReadOutcome::Failed(_) => CheckResult::Closed,
        }
    }

    fn open(&mut self) -> bool {
        self.parts().begin_use();
        let mut socket = self.socket.socket().now();
        let mut session = lock(&self.session);
        let written = session.write(&mut socket, &[OPENING_BYTE]);
        matches!(written, Ok(1)) && session.flush(&mut socket).is_ok()
    }

    fn take_opening(&mut self) -> bool {
        match self.early.first().copied() {
            // It has ended unused.
            None => true,
            Some(first) => {
                let fits = first == OPENING_BYTE;
                self.early.advance(1);
                if !fits {
                    let peer = self.socket.socket().peer_addr();
                    self.readiness.tell_no_opening_byte(self.id, peer);
                    self.readiness.note(&format_args!(
                        "{peer} began with the byte {first:#04x}, not with the opening byte \
                         {OPENING_BYTE:#04x}: set opening_byte at both ends or at neither"
                    ));
                }
                fits
            }
        }
    }

    fn late_rejection(&mut self) -> Option<String> {
        // In TLS 1.3 a server checks the client's certificate after the client's handshake is over.
        let failure = Failure::Tls(self.failure.take_if(|failure| is_rejection(failure))?);
        Some(format!("{}: {failure}", self.socket.socket().peer_addr()))
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.socket.socket().peer_addr())
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        self.socket.share(revocation, &self.session);
        let socket: Weak<SharedSocket<S>> = Arc::downgrade(&self.socket);
        Revoker::new(revocation.clone(), socket)
    }
}

impl<S: Socket> Connection<S> {
    /// Names the cause if the peer speaks TLS to this end without TLS. The connection stays: users may
    /// speak TLS of their own through the pool.
    fn judge_first_words(&mut self, result: CheckResult) {
        match (self.first_words, result) {
            (FirstWords::Judged, _)
            | (FirstWords::Due, CheckResult::Quiet | CheckResult::Closed) => {}
            (FirstWords::Later, _) => self.first_words = FirstWords::Due,
            (FirstWords::Due, CheckResult::Data | CheckResult::Finished) => {
                self.first_words = FirstWords::Judged;
                if is_client_hello(&self.early) {
                    self.readiness.note(&format_args!(
                        "{} began with a TLS ClientHello, but this end has no TLS: configure TLS on \
                         both ends or on neither, unless users speak TLS of their own through the pool",
                        self.socket.socket().peer_addr()
                    ));
                }
            }
        }
    }

    fn check_socket(&mut self) -> CheckResult {
        let (is_armed, is_full) = (self.readiness.is_armed(), self.early.len() >= EARLY_LIMIT);
        // Else it is read in any case, to arm the waker.
        if is_armed || is_full {
            match self.socket.socket().peek() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if is_armed {
                        return if self.early.is_empty() {
                            CheckResult::Quiet
                        } else {
                            CheckResult::Data
                        };
                    }
                }
                // The kernel reports a reset once. A later read would see an ordinary EOF.
                Err(error) => return self.failed(error),
                Ok(()) => {}
            }
        }
        if is_full {
            return CheckResult::Data;
        }
        let outcome = self.reader().read_available(|early, data| {
            early.extend_from_slice(data);
            early.len() < EARLY_LIMIT
        });
        match outcome {
            ReadOutcome::Failed(error) => self.failed(error),
            // The peer may have sent its request and closed its half: the data must be delivered.
            ReadOutcome::Eof if self.has_claim() => CheckResult::Finished,
            ReadOutcome::Eof => CheckResult::Closed,
            ReadOutcome::All | ReadOutcome::Enough if self.early.is_empty() => CheckResult::Quiet,
            ReadOutcome::All | ReadOutcome::Enough => CheckResult::Data,
        }
    }

    /// Whether early data is a claim, which an acquire by id must get even after EOF or a failure.
    /// Data that is not a claim must not hide the end behind it.
    fn has_claim(&self) -> bool {
        self.peer_claims && !self.early.is_empty()
    }

    /// Keeps the failure of the connection for a holder that takes it by its id.
    fn failed(&mut self, error: io::Error) -> CheckResult {
        self.failure = Some(error);
        if self.has_claim() { CheckResult::Finished } else { CheckResult::Closed }
    }

    /// Locks the session to read what has arrived in the pool.
    fn reader(&mut self) -> Reader<'_, S> {
        let Self { session, socket, early, readiness, waker, .. } = self;
        Reader { session: lock(session), socket, early, readiness, waker }
    }
}

/// The parts of a connection by which the pool reads what has arrived on it.
struct Reader<'a, S> {
    session: MutexGuard<'a, Session>,
    socket: &'a SharedSocket<S>,
    early: &'a mut BytesMut,
    readiness: &'a ReadinessWaker,
    waker: &'a Waker,
}

impl<S: Socket> Reader<'_, S> {
    /// Reads all data that has arrived, whether or not the reactor has reported it, and arms the
    /// readiness waker, unless the data has an end. `keep` takes the data and returns whether to go on.
    fn read_available(&mut self, keep: impl FnMut(&mut BytesMut, &[u8]) -> bool) -> ReadOutcome {
        // Before the reads: a wake-up during them must not be lost.
        self.readiness.arm();
        let outcome = self.read_while(keep);
        if !matches!(outcome, ReadOutcome::All) {
            // The reactor was not asked. The next check reads again, and finds an end again: after a
            // close_notify, nothing else may come that would tell.
            self.readiness.disarm();
        }
        outcome
    }

    fn read_while(&mut self, mut keep: impl FnMut(&mut BytesMut, &[u8]) -> bool) -> ReadOutcome {
        let socket = self.socket.socket();
        let mut context = Context::from_waker(self.waker);
        let mut limited = Limited::new(socket.now());
        // Most often there is nothing: clearing a large buffer would take longer than the rest.
        let (mut small, mut large, mut total) = ([0; 64], None::<[u8; CHUNK]>, 0);
        loop {
            let chunk: &mut [u8] = match &mut large {
                // So that the limits, which are multiples of a chunk, are met exactly.
                Some(large) => large.get_mut(..CHUNK - total % CHUNK).unwrap_or_default(),
                None => &mut small,
            };
            match self.session.read(&mut limited, chunk) {
                Ok(0) => return ReadOutcome::Eof,
                Ok(count) if keep(self.early, chunk.get(..count).unwrap_or_default()) => {
                    total += count;
                    large.get_or_insert([0; CHUNK]);
                }
                Ok(_) => return ReadOutcome::Enough,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match socket.poll_readable(&mut context) {
                        Poll::Pending => return ReadOutcome::All,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return ReadOutcome::Failed(error),
                    }
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return ReadOutcome::Eof,
                Err(error) => return ReadOutcome::Failed(error),
            }
        }
    }
}

/// Returns whether data begin as a TLS handshake record with a ClientHello (RFC 8446, sections 5.1 and
/// 4).
fn is_client_hello(data: &[u8]) -> bool {
    matches!(data, [0x16, 0x03, _, _, _, 0x01, ..])
}
