//! The pacing laws, as the pure values that they are: how many connections a client aims at ([`demand`]
//! and below), and how long it waits after failures. In [`fleet`] and [`full`], whole machines follow
//! them in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod demand;
mod fleet;
mod full;

use std::time::Duration;

use pool_proto::{Backoff, Instant, Tuner, Tuning};
use proptest::prelude::*;
use proptest::test_runner::Config;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Small numbers, where rounding shows, and the largest, where sums would overflow.
fn counts() -> impl Strategy<Value = u32> {
    prop_oneof![0..20u32, 0..2000u32, Just(u32::MAX - 1), Just(u32::MAX)]
}

fn intervals() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..3000u64).prop_map(ms),
        (0..1_000_000_000u64).prop_map(Duration::from_nanos),
        Just(Duration::from_nanos(u64::MAX)),
        Just(Duration::MAX),
    ]
}

prop_compose! {
    /// A tuner under the law of the Go package in any state within its bounds.
    fn tuners()(
        capacities in (counts(), counts()),
        bounds in (intervals(), intervals()),
        state in (counts(), intervals()),
    ) -> Tuner {
        let capacity = capacities.0.min(capacities.1)..=capacities.0.max(capacities.1);
        let interval = bounds.0.min(bounds.1)..=bounds.0.max(bounds.1);
        Tuner::new(Tuning::NodePass, capacity, interval).with_state(state.0, state.1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Begin(u32),
    End(u32),
    Acquired,
    Require(u32),
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        counts().prop_map(Turn::Begin),
        counts().prop_map(Turn::End),
        Just(Turn::Acquired),
        counts().prop_map(Turn::Require),
    ]
}

fn take(tuner: &mut Tuner, turn: Turn) {
    match turn {
        Turn::Begin(idle) => tuner.begin_round(idle),
        Turn::End(created) => tuner.end_round(created),
        Turn::Acquired => tuner.acquired(Instant::EPOCH),
        Turn::Require(ready) => tuner.require(Instant::EPOCH, ready),
    }
}

fn config() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_tuner_stays_within_its_bounds(
        tuner in tuners(),
        turns in prop::collection::vec(turns(), 0..40),
    ) {
        let mut tuner = tuner;
        let fresh = Tuner::new(
            tuner.tuning(),
            tuner.min_capacity()..=tuner.max_capacity(),
            tuner.interval()..=tuner.interval(),
        );
        prop_assert_eq!(fresh.capacity(), tuner.min_capacity());
        let shortest = tuner.clone().with_state(0, Duration::ZERO).interval();
        let longest = tuner.clone().with_state(0, Duration::MAX).interval();
        for turn in turns {
            take(&mut tuner, turn);
            prop_assert!((tuner.min_capacity()..=tuner.max_capacity()).contains(&tuner.capacity()));
            prop_assert!((shortest..=longest).contains(&tuner.interval()));
        }
    }

    #[test]
    fn the_law_of_the_go_package_moves_in_small_steps_and_for_rounds_only(
        tuner in tuners(),
        turn in turns(),
    ) {
        let mut after = tuner.clone();
        take(&mut after, turn);
        prop_assert!(tuner.capacity().abs_diff(after.capacity()) <= 1);
        prop_assert!(tuner.interval().abs_diff(after.interval()) <= ms(100));
        match turn {
            Turn::Begin(_) => prop_assert_eq!(after.capacity(), tuner.capacity()),
            Turn::End(_) => prop_assert_eq!(after.interval(), tuner.interval()),
            Turn::Acquired | Turn::Require(_) => prop_assert_eq!(after, tuner),
        }
    }

    /// The Go package's own arithmetic, in floating point, for the numbers it can represent.
    #[test]
    fn its_arithmetic_is_that_of_the_go_package(
        capacity in 1..10_000u32,
        interval in 1..100u64,
        idle in 0..10_000u32,
        created in 0..10_000u32,
    ) {
        let tuner = Tuner::new(Tuning::NodePass, 1..=20_000, ms(1)..=ms(100_000));
        let mut tuner = tuner.with_state(capacity, ms(interval * 100));
        tuner.begin_round(idle);
        let (low, high) = (f64::from(capacity) * 0.2, f64::from(capacity) * 0.8);
        let expected = if f64::from(idle) < low.floor() {
            (interval * 100).saturating_sub(100).max(1)
        } else if f64::from(idle) > high.floor() {
            interval * 100 + 100
        } else {
            interval * 100
        };
        prop_assert_eq!(tuner.interval(), ms(expected));
        tuner.end_round(created);
        let expected = if 5 * created < capacity {
            capacity.saturating_sub(1).max(1)
        } else if 5 * created > 4 * capacity {
            capacity + 1
        } else {
            capacity
        };
        prop_assert_eq!(tuner.capacity(), expected);
    }

    #[test]
    fn a_round_is_its_beginning_and_its_end(tuner in tuners(), idle in counts(), created in counts()) {
        let (mut whole, mut parts) = (tuner.clone(), tuner);
        let told = whole.round(idle, created);
        parts.begin_round(idle);
        parts.end_round(created);
        prop_assert_eq!(&whole, &parts);
        prop_assert_eq!(told, (parts.capacity(), parts.interval()));
    }
}

