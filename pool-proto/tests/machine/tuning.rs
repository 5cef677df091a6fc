//! The client's supply under the two tuning laws.

use pool_proto::{
    Acquired, Collected, Event, HandshakeFailure, Refusal, Stock, Tuning, WaitReason,
};
use pool_testkit::harness::*;

fn client(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config)
}

fn node_pass(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config.tuning(Tuning::NodePass))
}

// --- Demand -------------------------------------------------------------------------------------

#[test]
fn a_miss_raises_the_capacity_and_dials_at_once() {
    let mut pool = client(1, 3);
    for dialing in [2, 3, 3, 3] {
        pool.queue();
        assert_eq!(pool.dialing().len(), dialing);
        assert_eq!(pool.stats().capacity as usize, dialing);
    }
}

#[test]
fn a_waiter_has_missed_once_whatever_the_stock_when_it_collects() {
    let mut pool = client(1, 4);
    let waiter = pool.queue();
    assert_eq!(pool.stats().capacity, 2);
    let token = pool.dialing()[0];
    pool.connect(token);
    assert_eq!(pool.collect_lease(waiter).token, token);
    assert_eq!((pool.stats().idle, pool.stats().capacity), (0, 2));
}

#[test]
fn a_miss_that_finds_the_queue_full_dials_all_the_same() {
    let mut pool = ClientHarness::client(1, 4, |config| config.max_waiters(1));
    pool.queue();
    assert_eq!(pool.dialing().len(), 2);
    let full = Refusal::TooManyWaiters { limit: 1 };
    assert_eq!(pool.acquire(), Acquired::Refused(full));
    assert_eq!(pool.dialing().len(), 3);
    assert_eq!(pool.wait_ready(4), Stock::Refused(full));
    assert_eq!(pool.dialing().len(), 4);
}

#[test]
fn a_leased_connection_is_replaced_at_once() {
    let mut pool = client(2, 2);
    pool.fill();
    let lease = pool.take();
    assert_eq!(pool.dialing().len(), 1);
    pool.release(lease);
    assert_eq!(pool.dialing().len(), 1);
}

#[test]
fn a_stale_event_does_not_show_the_tuner_what_it_had_not_seen() {
    let capacity_after_a_round = |stale: bool| {
        let mut pool = ClientHarness::client(1, 8, |config| config.interval(ms(100)..=ms(100)));
        let _: Stock = pool.wait_ready(8);
        pool.fill();
        let lease = pool.take();
        let ended = lease.token;
        pool.release(lease);
        pool.fill();
        pool.pass(ms(100));
        let before = pool.stats().capacity;
        for token in pool.pooled() {
            pool.readable(token);
        }
        if stale {
            pool.event(Event::Closed { token: ended });
        }
        pool.pass(ms(100));
        (before, pool.stats().capacity)
    };
    assert_eq!(capacity_after_a_round(true), capacity_after_a_round(false));
}

#[test]
fn unused_capacity_goes_in_rounds_and_the_rounds_end_at_the_minimum() {
    let mut pool = client(2, 20);
    assert_eq!(pool.wait_ready(20), Stock::Queued(pool.waiters()[0]));
    assert_eq!(pool.stats().capacity, 20);
    pool.fill();
    assert_eq!(pool.collect(pool.waiters()[0]), Collected::Stocked);
    assert!(pool.machine.poll_timeout().unwrap() <= pool.now + ms(1000));
    pool.pass(ms(60_000));
    assert_eq!(pool.stats().capacity, 2);
    assert_eq!(pool.machine.poll_timeout(), None);
    assert_eq!(pool.stats().idle, 20, "rounds close nothing");
}

#[test]
fn the_capacity_stays_while_somebody_waits_for_that_much() {
    let mut pool = client(2, 20);
    let Stock::Queued(waiter) = pool.wait_ready(10) else { panic!() };
    for token in pool.dialing().into_iter().take(9) {
        pool.connect(token);
    }
    let slow = pool.dialing()[0];
    pool.dialed(slow);
    pool.pass(ms(5_000));
    assert_eq!(pool.stats().capacity, 10);
    pool.handshake_failed(slow, HandshakeFailure::Transport);
    pool.pass(ms(5_000));
    pool.fill();
    assert_eq!(pool.collect(waiter), Collected::Stocked);
}

#[test]
fn stock_that_was_needed_since_the_last_round_is_no_surplus() {
    let mut pool = client(1, 8);
    assert!(matches!(pool.wait_ready(8), Stock::Queued(_)));
    pool.fill();
    // The round that begins now has 8 from the start.
    pool.pass(ms(100));
    assert_eq!(pool.stats().capacity, 8);
    let leases: Vec<_> = (0..8).map(|_| pool.take()).collect();
    pool.fill();
    assert_eq!(pool.stats().idle, 8);
    pool.pass(ms(100));
    assert_eq!(pool.stats().capacity, 8, "all of it was taken once");
    pool.pass(ms(200));
    assert!(pool.stats().capacity < 8, "none of it was");
    drop(leases);
}

// --- Reference ----------------------------------------------------------------------------------

#[test]
fn the_law_of_the_go_package_dials_in_rounds_only() {
    let mut pool = node_pass(5, 20);
    assert_eq!(pool.dialing().len(), 5);
    pool.fill();
    let lease = pool.take();
    assert_eq!(pool.dialing(), [], "not before the next round");
    assert_eq!(pool.stats().capacity, 5, "which has not ended yet");
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(100)));
    pool.wait(ms(100));
    pool.timeout();
    assert_eq!(pool.stats().capacity, 6);
    assert_eq!(pool.dialing().len(), 2, "4 idle of 6");
    pool.release(lease);
}

#[test]
fn a_failed_dial_of_a_round_is_not_made_up_for_in_it() {
    let mut pool = ClientHarness::client(5, 20, |config| {
        config.tuning(Tuning::NodePass).backoff(ms(1), ms(1))
    });
    for token in pool.dialing() {
        pool.dial_failed(token);
    }
    pool.pass(ms(99));
    assert_eq!(pool.dialing(), [], "the quota of the round is used up");
    pool.pass(ms(1));
    assert_eq!(pool.dialing().len(), 1);
}

#[test]
fn a_miss_changes_nothing_under_the_law_of_the_go_package() {
    let mut pool = node_pass(1, 20);
    pool.fill();
    let lease = pool.take();
    let waiter = pool.queue();
    assert_eq!(pool.stats().capacity, 1);
    assert_eq!(pool.dialing(), []);
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::NextRound));
    pool.pass(ms(100));
    pool.fill();
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
    pool.release(lease);
}

#[test]
fn a_flush_begins_a_round() {
    let mut pool = node_pass(2, 20);
    pool.fill();
    pool.wait(ms(10));
    assert_eq!(pool.flush(), 2);
    assert_eq!(pool.dialing(), []);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now));
    pool.timeout();
    assert!(pool.dialing().len() >= 2);
}
