//! Waiters: their requests, the order in which they are served, and their outcomes.

use pool_proto::{
    Acquired, Action, CheckResult, CloseReason, Collected, ConnId, Event, HandshakeFailure,
    Refusal, Stock, Token, WaitOutcome, WaitReason, WaiterId,
};
use pool_testkit::call::TestRole;
use pool_testkit::harness::*;

fn client(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config)
}

fn server(capacity: u32) -> ServerHarness {
    ServerHarness::server(capacity, |config| config)
}

fn stock<R: TestRole>(pool: &mut Harness<R>, ready: u32) -> WaiterId {
    match pool.wait_ready(ready) {
        Stock::Queued(waiter) => waiter,
        other => panic!("{other:?}"),
    }
}

/// Three waiters for any connection, of which each has been given one.
fn three_granted() -> (ServerHarness, Vec<WaiterId>, Vec<(Token, ConnId)>) {
    let mut pool = server(8);
    let waiters = vec![pool.queue(), pool.queue(), pool.queue()];
    let mut made = Vec::new();
    for waiter in &waiters {
        let admission = pool.join("10.0.0.1");
        assert_eq!(pool.did(), [Action::Wake { waiter: *waiter }]);
        made.push((admission.token, admission.id));
    }
    (pool, waiters, made)
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let (mut pool, waiters, made) = three_granted();
    assert_eq!(pool.stats().waiters, 0);
    assert_eq!(pool.stats().leased, 3);
    for at in [2, 0, 1] {
        let lease = pool.collect_lease(waiters[at]);
        assert_eq!((lease.token, lease.id), made[at]);
        assert_eq!(pool.collect(waiters[at]), Collected::Unknown);
    }
    assert_eq!(pool.stats().totals.served_after_waiting, 3);
    assert_eq!(pool.stats().totals.served_at_once, 0);
}

#[test]
fn open_waiters_have_small_slots_of_their_own_that_are_used_again() {
    let mut pool = server(1);
    let waiters = [pool.queue(), pool.queue(), pool.queue()];
    assert_eq!(waiters.map(WaiterId::slot), [0, 1, 2]);
    pool.cancel(waiters[1]);
    let next = pool.queue();
    assert_eq!(next.slot(), 1);
    assert_ne!(next, waiters[1]);
}

#[test]
fn a_waiter_by_id_comes_before_one_for_any() {
    let mut pool = server(4);
    let any = pool.queue();
    let (a, b) = (pool.admit("10.0.0.1").unwrap(), pool.admit("10.0.0.1").unwrap());
    let by_id = pool.queue_by_id(b.id);
    assert_eq!(pool.machine.why(by_id), Some(WaitReason::IdHandshaking));
    pool.established(b.token, None);
    assert_eq!(pool.did(), [Action::Wake { waiter: by_id }]);
    assert_eq!(pool.collect_lease(by_id).id, b.id);
    pool.established(a.token, None);
    assert_eq!(pool.collect_lease(any).id, a.id);
}

#[test]
fn on_a_client_an_id_can_be_waited_for_before_it_comes() {
    let mut pool = client(2, 2);
    let waiter = pool.queue_by_id(id(2));
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::IdNotSeen));
    let tokens = pool.dialing();
    assert_eq!(pool.connect(tokens[0]), id(1));
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    assert_eq!(pool.connect(tokens[1]), id(2));
    assert_eq!(pool.collect_lease(waiter).id, id(2));
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn on_a_server_an_unknown_id_is_refused_at_once() {
    let mut pool = server(2);
    let gone = pool.join("10.0.0.1");
    pool.closed(gone.token);
    let refused = Refusal::Gone { id: gone.id, reason: CloseReason::PeerClosed };
    assert_eq!(pool.acquire_by_id(gone.id), Acquired::Refused(refused));
    for id in [id(0), id(12345)] {
        let refused = Acquired::Refused(Refusal::UnknownId { id });
        assert_eq!(pool.acquire_by_id(id), refused);
    }
    assert_eq!(pool.stats().totals.refused, 3);
}

#[test]
fn a_connection_in_use_can_be_waited_for_by_id_and_comes_drained() {
    let mut pool = client(1, 1);
    pool.fill();
    let lease = pool.take_by_id(id(1));
    let (token, id) = (lease.token, lease.id);
    pool.fill();
    let waiters = [pool.queue_by_id(id), pool.queue_by_id(id)];
    assert_eq!(pool.machine.why(waiters[0]), Some(WaitReason::IdLeased));
    pool.put(lease).unwrap();
    assert_eq!(pool.machine.why(waiters[0]), Some(WaitReason::IdChecking));
    assert_eq!(pool.checked(CheckResult::Quiet), token);
    let lease = pool.collect_lease(waiters[0]);
    assert_eq!(lease.id, id);
    assert_eq!(pool.collect(waiters[1]), Collected::Waiting);
    assert_eq!(pool.machine.why(waiters[1]), Some(WaitReason::IdLeased));
    // Its holder ends it: the other one need not wait.
    pool.release(lease);
    let reason = CloseReason::Released;
    assert_eq!(pool.did()[0], Action::Wake { waiter: waiters[1] });
    let gone = Collected::Refused(Refusal::Gone { id, reason });
    assert_eq!(pool.collect(waiters[1]), gone);
}

