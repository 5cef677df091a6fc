//! The parts of roles, ended ids and waiters that count for the key.

use std::time::Duration;

use super::{assert_alike, assert_apart, client, fed, joined, use_up};
use pool_proto::{Acquired, CheckResult, HandshakeFailure};
use pool_testkit::harness::*;

const NANOSECOND: Duration = Duration::from_nanos(1);

// --- a server -----------------------------------------------------------------------------------

#[test]
fn where_it_came_from_counts_when_it_is_in_use_too() {
    let pool = |hosts: [u8; 4]| {
        let mut pool = joined(&[]);
        let ids = hosts.map(|host| pool.join(&format!("10.0.0.{host}")).id);
        for id in ids {
            assert!(matches!(pool.acquire_by_id(id), Acquired::Ready(_)));
        }
        pool
    };
    // Each has two in use, and the second source lost its last one after the first.
    assert_apart(&pool([1, 2, 1, 2]), &pool([2, 1, 1, 2]));
}

#[test]
fn handshakes_count_for_their_sources() {
    let pool = |hosts: [u8; 2]| {
        let mut pool = joined(&[1, 2]);
        for host in hosts {
            pool.admit(&format!("10.0.0.{host}")).unwrap();
        }
        pool
    };
    assert_apart(&pool([1, 1]), &pool([1, 2]));
}

#[test]
fn sources_from_where_a_peer_was_admitted_count() {
    let pool = |hosts: [u8; 2]| {
        let mut pool = joined(&[]);
        for host in hosts {
            let visitor = pool.join(&format!("10.0.0.{host}"));
            use_up(&mut pool, visitor.id);
        }
        pool
    };
    assert_apart(&pool([1, 1]), &pool([1, 2]));
    assert_alike(&pool([1, 2]), &pool([2, 1]));
}

#[test]
fn which_source_is_to_make_room_first_counts() {
    // The same connections; the source of that which is gone has come to its rank last.
    let pool = |first: u8| {
        let mut pool = joined(&[]);
        let gone = pool.join(&format!("10.0.0.{first}"));
        pool.join("10.0.0.2");
        pool.join("10.0.0.1");
        use_up(&mut pool, gone.id);
        pool
    };
    assert_apart(&pool(1), &pool(2));
    // A former rank does not count.
    assert_alike(&pool(1), &joined(&[2, 1]));
}

// --- a client -----------------------------------------------------------------------------------

/// A dial fails, and the next is under way after the wait.
fn fail(pool: &mut ClientHarness) {
    let token = pool.dialing()[0];
    pool.dial_failed(token);
    while pool.dialing().is_empty() {
        pool.now = pool.machine.poll_timeout().expect("a wait");
        pool.timeout();
    }
}

#[test]
fn failures_count() {
    let pool = |failures| {
        let mut pool = client(1, |config| config);
        (0..failures).for_each(|_| fail(&mut pool));
        pool
    };
    assert_apart(&pool(1), &pool(2));
}

#[test]
fn whether_a_dial_is_of_before_the_last_failure_counts() {
    let pool = |both_fail: bool| {
        let mut pool = client(2, |config| config);
        let [first, second] = pool.dialing()[..] else { panic!() };
        pool.dial_failed(first);
        if both_fail {
            pool.dial_failed(second);
        }
        pool.now = pool.machine.poll_timeout().expect("a wait");
        pool.timeout();
        let [left] = pool.dialing()[..] else { panic!("{:?}", pool.dialing()) };
        pool.dialed(left);
        pool
    };
    assert_apart(&pool(false), &pool(true));
}

#[test]
fn the_age_of_a_connection_counts_until_it_has_settled() {
    let pool = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        pool.wait(ms(age));
        pool.timeout();
        pool
    };
    assert_apart(&pool(500), &pool(999));
    assert_apart(&pool(999), &pool(1000));
    assert_alike(&pool(1000), &pool(2000));
}

#[test]
fn the_age_of_a_connection_does_not_count_once_either_end_has_used_it() {
    let used = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        let lease = pool.take();
        pool.put_drained(lease, CheckResult::Quiet).unwrap();
        pool.wait(ms(age));
        pool.timeout();
        pool
    };
    assert_alike(&used(100), &used(200));
    let claimed = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        pool.wait(ms(age));
        let token = pool.pooled()[0];
        pool.readable(token);
        pool.checked(CheckResult::Data);
        pool
    };
    assert_alike(&claimed(100), &claimed(200));
}

