//! What a pool runs on: one thread with an executor of its own, and the sockets and timers of `async-io`.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use async_executor::Executor;
use async_io::{Async, Timer};
use pool_proto::adapter::{Alive, Direction, Runtime, listen_on_first};
use pool_proto::transport::BuildError;
use socket2::SockRef;

use crate::dials::Dials;
use crate::stream::PooledStream;

/// The threads of a pool.
#[derive(Clone, Debug)]
pub struct Threads {
    dials: Arc<Dials>,
    /// The thread that is always there; `None` once it was joined.
    driver: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Threads {
    /// Dials on a thread of its own.
    pub(crate) async fn dial<D>(&self, dial: &Arc<D>) -> io::Result<Async<TcpStream>>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        let dial = Arc::clone(dial);
        Async::new(self.dials.call(move || dial()).await?)
    }

    /// Joins the thread, which has ended.
    pub(crate) fn join(&self) {
        let thread = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has nothing left to do but to go. A panic of its was reported when it happened.
        thread.map(JoinHandle::join).into_iter().for_each(drop);
    }
}

impl Runtime for Threads {
    type Place = ();
    type Executor = Arc<Executor<'static>>;
    type Task = async_executor::Task<()>;
    type Dialled = Async<TcpStream>;
    type Tcp = Async<TcpStream>;
    type Listener = Async<TcpListener>;
    type Stream = PooledStream;

    fn here() -> Result<(), BuildError> {
        Ok(())
    }

    fn start<F>(
        _place: &(),
        max_dials: u32,
        alive: Alive,
        driver: impl FnOnce(Self, Self::Executor) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let dials = Dials::new(max_dials);
        let running = Running { dials: Arc::clone(&dials), _alive: alive };
        let threads = Self { dials, driver: Arc::default() };
        let executor = Arc::new(Executor::new());
        let name = if max_dials > 0 { "pool-client" } else { "pool-server" };
        let driver = driver(threads.clone(), Arc::clone(&executor));
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _running = running;
            // Dropped before that.
            let executor = executor;
            async_io::block_on(executor.run(driver));
        });
        let thread = thread.map_err(start_error)?;
        *threads.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
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
        self.dials.call(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::Dialled> {
        Async::<TcpStream>::connect(address).await
    }

    async fn bind(_place: &(), name: &str) -> io::Result<Self::Listener> {
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
        mut act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match act() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(match direction {
                Direction::Read => tcp.poll_readable(cx),
                Direction::Write => tcp.poll_writable(cx),
            })?;
        }
    }

    // What the reactor says may be of yesterday, but it says that once: asked again after a read that
    // finds nothing, it takes the waker.
    fn poll_readable(tcp: &Self::Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tcp.poll_readable(cx)
    }
}

/// What a pool's thread has. Dropped last, it tells that all has ended.
struct Running {
    dials: Arc<Dials>,
    _alive: Alive,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.dials.join();
    }
}

pub(crate) const fn start_error(source: io::Error) -> BuildError {
    BuildError::Start { source }
}
