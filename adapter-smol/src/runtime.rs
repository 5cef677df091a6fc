//! What of smol a pool runs on: the sockets and timers of `async-io`, and any executor.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pool_driver::transport::BuildError;
use pool_driver::{Direction, Runtime, ShutdownGuard, listen_on_first, poll_until_done};
use smol::channel::bounded;
use smol::future::Boxed;
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Executor, Timer};
use socket2::SockRef;

use crate::stream::PooledStream;

/// The runtime of a pool: sockets and timers are those of `async-io`.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

/// How futures are started on the executor that a pool is to run on.
///
/// It is called with a few futures when the pool is built, and has to see to it that each runs to its
/// end.
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
    /// Starts futures with `spawn`.
    pub fn new(spawn: impl Fn(Boxed<()>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

/// What each future has that runs a pool's tasks.
struct Runner {
    executor: Arc<Executor<'static>>,
    /// Dropped after that, and what it has left to run.
    _alive: ShutdownGuard,
}

impl Runtime for Smol {
    type Handle = Spawner;
    /// The pool's own, for its dials and handshakes: it ends a task whose handle is dropped, which not
    /// every executor of a user can.
    type Executor = Arc<Executor<'static>>;
    type Task = smol::Task<()>;
    type Dialled = TcpStream;
    type Tcp = Arc<Async<std::net::TcpStream>>;
    type Listener = TcpListener;
    type Stream = PooledStream;

    /// smol's global executor.
    fn current() -> Result<Spawner, BuildError> {
        Ok(Spawner::new(|future| smol::spawn(future).detach()))
    }

    /// The driver, and for each further processor a runner of dials and handshakes, which ends with it.
    fn start<F>(
        handle: &Spawner,
        _max_dials: u32,
        alive: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let executor = Arc::new(Executor::new());
        let (driving, driven) = bounded::<Infallible>(1);
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        for _ in 1..processors {
            // Nobody ever sends: it is over when the driver is.
            let driven = driven.clone();
            let gone = async move { while driven.recv().await.is_ok() {} };
            let runner = Runner { executor: Arc::clone(&executor), _alive: alive.clone() };
            (handle.0)(Box::pin(async move { runner.executor.run(gone).await }));
        }
        let driver = driver(Self, Arc::clone(&executor));
        let runner = Runner { executor, _alive: alive };
        (handle.0)(Box::pin(async move {
            let _driving = driving;
            runner.executor.run(driver).await;
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

    async fn bind(_handle: &Spawner, name: &str) -> io::Result<TcpListener> {
        listen_on_first(smol::net::resolve(name).await?)?.try_into()
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn socket(tcp: &Self::Tcp) -> SockRef<'_> {
        SockRef::from(tcp.get_ref())
    }

    fn poll_io<T>(
        tcp: &Self::Tcp,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_until_done(act, || match direction {
            Direction::Read => tcp.poll_readable(cx),
            Direction::Write => tcp.poll_writable(cx),
        })
    }

    // What the reactor says may be of yesterday, but it says that once: asked again after a read that
    // finds nothing, it takes the waker.
    fn poll_readable(tcp: &Self::Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tcp.poll_readable(cx)
    }
}
