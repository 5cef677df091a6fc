//! One connection: its socket, plain or TLS, its handshake, and its checks while it is in the pool.
//!
//! Nothing here blocks or waits. Reads and writes are those of a [`Socket`]; where the socket says
//! [`WouldBlock`](io::ErrorKind::WouldBlock), so do these calls, and the caller waits.
//!
//! | file | contents |
//! |---|---|
//! | `socket.rs`, `keep_alive.rs` | TCP sockets of a runtime, and their options |
//! | `shared_socket.rs` | a socket that its holder and the pool share |
//! | `session.rs` | plain or TLS, over any `Read + Write` |
//! | `handshake.rs` | from a connected socket to an established connection: TLS, then the id |
//! | `connection.rs` | a connection in the pool: check, drain, early data |
//! | `buffer.rs` | the buffers of readers |
//! | `limited.rs` | a bound on the bytes that a check may read |
//! | `write_failure.rs` | the failure that a write has met, for the reader |
//! | `stream.rs` | a connection in a caller's hands |

mod buffer;
mod handshake;
pub(crate) mod keep_alive;
mod limited;
mod session;
mod settings;
mod shared_socket;
pub(crate) mod socket;
mod stream;
mod write_failure;

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, PoisonError, Weak};

pub use buffer::{Buffer, ReadTo, Slice};
use bytes::{Buf, BytesMut};
pub use handshake::{Acceptor, Connector, Established, Failure, Handshake};
use limited::Limited;
use pool_proto::{CheckResult, CloseReason, ConnId, OPENING_BYTE, Role};
use session::Session;
#[cfg(feature = "tls")]
pub(crate) use session::retry;
pub use settings::TlsSettings;
pub use shared_socket::{SharedSocket, Socket, polled};
pub use socket::{Kernel, KernelSocket, Polled, TcpSocket};
pub use stream::Revoked;
use tracing::field::{debug, display};
use write_failure::WriteFailure;

use crate::events::{self, shown};
use crate::shared::{Attempt, Kind, PoolConnection, ReadinessWaker, Revocation, Revoker};
use crate::sync::{Mutex, MutexGuard};
use crate::tls::is_rejection;
#[cfg(feature = "tls")]
use crate::tls::{Fingerprint, TlsFacts};

/// Early data kept for the next holder, at most: one full TLS record. More stays in the kernel, where
/// it throttles the peer. (Behind that much data, only the holder notices EOF.)
const EARLY_LIMIT: usize = 16 * 1024;

/// Bytes that a check reads at a time.
const CHUNK: usize = 4096;

/// Data discarded when a connection is put back, at most: as much as can have arrived on an ordinary
/// path, and little enough to read in a moment. With more, the connection is closed.
const DRAIN_LIMIT: usize = 256 * 1024;

/// An established connection. The machine holds it boxed, because it moves through queues.
pub struct Connection<S: Socket> {
    /// Locked for the time of a call that does not block, by the holder or by the pool that revokes it.
    session: Arc<Mutex<Session>>,
    socket: Arc<SharedSocket<S>>,
    /// Data that arrived before there was a holder.
    early: BytesMut,
    /// The failure that ended the connection behind the early data. The kernel reports it once.
    failure: Option<io::Error>,
    write_failure: WriteFailure,
    readiness: Arc<ReadinessWaker>,
    /// The waker of `readiness`. Made once, so a reactor that already holds it recognises it.
    waker: Waker,
    /// Whether a peer that has sent data has claimed the connection. Otherwise the peer may speak
    /// first, and its data must not hide a close.
    peer_claims: bool,
    /// Whether this end is the acquirer, and not the peer.
    is_ours: bool,
    first_words: FirstWords,
    /// Whether a holder has written since the connection was in the pool.
    in_use: bool,
    /// Its id, if the ends have exchanged one.
    id: Option<ConnId>,
}

/// Whether the first data of the peer, before any use, are still to be judged: a client with TLS may
/// have met a server without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstWords {
    /// Not yet: success of the handshake is reported after the first check, and would hide the cause.
    Later,
    Due,
    Judged,
}

