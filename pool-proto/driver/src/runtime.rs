//! The demands on a runtime.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::net::TcpListener;

use crate::clock::{Clock, MonotonicClock};
use crate::connection::socket::listen_on;
use crate::connection::{Connection, Kernel, TcpSocket};
use crate::error::BuildError;
use crate::pool::ShutdownGuard;
use crate::shared::Leased;

/// A leased connection of a pool on runtime `N`.
pub type LeasedConnection<N> = Leased<Box<Connection<TcpSocket<N>>>>;

/// Tasks, a timer and TCP of one runtime. A value of the type belongs to one pool, and must not keep the
/// pool's runtime alive.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A handle to a place where a pool can run. Users may pass one to a builder.
    type Handle: Clone + fmt::Debug + Send + Sync + 'static;
    /// The executor of one pool's tasks. Only the pool's driver holds it.
    type Executor: Send + Sync + 'static;
    /// The handle of a task. Dropping it ends the task.
    type Task: Send + 'static;
    /// A connected stream as users know it: the result of a dial or an accept.
    type TcpStream: Into<Self::Registered> + Send + 'static;
    /// The same stream in non-blocking mode, registered with the reactor.
    type Registered: Send + Sync + 'static;
    /// A listener in non-blocking mode.
    type Listener: Send + Sync + 'static;
    /// The kernel's socket of a stream or a listener. Of a stream of the operating system, it is a
    /// [`KernelSocket`](crate::connection::KernelSocket).
    type Kernel<'a>: Kernel;
    /// The stream that users acquire: a [`Leased`] connection with the runtime's I/O traits.
    type Stream: From<LeasedConnection<Self>> + Into<LeasedConnection<Self>>;

    /// Returns where a pool runs if its builder was not told.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoRuntime`] or [`BuildError::Start`] if there is nothing to run on.
    fn current() -> Result<Self::Handle, BuildError>;

    /// Checks that a pool can run on `handle`, before anything is bound or started.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoIo`] or [`BuildError::Start`] if not.
    fn check(_handle: &Self::Handle) -> Result<(), BuildError> {
        Ok(())
    }

    /// Returns the clock of the pools on `handle`. By default, that of the operating system.
    fn clock(_handle: &Self::Handle) -> impl Clock {
        MonotonicClock
    }

    /// Spawns a driver on `handle`. It runs to its end, or is dropped when the runtime shuts down.
    /// There are at most `max_dials` dials at a time; a pool that accepts has none. Everything else
    /// that runs for the pool and may outlive the driver must hold a clone of `guard` until its end.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] if the operating system refuses a resource.
    fn start<F>(
        handle: &Self::Handle,
        max_dials: u32,
        guard: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static;

    /// Allows for so many dials at a time, if these are more than before. Does nothing by default.
    fn raise_max_dials(&self, _max_dials: u32) {}

    /// Spawns a future. Its panics have been caught already.
    fn spawn(
        executor: &Self::Executor,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self::Task;

    /// Lets other tasks of the driver's thread run, and the timers and sockets of the runtime.
    fn yield_now() -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }

    /// Sleeps for this long, wherever it is awaited. The deadlines of callers depend on it, so it must
    /// depend neither on the pool's runtime, which may be parked, busy or gone, nor on the caller's,
    /// which may be any or none.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Resolves "host:port".
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to an address.
    fn connect(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send;

    /// Resolves "host:port" for a listener, before there is a pool on `handle`.
    fn resolve_on(
        handle: &Self::Handle,
        name: &str,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Listens on an address. By default, on one of the operating system.
    ///
    /// # Errors
    ///
    /// The operating system's, and those of [`register`](Self::register).
    fn listen(handle: &Self::Handle, address: SocketAddr) -> io::Result<Self::Listener> {
        Self::register(handle, listen_on(address)?)
    }

    /// Registers a listener, which is in non-blocking mode, with the reactor of `handle`.
    ///
    /// # Errors
    ///
    /// The operating system's, or that of a reactor that is gone.
    fn register(handle: &Self::Handle, listener: TcpListener) -> io::Result<Self::Listener>;

    /// Returns the kernel's socket of a listener.
    fn kernel_listener(listener: &Self::Listener) -> Self::Kernel<'_>;

    /// Accepts a peer. Cancel safe.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::TcpStream, SocketAddr)>> + Send;

    /// Returns the kernel's socket of a stream.
    fn kernel(stream: &Self::Registered) -> Self::Kernel<'_>;

    /// Calls `act`, which does not block, as soon as the socket is ready for it. Until then the waker
    /// of `cx` is registered with the reactor. A result that `is_short` (of a read that has not filled its
    /// buffer, say) shows that the next call would block: a reactor that tracks readiness clears it, which
    /// spares that call.
    ///
    /// # Errors
    ///
    /// Those of `act`; or the reactor is gone.
    fn poll_io<T>(
        stream: &Self::Registered,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
        is_short: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>>;

    /// Registers the waker of `cx` with the reactor, to be woken when data or EOF arrives; `Ready` if
    /// something may have arrived already. Called after a read that would have blocked.
    ///
    /// # Errors
    ///
    /// When nothing can be waited for any more, for example because the reactor is gone; or the failure
    /// of the connection, if this call has taken it out of the socket, which reports it once.
    fn poll_readable(stream: &Self::Registered, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// [`Runtime::poll_io`] for a reactor that reports when a socket may be `ready`: calls `act` at once,
/// and again after each report.
///
/// # Errors
///
/// Those of `act` and of `ready`.
pub fn poll_until_done<T>(
    mut act: impl FnMut() -> io::Result<T>,
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
) -> Poll<io::Result<T>> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
        ready!(ready())?;
    }
}

/// The kind of readiness that a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Data, or EOF.
    Read,
    /// Room for data.
    Write,
}
