//! TCP sockets of a runtime: options, I/O through the reactor and past it, listening.

use core::future::{Future, poll_fn};
use core::mem::MaybeUninit;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;

use pool_proto::{Accepting, Role};
use socket2::{Domain, Protocol, SockRef, Type};

use super::Connection;
use super::handshake::{Acceptor, Established, Failure, Handshake};
use super::keep_alive::{self, KeepAlive};
use super::shared_socket::{SharedSocket, Socket};
use crate::platform::{self, Waiting};
use crate::pool::PoolAttempt;
use crate::runtime::{Direction, Runtime};
use crate::shared::Attempt;
use crate::sync::AtomicBool;

/// The length of a listener's queue of peers to accept. With the usual 128, a few clients that fill
/// their pools at once overflow it, and each dropped connection costs its client a second. With 1,024,
/// a crowd of strangers does. Linux cuts it to `net.core.somaxconn`, by default 4,096.
pub(crate) const BACKLOG: u32 = 4096;

/// The calls of a TCP socket to its kernel, past any reactor. Reads and writes that would have to wait are
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Kernel: Read + Write {
    /// Checks whether there is data or EOF, and consumes nothing (`MSG_PEEK`).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is neither, or the operating system's.
    fn peek(&self) -> io::Result<()>;

    /// Returns the address of the peer of a connection.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Returns the address of this end, or of a listener.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Closes halves of a connection, or makes a listener stop listening, even if other handles of the
    /// socket exist.
    ///
    /// # Errors
    ///
    /// The operating system's: when the peer has already ended the connection, or for a listener on
    /// systems that cannot shut one down.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Sets the options of a pool's connections, of one or of the listener that hands them down.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn configure(&self, keep_alive: Option<KeepAlive>) -> io::Result<()>;

    /// Ends the limit for the acknowledgement of data when a connection is `in_use`, and sets it again
    /// when it is back in the pool.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn set_in_use(&self, keep_alive: KeepAlive, in_use: bool) -> io::Result<()>;
}

/// A TCP socket of the operating system. A runtime hands it out for its own stream type.
#[derive(Debug)]
pub struct KernelSocket<'a>(SockRef<'a>);

impl<'a> KernelSocket<'a> {
    pub(crate) const fn new(socket: SockRef<'a>) -> Self {
        Self(socket)
    }
}

impl Kernel for KernelSocket<'_> {
    fn peek(&self) -> io::Result<()> {
        self.0.peek(&mut [MaybeUninit::uninit()]).map(|_| ())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(self.0.peer_addr()?)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(self.0.local_addr()?)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    fn configure(&self, keep_alive: Option<KeepAlive>) -> io::Result<()> {
        // Without it TLS and id cost a delayed acknowledgement: 45 ms instead of 0.9 ms.
        self.0.set_tcp_nodelay(true)?;
        platform::set_no_sigpipe(&self.0)?;
        keep_alive.map_or(Ok(()), |keep_alive| keep_alive.apply(&self.0))
    }

    fn set_in_use(&self, keep_alive: KeepAlive, in_use: bool) -> io::Result<()> {
        if in_use { keep_alive::unlimit(&self.0) } else { keep_alive.limit(&self.0) }
    }
}

fn internet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let text = "a pool's connections are TCP over IPv4 or IPv6; this socket has another address";
    address.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))
}

impl Read for KernelSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

/// Slices in a call, at most (`IOV_MAX` of Linux, macOS and the BSDs). The system refuses more.
const MAX_SLICES: usize = 1024;

