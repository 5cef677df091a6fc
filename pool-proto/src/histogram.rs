//! Durations, counted in buckets.

use core::fmt;
use core::time::Duration;

/// The first bound is 2¹² ns, 4 µs: a wait that is shorter delays nobody.
const FIRST: u32 = 12;

/// The last bound is 2³⁶ ns, 69 s: longer than the timeouts of dials and of acquires in use.
const LAST: u32 = 36;

/// The buckets of each octave, between a power of two and the next one.
const STEPS: u32 = 4;

/// Four buckets for each octave, one below the first bound, and one above the last.
const BUCKETS: usize = ((LAST - FIRST) * STEPS) as usize + 2;

/// Durations, counted in log-linear buckets: each octave, from a power of two of nanoseconds to the next
/// one, has four buckets of the same width.
///
/// The bounds go from 2¹² ns (4.1 µs) to 2³⁶ ns (68.7 s). In between, the upper bound of a bucket exceeds
/// a duration in it by less than 25 %. The buckets take 800 bytes, and to count a duration allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    /// In nanoseconds.
    sum: u64,
}

impl Histogram {
    /// Returns a histogram without any durations.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0 }
    }

    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Counts `times` durations of this length.
    pub fn record_many(&mut self, duration: Duration, times: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(index_of(nanos)) {
            *bucket = bucket.wrapping_add(times);
        }
        self.sum = self.sum.saturating_add(nanos.saturating_mul(times));
    }

    /// Returns the number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Returns the sum of all durations, which is exact up to 584 years.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns the upper bound of each bucket, inclusive, and the number of durations in it. The bound of
    /// the last bucket is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        (0u32..).zip(&self.buckets).map(|(index, count)| (bound_of(index), *count))
    }

    /// Returns, for each power of two, the number of durations up to it: every fourth bound of
    /// [`buckets`](Self::buckets), for those who store each bound as a series of its own.
    pub fn octaves(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut up_to = 0u64;
        let cumulative = self.buckets().map(move |(bound, count)| {
            up_to = up_to.wrapping_add(count);
            (bound, up_to)
        });
        cumulative.take(BUCKETS - 1).step_by(STEPS as usize)
    }

    /// Returns a duration that this part of the durations does not exceed, such as the median for 0.5, and
    /// at most 25 % more than the least one; `None` without any durations.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a rank among quadrillions is exact enough")]
        let rank = self.count() as f64 * part.clamp(0.0, 1.0);
        let mut up_to = 0u64;
        let mut filled = self.buckets().filter(|(_, count)| *count > 0).peekable();
        while let Some((bound, count)) = filled.next() {
            up_to = up_to.wrapping_add(count);
            #[expect(clippy::cast_precision_loss, reason = "likewise")]
            let is_there = up_to as f64 >= rank;
            if is_there || filled.peek().is_none() {
                return Some(bound);
            }
        }
        None
    }

    /// Returns the durations that were counted since `earlier`, a former value of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (now, before) in since.buckets.iter_mut().zip(&earlier.buckets) {
            *now = now.wrapping_sub(*before);
        }
        since.sum = since.sum.saturating_sub(earlier.sum);
        since
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filled = self.buckets().filter(|(_, count)| *count > 0);
        f.debug_map().entries(filled).finish()
    }
}

/// The bucket of a duration in nanoseconds.
const fn index_of(nanos: u64) -> usize {
    if nanos <= 1 << FIRST {
        return 0;
    }
    // Bounds are inclusive.
    let below = nanos - 1;
    let octave = below.ilog2();
    if octave >= LAST {
        return BUCKETS - 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is below STEPS")]
    let step = ((below >> (octave - STEPS.ilog2())) & (STEPS as u64 - 1)) as usize;
    1 + ((octave - FIRST) * STEPS) as usize + step
}

/// The upper bound of a bucket.
const fn bound_of(index: u32) -> Duration {
    let Some(index) = index.checked_sub(1) else { return Duration::from_nanos(1 << FIRST) };
    let octave = FIRST + index / STEPS;
    if octave >= LAST {
        return Duration::MAX;
    }
    let quarters = (STEPS + index % STEPS + 1) as u64;
    Duration::from_nanos(quarters << (octave - STEPS.ilog2()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_duration_lies_in_its_bucket_and_the_bound_exceeds_it_by_less_than_a_quarter() {
        let mut nanos = 1u64;
        while nanos < 1 << (LAST + 2) {
            for nanos in [nanos - 1, nanos, nanos + 1] {
                let index = u32::try_from(index_of(nanos)).unwrap();
                let (bound, duration) = (bound_of(index), Duration::from_nanos(nanos));
                assert!(duration <= bound, "{duration:?} above {bound:?}");
                if index > 0 {
                    assert!(
                        duration > bound_of(index - 1),
                        "{duration:?} fits into an earlier bucket"
                    );
                }
                if index > 0 && nanos <= 1 << LAST {
                    assert!(
                        bound < duration * 5 / 4 + Duration::from_nanos(1),
                        "{bound:?} for {duration:?}"
                    );
                }
            }
            nanos += nanos.div_ceil(37);
        }
    }

    #[test]
    fn the_longest_durations_are_in_the_last_bucket() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_secs(69));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.buckets().last(), Some((Duration::MAX, 2)));
        assert_eq!(histogram.octaves().last(), Some((Duration::from_nanos(1 << LAST), 0)));
        assert_eq!(histogram.sum(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn octaves_are_powers_of_two_and_count_all_durations_up_to_them() {
        let mut histogram = Histogram::new();
        histogram.record_many(Duration::ZERO, 5);
        histogram.record(Duration::from_millis(1));
        histogram.record(Duration::from_secs(1));
        let octaves: Vec<_> = histogram.octaves().collect();
        let bounds: Vec<_> = octaves.iter().map(|(bound, _)| *bound).collect();
        let powers: Vec<_> = (FIRST..=LAST).map(|power| Duration::from_nanos(1 << power)).collect();
        assert_eq!(bounds, powers);
        for (bound, up_to) in octaves {
            let expected = 5
                + u64::from(bound >= Duration::from_millis(1))
                + u64::from(bound >= Duration::from_secs(1));
            assert_eq!(up_to, expected, "{bound:?}");
        }
        assert_eq!((histogram.count(), histogram.sum()), (7, Duration::from_millis(1001)));
    }

    #[test]
    fn a_quantile_is_at_most_a_quarter_more_than_the_duration_of_its_rank() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        for (part, exact) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let (found, exact) = (histogram.quantile(part).unwrap(), Duration::from_millis(exact));
            assert!(found >= exact && found <= exact * 5 / 4, "{part}: {found:?} for {exact:?}");
        }
    }

    #[test]
    fn a_difference_has_the_later_durations_only() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_millis(1));
        let earlier = histogram;
        histogram.record(Duration::from_secs(1));
        let mut later = Histogram::new();
        later.record(Duration::from_secs(1));
        assert_eq!(histogram.since(&earlier), later);
    }
}
