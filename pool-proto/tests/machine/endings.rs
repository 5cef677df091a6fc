//! The end of connections: emptying the pool, and late events.

use pool_proto::{
    Acquired, Action, CheckKind, CheckResult, CloseReason, Collected, Event, HandshakeFailure,
    Instant, PutError, Refusal,
};
use pool_testkit::harness::*;

#[test]
fn cleaning_closes_what_is_idle_and_nothing_else() {
    let mut pool = filled(3, |config| config);
    let lease = pool.take();
    let tokens = pool.pooled();
    pool.readable(tokens[0]);
    assert_eq!(pool.clean(), 1);
    assert_eq!(pool.ended(CloseReason::Cleaned), 1);
    assert_eq!((pool.stats().leased, pool.stats().returning), (1, 1));
    assert_eq!(pool.dialing().len(), 2);
    pool.release(lease);
}

#[test]
fn flushing_ends_everything_in_whatever_state_and_begins_anew() {
    let mut pool = ClientHarness::client(7, 9, |config| config.reuse_delay(ms(50)));
    let tokens = pool.dialing();
    let waiter = pool.queue_by_id(id(1));
    for token in &tokens[..5] {
        pool.connect(*token);
    }
    pool.dialed(tokens[5]);
    let (leased, rested) = (pool.take(), pool.take());
    pool.put(rested).unwrap();
    pool.readable(tokens[3]);
    assert_eq!(pool.checks.len(), 1);
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.stats().returning, 2);
    assert_eq!(pool.flush(), 9);
    let aborts = pool.did().iter();
    let aborts = aborts.filter(|action| matches!(action, Action::Abort { .. }));
    assert_eq!(aborts.count(), 5, "3 dials, a handshake and a lease");
    assert_eq!(pool.stats().totals.flushed, 9);
    assert_eq!(pool.dialing().len(), 7);
    assert!(matches!(pool.collect(waiter), Collected::Refused(Refusal::Gone { .. })));
    assert_eq!(pool.put(leased), Err(PutError::NotLeased));
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::Flushed), 9);
}

#[test]
fn stale_and_unfitting_events_change_only_a_counter() {
    let mut pool = filled(2, |config| config);
    let live = pool.pooled()[0];
    let stale = pool.pooled()[1];
    pool.closed(stale);
    pool.fill();
    let foreign = {
        let mut other = filled(9, |config| config);
        other.fill();
        other.pooled()[8]
    };
    for token in [live, stale, foreign] {
        let before = pool.stats();
        pool.dialed(token);
        pool.dial_failed(token);
        pool.handshake_failed(token, HandshakeFailure::Tls);
        let connection = pool.established(token, Some(id(500)));
        let reason = CloseReason::Stale;
        let close = Action::Close { token, connection, reason };
        assert_eq!(pool.did(), [close]);
        let connection = pool.new_connection();
        pool.checks.push((token, connection, CheckKind::Inspect));
        pool.checked(CheckResult::Closed);
        let close = Action::Close { token, connection, reason };
        assert_eq!(pool.did(), [close]);
        let mut after = pool.stats();
        assert_eq!(after.totals.stale_events, before.totals.stale_events + 5);
        after.totals.stale_events = before.totals.stale_events;
        assert_eq!(after, before);
    }
    pool.event(Event::Closed { token: stale });
    assert_eq!(pool.did(), []);
    pool.readable(stale);
    assert_eq!(pool.did(), []);
}

#[test]
fn the_last_ids_that_ended_are_refused_at_once_by_a_client() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    for number in 1..=257 {
        let token = pool.dialing()[0];
        assert_eq!(pool.connect(token), id(number));
        let lease = pool.take();
        pool.release(lease);
    }
    for number in [2, 100, 257] {
        let (id, reason) = (id(number), CloseReason::Released);
        let gone = Acquired::Refused(Refusal::Gone { id, reason });
        assert_eq!(pool.acquire_by_id(id), gone);
    }
    assert!(matches!(pool.acquire_by_id(id(1)), Acquired::Queued(_)), "forgotten");
    // A connection that comes again under an old id is live.
    let token = pool.dialing()[0];
    pool.dialed(token);
    pool.established(token, Some(id(257)));
    assert!(matches!(pool.acquire_by_id(id(257)), Acquired::Ready(_)));
}

#[test]
fn time_never_goes_back() {
    let mut pool = filled(1, |config| config.idle_timeout(ms(100)));
    pool.pass(ms(90));
    pool.timeout();
    pool.now = Instant::EPOCH;
    let lease = pool.take();
    pool.fill();
    assert_eq!(pool.machine.poll_timeout(), Some(Instant::EPOCH + ms(140)));
    pool.timeout();
    assert_eq!(pool.stats().idle, 1);
    pool.release(lease);
}

#[test]
fn a_capacity_that_is_refused_tells_the_time_too() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    let start = pool.now;
    pool.now = start + ms(30_000);
    pool.set_capacity(0, 0).unwrap_err();
    pool.now = start;
    pool.timeout();
    let retry = pool.machine.poll_timeout();
    assert!(retry.is_some_and(|at| at > start + ms(30_000)), "{retry:?}");
}

#[test]
fn at_the_end_of_time_only_what_has_a_deadline_ends() {
    let end = Instant::from_nanos(u64::MAX);
    let mut forever = filled(1, |config| config);
    forever.now = end;
    forever.timeout();
    let lease = forever.take();
    forever.release(lease);
    let mut limited = filled(1, |config| config.max_lifetime(ms(1000)));
    limited.now = end;
    limited.timeout();
    assert_eq!(limited.ended(CloseReason::Expired), 1);
    assert!(limited.machine.poll_timeout().is_none_or(|due| due > end));
}

#[test]
fn the_users_error_counter_counts_and_is_reset() {
    let mut pool = filled(1, |config| config);
    for _ in 0..3 {
        pool.machine.add_error();
    }
    assert_eq!(pool.machine.error_count(), 3);
    pool.machine.reset_error();
    assert_eq!(pool.machine.error_count(), 0);
}
