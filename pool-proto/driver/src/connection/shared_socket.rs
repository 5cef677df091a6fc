//! A socket that its holder and the pool share: the pool can end it.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use pool_proto::CloseReason;

use super::session::Session;
use crate::shared::{Interrupt, Revocation};

/// A connected TCP socket in non-blocking mode.
pub trait Socket: Send + Sync + 'static {
    /// Returns the address of the peer.
    fn peer_addr(&self) -> SocketAddr;

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Returns the socket for reads and writes that ask the kernel at once. They neither trust the
    /// reactor nor register with it.
    fn now(&self) -> impl Read + Write + '_;

    /// Checks whether the kernel has data or EOF (`Ok`), nothing
    /// ([`WouldBlock`](io::ErrorKind::WouldBlock)) or an error, and consumes nothing (`MSG_PEEK`).
    ///
    /// # Errors
    ///
    /// As said.
    fn peek(&self) -> io::Result<()>;

    /// Registers the waker of `cx` to be woken when data or EOF arrives; `Ready` if something may
    /// have arrived already.
    ///
    /// # Errors
    ///
    /// When nothing can be waited for any more, for example because the runtime is gone; or the failure
    /// of the connection, if this call has taken it out of the socket, which reports it once.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Notes whether the connection has a holder that writes, whose data a living peer may leave unread
    /// for as long as it likes. In the pool, there is a limit for the acknowledgement of data.
    fn set_in_use(&self, in_use: bool);

    /// Closes this end's half.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn shutdown_write(&self) -> io::Result<()>;

    /// Closes both halves, which wakes pending reads and writes.
    fn shutdown_both(&self);
}

/// A socket, shared between its holder and the pool that may have to revoke it.
#[derive(Debug)]
pub struct SharedSocket<S> {
    socket: S,
    revocation: Revocation,
    /// The session of the established connection. Whoever locks it may use it.
    session: OnceLock<Weak<Mutex<Session>>>,
}

impl<S: Socket> SharedSocket<S> {
    /// Shares `socket`.
    pub fn new(socket: S) -> Arc<Self> {
        Arc::new(Self { socket, revocation: Revocation::default(), session: OnceLock::new() })
    }

    /// Lets the pool end this session in good order.
    pub(super) fn share(&self, session: &Arc<Mutex<Session>>) {
        // A socket has one session.
        let _ = self.session.set(Arc::downgrade(session));
    }

    /// Returns the socket.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns why the pool has revoked the connection, if it has.
    #[must_use]
    pub fn revoked(&self) -> Option<CloseReason> {
        self.revocation.reason()
    }

    /// Returns the mark by which the pool revokes the connection.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }
}

impl<S: Socket> Interrupt for SharedSocket<S> {
    fn interrupt(&self) {
        if self.revoked() == Some(CloseReason::ShutDown)
            && let Some(session) = self.session.get().and_then(Weak::upgrade)
            // Only a stream at rest: in a call of the holder, or with data that waits to be sent, the peer
            // must see that something is missing.
            && let Ok(mut session) = session.try_lock()
            && !session.has_unsent()
        {
            let _ = session.shutdown(&mut self.socket.now());
        }
        self.socket.shutdown_both();
    }
}

/// Converts [`WouldBlock`](io::ErrorKind::WouldBlock) to `Pending`.
pub fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
