//! The backoff: waits after failures, alone and with callers that wait, and their early end.

use std::time::Duration;

use pool_proto::{Acquired, CheckResult, Collected, Tuning, WaitReason};
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
fn no_wait_is_drawn_as_zero() {
    let nanosecond = Duration::from_nanos(1);
    let mut pool = ClientHarness::client(1, 1, |config| config.backoff(nanosecond, nanosecond));
    for _ in 0..64 {
        let token = pool.dialing()[0];
        pool.dial_failed(token);
        assert!(pool.dialing().is_empty(), "a dial without a wait");
        assert_eq!(pool.machine.poll_timeout(), Some(pool.now + nanosecond));
        pool.pass(nanosecond);
    }
}

#[test]
fn after_a_failure_one_dial_at_a_time_until_one_succeeds() {
    let mut pool = client(20, 20);
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
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
    assert_eq!(pool.dialing().len(), 16);
    // Three times as many with each round trip from then on.
    let next = pool.dialing()[0];
    pool.connect(next);
    assert_eq!(pool.dialing().len(), 18);
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
        assert!(dials < 80, "{dials} dials in 10 s, interleaved: {interleaved}");
        // Interleaved, the server holds one whenever it closes another, as if it were full.
        assert_eq!(pool.stats().failures_in_a_row >= 4, !interleaved);
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
    let mut pool = client(1, 2);
    for _ in 0..5 {
        let token = pool.dialing()[0];
        pool.dial_failed(token);
        pool.pass(ms(5000));
    }
    assert!(pool.stats().failures_in_a_row >= 5);
    pool.fill();
    pool.wait(ms(3_600_000));
    let old = pool.pooled()[0];
    peer_closes(&mut pool, old);
    assert_eq!(pool.stats().failures_in_a_row, 0);
    let token = pool.dialing()[0];
    pool.connect(token);
    peer_closes(&mut pool, token);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn a_caller_that_is_given_a_dead_connection_counts_once() {
    let mut pool = client(1, 8);
    pool.fill();
    let lease = pool.take();
    let before = pool.stats().capacity;
    pool.reject(lease, CheckResult::Closed);
    assert!(matches!(pool.acquire_again(), Acquired::Queued(_)));
    assert_eq!(pool.stats().capacity, before);
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
    for others in [false, true] {
        let mut pool = client(1, 1);
        pool.fill();
        let lease = pool.take();
        if others {
            pool.fill();
        }
        pool.reject(lease, CheckResult::Closed);
        let stats = pool.stats();
        let expected = if others { (0, Some(1)) } else { (1, None) };
        assert_eq!((stats.failures_in_a_row, stats.ceiling), expected);
    }
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
    let token = pool.idle()[0];
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

// --- with a waiter ------------------------------------------------------------------------------

/// A client whose last attempt failed so often that the wait has reached the cap.
fn down(seed: u64, config: impl FnOnce(Setup) -> Setup) -> ClientHarness {
    let mut pool = ClientHarness::client(1, 8, |setup| config(setup.seed(seed)));
    while pool.stats().failures_in_a_row < 12 {
        match pool.dialing().first().copied() {
            Some(token) => pool.dial_failed(token),
            None => {
                pool.now = pool.machine.poll_timeout().unwrap();
                pool.timeout();
            }
        }
    }
    while pool.dialing().is_empty() {
        pool.now = pool.machine.poll_timeout().unwrap();
        pool.timeout();
    }
    pool
}

/// Fails the dial under way, and returns the wait for the next one.
fn wait_after_failure(pool: &mut ClientHarness) -> Duration {
    let token = pool.dialing()[0];
    pool.dial_failed(token);
    pool.machine.poll_timeout().unwrap().since(pool.now)
}

#[test]
fn the_longest_wait_is_five_seconds_and_a_second_with_a_waiter() {
    for seed in 0..50 {
        let mut pool = down(seed, |config| config);
        let wait = wait_after_failure(&mut pool);
        assert!((ms(2500)..=ms(5000)).contains(&wait), "{wait:?}");

        let mut pool = down(seed, |config| config);
        pool.queue();
        let wait = wait_after_failure(&mut pool);
        assert!((ms(500)..=ms(1000)).contains(&wait), "{wait:?}");

        let mut pool = down(seed, |config| config);
        assert!(matches!(pool.wait_ready(1), pool_proto::Stock::Queued(_)));
        let wait = wait_after_failure(&mut pool);
        assert!((ms(500)..=ms(1000)).contains(&wait), "{wait:?}");
    }
}

#[test]
fn a_waiter_pulls_a_long_wait_nearer_once() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut pool = down(seed, |config| config);
        wait_after_failure(&mut pool);
        let waiter = pool.queue();
        let due = pool.machine.poll_timeout().unwrap();
        waits.push(due.since(pool.now));
        pool.cancel(waiter);
        for _ in 0..5 {
            let waiter = pool.queue();
            pool.cancel(waiter);
        }
        assert_eq!(pool.machine.poll_timeout(), Some(due), "others change nothing");
    }
    // Many pools may be called at the same moment: their dials are spread over the second.
    for tenth in 0..10 {
        let part = ms(tenth * 100)..ms(tenth * 100 + 100);
        let hits = waits.iter().filter(|wait| part.contains(*wait)).count();
        assert!((5..=40).contains(&hits), "{hits} of 200 waits in {part:?}");
    }
}

