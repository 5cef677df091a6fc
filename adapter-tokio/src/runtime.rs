//! What of tokio a pool runs on.

use std::future::{Future, pending};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pool_driver::transport::BuildError;
use pool_driver::{Direction, Runtime, ShutdownGuard, listen_on_first};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::stream::PooledStream;

/// A pool's tokio runtime: tasks, timers and sockets are tokio's.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

/// A task, aborted when dropped.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runtime for Tokio {
    type Handle = Handle;
    type Executor = Handle;
    type Task = Task;
    type Dialled = TcpStream;
    type Tcp = TcpStream;
    type Listener = TcpListener;
    type Stream = PooledStream;

    fn current() -> Result<Handle, BuildError> {
        Handle::try_current().map_err(|_| BuildError::NoRuntime)
    }

    fn start<F>(
        handle: &Handle,
        _max_dials: u32,
        _alive: ShutdownGuard,
        driver: impl FnOnce(Self, Handle) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Self(handle.clone());
        handle.spawn(driver(runtime.clone(), handle.clone()));
        Ok(runtime)
    }

    fn spawn(executor: &Handle, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(executor.spawn(future).abort_handle())
    }

    async fn sleep(&self, time: Duration) {
        let is_here = |current: Handle| current.id() == self.0.id();
        if Handle::try_current().is_ok_and(is_here) {
            return tokio::time::sleep(time).await;
        }
        // A timer panics when it is asked after its runtime has gone, which a caller from elsewhere
        // cannot rule out. A task of that runtime is told of.
        let timer = self.0.spawn(async move { tokio::time::sleep(time).await });
        let _end = Task(timer.abort_handle());
        if timer.await.is_err() {
            pending::<()>().await;
        }
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(name).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    // There, wherever the caller is.
    async fn bind(handle: &Handle, name: &str) -> io::Result<TcpListener> {
        let name = name.to_owned();
        let addresses = async move { Ok::<Vec<_>, io::Error>(lookup_host(name).await?.collect()) };
        let listener = listen_on_first(handle.spawn(addresses).await??)?;
        let _entered = handle.enter();
        TcpListener::from_std(listener)
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn socket(tcp: &TcpStream) -> SockRef<'_> {
        SockRef::from(tcp)
    }

    fn poll_io<T>(
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let interest = match direction {
                Direction::Read => {
                    ready!(tcp.poll_read_ready(cx))?;
                    Interest::READABLE
                }
                Direction::Write => {
                    ready!(tcp.poll_write_ready(cx))?;
                    Interest::WRITABLE
                }
            };
            // What the reactor knows may be of yesterday; a WouldBlock makes it forget.
            match tcp.try_io(interest, &mut act) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_readable(tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It looks only where the reactor has heard of something.
        let peek = || SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        Self::poll_io(tcp, cx, Direction::Read, peek).map(|_| Ok(()))
    }
}
