//! Tasks and sockets of tokio, and the timers of `async-io`.
//!
//! A timer of tokio depends on a runtime. The runtime of the pool may be parked, busy or gone while a
//! caller waits elsewhere; the runtime of the caller may lack timers or shut down, and then the timer
//! panics; neither can be detected beforehand. The timers of `async-io` have one thread for the whole
//! process, and do not depend on any runtime.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_io::Timer;
use pool_driver::connection::{Kernel as _, KernelSocket};
use pool_driver::{BuildError, Direction, Runtime, ShutdownGuard};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::stream::PooledStream;

/// The runtime of a pool: tasks and sockets of tokio, and timers of `async-io`.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

/// A task, aborted when dropped.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Uses a timer. `async-io` starts its thread at its first use, and panics if it cannot.
fn use_timer() {
    let mut timer = Timer::after(Duration::from_secs(1));
    let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(Waker::noop()));
}

/// Registers a socket with the reactor of the current runtime. tokio panics if there is none.
#[cfg(unix)]
fn use_reactor() {
    // An error has other causes, which a dial or an accept reports.
    drop(tokio::net::UnixDatagram::unbound());
}

#[cfg(not(unix))]
const fn use_reactor() {}

impl Runtime for Tokio {
    type Handle = Handle;
    type Executor = Handle;
    type Task = Task;
    type TcpStream = TcpStream;
    type Registered = TcpStream;
    type Listener = TcpListener;
    type Kernel<'a> = KernelSocket<'a>;
    type Stream = PooledStream;

    fn current() -> Result<Handle, BuildError> {
        Handle::try_current().map_err(|_| BuildError::NoRuntime)
    }

    fn check(handle: &Handle) -> Result<(), BuildError> {
        let text = "no descriptor or thread is left for the timers";
        catch_unwind(use_timer)
            .map_err(|_| BuildError::Start { source: io::Error::other(text) })?;
        let _entered = handle.enter();
        catch_unwind(use_reactor).map_err(|_| BuildError::NoIo)
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
        handle.spawn(driver(Self, handle.clone()));
        Ok(Self)
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
        Timer::after(time).await;
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(name).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    // On the pool's runtime, whichever runtime the caller is on.
    async fn resolve_on(handle: &Handle, name: &str) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        handle.spawn(async move { Ok(lookup_host(name).await?.collect()) }).await?
    }

    fn register(handle: &Handle, listener: std::net::TcpListener) -> io::Result<TcpListener> {
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
        is_short: impl Fn(&T) -> bool,
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
            // `WouldBlock` clears readiness: it was stale, or a short result has used it up. Cleared inside
            // of `try_io`, it cannot be that of data which arrive after `act`.
            let mut short = None;
            let done = stream.try_io(interest, || match act() {
                Ok(result) if is_short(&result) => {
                    short = Some(result);
                    Err(io::ErrorKind::WouldBlock.into())
                }
                result => result,
            });
            match (short, done) {
                (Some(result), _) => return Poll::Ready(Ok(result)),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, result) => return Poll::Ready(result),
            }
        }
    }

    fn poll_readable(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Peeks only where the reactor has reported readiness. A peek takes a failure out of the socket,
        // like any call, so the failure must not be lost here.
        Self::poll_io(stream, cx, Direction::Read, || Self::kernel(stream).peek(), |()| false)
    }
}
