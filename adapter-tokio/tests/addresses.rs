//! Dialling, and listening on, a name with several addresses. The runtime of the tests is tokio, except that
//! it resolves names to addresses of the tests, never connects to some of them, and cannot accept at others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use adapter_tokio::pool_driver::connection::KernelSocket;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_driver::{Direction, LeasedConnection, Pool, Runtime, ShutdownGuard};
use adapter_tokio::pool_proto::{Accepting, ClientConfigBuilder, Dialing, ServerConfig};
use adapter_tokio::{BuildError, Tokio};
use common::{SOON, client_config, eventually, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// The addresses of each name.
static ADDRESSES: Mutex<BTreeMap<String, Vec<SocketAddr>>> = Mutex::new(BTreeMap::new());
/// The number of attempts to connect to [`SILENT`].
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);
/// The addresses of all attempts so far.
static ATTEMPTS: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());
/// Addresses that do not answer any more.
static SILENCED: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());
/// The addresses of listeners that find no descriptor left, and how often each has.
static STARVED: Mutex<BTreeMap<SocketAddr, usize>> = Mutex::new(BTreeMap::new());
/// An address for documentation (RFC 5737); nothing is sent to it.
const SILENT: &str = "192.0.2.1:9";
/// The time after which a name that begins with `slow.` is resolved.
const SLOWLY: Duration = Duration::from_millis(600);

#[derive(Clone)]
struct Detour(Tokio);

struct Taken(LeasedConnection<Detour>);

impl From<LeasedConnection<Detour>> for Taken {
    fn from(stream: LeasedConnection<Detour>) -> Self {
        Self(stream)
    }
}

impl From<Taken> for LeasedConnection<Detour> {
    fn from(taken: Taken) -> Self {
        taken.0
    }
}

impl Runtime for Detour {
    type Handle = Handle;
    type Executor = Handle;
    type Task = <Tokio as Runtime>::Task;
    type TcpStream = TcpStream;
    type Registered = TcpStream;
    type Listener = TcpListener;
    type Kernel<'a> = KernelSocket<'a>;
    type Stream = Taken;

    fn current() -> Result<Handle, BuildError> {
        Tokio::current()
    }

    fn start<F>(
        handle: &Handle,
        max_dials: u32,
        guard: ShutdownGuard,
        driver: impl FnOnce(Self, Handle) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Tokio::start(handle, max_dials, guard, |tokio, handle| driver(Self(tokio), handle))
            .map(Self)
    }

    fn spawn(
        executor: &Handle,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> <Tokio as Runtime>::Task {
        Tokio::spawn(executor, future)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.0.sleep(time)
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if name.starts_with("slow.") {
            self.sleep(SLOWLY).await;
        }
        Ok(names().get(name).cloned().unwrap_or_default())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        locked(&ATTEMPTS).push(address);
        if locked(&SILENCED).contains(&address) {
            return pending().await;
        }
        if address == SILENT.parse().unwrap() {
            UNANSWERED.fetch_add(1, Ordering::Relaxed);
            return pending().await;
        }
        self.0.connect(address).await
    }

    async fn resolve_on(_handle: &Handle, name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(names().get(name).cloned().unwrap_or_default())
    }

    fn register(handle: &Handle, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        Tokio::register(handle, listener)
    }

    fn kernel_listener(listener: &TcpListener) -> KernelSocket<'_> {
        Tokio::kernel_listener(listener)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(times) = locked(&STARVED).get_mut(&listener.local_addr()?) {
            *times += 1;
            return Err(io::Error::other("no descriptor is left"));
        }
        self.0.accept(listener).await
    }

    fn kernel(stream: &TcpStream) -> KernelSocket<'_> {
        Tokio::kernel(stream)
    }

    fn poll_io<T>(
        stream: &TcpStream,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
        is_short: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        Tokio::poll_io(stream, cx, direction, act, is_short)
    }

    fn poll_readable(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Tokio::poll_readable(stream, cx)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn names() -> MutexGuard<'static, BTreeMap<String, Vec<SocketAddr>>> {
    locked(&ADDRESSES)
}

