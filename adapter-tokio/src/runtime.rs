//! Tasks, timers and sockets of tokio.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pool_driver::connection::{KernelSocket, listen_on_first};
use pool_driver::{BuildError, Direction, Runtime, ShutdownGuard};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::stream::PooledStream;

/// The tokio runtime of a pool.
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
    type TcpStream = TcpStream;
    type Registered = TcpStream;
    type Listener = TcpListener;
    type Stream = PooledStream;

    fn current() -> Result<Handle, BuildError> {
        Handle::try_current().map_err(|_| BuildError::NoRuntime)
    }

    fn start<F>(
        handle: &Handle,
        _max_dials: u32,
        _guard: ShutdownGuard,
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

    // A task that only wakes itself would be polled up to 61 times before the next look at timers and
    // sockets (`event_interval`).
    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn sleep(&self, time: Duration) {
        let is_here = |current: Handle| current.id() == self.0.id();
        if Handle::try_current().is_ok_and(is_here) {
            return tokio::time::sleep(time).await;
        }
        // The caller is on another runtime, which may outlive this one. A timer panics when it is
        // polled after its runtime has shut down; a task only fails.
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

    // On the pool's runtime, whichever runtime the caller is on.
    async fn bind(handle: &Handle, name: &str) -> io::Result<TcpListener> {
        let name = name.to_owned();
        let addresses = async move { Ok::<Vec<_>, io::Error>(lookup_host(name).await?.collect()) };
        let listener = listen_on_first(handle.spawn(addresses).await??)?;
        let _entered = handle.enter();
        TcpListener::from_std(listener)
    }

    fn kernel_listener(listener: &TcpListener) -> KernelSocket<'_> {
        listener.into()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn kernel(stream: &TcpStream) -> KernelSocket<'_> {
        stream.into()
    }

    fn poll_io<T>(
        stream: &TcpStream,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let interest = match direction {
                Direction::Read => {
                    ready!(stream.poll_read_ready(cx))?;
                    Interest::READABLE
                }
                Direction::Write => {
                    ready!(stream.poll_write_ready(cx))?;
                    Interest::WRITABLE
                }
            };
            // Readiness may be stale; `WouldBlock` clears it.
            match stream.try_io(interest, &mut act) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_readable(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Peeks only where the reactor has reported readiness. Takes a failure out of the socket, as any
        // call does, so it must not be lost here.
        Self::poll_io(stream, cx, Direction::Read, || Self::kernel(stream).peek())
    }
}
