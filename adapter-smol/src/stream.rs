//! A connection in the user's hands.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use pool_driver::Socket;
#[cfg(feature = "tls")]
use pool_driver::tls::TlsFacts;
use pool_driver::transport::{Stream, polled};
use pool_proto::ConnId;
use smol::io::{AsyncRead, AsyncWrite};

use crate::runtime::Smol;

/// A connection taken from a pool: reads and writes like any stream, and knows its id.
///
/// What the peer sent before the connection was taken is read first. Dropping it closes the
/// connection at once; to close in good order, `close` it first.
/// [`Pool::put`](crate::Pool::put) returns it to its pool.
///
/// With TLS, what was written may not have left before it is flushed: flush before waiting for an
/// answer.
///
/// When the pool is flushed or closed, the next read or write fails with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), and the error holds a
/// [`Revoked`](crate::Revoked) that says why.
#[must_use = "dropping a stream closes its connection"]
pub struct PooledStream(Stream<Socket<Smol>>);

impl From<Stream<Socket<Smol>>> for PooledStream {
    fn from(stream: Stream<Socket<Smol>>) -> Self {
        Self(stream)
    }
}

impl From<PooledStream> for Stream<Socket<Smol>> {
    fn from(stream: PooledStream) -> Self {
        stream.0
    }
}

impl PooledStream {
    /// The id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.0.id()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) never happens while the stream is held.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.0.tls()
    }
}

impl AsyncRead for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.0.read(|socket| socket.polled(cx), buffer))
    }
}

impl AsyncWrite for PooledStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(data)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        polled(self.0.write(|socket| socket.polled(cx), data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.flush(|socket| socket.polled(cx)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.shut(|socket| socket.polled(cx)))
    }
}

impl fmt::Debug for PooledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
