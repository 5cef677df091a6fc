//! The backoff: waits after failures.

use std::time::Duration;

use pool_proto::{Acquired, CheckResult, Collected, WaitReason};
use pool_testkit::harness::*;

use super::client::{client, peer_closes};

#[test]
fn after_a_failure_nothing_is_dialled_until_the_wait_is_over() {
    for seed in 0..50 {
        let mut pool =
            ClientHarness::client(1, 1, |config| config.seed(seed).backoff(ms(200), ms(1000)));
        for bound in [200, 400, 800, 1000, 1000] {
            let token = pool.dialing()[0];
            pool.dial_failed(token);
            assert_eq!(pool.dialing(), []);
            let due = pool.machine.poll_timeout().unwrap();
            assert!(due <= pool.now + ms(bound), "{due:?} at {:?}", pool.now);
            let before = pool.log.len();
            let waiter = pool.queue();
            pool.cancel(waiter);
            assert_eq!(pool.dialing(), [], "a miss does not shorten the wait");
            assert_eq!(pool.log.len(), before);
            pool.now = due;
            pool.timeout();
            assert_eq!(pool.dialing().len(), 1);
        }
    }
}

#[test]
fn a_wait_that_is_drawn_as_zero_is_none() {
    let nanosecond = Duration::from_nanos(1);
    let mut pool = ClientHarness::client(1, 1, |config| config.backoff(nanosecond, nanosecond));
    let (mut at_once, mut later) = (0, 0);
    for _ in 0..64 {
        let token = pool.dialing()[0];
        pool.dial_failed(token);
        let due = pool.machine.poll_timeout().unwrap();
        assert!(due > pool.now, "nothing is due at the time of the failure itself");
        if pool.dialing().is_empty() {
            later += 1;
            pool.now = due;
            pool.timeout();
        } else {
            at_once += 1;
        }
    }
    assert!(at_once > 0 && later > 0, "{at_once} {later}");
}

#[test]
fn after_a_failure_one_dial_at_a_time_until_one_succeeds() {
    let mut pool = client(5, 5);
    for token in pool.dialing() {
        pool.dial_failed(token);
    }
    pool.pass(ms(200));
    assert_eq!(pool.dialing().len(), 1);
    let waiter = pool.queue();
    let why = pool.machine.why(waiter);
    assert_eq!(why, Some(WaitReason::Dialing { in_flight: 1 }));
    let probe = pool.dialing()[0];
    pool.dialed(probe);
    assert_eq!(pool.dialing(), [], "a handshake is an attempt still");
    pool.established(probe, Some(id(9)));
    assert_eq!(pool.stats().failures_in_a_row, 0);
    assert_eq!(pool.dialing().len(), 4);
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
}

#[test]
fn a_wave_of_failures_counts_once() {
    let mut pool = client(32, 32);
    for token in pool.dialing() {
        pool.dial_failed(token);
    }
    assert_eq!(pool.stats().failures_in_a_row, 1);
    assert!(pool.machine.poll_timeout().unwrap() <= pool.now + ms(200));
    pool.pass(ms(200));
    let probe = pool.dialing()[0];
    pool.dial_failed(probe);
    assert_eq!(pool.stats().failures_in_a_row, 2);
}

#[test]
fn a_success_ends_the_wait() {
    let mut pool = client(4, 4);
    let tokens = pool.dialing();
    pool.dial_failed(tokens[0]);
    let waiter = pool.queue_by_id(id(77));
    assert_eq!(pool.dialing().len(), 3);
    pool.connect(tokens[1]);
    assert_eq!(pool.stats().failures_in_a_row, 0);
    assert_eq!(pool.dialing().len(), 3, "the failed one is dialled again");
    pool.cancel(waiter);
}

#[test]
fn a_waiter_learns_that_the_client_is_backing_off() {
    let mut pool = client(1, 1);
    let token = pool.dialing()[0];
    pool.dial_failed(token);
    let waiter = pool.queue();
    let why = pool.machine.why(waiter);
    assert_eq!(why, Some(WaitReason::BackingOff { failures: 1 }));
}

#[test]
fn a_server_that_closes_at_once_is_not_dialled_in_a_hot_loop() {
    // Every connection is established and closed by the peer, one after the other or interleaved:
    // the next one is established before the last one is seen to be closed.
    for interleaved in [false, true] {
        let mut pool = client(8, 8);
        let start = pool.now;
        let mut open = Vec::new();
        while pool.now < start + ms(10_000) {
            for token in pool.dialing() {
                pool.connect(token);
                open.push(token);
                while open.len() > usize::from(interleaved) {
                    let token = open.remove(0);
                    peer_closes(&mut pool, token);
                }
            }
            pool.pass(ms(1));
        }
        let dials = pool.stats().totals.dials;
        assert!(dials < 200, "{dials} dials in 10 s, interleaved: {interleaved}");
        assert!(pool.stats().failures_in_a_row >= 4);
    }
}

#[test]
fn an_early_close_waits_longer_each_time() {
    let mut pool = ClientHarness::client(1, 1, |config| config.dial_timeout(ms(60_000)));
    for failures in 1..6 {
        let token = pool.dialing()[0];
        pool.connect(token);
        assert_eq!(pool.stats().failures_in_a_row, 0);
        pool.wait(ms(999));
        peer_closes(&mut pool, token);
        assert_eq!(pool.stats().failures_in_a_row, failures);
        pool.pass(ms(30_000));
    }
}

