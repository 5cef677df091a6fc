//! Dialling a name with several addresses. The test's runtime is tokio, except that it resolves the
//! name to the test's addresses, and never connects to one of them.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use adapter_tokio::pool_driver::connection::KernelSocket;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_driver::{Direction, LeasedConnection, Pool, Runtime, ShutdownGuard};
use adapter_tokio::pool_proto::{Dialing, ServerConfig};
use adapter_tokio::{BuildError, Tokio};
use common::{SOON, client_config, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// The addresses of "detour.example:9".
static ADDRESSES: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());
/// The number of attempts to connect to [`SILENT`].
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);
/// An address for documentation (RFC 5737); nothing is sent to it.
const SILENT: &str = "192.0.2.1:9";

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

    async fn resolve(&self, _name: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        if address == SILENT.parse().unwrap() {
            UNANSWERED.fetch_add(1, Ordering::Relaxed);
            return pending().await;
        }
        self.0.connect(address).await
    }

    async fn bind(handle: &Handle, name: &str) -> io::Result<TcpListener> {
        Tokio::bind(handle, name).await
    }

    fn kernel_listener(listener: &TcpListener) -> KernelSocket<'_> {
        Tokio::kernel_listener(listener)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
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
    ) -> Poll<io::Result<T>> {
        Tokio::poll_io(stream, cx, direction, act)
    }

    fn poll_readable(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Tokio::poll_readable(stream, cx)
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_leaves_the_others_their_share() {
    let (server, last) = serve(TlsMode::None, ServerConfig::builder()).await;
    // The second address refuses at once: its listener is closed.
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    *ADDRESSES.lock().unwrap() = vec![SILENT.parse().unwrap(), refused, last];
    // The last address gets a third of this time, which must suffice on a busy machine.
    let limit = Duration::from_millis(1500);
    let config = client_config().capacity(1..=1).dial_timeout(limit).build().unwrap();
    let builder = Pool::<Detour, Dialing>::builder().config(config);
    let client = builder.connect("detour.example:9").unwrap();
    let taken = client.acquire(SOON).await.unwrap();
    let totals = client.stats().totals;
    assert_eq!((totals.dial_timeouts, totals.dial_failures), (0, 0), "{totals:?}");
    assert!(UNANSWERED.load(Ordering::Relaxed) > 0);
    drop((taken, server));
}
