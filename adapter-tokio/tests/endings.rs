//! Flush, close, drop, and runtimes that go away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use adapter_tokio::pool_proto::shell::{Clock, block_on};
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{CloseReason, ConnId, IdFormat, Instant, PutError, Refusal, Stats};
use adapter_tokio::{AcquireError, BuildError, ClientPool, Revoked, ServerPool};
use common::{
    SOON, client_config, connect_from, dial, ended, ends, eventually, expect, pair, send, serve,
    server_config, single, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const BOTH: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

#[track_caller]
fn assert_revoked<T: std::fmt::Debug>(result: io::Result<T>, id: ConnId, reason: CloseReason) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    let revoked = error.get_ref().and_then(|inner| inner.downcast_ref::<Revoked>());
    assert_eq!(revoked, Some(&Revoked { id, reason }));
}

#[tokio::test]
async fn after_a_flush_the_next_read_says_so() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (_ours, mut theirs) = ends(&server, &client).await;
        client.flush();
        eventually(|| client.stats(), |stats| stats.idle == 4).await;
        let id = theirs.id();
        assert_revoked(soon(theirs.read_u8()).await, id, CloseReason::Flushed);
    }
}

#[tokio::test]
async fn after_a_flush_the_next_write_says_so() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (_ours, mut theirs) = ends(&server, &client).await;
        client.flush();
        eventually(|| client.stats(), |stats| stats.idle == 4).await;
        let id = theirs.id();
        assert_revoked(theirs.write_u8(1).await, id, CloseReason::Flushed);
        assert_revoked(theirs.flush().await, id, CloseReason::Flushed);
    }
}

#[tokio::test]
async fn a_read_that_is_pending_wakes_at_a_flush() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (_ours, mut theirs) = ends(&server, &client).await;
        let id = theirs.id();
        let read = theirs.read_u8();
        let flush = async { client.flush() };
        let (read, _) = soon(async { tokio::join!(biased; read, flush) }).await;
        assert_revoked(read, id, CloseReason::Flushed);
    }
}

#[tokio::test]
async fn a_write_that_is_pending_wakes_at_a_flush() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (_ours, mut theirs) = ends(&server, &client).await;
        let id = theirs.id();
        let write = tokio::spawn(async move {
            let chunk = [0; 64 * 1024];
            loop {
                if let Err(error) = theirs.write_all(&chunk).await {
                    return error;
                }
            }
        });
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>()).await.ok();
        assert!(!write.is_finished());
        client.flush();
        let error = soon(write).await.unwrap();
        assert_revoked(Err::<(), _>(error), id, CloseReason::Flushed);
    }
}

#[tokio::test]
async fn a_flush_at_a_server_revokes_its_leases() {
    let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
    let (mut ours, mut theirs) = ends(&server, &client).await;
    let id = ours.id();
    server.flush();
    assert!(ended(&mut theirs).await);
    assert_revoked(soon(ours.read_u8()).await, id, CloseReason::Flushed);
}

#[tokio::test]
async fn a_flushed_stream_cannot_be_put_back() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (mut ours, theirs) = ends(&server, &client).await;
    client.flush();
    assert_eq!(client.put(theirs), Err(PutError::NotLeased));
    assert!(ended(&mut ours).await);
}

#[tokio::test]
async fn who_waits_during_a_flush_is_served_by_what_comes_after() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    client.wait_ready(4, SOON).await.unwrap();
    let wait = client.wait_ready(8, SOON);
    let flush = async {
        eventually(|| client.stats(), |stats| stats.waiters == 1).await;
        client.flush();
    };
    let (ready, ()) = tokio::join!(wait, flush);
    ready.unwrap();
    drop(server);
}

#[tokio::test]
async fn a_clean_ends_the_idle_and_leaves_the_leases() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (mut ours, mut theirs) = ends(&server, &client).await;
    client.wait_ready(4, SOON).await.unwrap();
    assert_eq!(client.clean(), 4);
    send(&mut ours, b"still").await;
    expect(&mut theirs, b"still").await;
    client.wait_ready(4, SOON).await.unwrap();
}

#[tokio::test]
async fn a_closed_pool_refuses_who_waits_and_who_comes() {
    let (server, _address) = serve(TlsMode::None, server_config()).await;
    let any = server.acquire(Duration::MAX);
    let stock = server.wait_ready(1, Duration::MAX);
    let close = async {
        eventually(|| server.stats(), |stats| stats.waiters == 2).await;
        server.close();
    };
    let (any, stock, ()) = soon(async { tokio::join!(any, stock, close) }).await;
    let closed = AcquireError::Refused(Refusal::PoolClosed);
    assert_eq!(any.map(|_| ()).as_ref(), Err(&closed));
    assert_eq!(stock.as_ref(), Err(&closed));
    let late = soon(server.acquire(Duration::MAX)).await;
    assert_eq!(late.map(|_| ()), Err(closed));
}

