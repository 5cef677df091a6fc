//! Exponential backoff with jitter.

use core::fmt;
use core::time::Duration;

use crate::time::Period;

/// The waits after failures: a random time up to `min(cap, base · 2ⁿ)`, where n is the number of
/// failures before this one.
///
/// While the bound grows, the wait is random from zero up ("full jitter"), so that a fleet of clients
/// that lost its server at the same time does not return at the same time. Once the bound has reached
/// the cap, the wait is random from half of the cap up ("equal jitter"): of waits from zero up, the
/// ones under way at any moment end soon more often than late, and a server that returns would get
/// twice its even share of the dials in its first moments; of these waits, it gets four thirds. A
/// success starts over. A pure value: the same seed gives the same waits.
///
/// Source of the algorithm and of both kinds of jitter: Marc Brooker, "Exponential Backoff and
/// Jitter", AWS Architecture Blog, 2015.
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
#[derive(Clone)]
pub struct Backoff {
    base: Period,
    cap: Period,
    pub(crate) failures: u32,
    /// The failures before the last success, in case that success is revoked.
    pub(crate) forgiven: u32,
    pub(crate) random: fastrand::Rng,
}

impl Backoff {
    /// Creates a backoff without failures. Durations beyond 584 years saturate.
    #[must_use]
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        Self::with_generator(base, cap, fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn with_generator(base: Duration, cap: Duration, random: fastrand::Rng) -> Self {
        Self {
            base: Period::saturating(base),
            cap: Period::saturating(cap),
            failures: 0,
            forgiven: 0,
            random,
        }
    }

    /// Sets other bounds. The failures count on.
    pub(crate) fn set_bounds(&mut self, base: Duration, cap: Duration) {
        (self.base, self.cap) = (Period::saturating(base), Period::saturating(cap));
    }

    /// Returns the number of failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the longest possible wait after the next failure.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.grown().min(self.cap).duration()
    }

    /// The bound without a cap.
    fn grown(&self) -> Period {
        self.after(self.failures)
    }

    /// The bound without a cap after so many failures.
    pub(crate) fn after(&self, failures: u32) -> Period {
        let factor = 1u64.checked_shl(failures).unwrap_or(u64::MAX);
        Period::from_nanos(self.base.as_nanos().saturating_mul(factor))
    }

    /// Counts a failure and returns the time to wait.
    pub fn failure(&mut self) -> Duration {
        self.failure_within(Period::NEVER)
    }

    /// Counts a failure and returns the time to wait under a cap that may be lower than its own.
    pub(crate) fn failure_within(&mut self, cap: Period) -> Duration {
        let (grown, cap) = (self.grown(), self.cap.min(cap));
        let least = if grown < cap { 0 } else { cap.as_nanos() / 2 };
        let bound = grown.min(cap).as_nanos();
        self.failures = self.failures.saturating_add(1);
        self.draw(least, bound)
    }

    /// Returns a random time up to `limit`, without counting anything.
    pub(crate) fn within(&mut self, limit: Period) -> Duration {
        self.draw(0, limit.as_nanos())
    }

    /// A random time within these bounds, in nanoseconds. It is zero only where it must be: a dial without
    /// a wait would be a failure without a backoff.
    fn draw(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_nanos(self.random.u64(least.max(1).min(most)..=most))
    }

    /// Starts over after a success.
    pub fn success(&mut self) {
        if self.failures > 0 {
            self.forgiven = self.failures;
            self.failures = 0;
        }
    }

    /// Counts a failure that revokes the last success, and returns the time to wait.
    ///
    /// Counting continues from the failures before that success.
    pub fn relapse(&mut self) -> Duration {
        self.relapse_within(Period::NEVER)
    }

    /// As [`relapse`](Self::relapse), under a cap that may be lower than its own.
    pub(crate) fn relapse_within(&mut self, cap: Period) -> Duration {
        self.failures = self.failures.max(core::mem::take(&mut self.forgiven));
        self.failure_within(cap)
    }
}

impl fmt::Debug for Backoff {
    /// Does not show the generator, from which the next waits could be computed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("base", &self.base)
            .field("cap", &self.cap)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
