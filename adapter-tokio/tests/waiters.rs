//! Callers that wait: woken at once, in order, and never at the cost of a connection.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

mod common;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdFormat, Refusal, Role, Stats, TakeOrder, WaitReason};
use adapter_tokio::{AcquireError, Pool};
use common::{
    Fake, SOON, client_config, dial, eventually, hex_id, pair, send, serve, server_config, single,
    soon,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_by_id_is_woken_when_the_connection_arrives() {
    let (fake, mut peers) = Fake::by_hand().await;
    let client = dial(TlsMode::None, single(), fake.address);
    let mut latencies = Vec::new();
    for number in 0..300 {
        let mut peer = soon(peers.recv()).await.unwrap();
        let text = hex_id(number);
        let id: ConnId = text.parse().unwrap();
        let taker = client.clone();
        let waits = tokio::spawn(async move {
            let stream = taker.acquire_by_id(id, Duration::MAX).await.unwrap();
            (Instant::now(), stream)
        });
        eventually(|| client.stats(), |stats| stats.waiters == 1).await;
        let sent = Instant::now();
        send(&mut peer, text.as_bytes()).await;
        let (woken, stream) = soon(waits).await.unwrap();
        assert_eq!(stream.id(), id);
        latencies.push(woken - sent);
    }
    latencies.sort_unstable();
    let (median, p99) = (latencies[150], latencies[297]);
    println!("by-id wake latency: median {median:?}, p99 {p99:?}, worst {:?}", latencies[299]);
    assert!(p99 < Duration::from_millis(50), "p99 {p99:?}");
}

#[tokio::test]
async fn who_waits_for_any_is_woken_when_one_arrives() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let wait = server.acquire(Duration::MAX);
    let arrival = async {
        eventually(|| server.stats(), |stats| stats.waiters == 1).await;
        dial(TlsMode::SelfSigned, single(), address)
    };
    let (stream, client) = soon(async { tokio::join!(wait, arrival) }).await;
    let stream = stream.unwrap();
    assert_eq!(client.acquire_by_id(stream.id(), SOON).await.unwrap().id(), stream.id());
}

/// Counts how often a future asked to be polled.
#[derive(Default)]
struct Calls(std::sync::atomic::AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_waiter_is_not_woken_before_there_is_news() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    let count = || calls.0.load(std::sync::atomic::Ordering::Relaxed);
    let mut wait = Box::pin(server.acquire(Duration::MAX));
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let peer = common::connect_from("127.0.0.1", address).await;
    eventually(count, |count| *count == 1).await;
    let Poll::Ready(answer) = wait.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("woken for nothing");
    };
    drop((answer.unwrap(), peer));
    assert_eq!(count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_wait_are_all_served() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let mut takers = JoinSet::new();
    for _ in 0..1000 {
        let client = client.clone();
        takers.spawn(async move {
            let stream = client.acquire(SOON).await.unwrap();
            tokio::task::yield_now().await;
            client.put(stream).unwrap();
        });
    }
    let done = soon(takers.join_all()).await;
    assert_eq!(done.len(), 1000);
    let stats = client.stats();
    assert_eq!((stats.totals.leases, stats.leased, stats.waiters), (1000, 0, 0));
    drop(server);
}

#[tokio::test]
async fn who_came_first_is_served_first() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::None, single().max_connections(1), address);
    let held = client.acquire(SOON).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut takers = JoinSet::new();
    for number in 0..20 {
        let (taker, order) = (client.clone(), Arc::clone(&order));
        takers.spawn(async move {
            let stream = taker.acquire(SOON).await.unwrap();
            order.lock().unwrap().push(number);
            taker.put(stream).unwrap();
        });
        eventually(|| client.stats(), |stats| stats.waiters == number + 1).await;
    }
    client.put(held).unwrap();
    soon(takers.join_all()).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_limit_that_all_connections_reach_is_told() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::None, single().max_connections(1), address);
    let _held = client.acquire(SOON).await.unwrap();
    let error = client.acquire(Duration::from_millis(20)).await.map(|_| ()).unwrap_err();
    let why = WaitReason::AllInUse { leased: 1, claimed: 0 };
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
}

#[tokio::test]
async fn more_waiters_than_allowed_are_refused() {
    let (server, _address) = serve(TlsMode::None, server_config().max_waiters(1)).await;
    let first = server.acquire(Duration::from_millis(200));
    let second = async {
        eventually(|| server.stats(), |stats| stats.waiters == 1).await;
        server.acquire(Duration::MAX).await.map(|_| ())
    };
    let (_, second) = tokio::join!(first, second);
    let refusal = Refusal::TooManyWaiters { limit: 1 };
    assert_eq!(second, Err(AcquireError::Refused(refusal)));
}

