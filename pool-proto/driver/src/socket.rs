//! TCP: options, and the socket as the reactor and as the kernel see it.

use core::mem::MaybeUninit;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::keep_alive::KeepAlive;
use crate::transport::{self, BACKLOG, Link};
use crate::{Direction, Runtime};

/// A connected TCP stream, as a pool holds it. Only the adapter can do anything with it.
pub struct Socket<N: Runtime> {
    tcp: N::Tcp,
    peer: SocketAddr,
}

impl<N: Runtime> Socket<N> {
    /// Sets the socket options that every connection of a pool has.
    pub(super) fn link(tcp: N::Tcp, keep_alive: Option<KeepAlive>) -> io::Result<Arc<Link<Self>>> {
        let socket = N::socket(&tcp);
        let peer = internet(socket.peer_addr()?)?;
        // Without it TLS and id cost a delayed acknowledgement: 45 ms instead of 0.9 ms.
        socket.set_tcp_nodelay(true)?;
        if let Some(keep_alive) = keep_alive {
            apply(keep_alive, &socket)?;
        }
        Ok(Link::new(Self { tcp, peer }))
    }

    /// The runtime's stream.
    pub const fn tcp(&self) -> &N::Tcp {
        &self.tcp
    }

    /// For reads and writes that leave the waker of `cx` with the reactor where they would block.
    pub const fn polled<'a, 'c>(&'a self, cx: &'a mut Context<'c>) -> Polled<'a, 'c, N> {
        Polled { tcp: &self.tcp, cx }
    }
}

impl<N: Runtime> transport::Socket for Socket<N> {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(N::socket(&self.tcp).local_addr()?)
    }

    fn now(&self) -> impl Read + Write + '_ {
        Now(N::socket(&self.tcp))
    }

    // 0.4 µs; the reactor would answer faster, and too late: it knows only after its next turn.
    fn peek(&self) -> io::Result<()> {
        N::socket(&self.tcp).peek(&mut [MaybeUninit::uninit()]).map(|_| ())
    }

    fn watch(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        N::poll_readable(&self.tcp, cx)
    }

    fn shut_write(&self) -> io::Result<()> {
        N::socket(&self.tcp).shutdown(Shutdown::Write)
    }

    fn shut_both(&self) {
        // It fails only when the peer has ended the connection already, which is as good.
        let _ = N::socket(&self.tcp).shutdown(Shutdown::Both);
    }
}

fn internet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let text = "a pool's connections are TCP over IPv4 or IPv6; this socket has another address";
    address.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn apply(keep_alive: KeepAlive, socket: &SockRef<'_>) -> io::Result<()> {
    let settings = TcpKeepalive::new().with_time(keep_alive.idle());
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let settings = settings.with_interval(keep_alive.interval());
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "windows")))]
    let settings = settings.with_retries(keep_alive.retries());
    socket.set_tcp_keepalive(&settings)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(keep_alive.budget()))?;
    Ok(())
}

/// Past the reactor.
struct Now<'a>(SockRef<'a>);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self.0).write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// By way of the reactor.
pub struct Polled<'a, 'c, N: Runtime> {
    tcp: &'a N::Tcp,
    cx: &'a mut Context<'c>,
}

impl<N: Runtime> Polled<'_, '_, N> {
    fn act(
        &mut self,
        direction: Direction,
        mut act: impl FnMut(&mut Now<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let act = || act(&mut Now(N::socket(self.tcp)));
        match N::poll_io(self.tcp, self.cx, direction, act) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(result) => result,
        }
    }
}

impl<N: Runtime> Read for Polled<'_, '_, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.act(Direction::Read, |socket| socket.read(buffer))
    }
}

impl<N: Runtime> Write for Polled<'_, '_, N> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.act(Direction::Write, |socket| socket.write(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.act(Direction::Write, |socket| socket.write_vectored(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens on the first of `addresses` that can be had, in non-blocking mode.
///
/// # Errors
///
/// What the operating system says of the last one.
pub fn listen_on_first(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let mut outcome = Err(no_address());
    for address in addresses {
        outcome = listen_on(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A server that restarts must not wait for the old connections' TIME-WAIT. (On Windows the
    // option means something else: two listeners on one port.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.cast_signed())?;
    Ok(socket.into())
}