impl<S: Socket, R: Role> Attempt<Box<Connection<S>>, R> {
    /// Reports the outcome of a dial and its handshake.
    pub fn complete(self, outcome: Result<(Arc<SharedSocket<S>>, Established), Failure>) {
        let token = self.token();
        match outcome {
            Ok((socket, Established { session, id, surplus })) => {
                let name = id.or(self.issued_id());
                events::established(
                    self.shared().label(),
                    debug(token),
                    shown(name),
                    display(socket.socket().peer_addr()),
                    session.peer_fingerprint().map(debug),
                );
                let readiness = ReadinessWaker::new(self.shared(), token);
                let (peer_claims, is_ours) = self
                    .shared()
                    .run(|machine, _| (machine.peer_claims(), machine.is_acquirer_of(name)));
                let waker = Waker::from(Arc::clone(&readiness));
                let early = surplus.into();
                // A client has heard an id, so its peer is configured as it is.
                let is_due = peer_claims && id.is_none() && !session.is_tls();
                let first_words = if is_due { FirstWords::Later } else { FirstWords::Judged };
                let session = Arc::new(Mutex::new(session));
                let connection = Connection {
                    session,
                    socket,
                    early,
                    failure: None,
                    write_failure: WriteFailure::default(),
                    readiness,
                    waker,
                    peer_claims,
                    is_ours,
                    first_words,
                    in_use: false,
                    id: name,
                };
                self.established(Box::new(connection), id);
            }
            Err(failure) => {
                let (shared, peer) = (self.shared(), self.peer_addr());
                let (label, cause) = (shared.label(), display(&failure));
                events::attempt_failed(label, debug(token), shown(peer), cause);
                if label.is_server()
                    && let Some(peer) = peer
                {
                    shared.note_peer_of(
                        Kind::of_failure(&failure),
                        peer,
                        failure.to_string().into(),
                    );
                }
                self.failed(failure.kind(), &failure);
            }
        }
    }
}

impl<S: Socket> Connection<S> {
    pub(crate) const fn socket(&self) -> &Arc<SharedSocket<S>> {
        &self.socket
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    #[cfg(feature = "tls")]
    fn peer_fingerprint(&self) -> Option<Fingerprint> {
        self.session().peer_fingerprint()
    }

    #[cfg(feature = "tls")]
    fn facts(&self) -> Option<TlsFacts> {
        self.session().facts()
    }

    /// Closes the connection in good order: close_notify before FIN, if the kernel takes it at once.
    ///
    /// One that is the peer's to acquire ends without close_notify: a user of the peer, who has acquired it a
    /// moment ago, would take a close_notify for the end of a whole answer. (Plain TCP has no such
    /// difference.)
    pub fn close(self, reason: CloseReason) {
        let socket = self.socket.socket();
        self.readiness.tell_closed(self.id, socket.peer_addr(), reason);
        if !self.is_ours {
            return;
        }
        // Data of a revoked lease that TLS still holds is not sent any more. Idle connections hold none.
        if self.socket.revoked().is_some() && self.session().has_unsent() {
            return;
        }
        // There is nobody left to report an error to.
        let _ = self.session().shutdown(&mut socket.now()).and_then(|()| socket.shutdown_write());
    }

    /// Reads early data first, then from the socket. The holder's wakers replace the readiness waker.
    fn read<'s, B: Buffer, T: Read + Write + ReadTo<B>>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut B,
    ) -> io::Result<usize> {
        let room = buffer.room();
        if !self.early.is_empty() {
            let count = self.early.len().min(room);
            buffer.put(self.early.get(..count).unwrap_or_default());
            self.early.advance(count);
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Ok(count);
        }
        if let Some(failure) = &self.failure {
            return Err(again(failure));
        }
        self.readiness.disarm();
        let result = self.session().read_to(&mut io(self.socket.socket()), buffer);
        // With TLS, the peer has ended the stream in good order by a close_notify.
        let is_eof = match &result {
            Ok(count) => *count == 0 && room > 0 && !self.session().is_tls(),
            Err(error) => error.kind() == ErrorKind::UnexpectedEof,
        };
        let result = if is_eof { self.write_failure.take().map_or(result, Err) } else { result };
        if let Err(error) = &result
            && error.raw_os_error().is_some()
            && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        {
            // The kernel reports it once, and EOF afterwards: a reader that tries again would take what it
            // has for all there is.
            self.failure = Some(again(error));
        }
        result
    }