#[test]
fn a_connection_that_is_looked_at_can_be_waited_for_by_id() {
    let mut pool = server(2);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    let any = pool.queue();
    let by_id = pool.queue_by_id(peer.id);
    assert_eq!(pool.machine.why(by_id), Some(WaitReason::IdChecking));
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.collect_lease(by_id).id, peer.id);
    assert_eq!(pool.collect(any), Collected::Waiting);
}

#[test]
fn a_handshake_that_fails_refuses_those_who_wait_for_its_id() {
    let mut pool = server(2);
    let peer = pool.admit("10.0.0.1").unwrap();
    let waiter = pool.queue_by_id(peer.id);
    pool.handshake_failed(peer.token, HandshakeFailure::Tls);
    let (id, reason) = (peer.id, CloseReason::HandshakeFailed);
    let gone = Collected::Refused(Refusal::Gone { id, reason });
    assert_eq!(pool.collect(waiter), gone);
    assert_eq!(pool.stats().totals.refused, 1);
}

// --- giving up ----------------------------------------------------------------------------------

#[test]
fn a_waiter_that_gives_up_is_told_what_it_waited_for_and_is_passed_over() {
    let mut pool = server(2);
    let (first, second) = (pool.queue(), pool.queue());
    let nobody = WaitOutcome::Waiting(WaitReason::NoPeer);
    assert_eq!(pool.cancel(first), nobody);
    assert_eq!(pool.cancel(first), WaitOutcome::Unknown);
    let peer = pool.admit("10.0.0.1").unwrap();
    let why = pool.machine.why(second);
    assert_eq!(why, Some(WaitReason::Handshaking { in_flight: 1 }));
    pool.established(peer.token, None);
    assert_eq!(pool.collect_lease(second).token, peer.token);
    assert_eq!(pool.stats().totals.cancelled, 1);
}

#[test]
fn a_waiter_that_times_out_is_counted_by_the_reason_of_its_wait() {
    let mut pool = server(2);
    let (first, second, third) = (pool.queue(), pool.queue(), pool.queue());
    assert_eq!(pool.time_out(first), WaitOutcome::Waiting(WaitReason::NoPeer));
    assert_eq!(pool.time_out(first), WaitOutcome::Unknown);
    let peer = pool.admit("10.0.0.1").unwrap();
    let why = WaitReason::Handshaking { in_flight: 1 };
    assert_eq!(pool.time_out(second), WaitOutcome::Waiting(why));
    pool.established(peer.token, None);
    // Granted in time, though its caller gives up.
    assert_eq!(pool.time_out(third), WaitOutcome::Granted);
    let totals = pool.stats().totals;
    let counted: Vec<_> =
        totals.timeouts.by_reason().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("handshaking", 1), ("no_peer", 1)]);
    assert_eq!((totals.cancelled, totals.timeouts.total()), (3, 2));
}

#[test]
fn the_grant_of_a_cancelled_waiter_goes_to_the_next_or_back_into_the_pool() {
    let (mut pool, waiters, made) = three_granted();
    let next = pool.queue();
    assert_eq!(pool.cancel(waiters[1]), WaitOutcome::Granted);
    assert_eq!(pool.did(), [Action::Wake { waiter: next }]);
    assert_eq!(pool.collect_lease(next).token, made[1].0);
    assert_eq!(pool.cancel(waiters[0]), WaitOutcome::Granted);
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.take().token, made[0].0);
    assert_eq!(pool.stats().totals.cancelled, 2);
}

#[test]
fn a_waiter_that_was_refused_can_give_up_too() {
    let mut pool = server(2);
    let peer = pool.admit("10.0.0.1").unwrap();
    let waiter = pool.queue_by_id(peer.id);
    pool.handshake_failed(peer.token, HandshakeFailure::Transport);
    let (id, reason) = (peer.id, CloseReason::HandshakeFailed);
    let refused = WaitOutcome::Refused(Refusal::Gone { id, reason });
    assert_eq!(pool.cancel(waiter), refused);
    assert_eq!(pool.stats().totals.cancelled, 0);
    assert_eq!(pool.collect(waiter), Collected::Unknown);
}

