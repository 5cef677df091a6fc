//! A connection: its socket, plain or TLS, its handshake, and its checks while it is in the pool.
//!
//! Nothing here blocks or waits. Reads and writes go to a [`Socket`]; where the socket returns
//! [`WouldBlock`](io::ErrorKind::WouldBlock), so do these calls, and the caller waits.
//!
//! | file | contents |
//! |---|---|
//! | `socket.rs`, `keep_alive.rs` | TCP sockets of a runtime, and their options |
//! | `shared_socket.rs` | a socket that its holder and the pool share |
//! | `session.rs` | plain or TLS, over any `Read + Write` |
//! | `handshake.rs` | from a connected socket to an established connection: TLS, then the id |
//! | `check.rs` | a connection in the pool: check, drain, early data |
//! | `buffer.rs` | the buffers of readers |
//! | `limited.rs` | a bound on the bytes that a check may read |
//! | `write_failure.rs` | the failure that a write has met, for the reader |
//! | `stream.rs` | a connection in a caller's hands |

mod buffer;
mod check;
mod handshake;
pub(crate) mod keep_alive;
mod limited;
mod session;
mod settings;
mod shared_socket;
pub(crate) mod socket;
mod stream;
mod write_failure;

use core::task::Waker;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, PoisonError};

#[cfg(feature = "tls")]
pub(crate) use buffer::consume;
pub(crate) use buffer::hand_over;
pub use buffer::{Buffer, ReadTo, Slice};
use bytes::BytesMut;
use check::FirstWords;
pub use handshake::{Acceptor, Connector, Established, Failure, Handshake};
use pool_proto::{CloseReason, ConnId, Role};
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
use crate::shared::{Attempt, Kind, ReadinessWaker};
use crate::sync::{Mutex, MutexGuard};
#[cfg(feature = "tls")]
use crate::tls::{Fingerprint, TlsFacts};

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
    /// A connection that is the peer's to acquire ends without close_notify: a user of the peer that has just
    /// acquired it would take a close_notify for the end of a whole answer. (Plain TCP has no such
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

    /// Lends its parts to a call of its holder.
    fn parts(&mut self) -> Parts<'_, S> {
        let Self { session, socket, early, failure, write_failure, readiness, in_use, .. } = self;
        Parts { session, socket, early, failure, write_failure, readiness, in_use }
    }

    /// Tells the socket that it is in the pool again.
    fn end_use(&mut self) {
        if self.in_use {
            self.in_use = false;
            self.socket.socket().set_in_use(false);
        }
    }
}

/// The parts of a connection that a call of its holder uses: the socket can be looked at before and after it.
struct Parts<'s, S> {
    session: &'s Mutex<Session>,
    socket: &'s SharedSocket<S>,
    early: &'s mut BytesMut,
    failure: &'s mut Option<io::Error>,
    write_failure: &'s mut WriteFailure,
    readiness: &'s ReadinessWaker,
    in_use: &'s mut bool,
}

impl<'s, S: Socket> Parts<'s, S> {
    /// Reads early data first, then from the socket. The holder's wakers replace the readiness waker.
    fn read<B: Buffer, T: Read + Write + ReadTo<B>>(
        self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut B,
    ) -> io::Result<usize> {
        let room = buffer.room();
        if !self.early.is_empty() {
            return Ok(hand_over(self.early, buffer));
        }
        if let Some(failure) = self.failure {
            return Err(again(failure));
        }
        self.readiness.disarm();
        let mut session = lock(self.session);
        let result = session.read_to(&mut io(self.socket.socket()), buffer);
        // With TLS, the peer has ended the stream in good order by a close_notify.
        let is_eof = match &result {
            Ok(count) => *count == 0 && room > 0 && !session.is_tls(),
            Err(error) => error.kind() == ErrorKind::UnexpectedEof,
        };
        let result = if is_eof { self.write_failure.take().map_or(result, Err) } else { result };
        if let Err(error) = &result
            && error.raw_os_error().is_some()
            && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        {
            // The kernel reports it once, and EOF afterwards: a reader that tries again would take a
            // truncated stream for a whole one.
            *self.failure = Some(again(error));
        }
        result
    }

    /// Tells the socket that it has a holder who writes, at the first write of the lease. The call to the
    /// system takes 0.3 µs, and a take 0.7 µs: at each take, it would be dear. Until the holder has
    /// written, it has no data under way that the limit of the pool could cut off.
    fn begin_use(&mut self) {
        if !*self.in_use {
            *self.in_use = true;
            self.socket.socket().set_in_use(true);
        }
    }

    fn write<T: Write>(
        mut self,
        io: impl FnOnce(&'s S) -> T,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.begin_use();
        let result = lock(self.session).write_vectored(&mut io(self.socket.socket()), data);
        self.write_failure.keep(result)
    }

    fn flush<T: Write>(self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        let result = lock(self.session).flush(&mut io(self.socket.socket()));
        self.write_failure.keep(result)
    }

    fn shutdown<T: Write>(mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.begin_use();
        let result = lock(self.session).shutdown(&mut io(self.socket.socket()));
        self.write_failure.keep(result)?;
        match self.socket.socket().shutdown_write() {
            // The peer closed first.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// A session whose last call panicked goes on as it is: its stream ends at the next call that fails.
#[inline]
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
