//! A connection in a caller's hands, with the I/O traits of tokio.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use pool_driver::Direction;
use pool_driver::connection::{Buffer, Polled, ReadTo, polled};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::Tokio;

pool_driver::stream_type! {
    /// Dropping the stream closes the connection at once; to close it in good order, `shutdown` it
    /// first. `put` returns it to its pool.
    Tokio
}

impl AsyncRead for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read_to(|socket| Reading(socket.polled(cx)), &mut Unfilled(buffer));
        polled(read.map(|_| ()))
    }
}

/// The room of a `ReadBuf`, whose memory need not be initialised: clearing 256 KiB for each read takes as
/// long as reading them.
struct Unfilled<'a, 'b>(&'a mut ReadBuf<'b>);

impl Buffer for Unfilled<'_, '_> {
    fn room(&self) -> usize {
        self.0.remaining()
    }

    fn put(&mut self, data: &[u8]) {
        self.0.put_slice(data);
    }
}

/// A socket that reads into such room.
struct Reading<'a, 'c>(Polled<'a, 'c, Tokio>);

impl ReadTo<Unfilled<'_, '_>> for Reading<'_, '_> {
    fn read_to(&mut self, buffer: &mut Unfilled<'_, '_>) -> io::Result<usize> {
        self.0.poll_by(Direction::Read, buffer.room(), |stream| stream.try_read_buf(buffer.0))
    }
}

/// For TLS, which reads into memory of its own.
impl Read for Reading<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// For alerts, which TLS sends while it reads.
impl Write for Reading<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.flush(|socket| socket.polled(cx)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.0.shutdown(|socket| socket.polled(cx)))
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}
