//! The client's supply under the two tuning laws.

use pool_proto::{
    Acquired, CheckResult, CloseReason, Collected, HandshakeFailure, Refusal, Stock, Tuning,
    WaitReason,
};
use pool_testkit::harness::*;

fn client(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config)
}

fn node_pass(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config.tuning(Tuning::NodePass))
}

/// Lets `count` callers acquire at once, and use up their connections. Returns how many were served at
/// once.
fn crowd(pool: &mut ClientHarness, count: usize) -> usize {
    let acquired: Vec<_> = (0..count).map(|_| pool.acquire()).collect();
    let mut served = 0;
    for acquired in acquired {
        let lease = match acquired {
            Acquired::Ready(lease) => {
                served += 1;
                lease
            }
            Acquired::Queued(waiter) => {
                pool.fill();
                pool.collect_lease(waiter)
            }
            Acquired::Refused(refusal) => panic!("{refusal}"),
        };
        pool.release(lease);
    }
    pool.fill();
    served
}

// --- Demand -------------------------------------------------------------------------------------

#[test]
fn each_waiter_has_a_dial_beside_those_of_the_stock_up_to_the_maximum() {
    let mut pool = client(1, 6);
    // The law asks for 2, 2, 3, 3 and 4.
    for dialing in [3, 4, 6, 6, 6] {
        pool.queue();
        assert_eq!(pool.dialing().len(), dialing);
    }
    assert_eq!(pool.stats().capacity, 4);
}

#[test]
fn an_acquire_that_is_served_from_stock_counts_as_one_that_waits() {
    let waited = {
        let mut pool = client(1, 8);
        pool.queue();
        pool.stats().capacity
    };
    let mut pool = client(1, 8);
    pool.fill();
    let lease = pool.take();
    assert_eq!((pool.stats().capacity, waited), (2, 2));
    pool.release(lease);
}

#[test]
fn an_acquire_that_finds_the_queue_full_counts_all_the_same() {
    let mut pool = ClientHarness::client(1, 4, |config| config.max_waiters(1));
    pool.queue();
    let full = Refusal::TooManyWaiters { limit: 1 };
    assert_eq!(pool.acquire(), Acquired::Refused(full));
    assert_eq!(pool.acquire(), Acquired::Refused(full));
    // Half of a crowd of three that has come once, and one more; and one for the caller that waits.
    assert_eq!((pool.stats().capacity, pool.dialing().len()), (3, 4));
    assert_eq!(pool.wait_ready(4), Stock::Refused(full));
    assert_eq!(pool.stats().capacity, 4, "it may come again");
}

#[test]
fn an_acquire_by_id_counts_as_one_of_the_peers() {
    let mut pool = client(1, 8);
    let token = pool.dialing()[0];
    let id = pool.connect(token);
    let theirs = pool.take_by_id(id);
    assert_eq!(pool.stats().capacity, 2);
    pool.release(theirs);
}

#[test]
fn connections_that_are_put_back_are_not_demand() {
    let mut pool = client(1, 8);
    pool.fill();
    for _ in 0..50 {
        let lease = pool.take();
        pool.put_drained(lease, CheckResult::Quiet).unwrap();
    }
    assert_eq!((pool.stats().capacity, pool.stats().totals.dials), (2, 3));
}

