//! Tests of the tuning laws.

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A client whose dials take 100 ms.
fn demand() -> Tuner {
    let mut tuner = Tuner::new(Tuning::Demand, 2..=100, ms(100)..=ms(1000));
    (0..50).for_each(|_| tuner.established(at(0), ms(100)));
    tuner
}

#[test]
fn the_lead_time_is_that_of_slow_dials() {
    let mut tuner = Tuner::new(Tuning::Demand, 2..=100, ms(100)..=ms(1000));
    assert_eq!(tuner.lead_time(), Some(ms(250)), "unknown");
    tuner.established(at(0), ms(100));
    assert_eq!(tuner.lead_time(), Some(ms(200)), "one sample may mislead");
    for took in [80, 120].repeat(50) {
        tuner.established(at(0), ms(took));
    }
    let lead_time = tuner.lead_time().unwrap();
    assert!((ms(130)..ms(150)).contains(&lead_time), "{lead_time:?}");
    (0..1000).for_each(|_| tuner.established(at(0), Duration::MAX));
    assert!(tuner.lead_time().unwrap() < ms(10_001));
}

#[test]
fn an_acquire_counts_for_one_lead_time() {
    let mut tuner = demand();
    let lead_time = tuner.lead_time().unwrap();
    let next = |time: Instant| time + lead_time;
    // Two at a time, and never three within a lead time.
    let mut now = at(1000);
    for _ in 0..10 {
        tuner.acquired(now);
        tuner.acquired(now);
        now = next(now);
    }
    assert_eq!(tuner.capacity(), 3);
}

#[test]
fn the_third_highest_count_is_what_the_stock_is_for() {
    let mut tuner = demand();
    let mut now = at(1000);
    for (crowd, capacity) in [(20, 11), (20, 11), (16, 17), (18, 19), (80, 41)] {
        now = now + ms(1000);
        (0..crowd).for_each(|_| tuner.acquired(now));
        assert_eq!(tuner.capacity(), capacity, "after {crowd}");
    }
}

#[test]
fn a_crowd_is_ranked_for_two_thirds_of_keep_and_counts_half_for_all_of_it() {
    let mut tuner = demand().with_keep(ms(9000));
    for now in [1000, 2000, 3000] {
        (0..20).for_each(|_| tuner.acquired(at(now)));
    }
    assert_eq!(tuner.capacity(), 21);
    for (now, capacity) in [(6999, 21), (7000, 12), (11_999, 12), (12_000, 2)] {
        tuner.advance(at(now));
        assert_eq!(tuner.capacity(), capacity, "at {now}");
    }
    assert_eq!(tuner.next_advance(), None);
}

#[test]
fn a_peak_that_is_lower_by_one_leaves_the_capacity() {
    let mut tuner = demand();
    let mut now = at(1000);
    for (crowd, capacity) in [(9, 6), (9, 6), (9, 10), (8, 10), (8, 10), (8, 10)] {
        now = now + ms(1000);
        (0..crowd).for_each(|_| tuner.acquired(now));
        assert_eq!(tuner.capacity(), capacity);
    }
    // The first nines are too old; the eights are left.
    tuner.advance(at(2000) + ms(42_500));
    assert_eq!(tuner.capacity(), 10);
    tuner.advance(at(2000) + ms(44_500));
    assert_eq!(tuner.capacity(), 7, "half of nine is five, and one more or two");
}

#[test]
fn connections_that_are_put_back_within_a_lead_time_need_not_be_replaced() {
    let mut tuner = demand();
    // Acquires a lead time apart in pairs, each put back before the next: no more than one is ever out.
    for now in (1000..3000).step_by(10) {
        tuner.acquired(at(now));
        tuner.returned();
    }
    assert_eq!(tuner.capacity(), 2);
}

#[test]
fn callers_of_the_peer_that_waited_are_counted_once() {
    let mut tuner = demand();
    tuner.peer_waits(at(900), 0..=0);
    tuner.peer_waits(at(1000), 6..=7);
    assert_eq!(tuner.capacity(), 4);
    // As these are served, they were counted; one more was not.
    for _ in 0..6 {
        assert!(tuner.acquired_by_peer(at(1001), ms(1)));
    }
    assert_eq!(tuner.capacity(), 4);
    assert!(!tuner.acquired_by_peer(at(1002), ms(500)));
    assert!(tuner.acquired_by_peer(at(1003), ms(1)));
    assert_eq!(tuner.capacity(), 5, "half of eight, and one");
}

#[test]
fn the_first_hint_after_an_outage_is_of_its_callers() {
    let mut tuner = demand();
    tuner.failed(at(1000));
    tuner.established(at(61_000), ms(100));
    tuner.peer_waits(at(61_000), 64..=95);
    assert_eq!(tuner.capacity(), 2);
    tuner.peer_waits(at(61_000), 96..=127);
    assert_eq!(tuner.capacity(), 17, "32 more have come");
}

#[test]
fn the_waves_of_a_start_are_forgotten_once_the_demand_is_known() {
    let mut tuner = demand();
    // No stock, and 64 callers at the peer: they are served in three waves.
    tuner.peer_waits(at(1000), 64..=95);
    assert_eq!(tuner.capacity(), 2, "the first hint is of callers that came at any time");
    for wave in [1000, 1200, 1400] {
        tuner.peer_waits(at(wave), 64..=95);
        (0..20).for_each(|_| tuner.acquired(at(wave)));
    }
    assert_eq!(tuner.capacity(), 21);
    // In fact, the acquires come two at a time.
    for now in (1600..3000).step_by(200) {
        (0..2).for_each(|_| tuner.acquired(at(now)));
    }
    assert_eq!(tuner.capacity(), 3);
}

#[test]
fn the_law_of_the_go_package_ignores_demand() {
    let mut tuner = Tuner::new(Tuning::NodePass, 4..=100, ms(100)..=ms(1000));
    tuner.acquired(at(0));
    tuner.require(at(0), 50);
    assert_eq!((tuner.capacity(), tuner.next_advance()), (4, None));
}

#[test]
fn new_bounds_hold_at_once() {
    let mut tuner = demand();
    for now in [1000, 2000, 3000] {
        (0..40).for_each(|_| tuner.acquired(at(now)));
    }
    assert_eq!(tuner.capacity(), 41);
    tuner.set_bounds(2..=30);
    assert_eq!(tuner.capacity(), 30);
    tuner.set_bounds(2..=100);
    assert_eq!(tuner.capacity(), 41, "what was learnt is kept");
    tuner.set_bounds(60..=100);
    assert_eq!(tuner.capacity(), 60);
    let mut tuner = Tuner::new(Tuning::NodePass, 4..=8, ms(100)..=ms(1000));
    tuner.set_bounds(6..=20);
    assert_eq!(tuner.capacity(), 6);
}

#[test]
fn inverted_bounds_collapse_to_the_lower_end() {
    #[expect(clippy::reversed_empty_ranges, reason = "the inverted range is the case")]
    let tuner = Tuner::new(Tuning::Demand, 9..=3, ms(100)..=ms(100));
    assert_eq!((tuner.min_capacity(), tuner.max_capacity()), (9, 9));
}
