//! Tests of the tuning laws.

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn demand() -> Tuner {
    Tuner::new(Tuning::Demand, 4..=100, ms(100)..=ms(1000))
}

#[test]
fn demand_raises_capacity_with_every_miss_up_to_the_maximum() {
    let mut tuner = demand();
    for _ in 0..1000 {
        tuner.missed();
    }
    assert_eq!(tuner.capacity(), 100);
}

#[test]
fn demand_lowers_capacity_only_by_stock_that_was_never_needed() {
    let mut tuner = demand();
    tuner.require(100);
    tuner.begin_round(20);
    assert_eq!(tuner.capacity(), 100, "a fifth is reserve, not surplus");
    tuner.begin_round(21);
    assert_eq!(tuner.capacity(), 99);
    for _ in 0..1000 {
        tuner.begin_round(100);
    }
    assert_eq!(tuner.capacity(), 4);
}

#[test]
fn demand_makes_rounds_rarer_while_nothing_happens() {
    let mut tuner = demand();
    let quiet: std::vec::Vec<u128> = (0..5).map(|_| tuner.round(0, 0).1.as_millis()).collect();
    assert_eq!(quiet, [200, 400, 800, 1000, 1000]);
    assert_eq!(tuner.round(0, 1).1, ms(100));
}

#[test]
fn the_law_of_the_go_package_ignores_misses() {
    let mut tuner = Tuner::new(Tuning::NodePass, 4..=100, ms(100)..=ms(1000));
    tuner.missed();
    tuner.require(50);
    assert_eq!(tuner.capacity(), 4);
}

#[test]
fn inverted_bounds_collapse_to_the_lower_end() {
    #[expect(clippy::reversed_empty_ranges, reason = "the inverted range is the case")]
    let tuner = Tuner::new(Tuning::Demand, 9..=3, ms(100)..=ms(100));
    assert_eq!((tuner.min_capacity(), tuner.max_capacity()), (9, 9));
}