#[test]
fn crowds_that_come_again_find_their_stock() {
    let mut pool = client(1, 64);
    pool.fill();
    let mut at_once = Vec::new();
    for _ in 0..4 {
        at_once.push(crowd(&mut pool, 20));
        for _ in 0..50 {
            pool.pass(ms(100));
            pool.fill();
        }
    }
    // The first one has the minimum, the next ones half of the highest so far, and three are a habit.
    assert_eq!(at_once, [1, 11, 11, 20]);
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
fn stock_that_nobody_needs_goes_a_32nd_of_keep_after_its_peak_is_forgotten() {
    let mut pool = ClientHarness::client(2, 20, |config| config.keep(ms(16_000)));
    let Stock::Queued(waiter) = pool.wait_ready(20) else { panic!() };
    pool.fill();
    assert_eq!(pool.collect(waiter), Collected::Stocked);
    pool.pass(ms(15_999));
    assert_eq!((pool.stats().capacity, pool.stats().idle), (20, 20));
    pool.pass(ms(1));
    assert_eq!((pool.stats().capacity, pool.stats().idle), (2, 20));
    pool.pass(ms(499));
    let lease = pool.take();
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    pool.pass(ms(1));
    // A connection was in use meanwhile.
    assert_eq!((pool.stats().idle, pool.ended(CloseReason::Surplus)), (3, 17));
    pool.pass(ms(60_000));
    assert_eq!((pool.stats().idle, pool.machine.poll_timeout()), (2, None));
}

#[test]
fn stock_that_many_callers_of_either_end_did_not_need_goes_in_a_quarter_of_that_time() {
    for (callers, after) in [(15, 500), (16, 125)] {
        for by_peer in [false, true] {
            let mut pool = ClientHarness::client(2, 20, |config| config.keep(ms(16_000)));
            let Stock::Queued(waiter) = pool.wait_ready(20) else { panic!() };
            pool.fill();
            assert_eq!(pool.collect(waiter), Collected::Stocked);
            pool.pass(ms(16_000));
            assert_eq!((pool.stats().capacity, pool.stats().idle), (2, 20));
            for _ in 0..callers {
                let id = pool.id_of(pool.idle()[0]);
                let lease = if by_peer { pool.take_by_id(id) } else { pool.take() };
                pool.put_drained(lease, CheckResult::Quiet).unwrap();
            }
            pool.pass(ms(after - 1));
            assert_eq!(pool.stats().idle, 20, "{callers} callers");
            pool.pass(ms(1));
            // One was in use at a time.
            assert_eq!(pool.stats().idle, 3, "{callers} callers");
        }
    }
}

#[test]
fn an_outage_is_not_remembered_and_makes_nothing_forgotten() {
    let mut pool = ClientHarness::client(1, 64, |config| config.keep(ms(16_000)));
    pool.fill();
    for _ in 0..3 {
        crowd(&mut pool, 10);
        pool.pass(ms(1_000));
    }
    let capacity = pool.stats().capacity;
    for token in pool.pooled() {
        pool.closed(token);
    }
    while pool.stats().failures_in_a_row == 0 {
        for token in pool.dialing() {
            pool.dial_failed(token);
        }
    }
    for _ in 0..30 {
        pool.queue();
    }
    pool.pass(ms(60_000));
    assert_eq!(pool.stats().capacity, capacity);
    pool.pass(ms(1));
    pool.fill();
    assert_eq!(pool.stats().capacity, capacity);
    pool.pass(ms(60_000));
    assert_eq!(pool.stats().capacity, 1);
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
fn seconds_in_which_a_limit_keeps_callers_waiting_are_counted() {
    let counted = |pool: &ClientHarness| {
        let totals = pool.stats().totals;
        (totals.limited_by_dials, totals.limited_by_capacity)
    };
    let limited = |capacity, max_dials| {
        let mut pool = ClientHarness::client(1, capacity, |config| config.max_dials(max_dials));
        for _ in 0..6 {
            pool.queue();
        }
        for _ in 0..25 {
            pool.pass(ms(100));
            // Any change will do for the machine to look at its limits.
            pool.queue();
        }
        counted(&pool)
    };
    assert_eq!(limited(8, 2), (2, 0));
    assert_eq!(limited(3, 32), (0, 2));
    let mut pool = client(4, 64);
    for _ in 0..30 {
        pool.queue();
        pool.pass(ms(100));
    }
    assert_eq!(counted(&pool), (0, 0), "each has a dial of its own");
}

#[test]
fn a_capacity_that_is_set_holds_at_once() {
    let mut pool = ClientHarness::client(2, 8, |config| config.max_connections(20));
    pool.fill();
    assert_eq!(pool.set_capacity(6, 6), Ok(()));
    pool.fill();
    assert_eq!(pool.stats().idle, 6);
    assert!(matches!(pool.wait_ready(9), Stock::Refused(Refusal::StockBeyondCapacity { .. })));
    let low = pool.set_capacity(0, 5).unwrap_err();
    let high = pool.set_capacity(3, 21).unwrap_err();
    assert!(low.to_string().starts_with("capacity is zero"), "{low}");
    assert!(high.to_string().starts_with("capacity is 21"), "{high}");
    assert_eq!(pool.stats().capacity, 6, "as it was");
}

#[test]
fn a_waiter_for_more_than_a_new_capacity_is_refused() {
    let mut pool = client(2, 8);
    let Stock::Queued(waiter) = pool.wait_ready(7) else { panic!() };
    assert_eq!(pool.set_capacity(2, 5), Ok(()));
    let refusal = Refusal::StockBeyondCapacity { wanted: 7, capacity: 5 };
    assert_eq!(pool.collect(waiter), Collected::Refused(refusal));
}

#[test]
fn dials_are_spread_while_a_crowd_is_served_from_stock() {
    let mut pool = ClientHarness::client(100, 100, |config| config.max_dials(100));
    pool.fill();
    pool.pass(ms(5_000));
    let leases: Vec<_> = (0..60).map(|_| pool.take()).collect();
    // A dial every 20 ms with a full stock, and every 8 ms with the 40 connections that are left.
    let at_once = pool.dialing().len();
    assert!((2..=4).contains(&at_once), "{at_once}");
    for _ in 0..100 {
        pool.pass(ms(1));
    }
    let spread = pool.dialing().len() - at_once;
    assert!((10..=14).contains(&spread), "{spread} in 100 ms");
    // The rest a second after the last acquire: nobody is expected any more.
    pool.pass(ms(900));
    assert_eq!(pool.dialing().len(), 60);
    leases.into_iter().for_each(|lease| pool.release(lease));
}

#[test]
fn nothing_is_spread_as_soon_as_a_caller_waits() {
    let mut pool = ClientHarness::client(100, 100, |config| config.max_dials(200));
    pool.fill();
    let leases: Vec<_> = (0..100).map(|_| pool.take()).collect();
    assert_eq!(pool.dialing().len(), 100, "the stock is used up");
    pool.queue();
    assert_eq!(pool.dialing().len(), 100);
    leases.into_iter().for_each(|lease| pool.release(lease));
}

#[test]
fn a_stock_is_filled_at_once_while_nobody_comes() {
    let mut pool = ClientHarness::client(200, 200, |config| config.max_dials(500));
    assert_eq!(pool.dialing().len(), 200);
    pool.fill();
    pool.pass(ms(5_000));
    pool.flush();
    assert_eq!(pool.dialing().len(), 200);
}

#[test]
fn steady_demand_is_not_slowed_down() {
    let mut pool = ClientHarness::client(100, 100, |config| config);
    pool.fill();
    for _ in 0..2_000 {
        pool.pass(ms(2));
        let lease = pool.take();
        pool.release(lease);
        pool.fill();
    }
    assert!(pool.stats().idle >= 95, "{:?}", pool.stats());
}

// --- NodePass ------------------------------------------------------------------------------------

#[test]
fn the_law_of_the_go_package_dials_in_rounds_only() {
    let mut pool = node_pass(5, 20);
    assert_eq!(pool.dialing().len(), 5);
    pool.fill();
    assert_eq!(pool.stats().capacity, 6, "a round that has filled an empty pool raises it");
    let lease = pool.take();
    assert_eq!(pool.dialing(), [], "not before the next round");
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(100)));
    pool.wait(ms(100));
    pool.timeout();
    assert_eq!(pool.dialing().len(), 2, "4 idle of 6");
    pool.release(lease);
}

