//! The harness through which the scenarios use this adapter.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed scenario")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use adapter_tokio::pool_proto::ConnId;
use adapter_tokio::{PooledStream, TlsFacts};
use pool_conformance::Harness;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) struct Tokio;

impl Harness for Tokio {
    type Runtime = adapter_tokio::Tokio;

    const NAME: &'static str = "tokio";

    fn block_on<F: Future>(future: F) -> F::Output {
        RUNTIME.block_on(future)
    }

    async fn dial(
        dial: Arc<dyn Fn() -> io::Result<std::net::TcpStream> + Send + Sync>,
    ) -> io::Result<TcpStream> {
        let dialled = spawn_blocking(move || dial()).await;
        let tcp = dialled.unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic.into_panic());
        })?;
        tcp.set_nonblocking(true)?;
        TcpStream::from_std(tcp)
    }

    fn listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }

    fn id(stream: &PooledStream) -> ConnId {
        stream.id()
    }

    fn peer_addr(stream: &PooledStream) -> io::Result<SocketAddr> {
        stream.peer_addr()
    }

    fn local_addr(stream: &PooledStream) -> io::Result<SocketAddr> {
        stream.local_addr()
    }

    fn tls(stream: &PooledStream) -> Option<TlsFacts> {
        stream.tls()
    }

    fn poll_read(
        stream: Pin<&mut PooledStream>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        stream.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    fn poll_write(
        stream: Pin<&mut PooledStream>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Plain and vectored writes must behave alike, so the length decides which is used.
        if data.len().is_multiple_of(2) {
            stream.poll_write(cx, data)
        } else {
            stream.poll_write_vectored(cx, &[IoSlice::new(data)])
        }
    }

    fn poll_write_vectored(
        stream: Pin<&mut PooledStream>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream.poll_write_vectored(cx, data)
    }

    fn poll_flush(stream: Pin<&mut PooledStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream.poll_flush(cx)
    }

    fn poll_close(stream: Pin<&mut PooledStream>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream.poll_shutdown(cx)
    }
}
