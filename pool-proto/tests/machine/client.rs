//! The client's supply: dials, their deadlines, the backoff, and the two tuning laws.

use std::time::Duration;

use pool_proto::{
    Acquired, Action, CheckResult, CloseReason, Collected, Event, HandshakeFailure, IdExchange,
    Refusal, WaitReason,
};
use pool_testkit::harness::*;

fn client(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config)
}

/// A connection whose peer closes it while it is idle.
fn peer_closes(pool: &mut ClientHarness, token: pool_proto::Token) {
    pool.readable(token);
    assert_eq!(pool.checked(CheckResult::Closed), token);
}

// --- dialling -----------------------------------------------------------------------------------

#[test]
fn the_first_dials_fill_the_capacity() {
    let pool = client(4, 64);
    assert_eq!(pool.log.len(), 4);
    assert_eq!(pool.dialing().len(), 4);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(10_000)));
}

#[test]
fn no_more_than_max_dials_and_handshakes_are_under_way() {
    let mut pool = ClientHarness::client(5, 5, |config| config.max_dials(2));
    assert_eq!(pool.dialing().len(), 2);
    let first = pool.dialing()[0];
    pool.dialed(first);
    assert_eq!(pool.dialing().len(), 1, "a handshake counts too");
    pool.established(first, Some(id(9)));
    assert_eq!(pool.dialing().len(), 2);
    pool.fill();
    assert_eq!((pool.stats().idle, pool.dialing().len()), (5, 0));
}

#[test]
fn max_connections_counts_leases_too() {
    let mut pool = ClientHarness::client(2, 2, |config| config.max_connections(3));
    pool.fill();
    let leases = [pool.take(), pool.take()];
    assert_eq!(pool.dialing().len(), 1, "3 in all");
    pool.fill();
    let third = pool.take();
    let waiter = pool.queue();
    let why = pool.machine.why(waiter);
    assert_eq!(why, Some(WaitReason::AllInUse { leased: 3, claimed: 0 }));
    assert_eq!(pool.dialing().len(), 0);
    pool.release(third);
    assert_eq!(pool.dialing().len(), 1);
    drop(leases);
}

#[test]
fn nothing_is_due_when_nothing_can_happen() {
    let mut pool = client(2, 2);
    pool.fill();
    assert_eq!(pool.machine.poll_timeout(), None);
    let lease = pool.take();
    pool.fill();
    assert_eq!(pool.machine.poll_timeout(), None);
    pool.release(lease);
}

#[test]
fn a_dial_that_takes_too_long_is_aborted_and_counted() {
    let mut pool = ClientHarness::client(1, 1, |config| config.dial_timeout(ms(70)));
    let token = pool.dialing()[0];
    pool.wait(ms(69));
    pool.timeout();
    assert_eq!(pool.did(), []);
    pool.wait(ms(1));
    pool.timeout();
    let reason = CloseReason::DialTimeout;
    assert_eq!(pool.did()[0], Action::Abort { token, reason });
    assert_eq!(pool.stats().totals.dial_timeouts, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn the_handshake_deadline_is_one_for_all_of_it() {
    let mut pool =
        ClientHarness::client(1, 1, |config| config.dial_timeout(ms(70)).handshake_timeout(ms(50)));
    let token = pool.dialing()[0];
    pool.wait(ms(60));
    pool.dialed(token);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(50)));
    pool.wait(ms(50));
    pool.timeout();
    let reason = CloseReason::HandshakeTimeout;
    assert_eq!(pool.did()[0], Action::Abort { token, reason });
    assert_eq!(pool.stats().totals.handshake_timeouts, 1);
    // The driver comes late: its connection is closed.
    let connection = pool.established(token, Some(id(9)));
    let reason = CloseReason::Stale;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
    assert_eq!(pool.stats().totals.stale_events, 1);
}

#[test]
fn failures_are_counted_by_their_kind() {
    let mut pool = client(4, 4);
    let tokens = pool.dialing();
    pool.dial_failed(tokens[0]);
    for token in &tokens[1..] {
        pool.dialed(*token);
    }
    pool.handshake_failed(tokens[1], HandshakeFailure::Tls);
    pool.handshake_failed(tokens[2], HandshakeFailure::Id);
    pool.handshake_failed(tokens[3], HandshakeFailure::Transport);
    let totals = pool.stats().totals;
    assert_eq!((totals.dial_failures, totals.tls_failures), (1, 1));
    assert_eq!((totals.id_failures, totals.transport_failures), (1, 1));
    assert_eq!(totals.stale_events, 0);
}

// --- backoff ------------------------------------------------------------------------------------

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

// --- ids from the server ------------------------------------------------------------------------

#[test]
fn an_id_that_is_in_use_already_closes_the_newcomer() {
    let mut pool = client(2, 2);
    let [first, second] = pool.dialing()[..] else { panic!() };
    let old = pool.connect(first);
    pool.dialed(second);
    let connection = pool.established(second, Some(old));
    let (token, reason) = (second, CloseReason::DuplicateId);
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did()[0], close);
    assert_eq!(pool.stats().totals.duplicate_ids, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
    let Acquired::Ready(lease) = pool.acquire_by_id(old) else { panic!() };
    assert_eq!(lease.token, first);
    pool.release(lease);
    // Its id is free again now.
    pool.pass(ms(200));
    let third = pool.dialing()[0];
    pool.dialed(third);
    pool.established(third, Some(old));
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn a_missing_id_closes_the_connection() {
    let mut pool = client(1, 1);
    let token = pool.dialing()[0];
    pool.dialed(token);
    let connection = pool.established(token, None);
    let reason = CloseReason::MissingId;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
    assert_eq!(pool.stats().totals.id_failures, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn without_id_exchange_ids_are_made_here_and_known_or_unknown_at_once() {
    let mut pool = ClientHarness::client(2, 2, |config| config.ids(IdExchange::None));
    for token in pool.dialing() {
        pool.dialed(token);
        pool.established(token, None);
    }
    let (a, b) = (pool.take(), pool.take());
    assert_ne!(a.id, b.id);
    let unknown = id(u32::from_be_bytes(a.id.to_bytes()) ^ 0x5555);
    let refused = Acquired::Refused(Refusal::UnknownId { id: unknown });
    assert_eq!(pool.acquire_by_id(unknown), refused);
    let waiter = pool.queue_by_id(a.id);
    pool.put(a).unwrap();
    pool.checked(CheckResult::Quiet);
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
}

#[test]
fn only_a_server_has_a_listener() {
    let mut pool = client(1, 1);
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.stats().totals.stale_events, 1);
    pool.queue();
}
