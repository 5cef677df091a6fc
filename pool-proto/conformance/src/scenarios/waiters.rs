//! Waiters: woken at once, served in order, and cancelled without losing a connection.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, both_ends_by_id, client_config, each, server_config, single};
use crate::peers::{FakeServer, connect, hex_id};
use crate::prelude::*;
use crate::wait::{send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{ConnId, Refusal, Stats, TakeOrder, WaitReason};

topic! {
    exclusive a_waiter_by_id_is_woken_when_its_connection_arrives,
    exclusive deadlines_are_kept,
    parallel a_waiter_for_any_connection_is_woken_when_one_arrives,
    parallel hundreds_of_waiters_are_all_served,
    parallel waiters_are_served_in_order,
    parallel a_timeout_names_the_limit_that_all_leases_reach,
    parallel waiters_beyond_the_limit_are_refused,
    parallel a_cancelled_waiter_loses_no_connection,
    parallel a_cancelled_waiter_leaves_its_turn_to_the_next,
    parallel a_cancelled_waiter_by_id_leaves_the_connection_in_the_pool,
    parallel wait_ready_beyond_the_capacity_is_refused,
    parallel a_zero_timeout_answers_at_once,
    parallel a_timeout_at_a_server_says_that_no_peer_was_connecting,
    parallel connections_are_taken_in_the_configured_order,
}

fn a_waiter_by_id_is_woken_when_its_connection_arrives(ends: &Ends) {
    const ROUNDS: usize = 100;
    let (fake, peers) = FakeServer::by_hand();
    let client = ends.dial(TlsMode::None, single(), fake.address);
    let mut latencies = Vec::new();
    for number in 0..ROUNDS {
        let mut peer = peers.recv_timeout(SOON).unwrap();
        let text = hex_id(number);
        let id: ConnId = text.parse().unwrap();
        let taker = client.clone_handle();
        let waits = spawn(move || {
            let stream = taker.acquire_by_id(id, Duration::MAX).unwrap();
            (now(), stream)
        });
        eventually(|| client.stats(), |stats| stats.waiters == 1);
        let sent = now();
        send(&mut peer, text.as_bytes());
        let (woken, stream) = waits.soon();
        assert_eq!(stream.id(), id);
        latencies.push(woken - sent);
    }
    latencies.sort_unstable();
    // The median, because a machine with other load is late at times.
    assert!(latencies[ROUNDS / 2] < Duration::from_millis(50), "{latencies:?}");
}

/// A deadline is never early, and at most 50 ms late. A machine with other load may be later, so
/// each timeout has ten tries.
fn deadlines_are_kept(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, _theirs) = both_ends_by_id(&server, &client);
    let without_peers = ends.serve(TlsMode::None, server_config());
    type Wait<'a> = &'a dyn Fn(Duration) -> Result<(), AcquireError>;
    let waits: [(&str, Wait<'_>); 4] = [
        ("any", &|timeout| without_peers.acquire(timeout).map(drop)),
        ("by id, at a server", &|timeout| server.acquire_by_id(ours.id(), timeout).map(drop)),
        ("by id, at a client", &|timeout| client.acquire_by_id(ConnId::ZERO, timeout).map(drop)),
        ("stock", &|timeout| without_peers.wait_ready(1, timeout)),
    ];
    for (name, wait) in waits {
        for timeout in [1, 10, 50, 150].map(Duration::from_millis) {
            let in_time = (0..10).any(|_| {
                let begun = now();
                let error = wait(timeout).unwrap_err();
                let took = begun.elapsed();
                assert!(matches!(error, AcquireError::Timeout { .. }), "{name}: {error}");
                assert!(took >= timeout, "{name}: {timeout:?} were over after {took:?}");
                took - timeout < Duration::from_millis(50)
            });
            assert!(in_time, "{name}: {timeout:?} took 50 ms more, again and again");
        }
    }
}

fn a_waiter_for_any_connection_is_woken_when_one_arrives(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let waiter = server.clone_handle();
    let wait = spawn(move || waiter.acquire(Duration::MAX).unwrap());
    eventually(|| server.stats(), |stats| stats.waiters == 1);
    let client = ends.dial(TlsMode::SelfSigned, single(), server.address());
    let stream = wait.soon();
    assert_eq!(client.take_id(stream.id()).id(), stream.id());
    assert_eq!(server.stats().totals.served_after_waiting, 1);
}

fn hundreds_of_waiters_are_all_served(ends: &Ends) {
    let (_server, client) = ends.hex_pair(TlsMode::None);
    let takers: Vec<_> = (0..300)
        .map(|_| {
            let client = client.clone_handle();
            spawn(move || {
                let stream = client.take();
                thread::yield_now();
                client.put(stream).unwrap();
            })
        })
        .collect();
    for taker in takers {
        taker.soon();
    }
    let stats = client.stats();
    assert_eq!((stats.totals.leases, stats.leased, stats.waiters), (300, 0, 0));
}

fn waiters_are_served_in_order(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, single().max_connections(1), server.address());
    let leased = client.take();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut takers = Vec::new();
    for number in 0..20 {
        let (taker, order) = (client.clone_handle(), Arc::clone(&order));
        takers.push(spawn(move || {
            let stream = taker.take();
            order.lock().unwrap().push(number);
            taker.put(stream).unwrap();
        }));
        eventually(|| client.stats(), |stats| stats.waiters == number + 1);
    }
    client.put(leased).unwrap();
    for taker in takers {
        taker.soon();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

fn a_timeout_names_the_limit_that_all_leases_reach(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, single().max_connections(1), server.address());
    let _leased = client.take();
    let error = client.acquire(Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains("raise max_connections"), "{error}");
    let why = WaitReason::AllInUse { leased: 1, claimed: 0 };
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
}

fn waiters_beyond_the_limit_are_refused(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().max_waiters(1));
    let first = server.clone_handle();
    let first = spawn(move || first.acquire(Duration::MAX).map(drop));
    eventually(|| server.stats(), |stats| stats.waiters == 1);
    let error = server.acquire(SOON).unwrap_err();
    assert!(error.to_string().contains("raise max_waiters"), "{error}");
    assert_eq!(error, AcquireError::Refused(Refusal::TooManyWaiters { limit: 1 }));
    server.close();
    assert_eq!(first.soon(), Err(AcquireError::Refused(Refusal::PoolClosed)));
}

