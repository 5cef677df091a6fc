//! Tests of the backoff.

use super::*;

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(30), 1)
}

#[test]
fn the_bound_doubles_up_to_the_cap_and_never_overflows() {
    let mut backoff = backoff();
    let mut bounds = std::vec::Vec::new();
    for _ in 0..200 {
        let bound = backoff.bound();
        assert!(backoff.failure() <= bound);
        bounds.push(bound.as_millis());
    }
    assert_eq!(bounds[..9], [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]);
    assert!(bounds[9..].iter().all(|bound| *bound == 30000));
}

#[test]
fn waits_are_spread_over_the_whole_range() {
    let waits: std::vec::Vec<u128> = (0..1000)
        .map(|seed| {
            Backoff::new(Duration::from_millis(200), Duration::from_secs(30), seed)
                .failure()
                .as_millis()
        })
        .collect();
    for tenth in 0..10 {
        let (low, high) = (tenth * 20, tenth * 20 + 20);
        let hits = waits.iter().filter(|wait| (low..high).contains(*wait)).count();
        assert!((50..200).contains(&hits), "{hits} of 1000 waits in {low}..{high} ms");
    }
}

#[test]
fn at_the_cap_waits_are_spread_over_its_upper_half() {
    let mut backoff = backoff();
    for _ in 0..8 {
        backoff.failure();
    }
    let waits: std::vec::Vec<u128> = (0..1000).map(|_| backoff.failure().as_millis()).collect();
    for tenth in 0..10 {
        let (low, high) = (15_000 + tenth * 1500, 15_000 + tenth * 1500 + 1500);
        let hits = waits.iter().filter(|wait| (low..high).contains(*wait)).count();
        assert!((50..200).contains(&hits), "{hits} of 1000 waits in {low}..{high} ms");
    }
}

#[test]
fn a_lower_cap_holds_for_one_wait() {
    let mut backoff = backoff();
    for _ in 0..8 {
        backoff.failure();
    }
    let second = Period::saturating(Duration::from_secs(1));
    let wait = backoff.failure_within(second);
    assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
    assert!(backoff.failure() >= Duration::from_secs(15));
    assert!(backoff.within(second) <= Duration::from_secs(1));
    assert_eq!(backoff.failures(), 10);
}

#[test]
fn a_success_that_does_not_last_does_not_start_over() {
    let mut backoff = backoff();
    for _ in 0..4 {
        backoff.failure();
    }
    backoff.success();
    assert_eq!(backoff.failures(), 0);
    backoff.relapse();
    assert_eq!(backoff.failures(), 5);
    backoff.success();
    backoff.success();
    backoff.relapse();
    assert_eq!(backoff.failures(), 6);
}
