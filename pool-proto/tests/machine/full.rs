//! A peer that is full: it turns connections away while it holds others.

use std::time::Duration;

use pool_proto::{Acquired, CheckResult, Collected, HandshakeFailure, Instant, Token, WaitReason};
use pool_testkit::harness::*;

use super::client::{client, peer_closes};

/// The transport of a dial is accepted, and closed before the id.
fn turn_away(pool: &mut ClientHarness, token: Token) {
    pool.dialed(token);
    pool.handshake_failed(token, HandshakeFailure::Id);
}

/// A client that wants `capacity` connections, at a peer that has let in `room` of them.
fn full(capacity: u32, room: usize, config: impl FnOnce(Setup) -> Setup) -> ClientHarness {
    let mut pool = ClientHarness::client(capacity, capacity, config);
    let tokens = pool.dialing();
    for token in &tokens[..room] {
        pool.connect(*token);
    }
    for token in &tokens[room..] {
        turn_away(&mut pool, *token);
    }
    while let Some(token) = pool.dialing().first().copied() {
        turn_away(&mut pool, token);
    }
    pool
}

/// Lets the wait pass. Returns how long it was.
fn wait_over(pool: &mut ClientHarness) -> Duration {
    let (since, due) = (pool.now, pool.machine.poll_timeout().unwrap());
    pool.now = due;
    pool.timeout();
    due.since(since)
}

/// So many waits pass, and the peer turns away the dial after each.
fn turn_probes_away(pool: &mut ClientHarness, times: u32) {
    for _ in 0..times {
        wait_over(pool);
        let probe = pool.dialing()[0];
        turn_away(pool, probe);
    }
}

#[test]
fn full_is_not_down() {
    let mut pool = full(8, 3, |config| config);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.failures_in_a_row, stats.ceiling), (3, 0, Some(3)));
    // The first wave, and one dial for each of the wave that was let in: no more until the wait is over.
    assert!(stats.totals.dials <= 16, "{}", stats.totals.dials);
    let why = [pool.take(), pool.take(), pool.take()].map(|_| pool.dialing().len());
    assert_eq!(why, [3, 3, 3], "each taken one is replaced at once");
}

#[test]
fn a_waiter_learns_that_the_peer_is_full() {
    let mut pool = full(8, 3, |config| config.max_dials(8));
    let leases = [pool.take(), pool.take(), pool.take()];
    for token in pool.dialing() {
        turn_away(&mut pool, token);
    }
    assert_eq!(pool.stats().ceiling, Some(0), "none beside those in use");
    let waiter = pool.queue();
    let why = WaitReason::Full { held: 3 };
    assert_eq!(pool.machine.why(waiter), Some(why));
    // The first one that it lets in again is the waiter's.
    while pool.dialing().is_empty() {
        wait_over(&mut pool);
    }
    let [probe] = pool.dialing()[..] else { panic!("{:?}", pool.dialing()) };
    pool.connect(probe);
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
    drop(leases);
}

#[test]
fn a_place_that_the_peers_user_has_taken_is_filled_at_once() {
    let mut pool = full(8, 3, |config| config);
    assert_eq!(pool.dialing(), []);
    let token = pool.pooled()[0];
    pool.readable(token);
    pool.checked(CheckResult::Data);
    assert_eq!(pool.dialing().len(), 1);
}

#[test]
fn the_waits_for_room_grow_up_to_the_cap() {
    let mut pool = full(8, 3, |config| config);
    let mut waits = Vec::new();
    for _ in 0..40 {
        waits.push(wait_over(&mut pool));
        let [probe] = pool.dialing()[..] else { panic!("one more than it holds") };
        turn_away(&mut pool, probe);
        assert_eq!((pool.stats().ceiling, pool.stats().failures_in_a_row), (Some(3), 0));
    }
    assert!(waits[0] <= ms(200), "{waits:?}");
    assert!(waits[10..].iter().all(|wait| (ms(2500)..=ms(5000)).contains(wait)), "{waits:?}");
    // A waiter for stock that the peer cannot hold.
    assert!(matches!(pool.wait_ready(8), pool_proto::Stock::Queued(_)));
    assert!(wait_over(&mut pool) <= ms(1000));
    let probe = pool.dialing()[0];
    turn_away(&mut pool, probe);
    assert!((ms(500)..=ms(1000)).contains(&wait_over(&mut pool)));
}