// --- connections that end before they are collected ---------------------------------------------

#[test]
fn waiters_whose_connections_were_flushed_are_first_again_in_their_order() {
    let (mut pool, waiters, _) = three_granted();
    let later = pool.queue();
    assert_eq!(pool.flush(), 3);
    assert_eq!(pool.stats().waiters, 4);
    for waiter in [waiters[0], waiters[1], waiters[2], later] {
        assert_eq!(pool.collect(waiter), Collected::Waiting);
        let peer = pool.join("10.0.0.1");
        assert_eq!(pool.did(), [Action::Wake { waiter }]);
        assert_eq!(pool.collect_lease(waiter).token, peer.token);
    }
}

#[test]
fn a_waiter_whose_connection_ended_takes_one_that_is_ready() {
    let mut pool = server(4);
    let waiter = pool.queue();
    let (first, second) = (pool.join("10.0.0.1"), pool.join("10.0.0.1"));
    assert_eq!(pool.stats().idle, 1);
    pool.closed(first.token);
    assert_eq!(pool.did()[1], Action::Wake { waiter });
    assert_eq!(pool.collect_lease(waiter).token, second.token);
}

#[test]
fn a_waiter_whose_connection_ended_is_refused_when_nobody_can_come() {
    let mut pool = server(4);
    let waiter = pool.queue();
    let peer = pool.join("10.0.0.1");
    pool.event(Event::AcceptEnded);
    pool.closed(peer.token);
    assert_eq!(pool.did()[1], Action::Wake { waiter });
    let refused = Collected::Refused(Refusal::AcceptEnded);
    assert_eq!(pool.collect(waiter), refused);
}

#[test]
fn a_waiter_by_id_whose_connection_ended_is_refused() {
    let mut pool = server(4);
    let peer = pool.admit("10.0.0.1").unwrap();
    let waiter = pool.queue_by_id(peer.id);
    pool.established(peer.token, None);
    pool.flush();
    let (id, reason) = (peer.id, CloseReason::Flushed);
    let gone = Collected::Refused(Refusal::Gone { id, reason });
    assert_eq!(pool.collect(waiter), gone);
    assert_eq!(pool.stats().totals.refused, 1);
}

#[test]
fn an_expired_grant_is_not_handed_over() {
    let mut pool =
        ServerHarness::server(4, |config| config.max_lifetime(ms(100)).lifetime_jitter(0.0));
    let waiter = pool.queue();
    pool.join("10.0.0.1");
    pool.wait(ms(100));
    pool.timeout();
    assert_eq!(pool.did(), [], "it was promised");
    assert_eq!(pool.collect(waiter), Collected::Waiting);
    assert_eq!(pool.stats().totals.expired, 1);
    let peer = pool.join("10.0.0.1");
    assert_eq!(pool.collect_lease(waiter).token, peer.token);
}

// --- a place kept -------------------------------------------------------------------------------

#[test]
fn a_waiter_that_rejects_a_lease_keeps_its_place() {
    for result in [CheckResult::Closed, CheckResult::Data] {
        let mut pool = server(4);
        let first = pool.queue();
        pool.join("10.0.0.1");
        let later = pool.queue();
        let lease = pool.collect_lease(first);
        pool.reject(lease, result);
        assert_eq!(pool.collect(later), Collected::Waiting);
        let Acquired::Queued(again) = pool.acquire_again() else { panic!() };
        let peer = pool.join("10.0.0.1");
        assert_eq!(pool.collect_lease(again).token, peer.token);
        assert_eq!(pool.collect(later), Collected::Waiting);
    }
}

#[test]
fn the_queue_has_a_limit_but_not_for_those_who_wait_again() {
    let mut pool = ServerHarness::server(4, |config| config.max_waiters(2));
    let first = pool.queue();
    pool.queue();
    let full = Refusal::TooManyWaiters { limit: 2 };
    assert_eq!(pool.acquire(), Acquired::Refused(full));
    assert_eq!(pool.wait_ready(1), Stock::Refused(full));
    assert!(matches!(pool.acquire_again(), Acquired::Queued(_)));
    pool.cancel(first);
    assert_eq!(pool.acquire(), Acquired::Refused(full));
    let totals = pool.stats().totals;
    assert_eq!((totals.refused, totals.cancelled), (3, 1));
}

// --- stock --------------------------------------------------------------------------------------

