//! The rounds of a client, as they show in samples of its state.

use std::fmt::Write;
use std::time::Duration;

use adapter_tokio::pool_proto::{Tuner, Tuning};

use super::{Case, EVERY, SLACK};

/// The state of a client at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The time since the start of the client.
    pub(super) at: Duration,
    pub(super) idle: u32,
    pub(super) capacity: u32,
    /// In milliseconds.
    pub(super) interval: u64,
    pub(super) dials: u32,
    pub(super) failures: u32,
}

impl Sample {
    /// Whether a round has begun, dialled or ended in between.
    const fn is_same_round(&self, other: &Self) -> bool {
        self.capacity == other.capacity
            && self.interval == other.interval
            && self.dials == other.dials
            && self.failures == other.failures
    }
}

/// A step of the law, taken in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The ready connections at the begin of the round.
    pub(super) idle: u32,
    /// The capacity at the begin of the round.
    pub(super) before: u32,
    pub(super) dialled: u32,
    pub(super) created: u32,
    /// The interval after the round, in milliseconds.
    pub(super) interval: u64,
    /// The capacity after the round.
    pub(super) capacity: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The begin, since the start of the client.
    pub(super) at: Duration,
    pub(super) step: Step,
}

/// The rounds of a client that have dialled, or moved the capacity or the interval. Other rounds do not
/// show, and change nothing.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) rounds: Vec<Round>,
    /// The delay of the latest tick.
    late: Duration,
}

impl Course {
    /// Finds the rounds in samples, each different from the one before. All changes until the dials of a
    /// round are over, and a little longer, belong to that round.
    pub(super) fn new(samples: &[Sample], dial: Duration, late: Duration) -> Self {
        let mut rounds: Vec<Round> = Vec::new();
        let mut over = Duration::ZERO;
        for pair in samples.windows(2) {
            let [last, now] = pair else { continue };
            if last.is_same_round(now) {
                continue;
            }
            if rounds.is_empty() || now.at > over {
                let &Sample { idle, capacity, interval, .. } = last;
                let [dialled, created] = [0; 2];
                let step = Step { idle, before: capacity, dialled, created, interval, capacity };
                rounds.push(Round { at: now.at, step });
                over = now.at + EVERY / 2;
            }
            let Some(Round { at, step }) = rounds.last_mut() else { continue };
            if now.dials > last.dials {
                over = *at + dial + EVERY / 2;
            }
            step.dialled += now.dials - last.dials;
            // A failure shows in the same sample as its dial, or in a later one.
            step.created = (step.created + now.dials - last.dials) - (now.failures - last.failures);
            (step.interval, step.capacity) = (now.interval, now.capacity);
        }
        // The last one may go on.
        rounds.pop();
        Self { rounds, late }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        self.rounds.iter().map(|round| round.step)
    }

    /// The capacities and intervals that the client goes through.
    pub(super) fn states(&self) -> Vec<(u32, u64)> {
        let mut states: Vec<_> = self.steps().map(|step| (step.capacity, step.interval)).collect();
        states.dedup();
        states
    }

    /// Panics unless each round is a step of the law.
    pub(super) fn assert_lawful(&self, case: &Case) {
        let ms = Duration::from_millis;
        let ((min, max), (shortest, longest)) = (case.capacity, case.interval);
        let mut tuner = Tuner::new(Tuning::NodePass, min..=max, ms(shortest)..=ms(longest));
        for Round { at, step } in &self.rounds {
            assert_eq!(step.before, tuner.capacity(), "before {step:?} at {at:?}");
            let lawful = tuner.round(step.idle, step.created);
            assert_eq!((step.capacity, ms(step.interval)), lawful, "{step:?} at {at:?}");
        }
    }

    /// Returns the tick or round that was late by more than [`SLACK`], if any. A round that begins
    /// before the last one has lasted as long as its dials, and been followed by the interval, is nearly a
    /// whole interval late.
    pub(super) fn disturbance(&self, case: &Case) -> Option<String> {
        if self.late > SLACK {
            return Some(format!("a tick, by {:?}", self.late));
        }
        self.rounds.windows(2).find_map(|pair| {
            let [round, next] = pair else { return None };
            let dial = if round.step.dialled > 0 { case.dial() } else { Duration::ZERO };
            // Rounds that do not show may have come in between.
            let interval = Duration::from_millis(round.step.interval);
            let lasted = (next.at - round.at).saturating_sub(dial);
            // The begin of the first may have been seen late.
            let late = (lasted + SLACK).as_micros() % interval.as_micros();
            // A change that is seen long after the dials of its round looks like a round that dials nothing.
            let is_stray = next.step.dialled == 0 && lasted + SLACK / 4 < interval;
            let is_late = is_stray || late > 2 * SLACK.as_micros();
            is_late.then(|| format!("{next:?}, after {round:?}"))
        })
    }

    /// The course in the format of the vectors.
    pub(super) fn to_csv(&self, case: &Case, release: &str) -> String {
        let Case { capacity: (min, max), interval: (shortest, longest), dial, ticks } = case;
        let ([slow, busy, quiet], first) = (ticks, case.first_tick().as_millis());
        let mut csv = format!(
            "# min_capacity={min} max_capacity={max} min_interval_ms={shortest} max_interval_ms={longest}; \
             dials of dial_ms={dial}; slow_ticks={slow} busy_ticks={busy} quiet_ticks={quiet} first_tick_ms={first}\n\
             # one row per refill round that dialled or changed something, as in the other runs; {release} of the Go \
             package, recorded by\n\
             # `cargo test -p adapter-tokio --test interop record -- --ignored`\n\
             # ticks: the first one so long after the first dial of a round, then every 100 ms until the next round \
             dials; 1 take at each slow one, 3 at a busy one, none at a quiet one\n\
             t_s,idle,capacity_before,created,interval_ms_after,capacity_after\n"
        );
        for Round { at, step } in &self.rounds {
            let Step { idle, before, created, interval, capacity, .. } = step;
            let seconds = at.as_secs_f64();
            writeln!(csv, "{seconds:.3},{idle},{before},{created},{interval},{capacity}").unwrap();
        }
        csv
    }
}
