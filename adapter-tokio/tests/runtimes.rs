//! Runtimes: absent, shut down, or other than the caller's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use adapter_tokio::pool_driver::Clock;
use adapter_tokio::pool_driver::shared::block_on;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{CloseReason, ConnId, IdFormat, Instant, PutError, Refusal, Stats};
use adapter_tokio::{AcquireError, Balancer, BuildError, ClientPool, Revoked, ServerPool};
use common::{
    SOON, client_config, dial, eventually, expect, pair, send, serve, server_config, soon,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

#[track_caller]
fn assert_revoked<T: std::fmt::Debug>(result: io::Result<T>, id: ConnId, reason: CloseReason) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    let revoked = error.get_ref().and_then(|inner| inner.downcast_ref::<Revoked>());
    assert_eq!(revoked, Some(&Revoked { id, reason }));
}

#[test]
fn a_pool_whose_runtime_has_shut_down_refuses() {
    let runtime = Runtime::new().unwrap();
    let (server, client) = runtime.block_on(async {
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        client.wait_ready(4, SOON).await.unwrap();
        (server, client)
    });
    let leased = runtime.block_on(client.acquire(SOON)).unwrap();
    let id = leased.id();
    drop(runtime);
    let other = Runtime::new().unwrap();
    let closed = Err(AcquireError::Refused(Refusal::PoolClosed));
    other.block_on(async {
        assert_eq!(soon(client.acquire(SOON)).await.map(|_| ()), closed);
        assert_eq!(soon(server.acquire(Duration::MAX)).await.map(|_| ()), closed);
        assert_eq!(soon(server.wait_ready(1, Duration::MAX)).await, closed);
        soon(client.closed()).await;
        let mut leased = leased;
        assert_revoked(soon(leased.read_u8()).await, id, CloseReason::PoolClosed);
        assert_eq!(client.put(leased), Err(PutError::PoolClosed));
    });
}

#[test]
fn a_pool_whose_runtime_shuts_down_before_it_has_run_refuses() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = runtime.block_on(async { ClientPool::builder().connect("127.0.0.1:1").unwrap() });
    drop(runtime);
    assert!(pool.is_closed());
    let refused = Runtime::new().unwrap().block_on(pool.acquire(Duration::MAX)).unwrap_err();
    assert_eq!(refused, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn a_waiter_is_refused_when_the_runtime_shuts_down() {
    let runtime = Runtime::new().unwrap();
    let (server, _) = runtime.block_on(serve(TlsMode::None, server_config()));
    let waiter = server.clone();
    let waits = std::thread::spawn(move || {
        let other = Runtime::new().unwrap();
        other.block_on(soon(waiter.acquire(Duration::MAX))).map(|_| ())
    });
    runtime.block_on(eventually(|| server.stats(), |stats| stats.waiters == 1));
    drop(runtime);
    assert_eq!(waits.join().unwrap(), Err(AcquireError::Refused(Refusal::PoolClosed)));
}

#[test]
fn a_pool_serves_another_thread_and_runtime() {
    let runtime = Runtime::new().unwrap();
    let (server, client) = runtime.block_on(pair(TlsMode::SelfSigned, IdFormat::Hex8));
    let taker = client.clone();
    let other = std::thread::spawn(move || {
        let other = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        other.block_on(async {
            let mut stream = taker.acquire(SOON).await.unwrap();
            send(&mut stream, b"from elsewhere").await;
            stream.id()
        })
    });
    let id = other.join().unwrap();
    runtime.block_on(async {
        let mut ours = server.acquire_by_id(id, SOON).await.unwrap();
        expect(&mut ours, b"from elsewhere").await;
    });
}

#[test]
fn a_client_built_outside_a_runtime_is_an_error() {
    let answer = ClientPool::builder().connect("127.0.0.1:1");
    assert!(matches!(answer, Err(BuildError::NoRuntime)));
}

#[test]
fn a_server_built_outside_a_runtime_is_an_error() {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let answer = ServerPool::builder().listen(listener);
    assert!(matches!(answer, Err(BuildError::NoRuntime)));
}

#[test]
fn binding_outside_a_runtime_is_an_error() {
    let clock = Ticks(tokio::time::Instant::now());
    let mut bound = Box::pin(ServerPool::builder().bind("127.0.0.1:0"));
    let Poll::Ready(bound) = block_on(&mut bound, &clock, SOON) else { panic!("`bind` hangs") };
    assert!(matches!(bound, Err(BuildError::NoRuntime)));
}

#[test]
fn an_address_is_bound_without_awaiting_by_a_thread_outside_of_the_runtime() {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let nowhere = ServerPool::builder().bind_addr(loopback);
    assert!(matches!(nowhere, Err(BuildError::NoRuntime)));

    let runtime = Runtime::new().unwrap();
    let server = ServerPool::builder().on(runtime.handle().clone()).bind_addr(loopback).unwrap();
    let address = server.local_addr().unwrap();
    let client = ClientPool::builder().on(runtime.handle().clone());
    let client = client.connect(address.to_string()).unwrap();
    runtime.block_on(client.wait_ready(1, SOON)).unwrap();
}

/// A clock for threads without a runtime.
struct Ticks(tokio::time::Instant);

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_without_a_runtime_can_take_and_wait_and_time_out() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let waiting = server.clone();
    let thread = std::thread::spawn(move || {
        let clock = Ticks(tokio::time::Instant::now());
        let moment = Duration::from_millis(20);
        let timeout = block_on(&mut Box::pin(waiting.acquire(moment)), &clock, SOON);
        let served = block_on(&mut Box::pin(waiting.acquire(SOON)), &clock, SOON);
        (timeout, served)
    });
    eventually(|| server.stats().totals.cancelled, |cancelled| *cancelled == 1).await;
    let _client = dial(TlsMode::None, client_config(), address);
    let (timeout, served) = tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    assert!(matches!(timeout, Poll::Ready(Err(AcquireError::Timeout { .. }))), "{timeout:?}");
    assert!(matches!(served, Poll::Ready(Ok(_))), "{served:?}");
}