#[test]
fn stock_is_waited_for_without_taking_any() {
    let mut pool = server(4);
    assert_eq!(pool.wait_ready(0), Stock::Ready);
    let (three, two) = (stock(&mut pool, 3), stock(&mut pool, 2));
    pool.join("10.0.0.1");
    let why = WaitReason::Stock { idle: 1, wanted: 2 };
    assert_eq!(pool.machine.why(two), Some(why));
    assert_eq!(pool.cancel(two), WaitOutcome::Waiting(why));
    let two = stock(&mut pool, 2);
    pool.join("10.0.0.1");
    assert_eq!(pool.did(), [Action::Wake { waiter: two }]);
    assert_eq!(pool.collect(three), Collected::Waiting);
    assert_eq!(pool.collect(two), Collected::Stocked);
    assert_eq!(pool.collect(two), Collected::Unknown);
    assert_eq!(pool.wait_ready(2), Stock::Ready);
    pool.join("10.0.0.1");
    assert_eq!(pool.cancel(three), WaitOutcome::Granted);
    assert_eq!(pool.stats().idle, 3);
}

#[test]
fn stock_beyond_the_capacity_is_refused() {
    let beyond = Refusal::StockBeyondCapacity { wanted: 5, capacity: 4 };
    assert_eq!(server(4).wait_ready(5), Stock::Refused(beyond));
    let mut pool = client(1, 4);
    assert_eq!(pool.wait_ready(5), Stock::Refused(beyond));
    assert_eq!(pool.stats().capacity, 1);
    assert_eq!(pool.stats().totals.refused, 1);
}

#[test]
fn waiting_for_stock_raises_the_capacity_of_a_client() {
    let mut pool = client(1, 8);
    let waiter = stock(&mut pool, 5);
    assert_eq!(pool.dialing().len(), 5);
    pool.fill();
    assert_eq!(pool.collect(waiter), Collected::Stocked);
}

// --- the end ------------------------------------------------------------------------------------

#[test]
fn when_the_listener_ends_only_waiters_by_id_go_on_waiting() {
    let mut pool = server(4);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take_by_id(peer.id);
    let waiters = [pool.queue(), stock(&mut pool, 2)];
    let by_id = pool.queue_by_id(lease.id);
    pool.event(Event::AcceptEnded);
    for waiter in waiters {
        let refused = Collected::Refused(Refusal::AcceptEnded);
        assert_eq!(pool.collect(waiter), refused);
    }
    assert_eq!(pool.acquire(), Acquired::Refused(Refusal::AcceptEnded));
    assert_eq!(pool.wait_ready(1), Stock::Refused(Refusal::AcceptEnded));
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    let lease = pool.collect_lease(by_id);
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.wait_ready(1), Stock::Ready);
    let _ = pool.take();
    assert_eq!(pool.stats().totals.stale_events, 0);
}

#[test]
fn closing_refuses_everybody_and_nothing_begins_any_more() {
    let mut pool = client(2, 4);
    let tokens = pool.dialing();
    pool.connect(tokens[0]);
    let lease = pool.take();
    let (granted, waiting) = (pool.queue(), pool.queue_by_id(id(99)));
    pool.connect(tokens[1]);
    let stocked = stock(&mut pool, 3);
    pool.close();
    assert!(pool.machine.is_closed());
    for waiter in [granted, waiting, stocked] {
        let refused = Collected::Refused(Refusal::PoolClosed);
        assert_eq!(pool.collect(waiter), refused);
    }
    let aborted =
        |action: &&Did| matches!(action, Action::Abort { token, .. } if *token == lease.token);
    assert_eq!(pool.log.iter().filter(aborted).count(), 1);
    assert_eq!(pool.acquire(), Acquired::Refused(Refusal::PoolClosed));
    assert_eq!(pool.acquire_again(), Acquired::Refused(Refusal::PoolClosed));
    let by_id = pool.acquire_by_id(id(1));
    assert_eq!(by_id, Acquired::Refused(Refusal::PoolClosed));
    assert_eq!(pool.wait_ready(0), Stock::Refused(Refusal::PoolClosed));
    pool.close();
    assert_eq!(pool.did(), []);
    assert_eq!((pool.flush(), pool.clean()), (0, 0));
    pool.wait(ms(100_000));
    pool.timeout();
    assert_eq!(pool.did(), []);
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn closing_refuses_those_of_one_kind_in_the_order_in_which_they_would_be_served() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    let token = pool.dialing()[0];
    let Acquired::Queued(first) = pool.acquire() else { panic!() };
    let Acquired::Queued(second) = pool.acquire() else { panic!() };
    let Acquired::Queued(by_id) = pool.acquire_by_id(id(7)) else { panic!() };
    let Acquired::Queued(again) = pool.acquire_again() else { panic!() };
    pool.close();
    let wake = |waiter| Action::Wake { waiter };
    let abort = Action::Abort { token, reason: CloseReason::PoolClosed };
    assert_eq!(pool.did(), [wake(again), wake(first), wake(second), wake(by_id), abort]);
}
