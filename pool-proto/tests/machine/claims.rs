//! Connections that the peer has begun to use: claimed, and finished.

use pool_proto::{
    Acquired, Acquirer, Action, CheckKind, CheckResult, ClientConfig, CloseReason, Collected,
    ConfigError, ConnId, Event, IdExchange, Lease, Refusal, WaitReason, WaiterId,
};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

fn server(config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(4, config)
}

#[test]
fn early_data_claims_a_connection_for_an_acquire_by_id() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    assert!(matches!(pool.did()[0], Action::Check { kind: CheckKind::Inspect, .. }));
    pool.checked(CheckResult::Data);
    assert_eq!((pool.stats().claimed, pool.stats().idle), (1, 0));
    let any = pool.queue();
    let Acquired::Ready(lease) = pool.acquire_by_id(peer.id) else { panic!() };
    // After its use it is like any other.
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.collect_lease(any).id, peer.id);
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn quiet_means_ready_again() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    let any = pool.queue();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.collect_lease(any).id, peer.id);
}

#[test]
fn a_claim_that_nobody_asks_for_ends() {
    let mut pool = server(|config| config.claim_timeout(ms(80)));
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.checked(CheckResult::Data);
    pool.pass(ms(79));
    assert_eq!(pool.stats().claimed, 1);
    pool.pass(ms(1));
    assert_eq!(pool.stats().totals.unclaimed, 1);
    assert_eq!(pool.stats().claimed, 0);
}

#[test]
fn a_claimed_connection_that_was_asked_for_waits_for_its_waiter() {
    let mut pool = server(|config| config.claim_timeout(ms(80)));
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    let waiter = pool.queue_by_id(peer.id);
    pool.checked(CheckResult::Data);
    assert_eq!((pool.stats().claimed, pool.stats().leased), (0, 1));
    pool.pass(ms(1000));
    let lease = pool.collect_lease(waiter);
    pool.reject(lease, CheckResult::Data);
    let waiter = pool.queue();
    assert_eq!(pool.collect(waiter), Collected::Waiting, "claimed again");
    assert_eq!(pool.stats().claimed, 1);
}

#[test]
fn a_cancelled_waiter_leaves_a_claimed_connection_claimed() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    let waiter = pool.queue_by_id(peer.id);
    pool.checked(CheckResult::Data);
    pool.cancel(waiter);
    assert!(pool.machine.peer_claims());
    assert_eq!((pool.stats().claimed, pool.stats().idle), (1, 0));
}

#[test]
fn a_claimed_connection_that_ends_holds_no_place_and_is_there_for_its_id() {
    let mut pool = ClientHarness::client(1, 1, |config| config.max_connections(1));
    let ended = pool.dialing()[0];
    let first = pool.connect(ended);
    pool.readable(ended);
    pool.checked(CheckResult::Data);
    assert_eq!(pool.dialing(), [], "it still holds the only place");
    let any = pool.queue();
    pool.readable(ended);
    pool.checked(CheckResult::Finished);
    assert_eq!((pool.stats().claimed, pool.stats().finished), (0, 1));
    let dialing = pool.dialing()[0];
    let second = pool.connect(dialing);
    assert_eq!(pool.collect_lease(any).id, second);
    let Acquired::Ready(lease) = pool.acquire_by_id(first) else { panic!() };
    assert_eq!(lease.token, ended);
    // It is of no use to anybody else.
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Finished);
    assert_eq!(pool.ended(CloseReason::PeerClosed), 1);
}

#[test]
fn a_finished_connection_that_nobody_asks_for_ends_with_its_claim() {
    let mut pool = server(|config| config.claim_timeout(ms(80)));
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.checked(CheckResult::Finished);
    pool.pass(ms(79));
    assert_eq!(pool.stats().finished, 1);
    pool.pass(ms(1));
    assert_eq!((pool.stats().finished, pool.stats().totals.peer_closed), (0, 1));
}

#[test]
fn data_that_trickles_in_does_not_prolong_a_claim() {
    let mut pool = server(|config| config.claim_timeout(ms(80)));
    let peer = pool.join("10.0.0.1");
    for _ in 0..2 {
        pool.readable(peer.token);
        pool.checked(CheckResult::Data);
        pool.pass(ms(40));
    }
    pool.readable(peer.token);
    pool.checked(CheckResult::Data);
    assert_eq!((pool.stats().claimed, pool.stats().totals.unclaimed), (0, 1));
}

#[test]
fn a_waiter_for_any_connection_gets_no_finished_one() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take();
    pool.reject(lease, CheckResult::Finished);
    let any = pool.queue();
    assert_eq!(pool.collect(any), Collected::Waiting);
    let Acquired::Ready(lease) = pool.acquire_by_id(peer.id) else { panic!() };
    assert_eq!(lease.token, peer.token);
}

