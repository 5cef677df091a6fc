//! A connection in a caller's hands: reads and writes.

use core::net::SocketAddr;
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use pool_proto::{CloseReason, ConnId};
use thiserror::Error;

use super::{Buffer, Connection, Parts, ReadTo, SharedSocket, Slice, Socket};
use crate::shared::Leased;
#[cfg(feature = "tls")]
use crate::tls::{Fingerprint, TlsFacts};

/// The pool has revoked a connection under its holder. Found in the [`io::Error`] of a read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the pool ended connection {id} while it was in use: {reason}")]
pub struct Revoked {
    /// The connection.
    pub id: ConnId,
    /// Why the pool has revoked it.
    pub reason: CloseReason,
}

/// Each call that does I/O takes `io`, which makes a reader or writer of the adapter's socket for
/// this call, for example a reader that registers the caller's waker with the reactor. The call
/// blocks exactly where that socket does. Once the pool has revoked the connection, calls fail with
/// [`Revoked`].
impl<S: Socket> Leased<Box<Connection<S>>> {
    /// Returns the facts of the TLS session; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.get().facts()
    }

    /// Returns the fingerprint of the peer's certificate; `None` without TLS, and if the peer has
    /// presented none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Fingerprint> {
        self.get().peer_fingerprint()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Never: the result is for the likeness with other streams.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket().socket().peer_addr())
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().socket().local_addr()
    }

    /// Returns the socket.
    #[must_use]
    pub fn socket(&self) -> &Arc<SharedSocket<S>> {
        self.get().socket()
    }

    /// Reads data that has arrived, early data first.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or those of the socket or of TLS.
    pub fn read<'s, T: Read + Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        self.read_to(io, &mut Slice::new(buffer))
    }

    /// [`read`](Self::read) into a buffer of a runtime, whose memory need not be initialised.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or those of the socket or of TLS.
    pub fn read_to<'s, B: Buffer, T: Read + Write + ReadTo<B>>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut B,
    ) -> io::Result<usize> {
        self.unless_revoked(|parts| {
            let result = parts.read(io, buffer);
            // EOF may mean that the pool revoked the connection; bytes already read are always
            // delivered.
            let stands = matches!(result, Ok(count) if count > 0);
            (result, stands)
        })
    }

    /// Writes. With TLS, data may not have left before a [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// [`Revoked`], or those of the socket or of TLS.
    pub fn write<'s, T: Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.unless_revoked(|parts| stands_if_ok(parts.write(io, data)))
    }

    /// Sends the data that TLS still holds.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or those of the socket or of TLS.
    pub fn flush<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.unless_revoked(|parts| stands_if_ok(parts.flush(io)))
    }

    /// Closes this end's half in good order: close_notify, then FIN.
    ///
    /// # Errors
    ///
    /// [`Revoked`], or those of the socket or of TLS.
    pub fn shutdown<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.unless_revoked(|parts| stands_if_ok(parts.shutdown(io)))
    }

    /// Returns the result of `act`, or [`Revoked`] if the pool has revoked the connection, unless
    /// `act` says that its result stands in any case.
    fn unless_revoked<'s, T>(
        &'s mut self,
        act: impl FnOnce(Parts<'s, S>) -> (io::Result<T>, bool),
    ) -> io::Result<T> {
        let id = self.id();
        let parts = self.get_mut().parts();
        let socket = parts.socket;
        let check = || match socket.revoked() {
            None => Ok(()),
            Some(reason) => {
                Err(io::Error::new(ErrorKind::ConnectionAborted, Revoked { id, reason }))
            }
        };
        check()?;
        let (result, stands) = act(parts);
        if !stands {
            check()?;
        }
        result
    }
}

fn stands_if_ok<T>(result: io::Result<T>) -> (io::Result<T>, bool) {
    let stands = result.is_ok();
    (result, stands)
}