#[test]
fn a_round_of_the_go_package_waits_for_its_dials_and_sleeps_afterwards() {
    let mut pool = node_pass(5, 20);
    let [slow, quick @ ..] = &pool.dialing()[..] else { panic!() };
    for token in quick {
        pool.connect(*token);
    }
    let slow = *slow;
    pool.pass(ms(350));
    let lease = pool.take();
    assert_eq!((pool.dialing(), pool.stats().capacity), (vec![slow], 5), "the round goes on");
    pool.connect(slow);
    assert_eq!(pool.stats().capacity, 6, "all five count");
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(100)));
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
fn rounds_go_on_in_an_outage_and_lower_the_capacity_as_those_of_the_go_package() {
    let mut pool = node_pass(5, 20);
    for stock in 5..10 {
        pool.fill();
        (0..stock).for_each(|_| drop(pool.take()));
        pool.pass(ms(100));
    }
    assert_eq!(pool.dialing().len(), 10);
    // A Go client dials in each of these rounds. Here the backoff allows a few dials.
    for capacity in [9, 8, 7, 6, 5, 5, 5] {
        for token in pool.dialing() {
            pool.dial_failed(token);
        }
        assert_eq!((pool.stats().capacity, pool.stats().interval), (capacity, ms(100)));
        pool.pass(ms(100));
    }
    while pool.dialing().is_empty() {
        pool.pass(ms(100));
    }
    let before = pool.stats().totals.dials;
    assert_eq!(pool.dialing().len(), 1, "the probe");
    pool.fill();
    assert_eq!(pool.stats().totals.dials, before + 4, "the rest, in the same round");
    assert_eq!((pool.stats().idle, pool.stats().capacity), (5, 6));
}

#[test]
fn a_miss_changes_nothing_under_the_law_of_the_go_package() {
    let mut pool = node_pass(1, 20);
    pool.fill();
    let lease = pool.take();
    let waiter = pool.queue();
    // Raised by the first round, which has filled an empty pool.
    assert_eq!(pool.stats().capacity, 2);
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