/// Every connection that ever was is somewhere.
fn assert_adds_up(stats: &Stats) {
    let totals = stats.totals;
    let ended = totals.released
        + totals.peer_closed
        + totals.overflowed
        + totals.leftover
        + totals.drain_timeouts
        + totals.unclaimed
        + totals.cleaned
        + totals.evicted;
    let there = u64::from(stats.idle + stats.claimed + stats.leased + stats.returning);
    assert_eq!(totals.established, ended + there, "{stats:#?}");
    // A lease that was given back unused, because the peer had begun to use it, counts as one.
    assert_eq!((stats.waiters, stats.leased), (0, 0), "{stats:#?}");
    assert!(totals.leases >= totals.put + totals.released, "{stats:#?}");
}

/// Acquires that are given up at any moment, some of them by id.
async fn give_up_at_random<R: Role + Send + 'static>(pool: &Pool<R>, rounds: u64) {
    let mut takers = JoinSet::new();
    for seed in 0..32 {
        let pool = pool.clone();
        takers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut last = None;
            for _ in 0..rounds {
                let give_up = async {
                    for _ in 0..random.u32(0..20) {
                        tokio::task::yield_now().await;
                    }
                };
                let take = async {
                    match last {
                        Some(id) if seed % 4 == 0 => pool.acquire_by_id(id, SOON).await,
                        _ => pool.acquire(SOON).await,
                    }
                };
                let taken = tokio::select! {
                    biased;
                    () = give_up => None,
                    taken = take => taken.ok(),
                };
                let Some(stream) = taken else { continue };
                last = Some(stream.id());
                tokio::task::yield_now().await;
                if random.u32(0..8) > 0 {
                    pool.put(stream).unwrap();
                }
            }
        });
    }
    soon(takers.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquires_that_are_given_up_lose_no_connection() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let (server, address) = serve(mode, server_config()).await;
        let config = client_config().capacity(2..=8).take_order(TakeOrder::NewestFirst);
        let client = dial(mode, config, address);
        give_up_at_random(&client, 150).await;
        let calm = |stats: &Stats| stats.idle >= 2 && stats.returning + stats.handshaking == 0;
        let stats = eventually(|| client.stats(), calm).await;
        assert_adds_up(&stats);
        assert!(stats.totals.cancelled > 100, "{stats:#?}");
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquires_that_are_given_up_at_a_server_lose_no_connection() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    give_up_at_random(&server, 150).await;
    let calm = |stats: &Stats| stats.idle >= 4 && stats.returning + stats.handshaking == 0;
    let stats = eventually(|| server.stats(), calm).await;
    assert_adds_up(&stats);
    drop(client);
}

#[tokio::test]
async fn a_dropped_acquire_leaves_its_place_to_the_next() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::None, single().max_connections(1), address);
    let held = client.acquire(SOON).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(client.acquire(SOON));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = Box::pin(client.acquire(SOON));
    assert!(second.as_mut().poll(&mut context).is_pending());
    // Promised to the first, which never comes for it.
    client.put(held).unwrap();
    drop(first);
    let stream = soon(second).await.unwrap();
    assert_eq!(client.stats().totals.reused, 1);
    drop(stream);
}

#[tokio::test]
async fn waiting_for_more_stock_than_there_may_be_is_refused() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let refusal = Refusal::StockBeyondCapacity { wanted: 65, capacity: 64 };
    for answer in
        [client.wait_ready(65, Duration::MAX).await, server.wait_ready(65, Duration::MAX).await]
    {
        assert_eq!(answer, Err(AcquireError::Refused(refusal)));
    }
}

#[tokio::test]
async fn a_zero_timeout_answers_at_once() {
    let (server, _address) = serve(TlsMode::None, server_config()).await;
    let mut context = Context::from_waker(Waker::noop());
    let mut acquire = Box::pin(server.acquire(Duration::ZERO));
    let Poll::Ready(answer) = acquire.as_mut().poll(&mut context) else {
        panic!("a zero timeout waits");
    };
    let why = WaitReason::NoPeer;
    let expected = AcquireError::Timeout { why, last_failure: None };
    assert_eq!(answer.map(|_| ()), Err(expected));
}
