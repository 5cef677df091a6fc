//! Peers that are not pools: hand-written servers and clients, plain and with TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::ends::{client_tls, listener, server_tls};
use super::prelude::*;
use super::wait::{expect, send};
use pool_driver::tls::{Identity, TlsMode};
use pool_proto::ConnId;

/// Shared by all scenarios, because generating a key is slower than the rest of most of them.
static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity::self_signed(["localhost", "127.0.0.1"]).unwrap());

pub(super) fn identity() -> Identity {
    IDENTITY.clone()
}

/// Returns id number `number`, counted from zero, in the default wire format.
pub(super) fn hex_id(number: usize) -> String {
    format!("{:08x}", number + 1)
}

/// Limits reads and writes of this stream to [`SOON`].
fn limited(tcp: TcpStream) -> TcpStream {
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    tcp.set_write_timeout(Some(SOON)).unwrap();
    tcp
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    limited(TcpStream::connect(address).unwrap())
}

/// Connects from the address `source`. Works where the loopback interface has all of 127.0.0.0/8,
/// as on Linux and Windows.
pub(super) fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source = SocketAddr::new(source.parse().unwrap(), 0);
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    limited(socket.into())
}

/// Reads the id that a plain server sends.
pub(super) fn read_id(stream: &mut (impl Read + ?Sized)) -> ConnId {
    let mut id = [0; 8];
    stream.read_exact(&mut id).unwrap();
    std::str::from_utf8(&id).unwrap().parse().unwrap()
}

/// Makes the close of this stream a reset (RST) for the other end.
pub(super) fn reset(tcp: &TcpStream) {
    SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
}

pub(super) type TlsPeer = StreamOwned<ServerConnection, TcpStream>;

/// Performs the server's side of a TLS handshake.
pub(super) fn tls_accept(tcp: TcpStream) -> io::Result<TlsPeer> {
    let tls = server_tls(TlsMode::SelfSigned).unwrap();
    let mut stream =
        StreamOwned::new(ServerConnection::new(Arc::clone(tls.config())).unwrap(), tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Performs the client's side of a TLS handshake.
pub(super) fn tls_connect(tcp: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let tls = client_tls(TlsMode::SelfSigned).unwrap();
    let session = ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone());
    let mut stream = StreamOwned::new(session.unwrap(), tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// A server that runs a scenario's closure with each connection and its number, on a thread per
/// connection. The closure may fail: in many scenarios the client leaves at any time.
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl FakeServer {
    pub(super) fn start(
        serve: impl Fn(TcpStream, usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (listener, address) = listener();
        let (accepted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&accepted), Arc::clone(&ended));
        let serve = Arc::new(serve);
        thread::spawn(move || accept(&listener, &count, &over, &serve));
        Self { address, accepted, ended }
    }

    /// A plain server that hands its connections to the scenario as they were accepted.
    pub(super) fn by_hand() -> (Self, Receiver<TcpStream>) {
        let (sender, receiver) = mpsc::channel();
        let fake = Self::start(move |tcp, _| {
            // The scenario may have ended.
            let _ = sender.send(tcp);
            Ok(())
        });
        (fake, receiver)
    }

    /// A plain server that sends an id and `greeting`, and then waits until the client leaves.
    pub(super) fn greeting(greeting: &'static str) -> Self {
        Self::start(move |mut tcp, number| {
            tcp.write_all(format!("{}{greeting}", hex_id(number)).as_bytes())?;
            until_end(&mut tcp)
        })
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn accept<F: Fn(TcpStream, usize) -> io::Result<()> + Send + Sync + 'static>(
    listener: &TcpListener,
    accepted: &AtomicUsize,
    ended: &AtomicBool,
    serve: &Arc<F>,
) {
    loop {
        let (tcp, _) = listener.accept().unwrap();
        if ended.load(Ordering::Acquire) {
            break;
        }
        let number = accepted.fetch_add(1, Ordering::Relaxed);
        let serve = Arc::clone(serve);
        thread::spawn(move || serve(limited(tcp), number));
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Unblocks the accept. An error means that the thread has ended already.
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads until the peer closes.
pub(super) fn until_end(stream: &mut impl Read) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

/// Echoes until EOF.
pub(super) fn echo(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => stream.write_all(chunk.get(..count).unwrap_or_default())?,
        }
        stream.flush()?;
    }
}

/// Sends data both ways, which shows that two streams are the ends of one connection.
#[track_caller]
pub(super) fn ping_pong(ours: &mut dyn Stream, theirs: &mut dyn Stream) {
    assert_eq!(ours.id(), theirs.id());
    send(ours, b"ping");
    expect(theirs, b"ping");
    send(theirs, b"pong");
    expect(ours, b"pong");
}

/// Closes the writing half.
pub(super) fn half_close(tcp: &TcpStream) {
    tcp.shutdown(Shutdown::Write).unwrap();
}

/// Returns a second handle of the other end of `peer`, which this process has accepted. Linux only: `None`
/// elsewhere.
pub(super) fn other_end(peer: &TcpStream) -> Option<Socket> {
    // Both addresses: a socket that a former scenario has left behind may have one of them.
    let here = (peer.peer_addr().ok(), peer.local_addr().ok());
    own_socket(|socket| {
        let address = |end: io::Result<SockAddr>| end.ok()?.as_socket();
        (address(socket.local_addr()), address(socket.peer_addr())) == here
    })
}

/// Returns a second handle of the socket of this process that listens at `address`. Linux only:
/// `None` elsewhere.
pub(super) fn socket_at(address: SocketAddr) -> Option<Socket> {
    own_socket(|socket| socket.local_addr().is_ok_and(|at| at.as_socket() == Some(address)))
}

/// Duplicates every socket of this process for a moment, so no other scenario may run beside it.
#[cfg(target_os = "linux")]
fn own_socket(fits: impl Fn(&Socket) -> bool) -> Option<Socket> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let names = std::fs::read_dir("/proc/self/fd").unwrap();
    let socket = names
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|fd: i32| pidfd_getfd(&own, fd, PidfdGetfdFlags::empty()).ok())
        .map(Socket::from)
        .find(fits);
    assert!(socket.is_some(), "this process has no such socket");
    socket
}

#[cfg(not(target_os = "linux"))]
fn own_socket(_fits: impl Fn(&Socket) -> bool) -> Option<Socket> {
    None
}