fn waits() -> impl Strategy<Value = (Duration, Duration)> {
    let wait = || prop_oneof![intervals(), Just(Duration::ZERO), Just(Duration::from_nanos(1))];
    (wait(), wait()).prop_map(|(one, other)| (one.min(other), one.max(other)))
}

/// The longest time that 64 bits of nanoseconds can hold.
fn representable(duration: Duration) -> Duration {
    duration.min(Duration::from_nanos(u64::MAX))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_no_wait_is_beyond_it(
        (base, cap) in waits(),
        seed in any::<u64>(),
        failures in 1..200usize,
    ) {
        let mut backoff = Backoff::new(base, cap, seed);
        let mut expected = representable(base);
        for failure in 0..failures {
            prop_assert_eq!(backoff.failures() as usize, failure);
            prop_assert_eq!(backoff.bound(), expected);
            prop_assert!(backoff.failure() <= expected);
            expected = expected.saturating_mul(2).min(representable(cap));
        }
        backoff.success();
        prop_assert_eq!((backoff.failures(), backoff.bound()), (0, representable(base)));
    }

    #[test]
    fn a_seed_leads_to_one_series_of_waits(
        (base, cap) in waits(),
        seed in any::<u64>(),
        script in prop::collection::vec(0..3u8, 0..60),
    ) {
        let (mut one, mut other) = (Backoff::new(base, cap, seed), Backoff::new(base, cap, seed));
        for step in script {
            let take = |backoff: &mut Backoff| match step {
                0 => Some(backoff.failure()),
                1 => Some(backoff.relapse()),
                _ => {
                    backoff.success();
                    None
                }
            };
            prop_assert_eq!(take(&mut one), take(&mut other));
            prop_assert_eq!(one.failures(), other.failures());
        }
    }

    #[test]
    fn a_relapse_counts_on_from_what_the_success_forgave(
        before in 0..70u32,
        after in 0..70u32,
        successes in 1..3u8,
    ) {
        let mut backoff = Backoff::new(ms(200), ms(30_000), 7);
        for _ in 0..before {
            backoff.failure();
        }
        for _ in 0..successes {
            backoff.success();
        }
        for _ in 0..after {
            backoff.failure();
        }
        backoff.relapse();
        prop_assert_eq!(backoff.failures(), before.max(after) + 1);
        backoff.relapse();
        prop_assert_eq!(backoff.failures(), before.max(after) + 2, "it is forgiven once");
    }

    /// Against a peer that is down, an attempt follows each wait: however the waits fall, they are
    /// as rare as three quarters of the cap say, within what randomness allows.
    #[test]
    fn attempts_against_a_dead_peer_are_few(seed in any::<u64>()) {
        let mut backoff = Backoff::new(ms(200), ms(5000), seed);
        let (mut now, mut attempts) = (Duration::ZERO, 0);
        while now < Duration::from_secs(3600) {
            now += backoff.failure();
            attempts += 1;
        }
        // 960 are expected: 3.75 s on average, and some at the start; the deviation is 6.
        prop_assert!((920..1000).contains(&attempts), "{} attempts in an hour", attempts);
    }
}
