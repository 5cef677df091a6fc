//! Exponential backoff with full jitter.

use core::time::Duration;

use crate::time::Period;

/// How long to wait after failures: a random time up to `min(cap, base · 2ⁿ)`, where n counts the
/// failures before this one ("full jitter": a fleet that lost its server together does not return
/// together). A success starts over. A pure value: the same seed gives the same waits.
///
/// Source of the algorithm: Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
/// 2015.
///
/// ```
/// use core::time::Duration;
/// use pool_proto::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), 7);
/// assert!(backoff.failure() <= Duration::from_millis(200));
/// assert!(backoff.failure() <= Duration::from_millis(400));
/// backoff.success();
/// assert!(backoff.failure() <= Duration::from_millis(200));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Period,
    cap: Period,
    pub(crate) failures: u32,
    /// What the last success forgave, in case it did not last.
    pub(crate) forgiven: u32,
    pub(crate) random: fastrand::Rng,
}

impl Backoff {
    /// A backoff with no failure yet. Durations beyond 584 years saturate.
    #[must_use]
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        Self {
            base: Period::saturating(base),
            cap: Period::saturating(cap),
            failures: 0,
            forgiven: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest wait the next failure can lead to.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let factor = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        Period::from_nanos(self.base.as_nanos().saturating_mul(factor)).min(self.cap).duration()
    }

    /// Counts a failure and returns how long to wait.
    pub fn failure(&mut self) -> Duration {
        let bound = Period::saturating(self.bound()).as_nanos();
        self.failures = self.failures.saturating_add(1);
        Duration::from_nanos(self.random.u64(0..=bound))
    }

    /// Starts over.
    pub fn success(&mut self) {
        if self.failures > 0 {
            self.forgiven = self.failures;
            self.failures = 0;
        }
    }

    /// A failure that proves the last success wrong: counts on from where that success started
    /// over, and returns how long to wait.
    pub fn relapse(&mut self) -> Duration {
        self.failures = self.failures.max(core::mem::take(&mut self.forgiven));
        self.failure()
    }
}

#[cfg(test)]
mod tests;
