//! A connection in a user's hands.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};
use pool_driver::LeasedConnection;
use pool_driver::connection::polled;
use pool_driver::exports::ConnId;

use crate::network::SocketId;
use crate::runtime::Simulated;

/// A connection acquired from a pool.
pub struct PooledStream(LeasedConnection<Simulated>);

impl From<LeasedConnection<Simulated>> for PooledStream {
    fn from(leased: LeasedConnection<Simulated>) -> Self {
        Self(leased)
    }
}

impl From<PooledStream> for LeasedConnection<Simulated> {
    fn from(stream: PooledStream) -> Self {
        stream.0
    }
}

impl PooledStream {
    /// Returns the id.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.0.id()
    }

    /// Returns the socket beneath.
    #[must_use]
    pub fn socket(&self) -> SocketId {
        self.0.socket().socket().stream().id()
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.0.write(|socket| socket.polled(cx), &[io::IoSlice::new(data)]))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.flush(|socket| socket.polled(cx)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.shutdown(|socket| socket.polled(cx)))
    }
}