#[test]
fn how_long_ago_failures_ended_counts_for_ten_seconds() {
    let pool = |age: Duration| {
        let mut pool = client(1, |config| config);
        fail(&mut pool);
        pool.fill();
        pool.wait(age);
        pool.timeout();
        pool
    };
    let last = ms(10_000);
    assert_apart(&pool(last - NANOSECOND), &pool(last));
    assert_apart(&pool(last), &pool(last + NANOSECOND));
    assert_alike(&pool(last + NANOSECOND), &pool(ms(3_600_000)));
}

/// Of three dials, the first is established and the last turned away.
fn full() -> ClientHarness {
    let mut pool = client(3, |config| config);
    let [first, second, third] = pool.dialing()[..] else { panic!() };
    pool.connect(first);
    pool.connect(second);
    pool.dialed(third);
    pool.handshake_failed(third, HandshakeFailure::Id);
    pool
}

#[test]
fn what_a_full_peer_was_seen_to_hold_counts() {
    // Both hold one, and wait for as long.
    let pool = |second: bool| {
        let mut pool = full();
        let gone = pool.pooled()[usize::from(second)];
        pool.wait(ms(1));
        pool.closed(gone);
        pool
    };
    assert_alike(&pool(false), &pool(true));
    assert_ne!(pool(false).stats().ceiling, full().stats().ceiling);
    assert_apart(&full(), &pool(false));
}

#[test]
fn how_long_ago_the_ceiling_rose_counts_for_ten_seconds() {
    let pool = |age: Duration| {
        let mut pool = full();
        while pool.dialing().is_empty() {
            pool.now = pool.machine.poll_timeout().expect("a wait");
            pool.timeout();
        }
        pool.fill();
        pool.wait(age);
        pool.timeout();
        pool
    };
    let last = ms(10_000);
    assert_apart(&pool(last - NANOSECOND), &pool(last));
    assert_apart(&pool(last), &pool(last + NANOSECOND));
    assert_alike(&pool(last + NANOSECOND), &pool(ms(3_600_000)));
}

/// Connections with these ids were used up one after the other, and one with the last is there.
fn after(ids: &[u32]) -> ClientHarness {
    let mut pool = client(1, |config| config);
    for number in ids {
        if !pool.pooled().is_empty() {
            let lease = pool.take();
            pool.release(lease);
        }
        let token = pool.dialing()[0];
        pool.dialed(token);
        pool.established(token, Some(id(*number)));
    }
    pool
}

#[test]
fn ids_that_have_ended_count_while_they_may_be_asked_for() {
    let fed = |ended: &[u32], names: &[u32]| {
        fed(&after(ended), &names.iter().copied().map(id).collect::<Vec<_>>())
    };
    assert_ne!(fed(&[7, 9], &[9, 7]), fed(&[8, 9], &[9, 7]));
    assert_ne!(fed(&[7, 6, 9], &[9, 6, 7]), fed(&[8, 6, 9], &[9, 6, 7]));
    // Nobody asks for 7 or 8.
    assert_eq!(fed(&[7, 9], &[9]), fed(&[8, 9], &[9]));
    // It lives again.
    assert_eq!(fed(&[7, 7], &[7]), fed(&[8, 7], &[7]));
    // Only how it ended last counts.
    assert_eq!(fed(&[7, 7, 9], &[9, 7]), fed(&[8, 7, 9], &[9, 7]));
}

/// Which of two equally heavy sources makes room depends on when they became so heavy.
#[test]
fn a_change_that_was_taken_back_leaves_no_trace_among_the_sources() {
    let pool = |taken_back: bool| {
        let mut pool = joined(&[]);
        let first = pool.accept("10.0.0.1").unwrap();
        if taken_back {
            let brief = pool.join("10.0.0.1");
            use_up(&mut pool, brief.id);
        }
        pool.join("10.0.0.2");
        pool.prove(first, None).unwrap();
        pool.established(first, None);
        pool
    };
    assert_alike(&pool(false), &pool(true));
}

// --- waiters ----------------------------------------------------------------------------------

#[test]
fn requests_of_waiters_and_their_order_count() {
    let waiting = |wants: &[u32]| {
        let mut pool = joined(&[]);
        for want in wants {
            match want {
                0 => _ = pool.queue(),
                ready => _ = pool.wait_ready(*ready),
            }
        }
        pool
    };
    let pools = [&[][..], &[0], &[1], &[2], &[0, 1], &[1, 0], &[1, 2], &[2, 1]].map(waiting);
    for (at, one) in pools.iter().enumerate() {
        for other in &pools[..at] {
            assert_apart(one, other);
        }
    }
}
