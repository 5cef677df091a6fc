//! What a runtime has to bring.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::vec::Vec;

use socket2::SockRef;

use crate::transport::{BuildError, Stream};
use crate::{ShutdownGuard, Socket};

/// Tasks, a timer, and TCP of one runtime. A value of it belongs to one pool, and must not keep alive
/// what the pool runs on.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Where a pool can run: what a user may hand to a builder.
    type Handle: Clone + fmt::Debug + Send + Sync + 'static;
    /// What runs the tasks of one pool. Its driver alone holds it.
    type Executor: Send + Sync + 'static;
    /// A task. Dropped, it ends.
    type Task: Send + 'static;
    /// What a dialer makes, and an accept: a connected stream.
    type Dialled: Into<Self::Tcp> + Send + 'static;
    /// A connected stream in non-blocking mode, known to the reactor.
    type Tcp: Send + Sync + 'static;
    /// A listener in non-blocking mode.
    type Listener: Send + Sync + 'static;
    /// What the adapter's users get: a [`Stream`], with the I/O traits that they know.
    type Stream: From<Stream<Socket<Self>>> + Into<Stream<Socket<Self>>>;

    /// Where a pool runs if its builder was not told.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoRuntime`] if there is nothing to run on.
    fn current() -> Result<Self::Handle, BuildError>;

    /// Runs a driver at `handle`, to its end or until that place is gone: then the driver is dropped.
    /// There will be `max_dials` dials at a time, at the most; a pool that accepts has none. What runs
    /// besides the driver, and may end after it, has to hold a clone of `alive` until then.
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] if the system refuses what it takes.
    fn start<F>(
        handle: &Self::Handle,
        max_dials: u32,
        alive: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static;

    /// Runs a future, which panics only by a bug.
    fn spawn(
        executor: &Self::Executor,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self::Task;

    /// Waits for this long, wherever it is awaited; for ever once what the pool runs on is gone.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// The addresses of "host:port".
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to an address.
    fn connect(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Dialled>> + Send;

    /// Listens on "host:port", for a pool at `handle`: [`listen_on_first`](super::listen_on_first) of its
    /// addresses.
    fn bind(
        handle: &Self::Handle,
        name: &str,
    ) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// Accepts a peer. Cancel safe.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Dialled, SocketAddr)>> + Send;

    /// The kernel's socket.
    fn socket(tcp: &Self::Tcp) -> SockRef<'_>;

    /// Does `act`, which does not block, as soon as the socket is ready for it; until then the waker of
    /// `cx` is with the reactor.
    ///
    /// # Errors
    ///
    /// Those of `act`; or the reactor is gone.
    fn poll_io<T>(
        tcp: &Self::Tcp,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>>;

    /// Leaves the waker of `cx` with the reactor, to be woken when something arrives; `Ready` if
    /// something may have arrived already. It is asked after a read that has found nothing.
    ///
    /// # Errors
    ///
    /// When nothing can be waited for any more, as when the reactor is gone.
    fn poll_readable(tcp: &Self::Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// [`Runtime::poll_io`] by a reactor that says when a socket may be `ready`: `act` is tried at once, and
/// again after each time that it is.
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

/// What a task waits for on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Data, or an end.
    Read,
    /// Room for data.
    Write,
}
