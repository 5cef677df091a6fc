//! Threads: one for the driver with its executor, one for each call that may block; and the sockets
//! and timers of `async-io`.

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
use pool_driver::connection::KernelSocket;
use pool_driver::{BuildError, Direction, Runtime, ShutdownGuard, poll_until_done};

use crate::stream::PooledStream;

/// The threads of a pool: the driver's, which always runs, and one for each call that may block, while
/// the call lasts.
#[derive(Clone, Debug)]
pub struct Threads {
    /// A permit for each call that may run at a time.
    permits: Arc<Semaphore>,
    /// The number of permits.
    permitted: Arc<Mutex<u32>>,
    /// To be joined. Handles of finished threads are dropped when the next thread is started.
    handles: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Held by each thread.
    guard: Weak<ShutdownGuard>,
}

impl Threads {
    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let guard = self.guard.upgrade();
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped after everything else.
            let _guard = guard;
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

impl Threads {
    /// Calls `act`, which may block, on a thread of its own. Dropping the future before the thread
    /// has started cancels the call; afterwards its result is dropped.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.permits.acquire_arc().await;
        let (report, reported) = bounded(1);
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(act));
            // Release the permit before reporting: the receiver may acquire it at once.
            drop(permit);
            // Fails when the future was dropped.
            let _ = report.try_send(outcome);
        };
        self.start("pool-dial", run).map_err(|error| {
            io::Error::new(error.kind(), format!("no thread could be started to dial: {error}"))
        })?;
        let outcome = reported.recv().await.map_err(io::Error::other)?;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Joins the threads of a pool that has ended.
    pub(crate) fn join(&self) {
        let handles = std::mem::take(&mut *self.handles());
        // A panic was reported by the panic hook when it happened.
        handles.into_iter().map(JoinHandle::join).for_each(drop);
    }
}

impl Runtime for Threads {
    type Handle = ();
    type Executor = Arc<Executor<'static>>;
    type Task = async_executor::Task<()>;
    type TcpStream = Async<TcpStream>;
    type Registered = Async<TcpStream>;
    type Listener = Async<TcpListener>;
    type Kernel<'a> = KernelSocket<'a>;
    type Stream = PooledStream;

    /// Makes sure that there is a reactor. `async-io` starts it at its first use, and panics if it
    /// cannot.
    fn current() -> Result<(), BuildError> {
        let use_reactor = || {
            let mut timer = Timer::after(Duration::from_secs(1));
            let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(Waker::noop()));
        };
        let text = "no descriptor or thread is left for async-io";
        catch_unwind(use_reactor).map_err(|_| BuildError::Start { source: io::Error::other(text) })
    }

    fn start<F>(
        _handle: &(),
        max_dials: u32,
        guard: ShutdownGuard,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let permits = Semaphore::new(usize::try_from(max_dials).unwrap_or(usize::MAX));
        let guard = Arc::new(guard);
        let threads = Self {
            permits: Arc::new(permits),
            permitted: Arc::new(Mutex::new(max_dials)),
            handles: Arc::default(),
            guard: Arc::downgrade(&guard),
        };
        let executor = Arc::new(Executor::new());
        let driver = driver(threads.clone(), Arc::clone(&executor));
        let name = if max_dials > 0 { "pool-client" } else { "pool-server" };
        let run = move || async_io::block_on(executor.run(driver));
        threads.start(name, run).map_err(|source| BuildError::Start { source })?;
        Ok(threads)
    }

    /// Permits are only added: the pool itself keeps to a lower limit, and a permit in use cannot be taken
    /// back.
    fn raise_max_dials(&self, max_dials: u32) {
        let mut permitted = self.permitted.lock().unwrap_or_else(PoisonError::into_inner);
        let more = max_dials.saturating_sub(*permitted);
        self.permits.add_permits(usize::try_from(more).unwrap_or(usize::MAX));
        *permitted += more;
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

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
        Async::<TcpStream>::connect(address).await
    }

    async fn resolve_on(_handle: &(), name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(name.to_socket_addrs()?.collect())
    }

    fn register(_handle: &(), listener: TcpListener) -> io::Result<Self::Listener> {
        Async::new_nonblocking(listener)
    }

    fn kernel_listener(listener: &Self::Listener) -> KernelSocket<'_> {
        listener.get_ref().into()
    }

    async fn accept(&self, listener: &Self::Listener) -> io::Result<(Self::TcpStream, SocketAddr)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn threads() -> Threads {
        Threads {
            permits: Arc::new(Semaphore::new(1)),
            permitted: Arc::default(),
            handles: Arc::default(),
            guard: Weak::new(),
        }
    }

    /// So that dials need none of the threads that dialers and resolvers may hold.
    #[test]
    fn an_address_is_resolved_without_a_thread() -> io::Result<()> {
        let threads = threads();
        for name in ["192.0.2.1:9", "[2001:db8::1]:9"] {
            let resolved = async_io::block_on(threads.resolve(name))?;
            assert_eq!(resolved.iter().map(ToString::to_string).collect::<Vec<_>>(), [name]);
            assert_eq!(threads.handles().len(), 0, "{name}");
        }
        Ok(())
    }

    #[test]
    fn ended_threads_leave_no_handle() -> io::Result<()> {
        let threads = threads();
        for _ in 0..20 {
            threads.start("pool-dial", || {})?;
            while !threads.handles().iter().all(JoinHandle::is_finished) {
                std::thread::yield_now();
            }
        }
        assert_eq!(threads.handles().len(), 1);
        threads.join();
        Ok(())
    }
}
