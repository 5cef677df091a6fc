//! The harness through which the scenarios use this adapter, for each executor.

use std::future::Future;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adapter_smol::pool_proto::ConnId;
use adapter_smol::{PooledStream, Smol, Spawner, TlsFacts};
use pool_conformance::Harness;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use smol::unblock;

use crate::executors::Executor;

/// The adapter on the executor `E`.
pub(crate) struct On<E>(PhantomData<E>);

impl<E: Executor> Harness for On<E> {
    type Runtime = Smol;

    const NAME: &'static str = E::NAME;

    fn handle() -> Option<Spawner> {
        E::SPAWN.map(Spawner::new)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        E::block_on(future)
    }

    async fn dial(
        dial: Arc<dyn Fn() -> io::Result<std::net::TcpStream> + Send + Sync>,
    ) -> io::Result<TcpStream> {
        unblock(move || dial()).await?.try_into()
    }

    fn listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.try_into()
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
        stream.poll_read(cx, buffer)
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
        stream.poll_close(cx)
    }
}
