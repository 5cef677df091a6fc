//! Socket options, read back from the kernel.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_tokio::pool_proto::KeepAlive;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::{ClientPool, ServerPool};
use common::{SOON, serve, server_config, single};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, PartialEq)]
struct Options {
    nodelay: bool,
    keep_alive: bool,
    idle: Duration,
    interval: Duration,
    retries: u32,
    user_timeout: Option<Duration>,
}

fn read(socket: &SockRef<'_>) -> Options {
    Options {
        nodelay: socket.tcp_nodelay().unwrap(),
        keep_alive: socket.keepalive().unwrap(),
        idle: socket.tcp_keepalive_time().unwrap(),
        interval: socket.tcp_keepalive_interval().unwrap(),
        retries: socket.tcp_keepalive_retries().unwrap(),
        user_timeout: socket.tcp_user_timeout().unwrap(),
    }
}

fn expected() -> Options {
    Options {
        nodelay: true,
        keep_alive: true,
        idle: Duration::from_secs(7),
        interval: Duration::from_secs(7),
        retries: 3,
        user_timeout: Some(Duration::from_secs(28)),
    }
}

type Kept = Arc<Mutex<Option<std::net::TcpStream>>>;

/// Dials as the pool would, and keeps a second handle of the socket.
async fn dial_and_keep(address: SocketAddr, kept: Kept) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?.into_std()?;
    *kept.lock().unwrap() = Some(tcp.try_clone()?);
    TcpStream::from_std(tcp)
}

async fn options_of_a_client(keep_alive: Option<KeepAlive>) -> Options {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    let client = ClientPool::builder()
        .config(single().build().unwrap())
        .keep_alive(keep_alive)
        .connect_with(move || dial_and_keep(address, Arc::clone(&keep)))
        .unwrap();
    client.wait_ready(1, SOON).await.unwrap();
    let kept = kept.lock().unwrap().take().unwrap();
    read(&SockRef::from(&kept))
}

#[tokio::test]
async fn a_client_sets_keep_alive_and_no_delay() {
    let keep_alive = KeepAlive::every(Duration::from_secs(7));
    assert_eq!(options_of_a_client(Some(keep_alive)).await, expected());
}

#[tokio::test]
async fn without_keep_alive_only_the_delay_is_off() {
    let options = options_of_a_client(None).await;
    assert!(options.nodelay && !options.keep_alive, "{options:?}");
    assert_eq!(options.user_timeout, None);
}

#[tokio::test]
async fn keep_alive_is_on_by_default() {
    let options = options_of_a_client(Some(KeepAlive::default())).await;
    assert_eq!((options.keep_alive, options.idle), (true, Duration::from_secs(15)));
}

/// A second handle of the socket in this process that is connected to `peer`.
fn socket_to(peer: SocketAddr) -> Option<Socket> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let names = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|fd: RawFd| pidfd_getfd(&own, fd, PidfdGetfdFlags::empty()).ok())
        .map(Socket::from)
        .find(|socket| socket.peer_addr().is_ok_and(|at| at.as_socket() == Some(peer)))
}

#[tokio::test]
async fn a_server_sets_keep_alive_and_no_delay() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ServerPool::builder()
        .keep_alive(KeepAlive::every(Duration::from_secs(7)))
        .listen(listener)
        .unwrap();
    let peer = TcpStream::connect(address).await.unwrap();
    server.wait_ready(1, SOON).await.unwrap();
    let accepted = socket_to(peer.local_addr().unwrap()).unwrap();
    assert_eq!(read(&SockRef::from(&accepted)), expected());
}
