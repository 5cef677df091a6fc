//! The law of [`Tuning::Demand`] as a pure value: what holds for every demand.

use std::time::Duration;

use pool_proto::{Instant, Tuner, Tuning};
use proptest::prelude::*;

use crate::{config, ms};

/// An input of a tuner.
#[derive(Clone, Copy, Debug)]
enum Told {
    Acquired,
    ByPeer(Duration),
    Waits(u32, u32),
    Established(Duration),
    Failed,
    Returned,
    Require(u32),
    Bounds(u32, u32),
}

fn told() -> impl Strategy<Value = Told> {
    let time = || prop_oneof![(0..2000u64).prop_map(ms), Just(Duration::ZERO), Just(Duration::MAX)];
    let count = || prop_oneof![0..200u32, Just(u32::MAX)];
    prop_oneof![
        8 => Just(Told::Acquired),
        4 => time().prop_map(Told::ByPeer),
        2 => (count(), count()).prop_map(|(one, other)| Told::Waits(one.min(other), one.max(other))),
        2 => time().prop_map(Told::Established),
        1 => Just(Told::Failed),
        2 => Just(Told::Returned),
        1 => count().prop_map(Told::Require),
        1 => (1..300u32, 1..300u32).prop_map(|(one, other)| Told::Bounds(one, other)),
    ]
}

fn tell(tuner: &mut Tuner, now: Instant, told: Told) {
    match told {
        Told::Acquired => tuner.acquired(now),
        Told::ByPeer(age) => drop(tuner.acquired_by_peer(now, age)),
        Told::Waits(least, most) => tuner.peer_waits(now, least..=most),
        Told::Established(took) => tuner.established(now, took),
        Told::Failed => tuner.failed(now),
        Told::Returned => tuner.returned(),
        Told::Require(ready) => tuner.require(now, ready),
        Told::Bounds(low, high) => tuner.set_bounds(low.min(high)..=low.max(high)),
    }
}

/// A tuner of a client whose dials take so long.
fn tuner(capacity: core::ops::RangeInclusive<u32>, lead_time: Duration) -> Tuner {
    let mut tuner = Tuner::new(Tuning::Demand, capacity, ms(1)..=ms(1));
    for _ in 0..100 {
        tuner.established(Instant::EPOCH, lead_time);
    }
    tuner
}

/// Acquires at these times after the epoch, in order.
fn times() -> impl Strategy<Value = Vec<u64>> {
    let gap = prop_oneof![4 => Just(0u64), 4 => 0..50u64, 2 => 0..2_000u64, 1 => 0..40_000u64];
    prop::collection::vec(gap, 0..150).prop_map(|gaps| {
        gaps.into_iter()
            .scan(0, |now, gap| {
                *now += gap;
                Some(*now)
            })
            .collect()
    })
}

fn after(times: &[u64], lead_time: Duration, at: u64) -> u32 {
    let mut tuner = tuner(2..=64, lead_time);
    for time in times.iter().filter(|time| **time <= at) {
        tuner.acquired(Instant::EPOCH + ms(*time));
    }
    tuner.advance(Instant::EPOCH + ms(at));
    tuner.capacity()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_capacity_stays_within_its_bounds(
        steps in prop::collection::vec((0..5_000u64, told()), 0..200),
    ) {
        let mut tuner = Tuner::new(Tuning::Demand, 2..=100, ms(1)..=ms(1));
        let mut now = Instant::EPOCH;
        for (gap, told) in steps {
            now = now + ms(gap);
            tell(&mut tuner, now, told);
            prop_assert!((tuner.min_capacity()..=tuner.max_capacity()).contains(&tuner.capacity()));
        }
    }

    #[test]
    fn more_demand_is_never_met_with_less(
        times in times(),
        more in times(),
        lead_time in 1..3_000u64,
        at in 0..120_000u64,
    ) {
        let mut all = [&times[..], &more].concat();
        all.sort_unstable();
        let lead_time = ms(lead_time);
        prop_assert!(after(&all, lead_time, at) >= after(&times, lead_time, at));
    }

    #[test]
    fn the_capacity_is_between_half_of_one_lead_times_acquires_and_all_of_them(
        times in times(),
        lead_time in 1..1_000u64,
    ) {
        let at = times.last().copied().unwrap_or(0);
        let highest = |lead_time| {
            let mut tuner = tuner(2..=1000, ms(lead_time));
            times.iter().for_each(|time| tuner.acquired(Instant::EPOCH + ms(*time)));
            tuner.advance(Instant::EPOCH + ms(at));
            tuner.capacity()
        };
        // The longest lead time is ten seconds: if all fall into one, half of them are kept.
        let all = u32::try_from(times.len()).unwrap();
        prop_assert!(highest(lead_time) <= all.max(1) + 1);
        prop_assert!(highest(u64::from(u32::MAX)) > all.div_ceil(2) || all == 0 || at > 10_000);
    }

    #[test]
    fn everything_is_forgotten_after_keep(
        steps in prop::collection::vec((0..5_000u64, told()), 0..200),
    ) {
        let mut tuner = Tuner::new(Tuning::Demand, 2..=100, ms(1)..=ms(1));
        let mut now = Instant::EPOCH;
        for (gap, told) in steps {
            now = now + ms(gap);
            tell(&mut tuner, now, told);
        }
        // An outage ends, if there is one.
        tuner.established(now, ms(1));
        now = now + Duration::from_secs(60);
        tuner.advance(now);
        prop_assert_eq!(tuner.capacity(), tuner.min_capacity());
        prop_assert_eq!(tuner.next_advance(), None);
    }

    #[test]
    fn a_peer_that_only_claims_to_have_waiters_gets_three_quarters_of_the_maximum(
        hints in prop::collection::vec((0..500u64, 0..u32::MAX), 0..100),
        maximum in 8..1000u32,
    ) {
        let mut tuner = tuner(2..=maximum, ms(100));
        let mut now = Instant::EPOCH;
        for (gap, waiters) in hints {
            now = now + ms(gap);
            tuner.peer_waits(now, waiters..=waiters);
            prop_assert!(tuner.capacity() <= maximum - maximum / 4 + 1);
        }
    }

    /// The statement on which the law rests, with the law's own count: of a stock of base `capacity`
    /// whose connections are replaced after one lead time, an acquire finds one if and only if there
    /// were fewer than `capacity` in the lead time before it.
    #[test]
    fn a_demand_that_has_come_three_times_is_served_at_once(
        crowd in prop::collection::vec(0..100u64, 1..60),
        lead_time in 100..1_000u64,
    ) {
        let mut times = crowd;
        times.sort_unstable();
        // Four times the same, further apart than everything lasts.
        let crowds = 0..4u64;
        let all: Vec<u64> = crowds.flat_map(|n| times.iter().map(move |t| n * 10_000 + t)).collect();
        let (known, last) = all.split_at(3 * times.len());
        let lead_time = ms(lead_time);
        let capacity = after(known, lead_time, last[0]);
        let mut replaced: Vec<u64> = Vec::new();
        for time in last {
            let out = replaced.iter().filter(|back| *back > time).count();
            prop_assert!(out < capacity as usize, "{out} of {capacity} at {time}");
            replaced.push(time + u64::try_from(lead_time.as_millis()).unwrap());
        }
    }
}