/// The attempts on one of these addresses so far, in their order.
fn attempts_on(addresses: [SocketAddr; 2]) -> Vec<SocketAddr> {
    locked(&ATTEMPTS).iter().copied().filter(|tried| addresses.contains(tried)).collect()
}

/// Makes `name` resolve to these addresses.
fn resolve(name: &str, addresses: &[SocketAddr]) {
    names().insert(name.to_owned(), addresses.to_vec());
}

/// Starts a client of `name` that keeps one connection.
fn dial(name: &str, config: ClientConfigBuilder) -> Pool<Detour, Dialing> {
    let backoff = Duration::from_millis(1);
    let config = config.capacity(1..=1).backoff(backoff, backoff).build().unwrap();
    Pool::<Detour, Dialing>::builder().config(config).connect(name).unwrap()
}

/// An address that refuses at once: its listener is closed.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_the_others_their_share() {
    let name = "detour.example:9";
    let (server, last) = serve(TlsMode::None, ServerConfig::builder()).await;
    resolve(name, &[SILENT.parse().unwrap(), refusing().await, last]);
    // The last address gets a third of this time, which must suffice on a busy machine.
    let limit = Duration::from_millis(1500);
    let client = dial(name, client_config().dial_timeout(limit));
    let taken = client.acquire(SOON).await.unwrap();
    let totals = client.stats().totals;
    assert_eq!((totals.dial_timeouts, totals.dial_failures), (0, 0), "{totals:?}");
    assert!(UNANSWERED.load(Ordering::Relaxed) > 0);
    drop((taken, server));
}

/// They share the time that the resolver has left.
#[tokio::test]
async fn addresses_that_come_late_are_tried_in_time() {
    let name = "slow.example:9";
    let (server, last) = serve(TlsMode::None, ServerConfig::builder()).await;
    resolve(name, &[SILENT.parse().unwrap(), last]);
    // The last address is tried after half of the 200 ms, which is before the usual 250 ms.
    let limit = SLOWLY + Duration::from_millis(200);
    let client = dial(name, client_config().dial_timeout(limit));
    drop((client.acquire(SOON).await.unwrap(), server));
}

#[tokio::test]
async fn the_address_that_answered_is_dialled_first_while_it_answers() {
    let name = "remembered.example:9";
    let (first, at_first) = serve(TlsMode::None, ServerConfig::builder()).await;
    let (second, at_second) = serve(TlsMode::None, ServerConfig::builder()).await;
    resolve(name, &[at_first]);
    let client = dial(name, client_config());
    let redialled = async |peer| {
        client.wait_ready(1, SOON).await.unwrap();
        let taken = client.acquire(SOON).await.unwrap();
        assert_eq!(taken.0.peer_addr().unwrap(), peer);
        client.flush();
    };
    redialled(at_first).await;
    // The resolver would prefer the other one.
    resolve(name, &[at_second, at_first]);
    redialled(at_first).await;
    first.close();
    first.closed().await;
    resolve(name, &[at_first, at_second]);
    redialled(at_second).await;
    redialled(at_second).await;
    drop(second);
}

/// Nothing fails: the former one is silent, and the next one answers after a pause.
#[tokio::test]
async fn the_address_that_answered_last_is_dialled_first() {
    let name = "moved.example:9";
    let (former, at_former) = serve(TlsMode::None, ServerConfig::builder()).await;
    let (next, at_next) = serve(TlsMode::None, ServerConfig::builder()).await;
    resolve(name, &[at_former]);
    let client = dial(name, client_config());
    client.wait_ready(1, SOON).await.unwrap();
    resolve(name, &[at_former, at_next]);
    locked(&SILENCED).push(at_former);
    for first in [at_former, at_next] {
        let before = attempts_on([at_former, at_next]).len();
        client.flush();
        client.wait_ready(1, SOON).await.unwrap();
        assert_eq!(attempts_on([at_former, at_next]).get(before), Some(&first));
    }
    assert_eq!(client.stats().failures_in_a_row, 0);
    drop((former, next));
}