impl Write for KernelSocket<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.send_with_flags(data, platform::SEND_FLAGS)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        // A call of empty slices only, with data behind them, would seem to have met the end.
        let empty = data.iter().take_while(|slice| slice.is_empty()).count();
        let slices = data.get(empty..).unwrap_or_default();
        match slices {
            // The system takes a buffer faster than a list of buffers.
            [slice] => self.write(slice),
            slices => {
                let slices = slices.get(..MAX_SLICES).unwrap_or(slices);
                self.0.send_vectored_with_flags(slices, platform::SEND_FLAGS)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connected TCP stream of a runtime, as a pool holds it.
pub struct TcpSocket<N: Runtime> {
    stream: N::Registered,
    peer: SocketAddr,
    keep_alive: Option<KeepAlive>,
    waiting: Waiting,
}

impl<N: Runtime> TcpSocket<N> {
    fn new(stream: N::Registered, peer: SocketAddr, keep_alive: Option<KeepAlive>) -> Self {
        Self { stream, peer, keep_alive, waiting: Waiting::default() }
    }

    /// Lets an end of the lease wake this call, where shutting down the socket does not. Afterwards the
    /// caller looks whether the lease has ended before.
    pub fn register(&self, direction: Direction, cx: &Context<'_>) {
        self.waiting.register(direction, cx.waker());
    }

    /// Sets the socket options of a pool's connections.
    fn configure(&self) -> Result<(), Failure> {
        N::kernel(&self.stream).configure(self.keep_alive).map_err(Failure::Options)
    }

    /// Returns the runtime's stream.
    pub const fn stream(&self) -> &N::Registered {
        &self.stream
    }

    /// Ready when data or EOF has arrived. Reads nothing.
    fn poll_first_byte(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        N::poll_io(&self.stream, cx, Direction::Read, || N::kernel(&self.stream).peek(), |()| false)
    }

    /// Returns the socket for reads and writes that register the waker of `cx` with the reactor where
    /// they would block.
    pub const fn polled<'a, 'c>(&'a self, cx: &'a mut Context<'c>) -> Polled<'a, 'c, N> {
        Polled { socket: self, cx }
    }
}

/// The options of accepted streams.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) keep_alive: Option<KeepAlive>,
    /// Whether the listener has handed them down.
    pub(crate) are_inherited: bool,
}

type Handshaken<N> = Result<(Arc<SharedSocket<TcpSocket<N>>>, Established), Failure>;

/// Sets the options of a connected stream, and shakes hands as the client: TLS, then the id.
pub(crate) async fn handshake<N: Runtime, R: Role>(
    attempt: &mut Attempt<Box<Connection<TcpSocket<N>>>, R>,
    stream: N::TcpStream,
    keep_alive: Option<KeepAlive>,
    begin: impl FnOnce() -> Result<Handshake, Failure>,
) -> Handshaken<N> {
    let stream = stream.into();
    let peer = N::kernel(&stream).peer_addr().map_err(Failure::Options)?;
    let socket = SharedSocket::new(TcpSocket::<N>::new(stream, peer, keep_alive));
    socket.socket().configure()?;
    let mut handshake = begin()?;
    let advice = handshake.advice_on_silence();
    let heard = attempt.listens_to(socket.socket().peer, advice);
    poll_fn(|cx| {
        handshake.advance(&mut Heard { inner: socket.socket().polled(cx), heard: &heard })
    })
    .await?;
    Ok((socket, handshake.finish()?))
}

/// Sets the options of an accepted stream, unless its listener has handed them down, and shakes hands as
/// the server: TLS, then the id, if the peer is admitted in between. Cryptography waits for its `turn`.
pub(crate) async fn accept<N: Runtime>(
    attempt: &mut PoolAttempt<N, Accepting>,
    (stream, peer): (N::TcpStream, SocketAddr),
    Options { keep_alive, are_inherited }: Options,
    acceptor: &Acceptor,
    turn: impl Future<Output = ()>,
) -> Handshaken<N> {
    let socket = SharedSocket::new(TcpSocket::<N>::new(stream.into(), peer, keep_alive));
    attempt.connected_to(peer, acceptor.advice_on_silence());
    if acceptor.expects_first_byte() {
        // Before there are options, a timer or a TLS session: a peer that stays silent costs no more
        // than its socket.
        let first_byte = poll_fn(|cx| socket.socket().poll_first_byte(cx));
        first_byte.await.map_err(Failure::TlsTransport)?;
        attempt.first_byte();
        turn.await;
    }
    if !are_inherited {
        socket.socket().configure()?;
    }
    let mut handshake = acceptor.begin()?;
    poll_fn(|cx| handshake.advance(&mut socket.socket().polled(cx))).await?;
    handshake.send_id(attempt.admit(handshake.peer_certificate())?);
    poll_fn(|cx| handshake.advance(&mut socket.socket().polled(cx))).await?;
    Ok((socket, handshake.finish()?))
}

/// A socket that notes whether the peer has sent anything.
struct Heard<'a, T> {
    inner: T,
    heard: &'a AtomicBool,
}