/// Checks that every connection that was established is still in the pool, leased, or counted as
/// ended.
pub(in super::super) fn assert_adds_up(stats: &Stats) {
    let totals = stats.totals;
    let ended = totals.released
        + totals.peer_closed
        + totals.overflowed
        + totals.leftover
        + totals.drain_timeouts
        + totals.unclaimed
        + totals.cleaned
        + totals.evicted;
    let pooled = stats.idle + stats.claimed + stats.finished;
    let there = u64::from(pooled + stats.leased + stats.returning);
    assert_eq!(totals.established, ended + there, "{stats:#?}");
    assert_eq!((stats.waiters, stats.leased), (0, 0), "{stats:#?}");
    // Not equal: a lease that was returned unused, because the peer had claimed the connection,
    // counts as a lease only.
    assert!(totals.leases >= totals.put + totals.released, "{stats:#?}");
}

/// Acquires and cancels at random moments on 16 threads, on every fourth by id.
fn acquire_and_cancel_at_random(pool: &Arc<dyn Pool>) {
    let takers: Vec<_> = (0..16)
        .map(|seed| {
            let pool = pool.clone_handle();
            spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut last = None;
                for _ in 0..60 {
                    let after = Duration::from_micros(random.u64(0..8) * 250);
                    let id = last.filter(|_| seed % 4 == 0);
                    let Some(stream) = pool.acquire_then_cancel(id, after) else { continue };
                    last = Some(stream.id());
                    thread::yield_now();
                    if random.u32(0..8) > 0 {
                        pool.put(stream).unwrap();
                    }
                }
            })
        })
        .collect();
    for taker in takers {
        taker.soon();
    }
}

