//! The tuning laws: how many ready connections to aim at, and how often to look.

use core::time::Duration;

use crate::time::Period;

/// Which law moves capacity and interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tuning {
    /// Capacity follows demand; connections are replaced as soon as they are taken.
    ///
    /// A taker that finds nothing ready, or takes the last ready connection, raises the capacity by
    /// one at once. (The second is all that a client sees of a shortage when it is the server that
    /// takes any connection, and the client the one with that id.) A round lowers it by
    /// an eighth of the surplus, rounded up, where the surplus is what the lowest idle count since
    /// the last round exceeds a fifth of the capacity by: stock that was never needed goes, slowly.
    /// The interval is the minimum while connections are being created and doubles in a round that
    /// created none. The factors are our own: with rounds a second apart an unused surplus halves
    /// in about seven seconds, while a burst is answered within one dial.
    #[default]
    Demand,
    /// The law of the reference implementation, bit for bit: connections are created in rounds
    /// only. It is here for fleets that must behave alike; with capacities up to 4 its interval can
    /// only rise.
    NodePass,
}

/// One step of the interval under [`Tuning::NodePass`]: 100 ms, measured on the reference.
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
    /// A tuner at its start: capacity and interval are the minima.
    ///
    /// Inverted bounds are read as the single value of their lower end; an interval beyond 584
    /// years saturates. (The configuration builders refuse both.)
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

    /// The same tuner in another state, with capacity and interval clamped into its bounds.
    #[must_use]
    pub fn with_state(mut self, capacity: u32, interval: Duration) -> Self {
        self.capacity = capacity.max(self.min_capacity).min(self.max_capacity);
        self.interval = Period::saturating(interval).max(self.min_interval).min(self.max_interval);
        self
    }

    /// The law in force.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Ready connections to aim at.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The lowest capacity it may fall to.
    #[must_use]
    pub const fn min_capacity(&self) -> u32 {
        self.min_capacity
    }

    /// The highest capacity it may rise to.
    #[must_use]
    pub const fn max_capacity(&self) -> u32 {
        self.max_capacity
    }

    /// Time from one round to the next.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval.duration()
    }

    pub(crate) const fn period(&self) -> Period {
        self.interval
    }

    /// A whole round: [`begin_round`](Self::begin_round), then [`end_round`](Self::end_round).
    /// Returns the capacity and the interval after it.
    pub fn round(&mut self, idle: u32, created: u32) -> (u32, Duration) {
        self.begin_round(idle);
        self.end_round(created);
        (self.capacity, self.interval())
    }

    /// At the start of a round with `idle` ready connections ([`Tuning::Demand`]: the fewest there
    /// were since the last round).
    pub fn begin_round(&mut self, idle: u32) {
        let capacity = u64::from(self.capacity);
        // Whole fifths, as the reference truncates `capacity × 0.2` and `capacity × 0.8`.
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

    /// At the end of a round that brought `created` connections into the pool.
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

    /// A taker found nothing ready, or took the last ready connection. Raises the capacity under
    /// [`Tuning::Demand`].
    pub fn missed(&mut self) {
        if self.tuning == Tuning::Demand {
            self.raise();
        }
    }

    /// `ready` connections at once are asked for. Raises the capacity to it under
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
