//! The tuning laws of capacity and interval.

use core::time::Duration;

use crate::time::Period;

/// The law that moves capacity and interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tuning {
    /// Capacity follows demand. Connections are replaced as soon as they are taken.
    ///
    /// - A miss raises the capacity by one at once. A miss is an acquire that finds nothing ready or
    ///   takes the last ready connection. (When the server acquires any connection and the client
    ///   the one with that id, the client sees a shortage only by the latter.)
    /// - A round lowers the capacity by an eighth of the surplus, rounded up. The surplus is the
    ///   lowest idle count since the last round, less a fifth of the capacity: stock that was never
    ///   needed.
    /// - The interval is the minimum while connections are being created. A round that created none
    ///   doubles it.
    ///
    /// The factors are this crate's own: with rounds one second apart, an unused surplus halves in
    /// about seven seconds, while a burst is answered within one dial.
    #[default]
    Demand,
    /// The law of the Go package `github.com/NodePassProject/pool`, bit for bit: connections are
    /// created in rounds only.
    ///
    /// It is for fleets in which both implementations must behave alike. With capacities up to 4, its
    /// interval can only rise.
    NodePass,
}

/// The step of the interval under [`Tuning::NodePass`], in nanoseconds: 100 ms, measured on the Go
/// package.
const INTERVAL_STEP: u64 = 100_000_000;

/// Capacity and interval, moved by a [`Tuning`] law within fixed bounds; a pure value.
///
/// ```
/// use core::time::Duration;
/// use pool_proto::{Tuner, Tuning};
///
/// let ms = Duration::from_millis;
/// let mut tuner = Tuner::new(Tuning::NodePass, 5..=20, ms(100)..=ms(1000));
/// // An empty pool of capacity 5 that creates 5 connections: one more next time.
/// assert_eq!(tuner.round(0, 5), (6, ms(100)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tuner {
    tuning: Tuning,
    min_capacity: u32,
    max_capacity: u32,
    capacity: u32,
    min_interval: Period,
    max_interval: Period,
    interval: Period,
}

impl Tuner {
    /// Creates a tuner. Capacity and interval start at their minima.
    ///
    /// Inverted bounds count as the single value of their lower end. An interval beyond 584 years
    /// saturates. (The configuration builders refuse both.)
    #[must_use]
    pub fn new(
        tuning: Tuning,
        capacity: core::ops::RangeInclusive<u32>,
        interval: core::ops::RangeInclusive<Duration>,
    ) -> Self {
        let (min_capacity, max_capacity) = capacity.into_inner();
        let (min_interval, max_interval) = interval.into_inner();
        let min_interval = Period::saturating(min_interval);
        Self {
            tuning,
            min_capacity,
            max_capacity: max_capacity.max(min_capacity),
            capacity: min_capacity,
            min_interval,
            max_interval: Period::saturating(max_interval).max(min_interval),
            interval: min_interval,
        }
    }

    /// Returns the tuner with this capacity and interval, clamped to its bounds.
    #[must_use]
    pub fn with_state(mut self, capacity: u32, interval: Duration) -> Self {
        self.capacity = capacity.max(self.min_capacity).min(self.max_capacity);
        self.interval = Period::saturating(interval).max(self.min_interval).min(self.max_interval);
        self
    }

    /// Returns the law.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Returns the number of ready connections to aim at.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns the lower bound of the capacity.
    #[must_use]
    pub const fn min_capacity(&self) -> u32 {
        self.min_capacity
    }

    /// Returns the upper bound of the capacity.
    #[must_use]
    pub const fn max_capacity(&self) -> u32 {
        self.max_capacity
    }

    /// Returns the time from one round to the next.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval.duration()
    }

    pub(crate) const fn period(&self) -> Period {
        self.interval
    }

    /// The bounds of the interval.
    pub(crate) const fn intervals(&self) -> (Period, Period) {
        (self.min_interval, self.max_interval)
    }

    /// Does a whole round: [`begin_round`](Self::begin_round), then [`end_round`](Self::end_round).
    /// Returns the new capacity and interval.
    pub fn round(&mut self, idle: u32, created: u32) -> (u32, Duration) {
        self.begin_round(idle);
        self.end_round(created);
        (self.capacity, self.interval())
    }

    /// Begins a round. `idle` is the number of ready connections ([`Tuning::Demand`]: the lowest since
    /// the last round).
    pub fn begin_round(&mut self, idle: u32) {
        let capacity = u64::from(self.capacity);
        // Whole fifths: the Go package truncates `capacity × 0.2` and `capacity × 0.8`.
        let fifth = capacity / 5;
        match self.tuning {
            Tuning::NodePass => {
                let interval = self.interval.as_nanos();
                let moved = if u64::from(idle) < fifth {
                    interval.saturating_sub(INTERVAL_STEP)
                } else if u64::from(idle) > capacity * 4 / 5 {
                    interval.saturating_add(INTERVAL_STEP)
                } else {
                    interval
                };
                self.interval =
                    Period::from_nanos(moved).max(self.min_interval).min(self.max_interval);
            }
            Tuning::Demand => {
                let fifth = u32::try_from(fifth).unwrap_or(u32::MAX);
                let surplus = idle.saturating_sub(fifth);
                self.lower_by(surplus.div_ceil(8));
            }
        }
    }

    /// Ends a round in which `created` connections came into the pool.
    pub fn end_round(&mut self, created: u32) {
        match self.tuning {
            Tuning::NodePass => {
                let (created, capacity) = (u64::from(created), u64::from(self.capacity));
                if 5 * created < capacity {
                    self.lower_by(1);
                } else if 5 * created > 4 * capacity {
                    self.raise();
                }
            }
            Tuning::Demand if created > 0 => self.interval = self.min_interval,
            Tuning::Demand => {
                let doubled = Period::from_nanos(self.interval.as_nanos().saturating_mul(2));
                self.interval = doubled.min(self.max_interval);
            }
        }
    }

    /// Counts a miss: an acquire found nothing ready, or took the last ready connection. Raises the
    /// capacity by one under [`Tuning::Demand`].
    pub fn missed(&mut self) {
        if self.tuning == Tuning::Demand {
            self.raise();
        }
    }

    /// Raises the capacity to `ready`, for a caller that waits for this stock, under
    /// [`Tuning::Demand`].
    pub fn require(&mut self, ready: u32) {
        if self.tuning == Tuning::Demand {
            self.capacity = self.capacity.max(ready.min(self.max_capacity));
        }
    }

    fn raise(&mut self) {
        self.capacity = self.capacity.saturating_add(1).min(self.max_capacity);
    }

    fn lower_by(&mut self, steps: u32) {
        self.capacity = self.capacity.saturating_sub(steps).max(self.min_capacity);
    }
}

#[cfg(test)]
mod tests;