#[test]
fn the_oldest_of_too_many_finished_connections_ends() {
    let mut pool = ServerHarness::server(100, |config| config);
    for number in 0..201 {
        let peer = pool.join(&format!("10.0.1.{number}"));
        pool.readable(peer.token);
        pool.checked(CheckResult::Finished);
    }
    assert_eq!((pool.stats().finished, pool.stats().totals.peer_closed), (200, 1));
}

#[test]
fn without_id_exchange_early_data_claims_nothing() {
    let mut pool = ClientHarness::client(1, 1, |config| config.ids(IdExchange::None));
    let token = pool.dialing()[0];
    pool.dialed(token);
    pool.established(token, None);
    assert!(!pool.machine.peer_claims());
    pool.readable(token);
    pool.checked(CheckResult::Data);
    assert_eq!((pool.stats().claimed, pool.stats().idle), (0, 1));
    assert_eq!(pool.take().token, token);
}

#[test]
fn a_lease_rejected_for_data_is_claimed_and_for_nothing_ready() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take();
    pool.reject(lease, CheckResult::Quiet);
    assert_eq!(pool.stats().idle, 1);
    let lease = pool.take();
    pool.reject(lease, CheckResult::Data);
    assert_eq!((pool.stats().claimed, pool.stats().idle), (1, 0));
    let Acquired::Ready(lease) = pool.acquire_by_id(peer.id) else { panic!() };
    pool.reject(lease, CheckResult::Closed);
    assert_eq!(pool.stats().finished, 1);
    assert_eq!(pool.stats().totals.reused, 0, "nobody has used it");
}

// --- ended without data -------------------------------------------------------------------------

#[test]
fn a_connection_that_ends_without_data_is_there_for_its_id_only() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.checked(CheckResult::Closed);
    assert_eq!((pool.stats().idle, pool.stats().finished), (0, 1));
    let waiter = pool.queue();
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    let Acquired::Ready(lease) = pool.acquire_by_id(peer.id) else { panic!() };
    assert_eq!(lease.token, peer.token);
}

#[test]
fn a_lease_rejected_as_closed_is_there_for_its_id() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take();
    pool.reject(lease, CheckResult::Closed);
    let Acquired::Ready(_) = pool.acquire_by_id(peer.id) else { panic!() };
}

#[test]
fn a_waiter_for_the_id_gets_a_connection_that_ends_without_data() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    let waiter = pool.queue_by_id(peer.id);
    pool.checked(CheckResult::Closed);
    assert_eq!(pool.collect_lease(waiter).token, peer.token);
}

#[test]
fn an_end_without_data_is_forgotten_after_the_claim_timeout() {
    let mut pool = server(|config| config.claim_timeout(ms(80)));
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.checked(CheckResult::Closed);
    pool.pass(ms(80));
    assert_eq!((pool.stats().finished, pool.ended(CloseReason::PeerClosed)), (0, 1));
    let (id, reason) = (peer.id, CloseReason::PeerClosed);
    assert_eq!(pool.acquire_by_id(id), Acquired::Refused(Refusal::Gone { id, reason }));
}

#[test]
fn a_driver_without_descriptors_ends_the_finished_connections_only() {
    let mut pool = server(|config| config);
    let [ended, claimed, idle] = ["10.0.0.1"; 3].map(|source| pool.join(source));
    for (peer, result) in [(&ended, CheckResult::Closed), (&claimed, CheckResult::Data)] {
        pool.readable(peer.token);
        pool.checked(result);
    }
    assert_eq!(pool.end_finished(), 1);
    let (id, reason) = (ended.id, CloseReason::PeerClosed);
    assert_eq!(pool.acquire_by_id(id), Acquired::Refused(Refusal::Gone { id, reason }));
    assert_eq!((pool.stats().claimed, pool.idle()), (1, vec![idle.token]));
    assert_eq!(pool.end_finished(), 0);
}

#[test]
fn a_peer_may_reuse_the_id_of_a_connection_that_has_ended() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    let first = pool.dialing()[0];
    let taken = pool.connect(first);
    pool.readable(first);
    pool.checked(CheckResult::Closed);
    pool.pass(ms(1000));
    let second = pool.dialing()[0];
    pool.dialed(second);
    pool.established(second, Some(taken));
    assert_eq!((pool.stats().finished, pool.stats().idle), (0, 1));
    assert_eq!(pool.ended(CloseReason::DuplicateId), 0);
}

