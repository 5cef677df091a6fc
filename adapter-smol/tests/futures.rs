//! Futures of callers that wait: polled by hand, and dropped at any moment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use adapter_smol::pool_proto::tls::TlsMode;
use adapter_smol::pool_proto::{IdFormat, Role, Stats, TakeOrder, WaitReason};
use adapter_smol::{AcquireError, Pool};
use common::{SOON, client_config, dial, eventually, pair, serve, server_config, single, soon};
use smol::future::{FutureExt, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{Executor, block_on};

/// Counts how often a future asked to be polled.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_waiter_is_not_woken_before_there_is_news() {
    block_on(async {
        let (server, address) = serve(TlsMode::None, server_config()).await;
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let count = || calls.0.load(Ordering::Relaxed);
        let mut wait = Box::pin(server.acquire(Duration::MAX));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let peer = TcpStream::connect(address).await.unwrap();
        eventually(count, |count| *count == 1).await;
        let Poll::Ready(answer) = wait.as_mut().poll(&mut Context::from_waker(&waker)) else {
            panic!("woken for nothing");
        };
        drop((answer.unwrap(), peer));
        assert_eq!(count(), 1);
    });
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

/// One of those who give up at any moment, some of them by id.
async fn give_up_at_random<R: Role + Send + 'static>(pool: Pool<R>, seed: u64, rounds: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut last = None;
    for _ in 0..rounds {
        let give_up = async {
            for _ in 0..random.u32(0..20) {
                yield_now().await;
            }
            None
        };
        let take = async {
            let taken = match last {
                Some(id) if seed.is_multiple_of(4) => pool.acquire_by_id(id, SOON).await,
                _ => pool.acquire(SOON).await,
            };
            taken.ok()
        };
        let Some(stream) = give_up.or(take).await else { continue };
        last = Some(stream.id());
        yield_now().await;
        if random.u32(0..8) > 0 {
            pool.put(stream).unwrap();
        }
    }
}

/// Many of them, on two threads.
fn all_give_up_at_random<R: Role + Send + 'static>(pool: &Pool<R>, rounds: u64) {
    let executor = Executor::new();
    let taker = |seed| executor.spawn(give_up_at_random(pool.clone(), seed, rounds));
    let takers: Vec<_> = (0..32).map(taker).collect();
    let all = async {
        for taker in takers {
            taker.await;
        }
    };
    let (done, both) = smol::channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(|| block_on(executor.run(both.recv())));
        block_on(executor.run(soon(all)));
        drop(done);
    });
}

#[test]
fn acquires_that_are_given_up_lose_no_connection() {
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let (server, address) = block_on(serve(mode, server_config()));
        let config = client_config().capacity(2..=8).take_order(TakeOrder::NewestFirst);
        let client = dial(mode, config, address);
        all_give_up_at_random(&client, 150);
        let calm = |stats: &Stats| stats.idle >= 2 && stats.returning + stats.handshaking == 0;
        let stats = block_on(eventually(|| client.stats(), calm));
        assert_adds_up(&stats);
        assert!(stats.totals.cancelled > 100, "{stats:#?}");
        drop(server);
    }
}

#[test]
fn acquires_that_are_given_up_at_a_server_lose_no_connection() {
    let (server, client) = block_on(pair(TlsMode::None, IdFormat::Hex8));
    all_give_up_at_random(&server, 150);
    let calm = |stats: &Stats| stats.idle >= 4 && stats.returning + stats.handshaking == 0;
    let stats = block_on(eventually(|| server.stats(), calm));
    assert_adds_up(&stats);
    drop(client);
}

#[test]
fn a_dropped_acquire_leaves_its_place_to_the_next() {
    block_on(async {
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
    });
}

#[test]
fn a_zero_timeout_answers_at_once() {
    let (server, _address) = block_on(serve(TlsMode::None, server_config()));
    let mut context = Context::from_waker(Waker::noop());
    let mut acquire = Box::pin(server.acquire(Duration::ZERO));
    let Poll::Ready(answer) = acquire.as_mut().poll(&mut context) else {
        panic!("a zero timeout waits");
    };
    let why = WaitReason::NoPeer;
    let expected = AcquireError::Timeout { why, last_failure: None };
    assert_eq!(answer.map(|_| ()), Err(expected));
}

/// The reactor keeps one waker for each direction: the reader's takes the place of the pool's.
#[test]
fn a_read_that_was_given_up_leaves_no_connection_unwatched() {
    block_on(async {
        for mode in [TlsMode::None, TlsMode::SelfSigned] {
            let (server, address) = serve(mode, server_config()).await;
            let client = dial(mode, single().max_connections(1), address);
            for round in 0..20 {
                let mut theirs = client.acquire(SOON).await.unwrap();
                let ours = server.acquire_by_id(theirs.id(), SOON).await.unwrap();
                let mut context = Context::from_waker(Waker::noop());
                let mut buffer = [0];
                assert!(
                    Box::pin(theirs.read(&mut buffer)).as_mut().poll(&mut context).is_pending()
                );
                if round % 2 == 0 {
                    // An event between the two, which the reader's waker gets.
                    let mut ours = ours;
                    ours.write_all(b"x").await.unwrap();
                    ours.flush().await.unwrap();
                    soon(theirs.read(&mut buffer)).await.unwrap();
                    client.put(theirs).unwrap();
                    drop(ours);
                } else {
                    client.put(theirs).unwrap();
                    drop(ours);
                }
                // Nobody asks for it: the pool has heard of the end by itself.
                let gone = |closed: &u64| *closed == round + 1;
                eventually(|| client.stats().totals.peer_closed, gone).await;
            }
        }
    });
}
