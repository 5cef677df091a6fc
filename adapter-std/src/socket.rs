//! TCP: options, waiting for one socket, connecting, listening.

use std::io::{self, PipeReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use pool_proto::shell::Clock as _;
use pool_proto::transport::{self, BACKLOG, Link};
use pool_proto::{Instant, KeepAlive};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::clock::MonotonicClock;
use crate::reactor::{Reactor, Waiting};

/// A connected TCP stream, as a pool holds it. Nothing outside of this crate can do anything with it.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    peer: SocketAddr,
    /// Gone with the driver, and with it its descriptors, even while there are leases.
    reactor: Weak<Reactor>,
    place: usize,
}

impl Socket {
    /// Sets the socket options that every connection of a pool has.
    pub(crate) fn link(
        tcp: TcpStream,
        keep_alive: Option<KeepAlive>,
        reactor: &Arc<Reactor>,
    ) -> io::Result<Arc<Link<Self>>> {
        let peer = tcp.peer_addr()?;
        tcp.set_nonblocking(true)?;
        // Without it TLS and id cost a delayed acknowledgement: 45 ms instead of 0.9 ms.
        tcp.set_nodelay(true)?;
        if let Some(keep_alive) = keep_alive {
            apply(keep_alive, SockRef::from(&tcp))?;
        }
        let (reactor, place) = (Arc::downgrade(reactor), reactor.enter(tcp.as_raw_fd()));
        Ok(Link::new(Self { tcp, peer, reactor, place }))
    }

    /// Has `waiting` told of what happens.
    pub(crate) fn tell(&self, waiting: Waiting) -> io::Result<()> {
        let reactor = self.reactor.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        reactor.tell(self.place, waiting)
    }

    /// Does `act` again whenever the socket is `ready` for it, which it may change, until it does not
    /// block, or `timeout` is over: then it is an error of the kind
    /// [`TimedOut`](io::ErrorKind::TimedOut). The time begins with the first wait of this `patience`.
    pub(crate) fn wait<T>(
        &self,
        mut ready: PollFlags,
        timeout: Option<Duration>,
        patience: &mut Option<Patience>,
        mut act: impl FnMut(&mut PollFlags) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(&mut ready) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let patience = patience.get_or_insert_with(|| Patience::begin(timeout));
            if !patience.poll(&mut [PollFd::new(&self.tcp, ready)])? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactor.upgrade() {
            reactor.leave(self.place);
        }
    }
}

impl transport::Socket for Socket {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn now(&self) -> impl Read + Write + '_ {
        &self.tcp
    }

    fn peek(&self) -> io::Result<()> {
        SockRef::from(&self.tcp).peek(&mut [MaybeUninit::uninit()]).map(|_| ())
    }

    fn watch(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tell(Waiting::Watch(cx.waker().clone())) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn shut_write(&self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    fn shut_both(&self) {
        // It fails only when the peer has ended the connection already, which is as good.
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

fn apply(keep_alive: KeepAlive, socket: SockRef<'_>) -> io::Result<()> {
    let settings = TcpKeepalive::new().with_time(keep_alive.idle());
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let settings = settings.with_interval(keep_alive.interval());
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let settings = settings.with_retries(keep_alive.retries());
    socket.set_tcp_keepalive(&settings)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(keep_alive.budget()))?;
    Ok(())
}

/// Where there is no ppoll(2), as on macOS, more than 24 days are refused: longer times are waited for
/// in parts.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a call waits.
pub(crate) struct Patience {
    clock: MonotonicClock,
    until: Option<Instant>,
}

impl Patience {
    fn begin(timeout: Option<Duration>) -> Self {
        let clock = MonotonicClock::start();
        Self { clock, until: timeout.map(|timeout| clock.now() + timeout) }
    }

    /// Whether something has happened before the time was up.
    fn poll(&self, sockets: &mut [PollFd<'_>]) -> io::Result<bool> {
        loop {
            let left = self.until.map(|until| until.since(self.clock.now()));
            let (timeout, rest) = left.map_or((None, false), |left| {
                (Timespec::try_from(left.min(LONGEST_POLL)).ok(), left > LONGEST_POLL)
            });
            match poll(sockets, timeout.as_ref()) {
                Ok(0) if rest => {}
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Connects to the first address of `name` that answers in time; one that does not leaves the others
/// their share of it. Ends when the other end of `ended` is dropped; looking the name up does not.
pub(crate) fn connect(name: &str, timeout: Duration, ended: &PipeReader) -> io::Result<TcpStream> {
    let addresses: Vec<_> = name.to_socket_addrs()?.collect();
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut outcome = Err(nothing());
    for address in addresses {
        outcome = connect_to(address, &Patience::begin(Some(share)), ended);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
}

fn connect_to(
    address: SocketAddr,
    patience: &Patience,
    ended: &PipeReader,
) -> io::Result<TcpStream> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => return Ok(socket.into()),
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let mut both = [
        PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT),
        PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::empty()),
    ];
    if !patience.poll(&mut both)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let [_, end] = both;
    if !end.revents().is_empty() {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "the pool is closing"));
    }
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(socket.into()),
    }
}

fn nothing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// Listens on the first address of `name` that can be had.
pub(crate) fn bind(name: &str) -> io::Result<TcpListener> {
    let mut outcome = Err(nothing());
    for address in name.to_socket_addrs()? {
        outcome = listen_on(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A server that restarts must not wait for the old connections' TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
