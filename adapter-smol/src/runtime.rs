//! Sockets and timers of `async-io`, and tasks of any executor.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pool_driver::connection::KernelSocket;
use pool_driver::{BuildError, Direction, Runtime, ShutdownGuard, poll_until_done};
use smol::channel::bounded;
use smol::future::{Boxed, FutureExt as _, yield_now};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Executor, Timer};

use crate::stream::PooledStream;

/// The runtime of a pool: the sockets and timers of `async-io`, and an executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// A function that spawns futures on the executor of a pool.
///
/// It is called with a few futures when the pool is built, and must run each of them to its end.
///
/// ```
/// # use adapter_smol::{ClientPool, Spawner};
/// # fn example(executor: std::sync::Arc<smol::Executor<'static>>) {
/// let ours = Spawner::new(move |future| executor.spawn(future).detach());
/// let builder = ClientPool::builder().on(ours);
/// # drop(builder); }
/// ```
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(Boxed<()>) + Send + Sync>);

impl Spawner {
    /// A spawner that calls `spawn`.
    pub fn new(spawn: impl Fn(Boxed<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

/// The state of each future that runs a pool's tasks.
struct Runner {
    executor: Arc<Executor<'static>>,
    /// Dropped after the executor and its tasks.
    _guard: ShutdownGuard,
}

impl Runner {
    /// Runs the pool's tasks until `future` is ready: one task in a poll, which may do cryptography for
    /// half a millisecond. (`Executor::run` runs two hundred, and the tasks of users wait for them.)
    async fn run(&self, future: impl Future<Output = ()>) {
        let tasks = async {
            loop {
                self.executor.tick().await;
                yield_now().await;
            }
        };
        future.or(tasks).await;
    }
}

impl Runtime for Smol {
    type Handle = Spawner;
    /// The pool's own executor, for dials and handshakes. It ends a task whose handle is dropped;
    /// executors of users need not be able to.
    type Executor = Arc<Executor<'static>>;
    type Task = smol::Task<()>;
    type TcpStream = TcpStream;
    type Registered = Arc<Async<std::net::TcpStream>>;
    type Listener = TcpListener;
    type Kernel<'a> = KernelSocket<'a>;
    type Stream = PooledStream;

    /// Returns a spawner of smol's global executor.
    fn current() -> Result<Spawner, BuildError> {
        Ok(Spawner::new(|future| smol::spawn(future).detach()))
    }

    /// Spawns the driver, and for each further processor a runner of dials and handshakes that ends
    /// with the driver.
    fn start<F>(
        handle: &Spawner,
        _max_dials: u32,
        guard: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let executor = Arc::new(Executor::new());
        let (driving, driven) = bounded::<Infallible>(1);
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        for _ in 1..processors {
            // Nothing is ever sent: the receiver fails when the driver ends.
            let driven = driven.clone();
            let gone = async move { while driven.recv().await.is_ok() {} };
            let runner = Runner { executor: Arc::clone(&executor), _guard: guard.clone() };
            (handle.0)(Box::pin(async move { runner.run(gone).await }));
        }
        let driver = driver(Self, Arc::clone(&executor));
        let runner = Runner { executor, _guard: guard };
        (handle.0)(Box::pin(async move {
            let _driving = driving;
            runner.run(driver).await;
        }));
        Ok(Self)
    }

    fn spawn(
        executor: &Self::Executor,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> smol::Task<()> {
        executor.spawn(future)
    }

    async fn sleep(&self, time: Duration) {
        Timer::after(time).await;
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve(name).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    async fn resolve_on(_handle: &Spawner, name: &str) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve(name).await
    }

    fn register(_handle: &Spawner, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.try_into()
    }

    fn kernel_listener(listener: &TcpListener) -> KernelSocket<'_> {
        listener.into()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn kernel(stream: &Self::Registered) -> KernelSocket<'_> {
        stream.get_ref().into()
    }

    fn poll_io<T>(
        stream: &Self::Registered,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
        _is_short: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        poll_until_done(act, || match direction {
            Direction::Read => stream.poll_readable(cx),
            Direction::Write => stream.poll_writable(cx),
        })
    }

    // Readiness may be stale, but the reactor reports it once. Polled again after a read that would
    // block, it takes the waker.
    fn poll_readable(stream: &Self::Registered, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream.poll_readable(cx)
    }
}
