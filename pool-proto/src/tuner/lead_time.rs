//! The lead time: how long it takes from a dial until the connection is ready.

use core::time::Duration;

use crate::time::Period;

/// An estimate of the lead time, by the estimator of RFC 6298 for round-trip times: a smoothed mean and
/// a smoothed deviation, with gains of 1/8 and 1/4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LeadTime {
    mean: Duration,
    deviation: Duration,
    /// A time that few dials exceed: the mean and twice the deviation.
    bound: Period,
}

impl LeadTime {
    /// The estimate before the first sample: long for a network, and short next to a user's patience.
    const UNKNOWN: Period = Period::from_nanos(250_000_000);

    /// A longer time counts as this: a stock for more than ten seconds of demand is not worth its memory.
    const LONGEST: Duration = Duration::from_secs(10);

    pub(super) const fn new() -> Self {
        Self { mean: Duration::ZERO, deviation: Duration::ZERO, bound: Self::UNKNOWN }
    }

    pub(super) fn sample(&mut self, took: Duration) {
        // A mean of zero means that there was no sample.
        let took = took.clamp(Duration::from_nanos(1), Self::LONGEST);
        if self.mean.is_zero() {
            (self.mean, self.deviation) = (took, took / 2);
        } else {
            self.deviation = (self.deviation * 3 + took.abs_diff(self.mean)) / 4;
            self.mean = (self.mean * 7 + took) / 8;
        }
        self.bound = Period::saturating(self.mean + self.deviation * 2);
    }

    /// Returns a time that few dials exceed; at least a nanosecond.
    pub(super) const fn bound(&self) -> Period {
        self.bound
    }
}