#[tokio::test]
async fn a_single_failure_forgets_the_address_that_answered() {
    let name = "failing.example:9";
    let by_hand = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (answered, preferred) = (by_hand.local_addr().unwrap(), refusing().await);
    resolve(name, &[answered]);
    let client = dial(name, client_config());
    let (mut first, _) = by_hand.accept().await.unwrap();
    first.write_all(b"00000001").await.unwrap();
    client.wait_ready(1, SOON).await.unwrap();
    resolve(name, &[preferred, answered]);
    drop(client.acquire(SOON).await.unwrap());
    // The one in its place goes to the address that has answered.
    let (second, _) = by_hand.accept().await.unwrap();
    let before = attempts_on([answered, preferred]);
    // It is closed before it has an id.
    drop(second);
    let tried = || attempts_on([answered, preferred]).get(before.len()).copied();
    let next = eventually(tried, Option::is_some).await;
    assert_eq!(next, Some(preferred));
    drop(first);
}

/// The first address connects, but its peer closes each connection before the id.
#[tokio::test]
async fn an_address_that_only_connects_is_not_dialled_for_ever() {
    let name = "closing.example:9";
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at_closing = closing.local_addr().unwrap();
    tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    resolve(name, &[at_closing]);
    let client = dial(name, client_config());
    eventually(|| client.stats(), |stats| stats.failures_in_a_row > 0).await;
    let (server, address) = serve(TlsMode::None, ServerConfig::builder()).await;
    resolve(name, &[address, at_closing]);
    let taken = client.acquire(SOON).await.unwrap();
    drop((taken, server));
}

#[tokio::test]
async fn a_failed_dial_names_each_address() {
    let name = "refusing.example:9";
    let (one, other) = (refusing().await, refusing().await);
    resolve(name, &[one, other]);
    let client = dial(name, client_config());
    let failure = eventually(|| client.last_failure(), Option::is_some).await.unwrap();
    let refused = "Connection refused (os error 111)";
    if cfg!(target_os = "linux") {
        let expected = format!("dialling failed: {name}: {one}: {refused}; {other}: {refused}");
        assert_eq!(*failure, *expected);
    }
}

#[tokio::test]
async fn a_dial_given_up_names_what_was_dialled() {
    let name = "silent.example:9";
    resolve(name, &[SILENT.parse().unwrap()]);
    let client = dial(name, client_config().dial_timeout(Duration::from_millis(50)));
    let failure = eventually(|| client.last_failure(), Option::is_some).await.unwrap();
    let expected = format!("a connection to {name} was given up: it was not dialled in time");
    assert_eq!(*failure, *expected);
}

#[tokio::test]
async fn a_server_listens_on_the_first_address_that_can_be_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let in_use = listener.local_addr().unwrap();
    let any_port: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let bind = async |name: &str, addresses: &[SocketAddr]| {
        resolve(name, addresses);
        Pool::<Detour, Accepting>::builder().bind(name).await
    };
    let server = bind("bound.example:9", &[in_use, any_port, in_use]).await.unwrap();
    let bound = server.local_addr().unwrap();
    assert!(bound != in_use && bound.port() != 0, "{bound}");
    TcpStream::connect(bound).await.unwrap();

    for (name, addresses, kind) in [
        ("used.example:9", [in_use].as_slice(), io::ErrorKind::AddrInUse),
        ("nowhere.example:9", &[], io::ErrorKind::NotFound),
    ] {
        let error = bind(name, addresses).await.unwrap_err();
        let BuildError::Bind { address, source } = error else { panic!("{error:?}") };
        assert_eq!((address.as_str(), source.kind()), (name, kind), "{source}");
    }
}

/// Each connection that ends wakes the driver.
#[tokio::test]
async fn a_pause_after_a_failed_accept_outlasts_other_work() {
    const PEERS: u32 = 128;
    let name = "starved.example:9";
    resolve(name, &["127.0.0.1:0".parse().unwrap()]);
    let server = Pool::<Detour, Accepting>::builder().bind(name).await.unwrap();
    let address = server.local_addr().unwrap();
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(address).await.unwrap());
    }
    server.wait_ready(PEERS, SOON).await.unwrap();
    locked(&STARVED).insert(address, 0);
    for left in (0..PEERS).rev() {
        drop(peers.pop());
        eventually(|| server.idle(), |idle| *idle == left).await;
    }
    let times = locked(&STARVED).get(&address).copied().unwrap();
    // The pauses grow to a second.
    assert!((1..64).contains(&times), "{times} accepts failed");
}
