//! Grants that nobody collects in time: the connection goes on, and the late waiter asks again.

use pool_proto::{
    Action, CheckResult, CloseReason, Collected, Event, Refusal, State, WaitOutcome, WaitReason,
};
use pool_testkit::harness::*;

/// How long a grant lasts.
const GRANT: u64 = 10_000;

fn server(capacity: u32) -> ServerHarness {
    ServerHarness::server(capacity, |config| config)
}

#[test]
fn a_grant_that_nobody_collects_goes_to_the_next_waiter() {
    let mut pool = server(8);
    let (late, next) = (pool.queue(), pool.queue());
    let peer = pool.join("10.0.0.1");
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(GRANT)));
    pool.pass(ms(GRANT - 1));
    assert_eq!(pool.machine.state_of(peer.token), Some(State::Granted));
    pool.pass(ms(1));
    assert_eq!(pool.did(), [Action::Wake { waiter: next }]);
    assert_eq!(pool.collect_lease(next).token, peer.token);
    // It comes at last, and waits again, before those that have come since.
    let younger = pool.queue();
    assert_eq!(pool.collect(late), Collected::Waiting);
    let second = pool.join("10.0.0.1");
    assert_eq!(pool.did(), [Action::Wake { waiter: late }]);
    assert_eq!(pool.collect_lease(late).token, second.token);
    assert_eq!(pool.cancel(younger), WaitOutcome::Waiting(WaitReason::NoPeer));
}

#[test]
fn a_grant_that_nobody_collects_goes_back_into_the_pool() {
    let mut pool =
        ServerHarness::server(8, |config| config.idle_timeout(ms(5000)).max_lifetime(ms(40_000)));
    let late = pool.queue();
    let peer = pool.join("10.0.0.1");
    pool.pass(ms(GRANT));
    assert_eq!(pool.machine.state_of(peer.token), Some(State::Idle));
    // There it is like any other: it ends after the idle timeout, though somebody might still come.
    pool.pass(ms(5000));
    assert_eq!(pool.live(), []);
    assert_eq!(pool.machine.poll_timeout(), None);
    assert_eq!(pool.collect(late), Collected::Waiting);
}

#[test]
fn a_late_waiter_takes_a_connection_that_is_ready() {
    let mut pool = server(8);
    let late = pool.queue();
    let peer = pool.join("10.0.0.1");
    pool.pass(ms(GRANT));
    assert_eq!(pool.collect_lease(late).token, peer.token);
    assert_eq!(pool.stats().totals.served_after_waiting, 1);
}

#[test]
fn a_dead_connection_is_noticed_though_its_grant_is_not_collected() {
    let mut pool = server(8);
    let _late = pool.queue();
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.pass(ms(GRANT));
    pool.checked(CheckResult::Closed);
    assert_eq!((pool.stats().idle, pool.stats().finished), (0, 1));
}

#[test]
fn a_late_waiter_by_id_takes_its_connection_waits_for_it_or_hears_of_its_end() {
    let by_id = || {
        let mut pool = server(8);
        let peer = pool.admit("10.0.0.1").unwrap();
        let late = pool.queue_by_id(peer.id);
        pool.established(peer.token, None);
        pool.pass(ms(GRANT));
        assert_eq!(pool.machine.state_of(peer.token), Some(State::Idle));
        (pool, peer, late)
    };
    let (mut pool, peer, late) = by_id();
    assert_eq!(pool.collect_lease(late).token, peer.token);
    let (mut pool, peer, late) = by_id();
    pool.readable(peer.token);
    pool.checked(CheckResult::Data);
    assert_eq!(pool.collect_lease(late).token, peer.token);
    let (mut pool, peer, late) = by_id();
    let lease = pool.take_by_id(peer.id);
    assert_eq!(pool.collect(late), Collected::Waiting);
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    assert_eq!(pool.did(), [Action::Wake { waiter: late }]);
    let (mut pool, peer, late) = by_id();
    let _ = pool.take();
    let refusal = Refusal::AcquiredHere { id: peer.id };
    assert_eq!(pool.collect(late), Collected::Refused(refusal));
    let (mut pool, peer, late) = by_id();
    pool.closed(peer.token);
    let (id, reason) = (peer.id, CloseReason::PeerClosed);
    assert_eq!(pool.collect(late), Collected::Refused(Refusal::Gone { id, reason }));
}

#[test]
fn a_late_waiter_hears_of_the_end_of_the_supply_and_of_the_pool() {
    let lapsed = || {
        let mut pool = server(8);
        let late = pool.queue();
        let peer = pool.join("10.0.0.1");
        pool.pass(ms(GRANT));
        (pool, peer, late)
    };
    let (mut pool, peer, late) = lapsed();
    pool.closed(peer.token);
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.collect(late), Collected::Refused(Refusal::AcceptEnded));
    let (mut pool, _, late) = lapsed();
    pool.close();
    assert_eq!(pool.collect(late), Collected::Refused(Refusal::PoolClosed));
    let (mut pool, _, late) = lapsed();
    let lease = pool.take();
    pool.graceful_shutdown(None);
    assert_eq!(pool.collect(late), Collected::Refused(Refusal::ShuttingDown));
    pool.release(lease);
}

#[test]
fn a_grant_that_nobody_collects_does_not_hold_a_shutdown_up() {
    let mut pool = server(8);
    let _late = pool.queue();
    pool.join("10.0.0.1");
    pool.graceful_shutdown(None);
    pool.pass(ms(GRANT));
    assert!(pool.machine.is_closed());
}

#[test]
fn a_waiter_whose_grant_has_lapsed_may_give_up() {
    let mut pool = server(8);
    let late = pool.queue();
    pool.join("10.0.0.1");
    pool.pass(ms(GRANT));
    assert_eq!(pool.machine.why(late), None);
    assert_eq!(pool.cancel(late), WaitOutcome::Granted);
    assert_eq!((pool.stats().idle, pool.stats().totals.cancelled), (1, 1));
    assert_eq!(pool.collect(late), Collected::Unknown);
}