impl<T: Read> Read for Heard<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.heard.store(true, Ordering::Relaxed);
        Ok(count)
    }
}

impl<T: Write> Write for Heard<'_, T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.inner.write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<N: Runtime> Socket for TcpSocket<N> {
    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        N::kernel(&self.stream).local_addr()
    }

    fn now(&self) -> impl Read + Write + '_ {
        N::kernel(&self.stream)
    }

    // Costs 0.4 µs. Asking the reactor is cheaper, and too late: it knows only after its next turn.
    fn peek(&self) -> io::Result<()> {
        N::kernel(&self.stream).peek()
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        N::poll_readable(&self.stream, cx)
    }

    fn set_in_use(&self, in_use: bool) {
        let Some(keep_alive) = self.keep_alive else { return };
        // Can fail only for a socket that has ended, whose next read or write says so.
        let _ = N::kernel(&self.stream).set_in_use(keep_alive, in_use);
    }

    fn shutdown_write(&self) -> io::Result<()> {
        N::kernel(&self.stream).shutdown(Shutdown::Write)
    }

    fn shutdown_both(&self) {
        // Fails when the peer has already ended the connection, which serves as well.
        let _ = N::kernel(&self.stream).shutdown(Shutdown::Both);
        self.waiting.wake();
    }
}

/// I/O through the reactor.
pub struct Polled<'a, 'c, N: Runtime> {
    socket: &'a TcpSocket<N>,
    cx: &'a mut Context<'c>,
}

impl<N: Runtime> Polled<'_, '_, N> {
    fn poll(
        &mut self,
        direction: Direction,
        length: usize,
        mut act: impl FnMut(&mut N::Kernel<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.poll_by(direction, length, |stream| act(&mut N::kernel(stream)))
    }

    /// Calls `act` as soon as the socket is ready for it, to read or write up to `length` bytes;
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) until then.
    ///
    /// # Errors
    ///
    /// Those of `act`; or the reactor is gone.
    pub fn poll_by(
        &mut self,
        direction: Direction,
        length: usize,
        mut act: impl FnMut(&N::Registered) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let stream = &self.socket.stream;
        let act = || act(stream);
        // 0 is EOF, which lasts. Without a length, no count tells anything.
        let is_short = |count: &usize| (1..length).contains(count);
        match N::poll_io(stream, self.cx, direction, act, is_short) {
            Poll::Pending => {
                self.socket.register(direction, self.cx);
                Err(io::ErrorKind::WouldBlock.into())
            }
            Poll::Ready(result) => result,
        }
    }
}

impl<N: Runtime> Read for Polled<'_, '_, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.poll(Direction::Read, buffer.len(), |socket| socket.read(buffer))
    }
}

impl<N: Runtime> Write for Polled<'_, '_, N> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.poll(Direction::Write, data.len(), |socket| socket.write(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        // A list that is written in part need not have filled the socket: there is a limit of slices.
        self.poll(Direction::Write, 0, |socket| socket.write_vectored(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// Listens on `address`, in non-blocking mode.
pub(crate) fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if platform::REUSES_ADDRESS {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.cast_signed())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use core::time::Duration;
    use std::net::TcpStream;
    use std::vec::Vec;

    use super::*;

    /// Clients that fill their pools at once are a crowd, too. One that finds no place in the queue tries
    /// again after a second.
    #[test]
    fn hundreds_of_peers_may_wait_for_the_accept() -> io::Result<()> {
        const PEERS: usize = 300;
        const SOON: Duration = Duration::from_secs(10);
        // The limit of the system for all queues, where it tells one.
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        if !most.is_ok_and(|most| most.trim().parse::<usize>().is_ok_and(|most| most >= PEERS)) {
            return Ok(());
        }
        let listener = listen_on((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let connect = |_| TcpStream::connect_timeout(&address, SOON);
        let peers: Vec<_> = (0..PEERS).map(connect).collect::<io::Result<_>>()?;
        // The kernel may put them into the queue a little later than it tells them.
        listener.set_nonblocking(false)?;
        for _ in &peers {
            listener.accept()?;
        }
        listener.set_nonblocking(true)?;
        let none = listener.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(none, Err(io::ErrorKind::WouldBlock));
        Ok(())
    }
}