#[tokio::test]
async fn a_close_revokes_the_leases() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, mut theirs) = ends(&server, &client).await;
        let id = theirs.id();
        client.close();
        soon(client.closed()).await;
        assert_revoked(theirs.read_u8().await, id, CloseReason::PoolClosed);
        assert!(ended(&mut ours).await);
        assert_eq!(client.put(theirs), Err(PutError::PoolClosed));
    }
}

#[tokio::test]
async fn an_idle_tls_connection_is_closed_with_a_goodbye() {
    let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
    client.wait_ready(4, SOON).await.unwrap();
    let mut ours = server.acquire(SOON).await.unwrap();
    client.close();
    let mut rest = Vec::new();
    // Without close_notify this is an error.
    soon(ours.read_to_end(&mut rest)).await.unwrap();
}

/// What a dial leaves behind takes its time to be tidied up.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_client_has_closed_its_dials_have_ended() {
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let client = ClientPool::builder()
        .connect_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let guard = Dropped(Arc::clone(&guard));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .unwrap();
    eventually(|| begun.load(Ordering::Relaxed), |begun| *begun == 4).await;
    client.close();
    soon(client.closed()).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn when_a_server_closes_its_handshakes_end() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let mut silent = connect_from("127.0.0.1", address).await;
    eventually(|| server.stats(), |stats| stats.handshaking == 1).await;
    server.close();
    soon(server.closed()).await;
    assert!(ended(&mut silent).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_has_closed_its_port_is_free() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    server.close();
    soon(server.closed()).await;
    for _ in 0..200 {
        let server = ServerPool::builder().bind(&address.to_string()).await.unwrap();
        server.close();
        soon(server.closed()).await;
    }
}

#[tokio::test]
async fn the_last_handle_that_is_dropped_closes_the_pool() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (mut ours, mut theirs) = ends(&server, &client).await;
    let clone = client.clone();
    drop(client);
    clone.wait_ready(1, SOON).await.unwrap();
    drop(clone);
    let id = theirs.id();
    assert_revoked(soon(theirs.read_u8()).await, id, CloseReason::PoolClosed);
    assert!(ended(&mut ours).await);
    let gone = |stats: &Stats| stats.idle == 0;
    eventually(|| server.stats(), gone).await;
}

#[tokio::test]
async fn closing_twice_is_closing_once() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    for _ in 0..2 {
        client.close();
        server.close();
        soon(client.closed()).await;
        soon(server.closed()).await;
    }
    assert!(client.is_closed() && server.is_closed());
    assert_eq!((client.flush(), client.clean()), (0, 0));
}

#[test]
fn without_its_runtime_a_pool_refuses() {
    let runtime = Runtime::new().unwrap();
    let (server, client) = runtime.block_on(async {
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        client.wait_ready(4, SOON).await.unwrap();
        (server, client)
    });
    let held = runtime.block_on(client.acquire(SOON)).unwrap();
    let id = held.id();
    drop(runtime);
    let other = Runtime::new().unwrap();
    let closed = Err(AcquireError::Refused(Refusal::PoolClosed));
    other.block_on(async {
        assert_eq!(soon(client.acquire(SOON)).await.map(|_| ()), closed);
        assert_eq!(soon(server.acquire(Duration::MAX)).await.map(|_| ()), closed);
        assert_eq!(soon(server.wait_ready(1, Duration::MAX)).await, closed);
        soon(client.closed()).await;
        let mut held = held;
        assert_revoked(soon(held.read_u8()).await, id, CloseReason::PoolClosed);
        assert_eq!(client.put(held), Err(PutError::PoolClosed));
    });
}

#[test]
fn a_pool_whose_runtime_goes_before_it_has_run_refuses() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = runtime.block_on(async { ClientPool::builder().connect("127.0.0.1:1").unwrap() });
    drop(runtime);
    assert!(pool.is_closed());
    let refused = Runtime::new().unwrap().block_on(pool.acquire(Duration::MAX)).unwrap_err();
    assert_eq!(refused, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn who_waits_while_the_runtime_goes_is_refused() {
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

#[tokio::test]
async fn lives_end_by_idle_timeout_and_by_age() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let config = single().idle_timeout(Duration::from_millis(50));
    let idle = dial(TlsMode::None, config, address);
    let config = single().max_lifetime(Duration::from_millis(50));
    let aged = dial(TlsMode::None, config, address);
    eventually(|| idle.stats(), |stats| stats.totals.idle_timeouts > 2).await;
    eventually(|| aged.stats(), |stats| stats.totals.expired > 2).await;
    let config = client_config().capacity(5..=5);
    dial(TlsMode::None, config, address).wait_ready(5, SOON).await.unwrap();
}

/// Time for a thread without a runtime.
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
