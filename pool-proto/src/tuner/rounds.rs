//! The law of [`Tuning::NodePass`](super::Tuning::NodePass): rounds, and an interval between them.

use core::ops::RangeInclusive;
use core::time::Duration;

use crate::time::Period;

/// The step of the interval in nanoseconds: 100 ms, measured on the Go package.
const STEP: u64 = 100_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rounds {
    min_interval: Period,
    max_interval: Period,
    interval: Period,
}

impl Rounds {
    pub(super) fn new(interval: RangeInclusive<Duration>) -> Self {
        let (min, max) = interval.into_inner();
        let min_interval = Period::saturating(min);
        Self {
            min_interval,
            max_interval: Period::saturating(max).max(min_interval),
            interval: min_interval,
        }
    }

    pub(super) const fn bounds(&self) -> (Period, Period) {
        (self.min_interval, self.max_interval)
    }

    /// Sets other bounds. The interval moves into them.
    pub(super) fn set_bounds(&mut self, interval: RangeInclusive<Duration>) {
        let current = self.interval;
        *self = Self::new(interval);
        self.set_interval(current);
    }

    pub(super) const fn interval(&self) -> Period {
        self.interval
    }

    pub(super) fn set_interval(&mut self, interval: Period) {
        self.interval = interval.max(self.min_interval).min(self.max_interval);
    }

    /// Moves the interval at the begin of a round.
    pub(super) fn begin(&mut self, idle: u32, capacity: u32) {
        let (idle, capacity) = (u64::from(idle), u64::from(capacity));
        let interval = self.interval.as_nanos();
        // Whole fifths: the Go package truncates `capacity × 0.2` and `capacity × 0.8`.
        let moved = if idle < capacity / 5 {
            interval.saturating_sub(STEP)
        } else if idle > capacity * 4 / 5 {
            interval.saturating_add(STEP)
        } else {
            interval
        };
        self.set_interval(Period::from_nanos(moved));
    }

    /// Returns the capacity after a round in which `created` connections came into the pool.
    pub(super) fn end(created: u32, capacity: u32) -> u32 {
        let (made, wanted) = (u64::from(created), u64::from(capacity));
        if 5 * made < wanted {
            capacity.saturating_sub(1)
        } else if 5 * made > 4 * wanted {
            capacity.saturating_add(1)
        } else {
            capacity
        }
    }
}
