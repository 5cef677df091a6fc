//! A connection in the user's hands.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pool_proto::shell::Held;
use pool_proto::tls::Fingerprint;
use pool_proto::{CloseReason, ConnId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::{Connection, Layer, Pooled};
use crate::socket::Link;

/// A connection taken from a pool: reads and writes like any stream, and knows its id.
///
/// What the peer sent before the connection was taken is read first. Dropping it closes the
/// connection at once; to close in good order, `shutdown` it first.
/// [`ClientPool::put`](crate::ClientPool::put) returns it to its pool.
///
/// When the pool is flushed or closed, the next read or write fails with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), and the error holds a [`Revoked`] that
/// says why.
#[must_use = "dropping a stream closes its connection"]
pub struct PooledStream {
    held: Held<Pooled>,
}

/// The pool has ended a connection under its holder. Found in the [`io::Error`] of a read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool ended connection {id} while it was in use: {reason}")]
pub struct Revoked {
    /// The connection.
    pub id: ConnId,
    /// Why.
    pub reason: CloseReason,
}

/// What TLS has agreed on for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The protocol version; always 1.3 with the configurations of this project.
    pub version: Option<rustls::ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<rustls::CipherSuite>,
    /// The protocol chosen by ALPN, where a configuration of the user's offers any.
    pub alpn: Option<Vec<u8>>,
    /// SHA-256 of the peer's certificate, if it sent one.
    pub peer_certificate: Option<Fingerprint>,
}

impl PooledStream {
    pub(crate) const fn new(held: Held<Pooled>) -> Self {
        Self { held }
    }

    pub(crate) fn into_held(self) -> Held<Pooled> {
        self.held
    }

    /// The id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.held.id()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) never happens while the stream is held.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.link().map(Link::peer_addr)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.link()?.local_addr()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        let Layer::Tls(tls) = &self.held.get()?.layer else {
            return None;
        };
        let session = tls.get_ref().1;
        Some(TlsFacts {
            version: session.protocol_version(),
            cipher_suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificate: session
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(Fingerprint::of),
        })
    }

    fn link(&self) -> io::Result<&Link> {
        let connection = self.held.get().ok_or(io::ErrorKind::NotConnected)?;
        Ok(connection.layer.link())
    }

    /// The connection, unless the pool has ended it.
    fn usable(&mut self) -> io::Result<&mut Connection> {
        let id = self.held.id();
        let connection = self.held.get_mut().ok_or(io::ErrorKind::NotConnected)?;
        match connection.layer.link().revoked() {
            None => Ok(connection),
            Some(reason) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, Revoked { id, reason }))
            }
        }
    }

    /// A result of the connection, unless the pool ended it meanwhile: then that is the news.
    fn unless_revoked<T>(&mut self, result: io::Result<T>) -> Poll<io::Result<T>> {
        Poll::Ready(self.usable().and(result))
    }
}

impl AsyncRead for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match pin!(self.usable()?).poll_read(cx, buffer) {
            // An end of stream may be the pool's doing; data is data.
            Poll::Ready(result) if buffer.filled().len() == before => self.unless_revoked(result),
            polled => polled,
        }
    }
}

impl AsyncWrite for PooledStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match pin!(&mut self.usable()?.layer).poll_write(cx, data) {
            Poll::Ready(Err(error)) => self.unless_revoked(Err(error)),
            polled => polled,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match pin!(&mut self.usable()?.layer).poll_write_vectored(cx, data) {
            Poll::Ready(Err(error)) => self.unless_revoked(Err(error)),
            polled => polled,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.held.get().is_some_and(|connection| connection.layer.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match pin!(&mut self.usable()?.layer).poll_flush(cx) {
            Poll::Ready(Err(error)) => self.unless_revoked(Err(error)),
            polled => polled,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.usable()?;
        connection.shut = true;
        match pin!(&mut connection.layer).poll_shutdown(cx) {
            Poll::Ready(Err(error)) => self.unless_revoked(Err(error)),
            polled => polled,
        }
    }
}

impl fmt::Debug for PooledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledStream")
            .field("id", &self.id())
            .field("peer", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}