#[test]
fn a_control_connection_that_ends_without_data_makes_room_for_the_next() {
    let mut pool = ClientHarness::client(1, 1, |config| config.control_connection(true));
    let first = pool.dialing()[0];
    pool.dialed(first);
    pool.established(first, Some(ConnId::ZERO));
    pool.readable(first);
    pool.checked(CheckResult::Closed);
    assert_eq!((pool.stats().claimed, pool.stats().finished), (0, 0));
}

// --- accepting what the peer has begun to use ---------------------------------------------------------

/// The peer of this connection has begun to use it.
fn begin(pool: &mut ServerHarness, peer: &Admission, result: CheckResult) {
    pool.readable(peer.token);
    pool.checked(result);
}

fn accept_lease(pool: &mut ServerHarness) -> Lease<u32> {
    let Acquired::Ready(lease) = pool.acquire_claimed() else { panic!("nothing has begun") };
    lease
}

fn accept_later(pool: &mut ServerHarness) -> WaiterId {
    let Acquired::Queued(waiter) = pool.acquire_claimed() else { panic!("it does not wait") };
    waiter
}

#[test]
fn what_the_peer_has_begun_to_use_is_accepted_in_its_order() {
    let mut pool = server(|config| config);
    let peers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| pool.join(peer));
    begin(&mut pool, &peers[1], CheckResult::Data);
    begin(&mut pool, &peers[2], CheckResult::Finished);
    begin(&mut pool, &peers[0], CheckResult::Data);
    for peer in [1, 2, 0] {
        assert_eq!(accept_lease(&mut pool).id, peers[peer].id);
    }
    // A ready connection that nobody has begun to use is for callers that acquire any.
    let ready = pool.join("10.0.0.4");
    let waiter = accept_later(&mut pool);
    assert_eq!(pool.take().id, ready.id);
    assert_eq!(pool.collect(waiter), Collected::Waiting);
}

#[test]
fn callers_that_accept_are_served_in_order_by_the_first_byte() {
    let mut pool = server(|config| config);
    let peers = ["10.0.0.1", "10.0.0.2"].map(|peer| pool.join(peer));
    let waiters = [(); 2].map(|()| accept_later(&mut pool));
    assert!(matches!(pool.wait_ready(3), pool_proto::Stock::Queued(_)));
    assert_eq!((pool.stats().waiters, pool.stats().accept_waiters), (3, 2));
    assert_eq!(pool.machine.why(waiters[0]), Some(WaitReason::NotClaimed { ready: 2 }));
    begin(&mut pool, &peers[1], CheckResult::Quiet);
    assert_eq!(pool.collect(waiters[0]), Collected::Waiting);
    begin(&mut pool, &peers[1], CheckResult::Data);
    begin(&mut pool, &peers[0], CheckResult::Data);
    assert_eq!(pool.collect_lease(waiters[0]).id, peers[1].id);
    assert_eq!(pool.collect_lease(waiters[1]).id, peers[0].id);
    // They have waited for the peers' users, and not for connections.
    let totals = pool.stats().totals;
    assert_eq!((totals.served_at_once, totals.served_after_waiting), (2, 0));
}

#[test]
fn an_end_without_data_is_not_accepted() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    begin(&mut pool, &peer, CheckResult::Closed);
    let waiter = accept_later(&mut pool);
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    assert_eq!(pool.take_by_id(peer.id).id, peer.id);
}

#[test]
fn a_waiter_for_the_id_comes_before_one_that_accepts() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let accepts = accept_later(&mut pool);
    pool.readable(peer.token);
    let by_id = pool.queue_by_id(peer.id);
    pool.checked(CheckResult::Data);
    assert_eq!(pool.collect(accepts), Collected::Waiting);
    assert_eq!(pool.collect_lease(by_id).id, peer.id);
}

#[test]
fn a_caller_whose_accepted_connection_has_ended_gets_the_next_one() {
    let mut pool = server(|config| config);
    let peers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| pool.join(peer));
    let waiter = accept_later(&mut pool);
    begin(&mut pool, &peers[0], CheckResult::Data);
    begin(&mut pool, &peers[1], CheckResult::Data);
    begin(&mut pool, &peers[2], CheckResult::Finished);
    pool.closed(peers[0].token);
    pool.closed(peers[1].token);
    assert_eq!(pool.collect_lease(waiter).id, peers[2].id);
}

#[test]
fn a_cancelled_caller_leaves_its_connection_to_the_next_one_that_accepts() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let waiters = [(); 2].map(|()| accept_later(&mut pool));
    begin(&mut pool, &peer, CheckResult::Data);
    pool.cancel(waiters[0]);
    assert_eq!(pool.collect_lease(waiters[1]).id, peer.id);
}