fn a_cancelled_waiter_loses_no_connection(ends: &Ends) {
    let table: Vec<_> =
        Modes::BOTH.into_iter().flat_map(|mode| [(mode, "client"), (mode, "server")]).collect();
    each(&table, |(mode, at)| {
        let server = ends.serve(*mode, server_config());
        // So few connections that most acquires wait.
        let config = client_config().capacity(2..=2).max_connections(3);
        let client = ends.dial(*mode, config.take_order(TakeOrder::NewestFirst), server.address());
        client.wait_ready(2, SOON).unwrap();
        let pool = if *at == "client" { &client } else { &server };
        acquire_and_cancel_at_random(pool);
        let calm = |stats: &Stats| stats.idle >= 2 && stats.returning + stats.handshaking == 0;
        let stats = eventually(|| pool.stats(), calm);
        assert_adds_up(&stats);
        assert!(stats.totals.cancelled > 20, "{stats:#?}");
    });
}

fn a_cancelled_waiter_leaves_its_turn_to_the_next(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, single().max_connections(1), server.address());
    let leased = client.take();
    let (first, second) = (client.clone_handle(), client.clone_handle());
    let first =
        spawn(move || first.acquire_then_cancel(None, Duration::from_millis(100)).is_none());
    // On a busy machine, the first waiter may have been cancelled already.
    let queued = |stats: &Stats| u64::from(stats.waiters) + stats.totals.cancelled == 1;
    eventually(|| client.stats(), queued);
    let second = spawn(move || second.take());
    assert!(first.soon());
    eventually(|| client.stats(), |stats| stats.waiters == 1);
    client.put(leased).unwrap();
    let _stream = second.soon();
    let totals = client.stats().totals;
    assert_eq!((totals.reused, totals.cancelled), (1, 1));
}

fn a_cancelled_waiter_by_id_leaves_the_connection_in_the_pool(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends(&server, &client);
    assert!(client.acquire_then_cancel(Some(ours.id()), Duration::from_millis(5)).is_none());
    assert_eq!(client.stats().waiters, 0);
    client.put(theirs).unwrap();
    assert_eq!(client.acquire_then_cancel(Some(ours.id()), SOON).unwrap().id(), ours.id());
}

fn wait_ready_beyond_the_capacity_is_refused(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    for (pool, capacity) in [(client, 64), (server, 1024)] {
        let wanted = capacity + 1;
        let refusal = Refusal::StockBeyondCapacity { wanted, capacity };
        let error = pool.wait_ready(wanted, SOON).unwrap_err();
        assert!(error.to_string().contains(&format!("{wanted} ready connections")), "{error}");
        assert_eq!(error, AcquireError::Refused(refusal));
    }
}

fn a_zero_timeout_answers_at_once(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    server.wait_ready(1, SOON).unwrap();
    let before = now();
    let ours = server.acquire(Duration::ZERO).unwrap();
    client.take_id(ours.id());
    let without_peers = ends.serve(TlsMode::None, server_config());
    for _ in 0..100 {
        assert!(without_peers.acquire(Duration::ZERO).is_err());
        assert!(without_peers.wait_ready(1, Duration::ZERO).is_err());
        assert!(client.acquire_by_id(ConnId::ZERO, Duration::ZERO).is_err());
    }
    // A timer would take a millisecond or more for each of the 300 calls.
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

fn a_timeout_at_a_server_says_that_no_peer_was_connecting(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let moment = Duration::from_millis(20);
    let error = server.acquire(moment).unwrap_err();
    assert_eq!(error.to_string(), "no connection in time: no peer was connecting");
    assert_eq!(error, AcquireError::Timeout { why: WaitReason::NoPeer, last_failure: None });
    let why = WaitReason::Stock { idle: 0, wanted: 3 };
    let error = server.wait_ready(3, moment).unwrap_err();
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
    let _silent = connect(server.address());
    eventually(|| server.stats(), |stats| stats.handshaking == 1);
    let why = WaitReason::Handshaking { in_flight: 1 };
    let error = server.acquire(moment).unwrap_err();
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
}

fn connections_are_taken_in_the_configured_order(ends: &Ends) {
    each(&[TakeOrder::OldestFirst, TakeOrder::NewestFirst], |order| {
        let fake = FakeServer::greeting("");
        let config = client_config().capacity(3..=3).max_dials(1).take_order(*order);
        let client = ends.dial(TlsMode::None, config, fake.address);
        client.wait_ready(3, SOON).unwrap();
        // With one dial at a time, ids are in the order in which their connections were established.
        let number = if *order == TakeOrder::OldestFirst { 0 } else { 2 };
        assert_eq!(client.take().id().to_string(), hex_id(number));
    });
}