#[test]
fn a_waiter_by_id_waits_for_no_dial() {
    let mut pool = down(1, |config| config);
    wait_after_failure(&mut pool);
    let due = pool.machine.poll_timeout();
    pool.queue_by_id(id(77));
    assert_eq!(pool.machine.poll_timeout(), due);
}

#[test]
fn a_waiter_for_the_control_connection_waits_for_a_dial() {
    let mut pool = down(1, |config| config.control_connection(true));
    wait_after_failure(&mut pool);
    pool.queue_by_id(id(0));
    assert!(pool.machine.poll_timeout().unwrap() <= pool.now + ms(1000));
}

#[test]
fn a_base_above_a_second_holds_with_waiters_too() {
    let mut pool = down(1, |config| config.backoff(ms(3000), ms(60_000)));
    pool.queue();
    let wait = wait_after_failure(&mut pool);
    assert!((ms(1500)..=ms(3000)).contains(&wait), "{wait:?}");
}

// --- dialling now -------------------------------------------------------------------------------

#[test]
fn a_call_to_dial_now_ends_the_wait_and_later_waits_are_short_again() {
    for seed in 0..50 {
        let mut pool = down(seed, |config| config.capacity(4, 8));
        wait_after_failure(&mut pool);
        assert_eq!(pool.dialing(), []);
        pool.dial_now();
        assert_eq!(pool.dialing().len(), 1, "one probes");
        assert_eq!(pool.stats().failures_in_a_row, 1);
        let wait = wait_after_failure(&mut pool);
        assert!(wait <= ms(400), "{wait:?}");
        pool.dial_now();
        let token = pool.dialing()[0];
        pool.connect(token);
        assert_eq!(pool.dialing().len(), 3, "the rest follows");
    }
}

#[test]
fn a_call_to_dial_now_changes_nothing_where_nothing_waits() {
    let mut pool = client(2, 2);
    pool.dial_now();
    assert_eq!(pool.dialing().len(), 2);
    pool.fill();
    pool.dial_now();
    assert_eq!(pool.did(), []);
    assert_eq!(pool.machine.poll_timeout(), None);
    pool.close();
    pool.dial_now();
    assert_eq!(pool.did(), []);
}

#[test]
fn a_call_to_dial_now_brings_the_next_round_forward() {
    let mut pool = down(1, |config| config.tuning(Tuning::NodePass));
    wait_after_failure(&mut pool);
    pool.dial_now();
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now));
    pool.timeout();
    assert_eq!(pool.dialing().len(), 1);
}