#[test]
fn the_control_connection_is_not_accepted() {
    let mut pool = server(|config| config.control_connection(true));
    let control = pool.join("10.0.0.1");
    assert_eq!(control.id, ConnId::ZERO);
    let waiter = accept_later(&mut pool);
    begin(&mut pool, &control, CheckResult::Data);
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    let other = pool.join("10.0.0.2");
    begin(&mut pool, &other, CheckResult::Data);
    assert_eq!(pool.collect_lease(waiter).id, other.id);
}

#[test]
fn where_the_peer_acquires_nothing_an_accept_is_refused() {
    let mut pool = server(|config| config.acquirer(Acquirer::ThisEnd));
    assert_eq!(pool.acquire_claimed(), Acquired::Refused(Refusal::PeerNeverAcquires));
    let mut pool = ClientHarness::client(1, 1, |config| config.ids(IdExchange::None));
    assert_eq!(pool.acquire_claimed(), Acquired::Refused(Refusal::PeerNeverAcquires));
}

#[test]
fn in_a_shutdown_what_has_begun_is_accepted_and_then_nothing() {
    let mut pool = server(|config| config);
    let peers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| pool.join(peer));
    begin(&mut pool, &peers[0], CheckResult::Data);
    pool.readable(peers[1].token);
    let first = accept_lease(&mut pool);
    let waiter = accept_later(&mut pool);
    pool.graceful_shutdown(None);
    // It may still turn out to be in use at the peer.
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    pool.checked(CheckResult::Data);
    let second = pool.collect_lease(waiter);
    assert_eq!(second.id, peers[1].id);
    assert_eq!(pool.acquire_claimed(), Acquired::Refused(Refusal::ShuttingDown));
    pool.release(first);
    pool.release(second);
    assert_eq!(pool.acquire_claimed(), Acquired::Refused(Refusal::PoolClosed));
}

#[test]
fn without_a_listener_a_caller_that_accepts_waits_for_as_long_as_there_is_a_connection() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let waiter = accept_later(&mut pool);
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    pool.closed(peer.token);
    assert_eq!(pool.collect(waiter), Collected::Refused(Refusal::AcceptEnded));
}

#[test]
fn a_caller_that_accepts_does_not_hold_up_the_dials_nor_ask_for_more() {
    let mut pool = ClientHarness::client(2, 2, |config| config.acquirer(Acquirer::Peer));
    let Acquired::Queued(waiter) = pool.acquire_claimed() else { panic!() };
    assert!(matches!(pool.machine.why(waiter), Some(WaitReason::Dialing { in_flight: 2 })));
    assert_eq!(pool.stats().dialing, 2);
}

// --- opening bytes ------------------------------------------------------------------------------------

fn opening_server() -> ServerHarness {
    server(|config| config.opening_byte(true))
}

#[test]
fn with_opening_bytes_an_acquire_by_id_waits_until_the_peer_has_begun() {
    let mut pool = opening_server();
    let peer = pool.join("10.0.0.1");
    let waiter = pool.queue_by_id(peer.id);
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::IdNotBegun));
    begin(&mut pool, &peer, CheckResult::Data);
    assert_eq!(pool.collect_lease(waiter).id, peer.id);
}

#[test]
fn with_opening_bytes_a_waiter_for_an_id_is_refused_when_this_end_acquires_the_connection() {
    let mut pool = opening_server();
    let id = pool.join("10.0.0.1").id;
    let waiter = pool.queue_by_id(id);
    let lease = pool.take();
    assert_eq!(lease.id, id);
    let refused = Refusal::AcquiredHere { id };
    assert_eq!(pool.collect(waiter), Collected::Refused(refused));
    assert_eq!(pool.acquire_by_id(id), Acquired::Refused(refused));
}

#[test]
fn with_opening_bytes_an_unused_connection_that_ended_is_had_by_its_id() {
    let mut pool = opening_server();
    let peer = pool.join("10.0.0.1");
    let waiter = pool.queue_by_id(peer.id);
    begin(&mut pool, &peer, CheckResult::Closed);
    assert_eq!(pool.collect_lease(waiter).id, peer.id);
}

#[test]
fn an_opening_byte_needs_a_peer_that_is_a_pool_of_this_package() {
    let needs = |needed| Err(ConfigError::Needs { setting: "opening_byte", needed });
    let config = ClientConfig::builder().opening_byte(true);
    let without = config.clone().ids(IdExchange::None).build();
    assert_eq!(without.map(drop), needs("a peer that is a pool, and ids"));
    let control = config.control_connection(true).build();
    assert_eq!(control.map(drop), needs("a pool without a control connection"));
}
