//! What adapters share between a socket and the [`shared`](crate::shared): TLS, the exchange of the id,
//! the look at a connection, early data, and the end of a lease. Feature `transport`.
//!
//! None of it does I/O: reads and writes are those of the adapter's [`Socket`], which never blocks.
//! Where they say [`WouldBlock`](io::ErrorKind::WouldBlock), so does what is here, and waiting is the
//! adapter's part.
//!
//! ```text
//!   dial, accept ──► Link ──► Handshake ──Shaken──► Crew::report ──► Connection, in the machine
//!                     ▲        TLS, id                                   │ acquire
//!                     │ ends it                                          ▼
//!   Crew: what the tasks of a pool share ◄──Order── the driver         Stream, the holder's
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `session.rs` | plain or TLS, over any `Read + Write` |
//! | `handshake.rs` | from a connected socket to a connection with a name |
//! | `connection.rs` | a connection in the pool: the look, the drain, early data |
//! | `stream.rs` | a connection in its holder's hands |
//! | `limited.rs` | a bound on what one look may take |
//! | `crew.rs` | what the driver and its tasks do alike on every runtime |
//! | `accept.rs` | what a failed accept means |
//! | `build.rs` | why a pool cannot be built |

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::OnceLock;

mod accept;
mod build;
mod connection;
mod crew;
mod handshake;
mod limited;
mod session;
mod stream;

pub use accept::{AcceptFailure, AcceptPacer, BACKLOG};
pub use build::{BuildError, dial_address};
pub use connection::{Connection, Pooled};
pub use crew::{Crew, Task};
pub use handshake::{Acceptor, Connector, Established, Failure, Handshake};
pub use stream::{Revoked, Stream};

#[cfg(feature = "tls")]
pub(crate) use session::retry;

use pool_proto::CloseReason;

/// A connected TCP socket in non-blocking mode, as its adapter holds it.
pub trait Socket: Send + Sync + 'static {
    /// The address of the peer.
    fn peer_addr(&self) -> SocketAddr;

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The socket for reads and writes that ask the kernel at once, whatever a reactor has heard, and
    /// leave nothing with the reactor.
    fn now(&self) -> impl Read + Write + '_;

    /// Whether the kernel has data or an end (`Ok`), nothing
    /// ([`WouldBlock`](io::ErrorKind::WouldBlock)), or an error; takes nothing out (`MSG_PEEK`).
    ///
    /// # Errors
    ///
    /// As said.
    fn peek(&self) -> io::Result<()>;

    /// Leaves the waker of `cx` to be woken when something arrives; `Ready` if something may have
    /// arrived already.
    ///
    /// # Errors
    ///
    /// When nothing can be waited for any more, as when the runtime is gone.
    fn watch(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes this end's half.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn shut_write(&self) -> io::Result<()>;

    /// Closes both halves; reads and writes under way wake up.
    fn shut_both(&self);
}

/// A socket, shared between its holder and the driver that may have to end it.
#[derive(Debug)]
pub struct Link<S> {
    socket: S,
    /// Set once the pool has ended the connection under its holder.
    revoked: OnceLock<CloseReason>,
}

impl<S: Socket> Link<S> {
    /// A link of its own for `socket`.
    pub fn new(socket: S) -> Arc<Self> {
        Arc::new(Self { socket, revoked: OnceLock::new() })
    }

    /// The adapter's socket.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Why the pool has ended the connection, if it has.
    #[must_use]
    pub fn revoked(&self) -> Option<CloseReason> {
        self.revoked.get().copied()
    }

    /// Ends the connection under its holder, whose pending reads and writes wake up.
    fn revoke(&self, reason: CloseReason) {
        if self.revoked.set(reason).is_ok() {
            self.socket.shut_both();
        }
    }
}

/// A result, with [`WouldBlock`](io::ErrorKind::WouldBlock) as `Pending`.
pub fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
