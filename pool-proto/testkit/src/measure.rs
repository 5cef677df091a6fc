//! Measuring a step of a benchmark: the processor time of a thread, and the spread of samples.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds that a clock shows.
#[must_use]
pub fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let whole = u64::try_from(time.tv_sec).unwrap_or_default();
    whole * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// Measures `act` in nanoseconds of this thread's processor time, so that other threads do not count
/// (although they do slow it down, through the caches).
pub fn timed<T>(act: impl FnOnce() -> T) -> (f64, T) {
    let start = nanos(ClockId::ThreadCPUTime);
    let result = black_box(act());
    ((nanos(ClockId::ThreadCPUTime) - start) as f64, result)
}

/// Median, tenth and ninetieth percentile.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    #[must_use]
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        let last = samples.len().saturating_sub(1);
        let at = |percent: usize| {
            let sample = samples.get(last * percent / 100);
            sample.copied().unwrap_or(f64::NAN)
        };
        Self { median: at(50), low: at(10), high: at(90) }
    }

    #[must_use]
    pub fn show(&self) -> String {
        format!("{:7.1} ({:.1}-{:.1})", self.median, self.low, self.high)
    }

    /// Returns "ok" or "MISS".
    #[must_use]
    pub fn verdict(&self, target: f64) -> &'static str {
        if self.median <= target { "ok" } else { "MISS" }
    }
}