/// Runs a future on this thread, without a runtime.
fn outside<F: Future>(future: F) -> F::Output {
    let clock = Ticks(tokio::time::Instant::now());
    let Poll::Ready(output) = block_on(&mut Box::pin(future), &clock, SOON) else {
        panic!("the future did not end within {SOON:?}");
    };
    output
}

#[test]
fn a_pool_with_a_runtime_handle_can_be_built_anywhere() {
    let (there, elsewhere) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let place = there.handle();
    let bind = || ServerPool::builder().on(place.clone()).bind("localhost:0");
    let servers = [outside(bind()).unwrap(), elsewhere.block_on(bind()).unwrap()];
    drop(elsewhere);
    for server in servers {
        let address = server.local_addr().unwrap().to_string();
        let client = ClientPool::builder().on(place.clone()).connect(address).unwrap();
        outside(client.wait_ready(1, SOON)).unwrap();
        drop(outside(server.acquire(SOON)).unwrap());
    }
}

#[test]
fn a_balancer_needs_no_timer_of_a_runtime_that_has_shut_down() {
    let (gone, goes, stays) =
        (Runtime::new().unwrap(), Runtime::new().unwrap(), Runtime::new().unwrap());
    // No client connects.
    let bind = |runtime: &Runtime| runtime.block_on(ServerPool::builder().bind("127.0.0.1:0"));
    let pools = [&gone, &goes, &stays].map(|runtime| bind(runtime).unwrap());
    drop(gone);
    let [first, second, third] = pools;
    let (waited, balancer) = (third.clone(), Balancer::new(first, [second, third]));
    let waits = std::thread::spawn(move || {
        let taken = outside(balancer.acquire(Duration::from_millis(500))).map(|_| ());
        (taken, balancer)
    });
    outside(eventually_waiting(&waited));
    drop(goes);
    let (taken, balancer) = waits.join().unwrap();
    assert!(matches!(taken, Err(AcquireError::Timeout { .. })), "{taken:?}");
    drop(balancer);
}

/// Waits, without a timer, until `pool` has a waiter, or has had one that was cancelled.
async fn eventually_waiting(pool: &ServerPool) {
    let has_queued = |stats: Stats| u64::from(stats.waiters) + stats.totals.cancelled > 0;
    while !has_queued(pool.stats()) {
        tokio::task::yield_now().await;
    }
}

/// A waker that tries to connect at the moment at which it is woken.
struct PortProbe {
    address: SocketAddr,
    woken: AtomicBool,
    open: AtomicBool,
}

impl Wake for PortProbe {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        let open = std::net::TcpStream::connect(self.address).is_ok();
        self.open.fetch_or(open, Ordering::Relaxed);
    }
}

#[test]
fn a_closed_pool_that_never_ran_has_freed_its_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(ServerPool::builder().bind("127.0.0.1:0")).unwrap();
    let address = server.local_addr().unwrap();
    let (woken, open) = (AtomicBool::new(false), AtomicBool::new(false));
    let probe = Arc::new(PortProbe { address, woken, open });
    let waker = Waker::from(Arc::clone(&probe));
    let mut closed = Box::pin(server.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(runtime);
    assert!(probe.woken.load(Ordering::Relaxed), "`closed` was not woken");
    assert!(!probe.open.load(Ordering::Relaxed), "the port was open when `closed` was woken");
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn builders_pools_and_balancers_implement_debug() {
    let shown = format!("{:?} {:?}", ClientPool::builder(), ServerPool::builder());
    assert!(shown.contains("keep_alive") && shown.contains("handle"), "{shown}");
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let pool = ClientPool::builder().connect("127.0.0.1:1").unwrap();
    let shown = format!("{pool:?}");
    assert!(shown.contains("stats") && shown.contains("idle: 0"), "{shown}");
    let shown = format!("{:?}", Balancer::new(pool, []));
    assert!(shown.contains("pools") && shown.contains("idle: 0"), "{shown}");
}