#[test]
fn an_early_close_long_after_a_recovery_is_a_first_failure() {
    let mut pool = ClientHarness::client(1, 2, |config| config.dial_timeout(ms(60_000)));
    for _ in 0..5 {
        let token = pool.dialing()[0];
        pool.dial_failed(token);
        pool.pass(ms(30_000));
    }
    assert!(pool.stats().failures_in_a_row >= 5);
    pool.fill();
    pool.wait(ms(3_600_000));
    let lease = pool.take();
    let token = pool.dialing()[0];
    pool.connect(token);
    peer_closes(&mut pool, token);
    assert_eq!(pool.stats().failures_in_a_row, 1);
    pool.release(lease);
}

#[test]
fn a_taker_that_is_given_a_dead_connection_misses_once() {
    let mut pool = client(1, 8);
    pool.fill();
    let lease = pool.take();
    let before = pool.stats().capacity;
    pool.reject(lease, CheckResult::Closed);
    assert!(matches!(pool.acquire_again(), Acquired::Queued(_)));
    assert_eq!(pool.stats().capacity, before);
}

#[test]
fn taking_the_last_ready_connection_raises_the_capacity() {
    let mut pool = client(2, 8);
    pool.fill();
    let first = pool.take();
    assert_eq!(pool.stats().capacity, 2);
    let last = pool.take();
    assert_eq!(pool.stats().capacity, 3);
    pool.release(first);
    pool.release(last);
}

#[test]
fn a_take_by_id_that_waited_for_the_only_connection_raises_the_capacity() {
    let mut pool = client(1, 8);
    let waiter = pool.queue_by_id(id(1));
    let token = pool.dialing()[0];
    pool.connect(token);
    assert_eq!(pool.stats().capacity, 1);
    let lease = pool.collect_lease(waiter);
    assert_eq!(pool.stats().capacity, 2);
    pool.release(lease);
}

#[test]
fn misses_while_the_peer_is_away_do_not_raise_the_capacity() {
    let mut pool = client(1, 8);
    let token = pool.dialing()[0];
    pool.dial_failed(token);
    let waiters: Vec<_> = (0..5).map(|_| pool.queue()).collect();
    assert_eq!(pool.stats().capacity, 1);
    for waiter in waiters {
        pool.cancel(waiter);
    }
}

#[test]
fn a_rejected_lease_that_was_closed_at_once_is_an_early_close_too() {
    let mut pool = client(1, 1);
    pool.fill();
    let lease = pool.take();
    pool.fill();
    pool.reject(lease, CheckResult::Closed);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn a_close_after_a_second_or_after_use_is_no_failure() {
    let mut pool = client(1, 4);
    pool.auto = Some(CheckResult::Quiet);
    pool.fill();
    let lease = pool.take();
    let token = lease.token;
    pool.put(lease).unwrap();
    pool.auto = None;
    peer_closes(&mut pool, token);
    assert_eq!(pool.stats().failures_in_a_row, 0);
    pool.fill();
    pool.wait(ms(1000));
    let token = pool.pooled()[0];
    peer_closes(&mut pool, token);
    assert_eq!(pool.stats().failures_in_a_row, 0);
    assert!(!pool.dialing().is_empty());
}

#[test]
fn a_close_of_what_the_peer_has_begun_to_use_is_no_failure() {
    let mut pool = client(1, 4);
    pool.fill();
    let token = pool.pooled()[0];
    pool.readable(token);
    pool.checked(CheckResult::Data);
    let Acquired::Ready(lease) = pool.acquire_by_id(id(1)) else { panic!() };
    // Taken by its id just after the peer has closed it again.
    pool.reject(lease, CheckResult::Closed);
    assert_eq!(pool.stats().failures_in_a_row, 0);
}

#[test]
fn a_peer_that_speaks_first_is_not_dialled_without_end() {
    let mut pool = ClientHarness::client(1, 1, |config| config.claim_timeout(ms(5000)));
    while let Some(token) = pool.dialing().first().copied() {
        pool.connect(token);
        pool.readable(token);
        pool.checked(CheckResult::Data);
        assert!(pool.stats().claimed <= 64);
    }
    assert_eq!(pool.stats().claimed, 64);
    let Acquired::Queued(waiter) = pool.acquire() else { panic!() };
    let why = WaitReason::AllInUse { leased: 0, claimed: 64 };
    assert_eq!(pool.machine.why(waiter), Some(why));
    pool.pass(ms(5000));
    assert_eq!(pool.stats().claimed, 0);
    assert!(!pool.dialing().is_empty());
}

#[test]
fn once_an_attempt_has_succeeded_after_an_early_close_any_success_counts_again() {
    let mut pool = client(4, 4);
    let tokens = pool.dialing();
    pool.connect(tokens[0]);
    peer_closes(&mut pool, tokens[0]);
    for token in &tokens[1..] {
        pool.dial_failed(*token);
    }
    pool.pass(ms(1000));
    let probe = pool.dialing()[0];
    pool.connect(probe);
    let [failing, slow, ..] = pool.dialing()[..] else { panic!() };
    pool.dial_failed(failing);
    assert_eq!(pool.stats().failures_in_a_row, 1);
    pool.connect(slow);
    assert_eq!(pool.stats().failures_in_a_row, 0);
}
