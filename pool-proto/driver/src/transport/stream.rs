//! A connection in its holder's hands.

use core::fmt;
use core::net::SocketAddr;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use thiserror::Error;

use super::{Connection, Crew, Link, Pooled, Socket};
use crate::shared::Leased;
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use pool_proto::CloseReason;
use pool_proto::ConnId;
use pool_proto::PutError;
use pool_proto::Role;

/// A connection taken from a pool, which an adapter wraps for the I/O traits of its runtime. Dropped,
/// it is closed.
///
/// Every call of I/O gets `io`, which makes the socket of this call out of the adapter's: one that
/// leaves the caller's waker with the reactor, say. Where the socket would block, so does the call.
/// When the pool has ended the connection, calls fail with [`Revoked`].
pub struct Stream<S: Socket> {
    leased: Leased<Pooled<S>>,
}

/// The pool has ended a connection under its holder. Found in the [`io::Error`] of a read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pool ended connection {id} while it was in use: {reason}")]
pub struct Revoked {
    /// The connection.
    pub id: ConnId,
    /// Why.
    pub reason: CloseReason,
}

impl<S: Socket> Stream<S> {
    /// Wraps what [`Acquire`](crate::shared::Acquire) has returned.
    #[must_use]
    pub const fn new(leased: Leased<Pooled<S>>) -> Self {
        Self { leased }
    }

    /// [`Leased::put`].
    ///
    /// # Errors
    ///
    /// Those of [`Leased::put`].
    pub fn put<R: Role + Send + 'static>(self, crew: &Crew<S, R>) -> Result<(), PutError> {
        self.leased.put(crew.shared())
    }

    /// The id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.leased.id()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.leased.get()?.facts()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](ErrorKind::NotConnected) never happens while the stream is held.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link().map(|link| link.socket().peer_addr())
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.link()?.socket().local_addr()
    }

    /// The socket and its state.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](ErrorKind::NotConnected) never happens while the stream is held.
    pub fn link(&self) -> io::Result<&Arc<Link<S>>> {
        self.leased.get().map(|connection| connection.link()).ok_or(ErrorKind::NotConnected.into())
    }

    /// Reads what has come, early data first.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or what the socket or TLS says.
    pub fn read<'s, T: Read + Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        self.unless_revoked(|connection| {
            let result = connection.read(io, buffer);
            // An end of stream may be the pool's doing; data is data.
            let is_news = matches!(result, Ok(count) if count > 0);
            (result, is_news)
        })
    }

    /// Writes; what TLS has taken may not have been sent before [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Revoked`], or what the socket or TLS says.
    pub fn write<'s, T: Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.unless_revoked(|connection| done(connection.write(io, data)))
    }

    /// Sends what TLS still holds.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or what the socket or TLS says.
    pub fn flush<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.unless_revoked(|connection| done(connection.flush(io)))
    }

    /// Closes this end's half in good order: TLS' goodbye, then TCP's.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or what the socket or TLS says.
    pub fn shut<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.unless_revoked(|connection| done(connection.shut(io)))
    }

    /// A result of the connection, unless the pool has ended it: then that is the news, unless `act`
    /// says that its result stands in any case.
    fn unless_revoked<'s, T>(
        &'s mut self,
        act: impl FnOnce(&'s mut Connection<S>) -> (io::Result<T>, bool),
    ) -> io::Result<T> {
        let id = self.leased.id();
        let connection = self.leased.get_mut().ok_or(ErrorKind::NotConnected)?;
        let link = Arc::clone(connection.link());
        let revoked = || {
            link.revoked().map_or(Ok(()), |reason| {
                Err(io::Error::new(ErrorKind::ConnectionAborted, Revoked { id, reason }))
            })
        };
        revoked()?;
        let (result, stands) = act(connection);
        if !stands {
            revoked()?;
        }
        result
    }
}

/// A result that stands if it is no error.
fn done<T>(result: io::Result<T>) -> (io::Result<T>, bool) {
    let stands = result.is_ok();
    (result, stands)
}

impl<S: Socket> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledStream")
            .field("id", &self.id())
            .field("peer", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}