#[test]
fn where_there_is_room_again_the_dials_double() {
    let mut pool = full(32, 3, |config| config.max_dials(8));
    wait_over(&mut pool);
    let mut dialling = Vec::new();
    while !pool.dialing().is_empty() {
        dialling.push(pool.dialing().len());
        for token in pool.dialing() {
            pool.connect(token);
        }
    }
    assert_eq!(dialling[..4], [1, 2, 4, 8], "{dialling:?}");
    assert_eq!((pool.stats().idle, pool.stats().ceiling), (32, None));
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn an_old_connection_stays_until_a_dial_beyond_the_ceiling_is_over() {
    let mut pool = full(4, 1, |config| config.idle_timeout(ms(4000)));
    let old = pool.pooled()[0];
    while pool.dialing().is_empty() {
        wait_over(&mut pool);
    }
    let [probe] = pool.dialing()[..] else { panic!("one more than it holds") };
    // It may go from now on, but its place would make the outcome say nothing.
    pool.pass(ms(3000));
    assert_eq!(pool.pooled(), [old]);
    pool.connect(probe);
    assert_eq!((pool.pooled().len(), pool.stats().ceiling), (2, Some(2)), "there is more room");
    assert_eq!(pool.dialing().len(), 2, "and the dials go on at once");
}

#[test]
fn callers_that_take_everything_at_once_are_not_served_one_by_one() {
    let mut pool = full(16, 1, |config| config);
    let old = pool.take();
    let waiters: Vec<_> = (0..15).map(|_| pool.queue()).collect();
    let (mut rounds, mut leases) = (0, vec![old]);
    while leases.len() <= waiters.len() {
        rounds += 1;
        for token in pool.dialing() {
            pool.connect(token);
            leases.push(pool.collect_lease(waiters[leases.len() - 1]));
        }
    }
    assert!(rounds <= 5, "{rounds} rounds of dials, of which none waited");
}

#[test]
fn a_replacement_does_not_tell_of_more_room() {
    let mut pool = full(8, 3, |config| config);
    let due = pool.machine.poll_timeout();
    for _ in 0..10 {
        let lease = pool.take();
        let [next] = pool.dialing()[..] else { panic!("it is replaced") };
        pool.connect(next);
        pool.release(lease);
        assert_eq!(pool.dialing(), []);
    }
    assert_eq!(pool.machine.poll_timeout(), due);
}

#[test]
fn a_lower_ceiling_is_tried_again_soon() {
    let mut pool = full(8, 3, |config| config);
    turn_probes_away(&mut pool, 12);
    let lease = pool.take();
    // The peer does not know yet that this one is in use.
    let next = pool.dialing()[0];
    turn_away(&mut pool, next);
    assert_eq!(pool.stats().ceiling, Some(2));
    let wait = wait_over(&mut pool);
    assert!(wait <= ms(200), "{wait:?}");
    let next = pool.dialing()[0];
    pool.connect(next);
    assert_eq!(pool.stats().idle, 3);
    pool.release(lease);
}

#[test]
fn a_peer_that_holds_nothing_of_this_pool_is_waited_for_like_one_that_is_down() {
    let mut pool = ClientHarness::client(2, 2, |config| config);
    for failures in 1..6 {
        while let Some(token) = pool.dialing().first().copied() {
            turn_away(&mut pool, token);
        }
        let stats = pool.stats();
        assert_eq!((stats.failures_in_a_row, stats.ceiling), (failures, None));
        wait_over(&mut pool);
        assert_eq!(pool.dialing().len(), 1);
    }
}

#[test]
fn a_dial_that_fails_and_a_handshake_that_fails_in_tls_are_failures_whatever_is_held() {
    for tls in [false, true] {
        let mut pool = ClientHarness::client(2, 2, |config| config);
        let [first, second] = pool.dialing()[..] else { panic!() };
        pool.connect(first);
        if tls {
            pool.dialed(second);
            pool.handshake_failed(second, HandshakeFailure::Tls);
        } else {
            pool.dial_failed(second);
        }
        assert_eq!((pool.stats().failures_in_a_row, pool.stats().ceiling), (1, None));
    }
}

#[test]
fn a_full_peer_that_was_down_is_up() {
    let mut pool = ClientHarness::client(3, 3, |config| config);
    let [first, second, third] = pool.dialing()[..] else { panic!() };
    pool.connect(first);
    pool.dial_failed(second);
    pool.dial_failed(third);
    assert_eq!(pool.stats().failures_in_a_row, 1);
    wait_over(&mut pool);
    let probe = pool.dialing()[0];
    turn_away(&mut pool, probe);
    assert_eq!((pool.stats().failures_in_a_row, pool.stats().ceiling), (0, Some(1)));
    let lease = pool.take();
    assert_eq!(pool.dialing().len(), 1, "up to the ceiling nothing is waited for");
    pool.release(lease);
}

/// A full server of the Go package accepts everybody, and closes the connections it has no place for.
#[test]
fn connections_that_are_closed_at_once_do_not_raise_the_ceiling_for_good() {
    for late in [0, 5] {
        let mut pool = full(16, 3, |config| config.max_dials(8));
        let (start, before) = (pool.now, pool.stats().totals.dials);
        let mut closing: Vec<Token> = Vec::new();
        while pool.now < start + ms(60_000) {
            for token in pool.dialing() {
                pool.connect(token);
                closing.push(token);
            }
            // The news of a close is up to 5 connections late.
            while closing.len() > if pool.dialing().is_empty() { 0 } else { late } {
                let token = closing.remove(0);
                peer_closes(&mut pool, token);
            }
            pool.pass(ms(10));
        }
        let stats = pool.stats();
        let dials = stats.totals.dials - before;
        println!("{dials} dials in a minute, late by {late}");
        assert_eq!((stats.idle, stats.failures_in_a_row, stats.ceiling), (3, 0, Some(3)));
        // About 20 waits. After each the ceiling seems to rise until the first close is known.
        assert!(dials <= if late == 0 { 60 } else { 300 }, "{dials} in a minute, late by {late}");
    }
}

#[test]
fn a_peer_that_swaps_one_connection_for_another_is_not_asked_to_in_a_hot_loop() {
    for close_first in [false, true] {
        let mut pool = full(16, 3, |config| config.max_dials(8));
        let (start, before) = (pool.now, pool.stats().totals.dials);
        while pool.now < start + ms(60_000) {
            for token in pool.dialing() {
                let oldest = pool.idle()[0];
                pool.dialed(token);
                if close_first {
                    peer_closes(&mut pool, oldest);
                }
                let next = pool.stats().totals.established + 1000;
                pool.established(token, Some(id(u32::try_from(next).unwrap())));
                if !close_first {
                    peer_closes(&mut pool, oldest);
                }
            }
            pool.pass(ms(10));
        }
        let dials = pool.stats().totals.dials - before;
        println!("{dials} dials in a minute, the close first: {close_first}");
        assert!(dials <= 60, "{dials} dials in a minute, the close first: {close_first}");
    }
}

#[test]
fn a_call_to_dial_now_tries_for_room_at_once() {
    let mut pool = full(8, 3, |config| config);
    turn_probes_away(&mut pool, 12);
    pool.dial_now();
    let [probe] = pool.dialing()[..] else { panic!("one probe") };
    turn_away(&mut pool, probe);
    assert!(wait_over(&mut pool) <= ms(200));
}

#[test]
fn a_full_peer_is_not_dialled_for_callers_that_do_not_wait_any_more() {
    let mut pool = full(8, 3, |config| config);
    turn_probes_away(&mut pool, 12);
    let leases = [pool.take(), pool.take(), pool.take()];
    for token in pool.dialing() {
        turn_away(&mut pool, token);
    }
    let before = pool.stats().totals.dials;
    // Callers with a timeout of zero, for ten seconds.
    for _ in 0..1000 {
        if let Acquired::Queued(waiter) = pool.acquire() {
            pool.cancel(waiter);
        }
        while let Some(token) = pool.dialing().first().copied() {
            turn_away(&mut pool, token);
        }
        pool.pass(ms(10));
    }
    let dials = pool.stats().totals.dials - before;
    assert!(dials <= 40, "{dials} dials in ten seconds");
    drop(leases);
}

#[test]
fn a_peer_that_has_used_a_connection_it_closed_young_is_not_full() {
    let mut pool = client(4, 4);
    let token = pool.dialing()[0];
    let taken = pool.connect(token);
    pool.fill();
    peer_closes(&mut pool, token);
    assert_eq!(pool.stats().ceiling, Some(3), "it looks like a full peer");
    assert_eq!(pool.dialing(), []);
    // The peer tells the id after it has used the connection.
    let Acquired::Ready(lease) = pool.acquire_by_id(taken) else { panic!() };
    assert_eq!(pool.dialing().len(), 1, "the place is filled at once");
    drop(lease);
}

#[test]
fn a_doubt_that_was_wrong_leaves_no_failures_behind() {
    let mut pool = full(8, 3, |config| config);
    turn_probes_away(&mut pool, 4);
    // In time to be counted with the failures before, if there were any.
    assert!(pool.now < Instant::EPOCH + ms(10_000));
    wait_over(&mut pool);
    let young = pool.dialing()[0];
    let taken = pool.connect(young);
    peer_closes(&mut pool, young);
    let Acquired::Ready(lease) = pool.acquire_by_id(taken) else { panic!("it has its id") };
    pool.release(lease);
    let wait = wait_after_a_false_success(&mut pool);
    assert!(wait <= ms(200), "{wait:?}");
}

/// The peer lets one of the dials in, turns the others away, and closes that one. Returns the wait.
fn wait_after_a_false_success(pool: &mut ClientHarness) -> Duration {
    let [young, others @ ..] = &pool.dialing()[..] else { panic!("nothing is dialled") };
    pool.connect(*young);
    others.iter().for_each(|token| turn_away(pool, *token));
    while let Some(token) = pool.dialing().first().copied() {
        turn_away(pool, token);
    }
    peer_closes(pool, *young);
    assert_eq!(pool.dialing(), []);
    wait_over(pool)
}
