//! A socket that its holder and the pool share: the pool can end it.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io::{self, Read, Write};
use std::sync::{Arc, Weak};

use pool_proto::CloseReason;

use super::session::Session;
use crate::shared::{Interrupt, Revocation};
use crate::sync::{Mutex, OnceLock};

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
    /// `WouldBlock` without data, or the failure of the connection.
    fn peek(&self) -> io::Result<()>;

    /// Registers the waker of `cx` to be woken when data or EOF arrives; `Ready` if something may
    /// have arrived already.
    ///
    /// # Errors
    ///
    /// When nothing can be waited for any more, for example because the runtime is gone; or the failure
    /// of the connection, if this call has taken it out of the socket, which reports it once.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Notes whether the connection has a holder. A living peer may leave the holder's data unread for as
    /// long as it likes; in the pool, the acknowledgement of data has a time limit.
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
    /// Of the established connection: the mark by which the pool revokes its leases, and the session.
    /// The session may be used by any thread that locks it.
    shared: OnceLock<(Revocation, Weak<Mutex<Session>>)>,
}

impl<S: Socket> SharedSocket<S> {
    /// Shares `socket`.
    pub fn new(socket: S) -> Arc<Self> {
        Arc::new(Self { socket, shared: OnceLock::new() })
    }

    /// Lets the pool revoke the connection, and end this session in good order.
    pub(super) fn share(&self, revocation: &Revocation, session: &Arc<Mutex<Session>>) {
        // A socket has one session.
        let _ = self.shared.set((revocation.clone(), Arc::downgrade(session)));
    }

    /// Returns the socket.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns why the pool has revoked its leases since this connection was established, if it has.
    #[must_use]
    pub fn revoked(&self) -> Option<CloseReason> {
        self.shared.get().and_then(|(revocation, _)| revocation.reason())
    }
}

impl<S: Socket> Interrupt for SharedSocket<S> {
    fn interrupt(&self) {
        if let Some((revocation, session)) = self.shared.get()
            && revocation.reason() == Some(CloseReason::ShutDown)
            && let Some(session) = session.upgrade()
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