    /// Tells the socket that it has a holder who writes, at the first write of the lease. The call to the
    /// system takes 0.3 µs, and a take 0.7 µs: at each take, it would be dear. Until the holder has
    /// written, it has no data under way that the limit of the pool could cut off.
    fn begin_use(&mut self) {
        if !self.in_use {
            self.in_use = true;
            self.socket.socket().set_in_use(true);
        }
    }

    /// Tells the socket that it is in the pool again.
    fn end_use(&mut self) {
        if self.in_use {
            self.in_use = false;
            self.socket.socket().set_in_use(false);
        }
    }

    fn write<'s, T: Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.begin_use();
        let result = self.session().write_vectored(&mut io(self.socket.socket()), data);
        self.write_failure.keep(result)
    }

    fn flush<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        let result = self.session().flush(&mut io(self.socket.socket()));
        self.write_failure.keep(result)
    }

    fn shutdown<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.begin_use();
        let result = self.session().shutdown(&mut io(self.socket.socket()));
        self.write_failure.keep(result)?;
        match self.socket.socket().shutdown_write() {
            // The peer closed first.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
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
        let Self { session, socket, early, waker, .. } = self;
        let mut context = Context::from_waker(waker);
        let mut session = lock(session);
        let mut limited = Limited::new(socket.socket().now());
        // Most often there is nothing: clearing a large buffer would take longer than the rest.
        let (mut small, mut large, mut total) = ([0; 64], None::<[u8; CHUNK]>, 0);
        loop {
            let chunk: &mut [u8] = match &mut large {
                // So that the limits, which are multiples of a chunk, are met exactly.
                Some(large) => large.get_mut(..CHUNK - total % CHUNK).unwrap_or_default(),
                None => &mut small,
            };
            match session.read(&mut limited, chunk) {
                Ok(0) => return ReadOutcome::Eof,
                Ok(count) if keep(early, chunk.get(..count).unwrap_or_default()) => {
                    total += count;
                    large.get_or_insert([0; CHUNK]);
                }
                Ok(_) => return ReadOutcome::Enough,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match socket.socket().poll_readable(&mut context) {
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

/// A session whose last call panicked goes on as it is: its stream ends at the next call that fails.
fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

enum ReadOutcome {
    /// Everything was read, and the readiness waker is armed.
    All,
    Enough,
    Eof,
    Failed(io::Error),
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
        let outcome = self.read_available(|early, data| {
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
}

/// Returns whether data begin as a TLS handshake record with a ClientHello (RFC 8446, sections 5.1 and
/// 4).
fn is_client_hello(data: &[u8]) -> bool {
    matches!(data, [0x16, 0x03, _, _, _, 0x01, ..])
}

impl<S: Socket> PoolConnection for Box<Connection<S>> {
    fn check(&mut self) -> CheckResult {
        let result = self.check_socket();
        self.judge_first_words(result);
        result
    }

    fn drain(&mut self) -> CheckResult {
        self.first_words = FirstWords::Judged;
        // Nothing of a revoked connection is sent any more, though its socket may be open still.
        if self.session().is_shut_down() || self.socket.revoked().is_some() {
            return CheckResult::Closed;
        }
        // Data that TLS could not send yet would go out with the next use.
        let flushed = self.session().flush(&mut self.socket.socket().now());
        match flushed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return CheckResult::Data,
            Err(_) => return CheckResult::Closed,
        }
        let mut drained = self.early.len();
        self.early = BytesMut::new();
        let outcome = self.read_available(|_, data| {
            drained += data.len();
            drained <= DRAIN_LIMIT
        });
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
        self.begin_use();
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
