//! What a pool runs on: one thread, with an executor and a reactor of its own.

use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use async_executor::Executor;
use pool_proto::adapter::{Alive, Direction, Runtime, listen_on_first};
use pool_proto::transport::BuildError;
use socket2::{Domain, Protocol, SockRef, Type};

use crate::dials::Dials;
use crate::reactor::{Reactor, Registration};
use crate::stream::PooledStream;

/// The threads of a pool.
#[derive(Clone, Debug)]
pub struct Threads {
    reactor: Weak<Reactor>,
    dials: Arc<Dials>,
    /// The thread that is always there; `None` once it was joined.
    driver: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A stream in non-blocking mode, which its pool's thread can wait for.
#[derive(Debug)]
pub struct Tcp {
    registration: Registration,
    pub(crate) stream: TcpStream,
}

/// A listener in non-blocking mode.
#[derive(Debug)]
pub struct Listener {
    /// From the first accept on.
    registration: OnceLock<Registration>,
    listener: TcpListener,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { registration: OnceLock::new(), listener })
    }
}

impl Threads {
    fn reactor(&self) -> io::Result<Arc<Reactor>> {
        self.reactor.upgrade().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn enter(&self, stream: TcpStream) -> io::Result<Tcp> {
        stream.set_nonblocking(true)?;
        Ok(Tcp { registration: self.reactor()?.enter(stream.as_raw_fd()), stream })
    }

    /// Dials on a thread of its own.
    pub(crate) async fn dial<D>(&self, dial: &Arc<D>) -> io::Result<Tcp>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        let dial = Arc::clone(dial);
        self.enter(self.dials.call(move || dial()).await?)
    }

    /// Joins the thread, which has ended.
    pub(crate) fn join(&self) {
        let thread = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has nothing left to do but to go. A panic of its was reported when it happened.
        thread.map(JoinHandle::join).into_iter().for_each(drop);
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

fn is_connected(tcp: &Tcp) -> io::Result<()> {
    if let Some(error) = tcp.stream.take_error()? {
        return Err(error);
    }
    match tcp.stream.peer_addr() {
        Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
        result => result.map(drop),
    }
}

impl Runtime for Threads {
    type Place = ();
    type Executor = Arc<Executor<'static>>;
    type Task = async_executor::Task<()>;
    type Dialled = Tcp;
    type Tcp = Tcp;
    type Listener = Listener;
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
        let (poll, reactor) = Reactor::new(alive.clone()).map_err(start_error)?;
        let dials = Dials::new(max_dials);
        let running = Running { dials: Arc::clone(&dials), _alive: alive };
        let threads = Self { reactor: Arc::downgrade(&reactor), dials, driver: Arc::default() };
        let executor = Arc::new(Executor::new());
        let name = if max_dials > 0 { "pool-client" } else { "pool-server" };
        let driver = driver(threads.clone(), Arc::clone(&executor));
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _running = running;
            // Dropped before that.
            let (reactor, executor) = (reactor, executor);
            if let Err(error) = reactor.run(poll, executor.run(driver)) {
                tracing::error!(%error, "the driver cannot wait for its sockets; the pool closes");
            }
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
        let timer = self.reactor.upgrade().map(|reactor| reactor.timer(time));
        match timer {
            Some(timer) => timer.await,
            None => pending().await,
        }
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let name = name.to_owned();
        self.dials.call(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Tcp> {
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let connecting = match socket.connect(&address.into()) {
            Ok(()) => false,
            Err(error) if is_in_progress(&error) => true,
            Err(error) => return Err(error),
        };
        let tcp = self.enter(socket.into())?;
        if connecting {
            poll_fn(|cx| Self::poll_io(&tcp, cx, Direction::Write, || is_connected(&tcp))).await?;
        }
        Ok(tcp)
    }

    async fn bind(_place: &(), name: &str) -> io::Result<Listener> {
        Listener::new(listen_on_first(name.to_socket_addrs()?)?)
    }

    fn local_addr(listener: &Listener) -> io::Result<SocketAddr> {
        listener.listener.local_addr()
    }

    async fn accept(&self, listener: &Listener) -> io::Result<(Tcp, SocketAddr)> {
        let Listener { registration, listener } = listener;
        let reactor = self.reactor()?;
        let registration = registration.get_or_init(|| reactor.enter(listener.as_raw_fd()));
        drop(reactor);
        let (stream, peer) =
            poll_fn(|cx| poll_at(registration, cx, Direction::Read, || listener.accept())).await?;
        Ok((self.enter(stream)?, peer))
    }

    fn socket(tcp: &Tcp) -> SockRef<'_> {
        SockRef::from(&tcp.stream)
    }

    fn poll_io<T>(
        tcp: &Tcp,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_at(&tcp.registration, cx, direction, act)
    }

    fn poll_readable(tcp: &Tcp, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tcp.registration.wait(cx, Direction::Read)?;
        Poll::Pending
    }
}

fn poll_at<T>(
    registration: &Registration,
    cx: &mut Context<'_>,
    direction: Direction,
    mut act: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    match act() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        result => return Poll::Ready(result),
    }
    // What has happened since is an event, too.
    registration.wait(cx, direction)?;
    Poll::Pending
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
