//! What a pool runs on: one thread with an executor of its own, threads for what may block, and the
//! sockets and timers of `async-io`.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use async_channel::bounded;
use async_executor::Executor;
use async_io::{Async, Timer};
use async_lock::Semaphore;
use pool_driver::transport::BuildError;
use pool_driver::{Direction, Runtime, ShutdownGuard, Threaded, listen_on_first, poll_until_done};
use socket2::SockRef;

use crate::stream::PooledStream;

/// The threads of a pool: its driver's, which is always there, and one for each call that may block,
/// while it lasts.
#[derive(Clone, Debug)]
pub struct Threads {
    /// How many more calls there may be.
    permits: Arc<Semaphore>,
    /// To be joined. Those that have ended are forgotten when the next one is started.
    handles: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Held by each of them.
    alive: Weak<ShutdownGuard>,
}

impl Threads {
    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let alive = self.alive.upgrade();
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped after all that runs.
            let _alive = alive;
            run();
        })?;
        let mut handles = self.handles();
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle);
        Ok(())
    }

    fn handles(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threaded for Threads {
    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.permits.acquire_arc().await;
        let (tell, told) = bounded(1);
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(act));
            // Before it is told: who is told may want the permit.
            drop(permit);
            // It fails when nobody waits for that any more.
            let _ = tell.try_send(outcome);
        };
        self.start("pool-dial", run).map_err(|error| {
            io::Error::new(error.kind(), format!("no thread could be started to dial: {error}"))
        })?;
        let outcome = told.recv().await.map_err(io::Error::other)?;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn join(&self) {
        let handles = std::mem::take(&mut *self.handles());
        // They have nothing left to do but to go. A panic was reported when it happened.
        handles.into_iter().map(JoinHandle::join).for_each(drop);
    }
}

impl Runtime for Threads {
    type Handle = ();
    type Executor = Arc<Executor<'static>>;
    type Task = async_executor::Task<()>;
    type Dialled = Async<TcpStream>;
    type Tcp = Async<TcpStream>;
    type Listener = Async<TcpListener>;
    type Stream = PooledStream;

    /// There is a reactor. `async-io` makes it when it is first needed, and panics if it cannot.
    fn current() -> Result<(), BuildError> {
        let needs_it = || {
            let mut timer = Timer::after(Duration::from_secs(1));
            let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(Waker::noop()));
        };
        let text = "no descriptor or thread is left for async-io";
        catch_unwind(needs_it).map_err(|_| BuildError::Start { source: io::Error::other(text) })
    }

    fn start<F>(
        _handle: &(),
        max_dials: u32,
        alive: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let permits = Semaphore::new(usize::try_from(max_dials).unwrap_or(usize::MAX));
        let alive = Arc::new(alive);
        let threads = Self {
            permits: Arc::new(permits),
            handles: Arc::default(),
            alive: Arc::downgrade(&alive),
        };
        let executor = Arc::new(Executor::new());
        let driver = driver(threads.clone(), Arc::clone(&executor));
        let name = if max_dials > 0 { "pool-client" } else { "pool-server" };
        let run = move || async_io::block_on(executor.run(driver));
        threads.start(name, run).map_err(|source| BuildError::Start { source })?;
        Ok(threads)
    }

    fn spawn(
        executor: &Self::Executor,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self::Task {
        executor.spawn(future)
    }

    async fn sleep(&self, time: Duration) {
        Timer::after(time).await;
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let name = name.to_owned();
        self.call(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::Dialled> {
        Async::<TcpStream>::connect(address).await
    }

    async fn bind(_handle: &(), name: &str) -> io::Result<Self::Listener> {
        Async::new_nonblocking(listen_on_first(name.to_socket_addrs()?)?)
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.get_ref().local_addr()
    }

    async fn accept(&self, listener: &Self::Listener) -> io::Result<(Self::Dialled, SocketAddr)> {
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
