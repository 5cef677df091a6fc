//! Time as the machine knows it: an argument, never a clock.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time: whole nanoseconds since an epoch that the driver chooses.
///
/// The machine compares instants and adds durations to them; it never reads a clock. The epoch is
/// usually the start of the driver. 2⁶⁴ ns are 584 years, and all arithmetic saturates.
///
/// ```
/// use core::time::Duration;
/// use pool_proto::Instant;
///
/// let start = Instant::from_nanos(0);
/// let later = start + Duration::from_millis(5);
/// assert_eq!(later.since(start), Duration::from_millis(5));
/// assert_eq!(start.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch.
    pub const EPOCH: Self = Self(0);

    /// The instant that never comes: the deadline of a disabled timer.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The last instant that can come: the latest time of a machine.
    pub(crate) const LAST: Self = Self(u64::MAX - 1);

    /// Returns the instant `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn after(self, period: Period) -> Self {
        Self(self.0.saturating_add(period.0))
    }

    /// The distance from `now` in nanoseconds, which wraps for instants in the past; `None` for
    /// [`NEVER`](Self::NEVER).
    pub(crate) fn distance(self, now: Self) -> Option<u64> {
        self.finite().map(|at| at.0.wrapping_sub(now.0))
    }

    /// This instant; `None` for [`NEVER`](Self::NEVER).
    pub(crate) fn finite(self) -> Option<Self> {
        (self != Self::NEVER).then_some(self)
    }
}

/// Saturates at the last representable instant.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.after(Period::saturating(duration))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// A configured span of time in nanoseconds: the machine's form of `Duration`, checked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Period(u64);

impl Period {
    /// The period of a disabled timer: its deadline never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// `None` if the duration does not fit into 64 bits of nanoseconds (584 years).
    pub(crate) fn new(duration: Duration) -> Option<Self> {
        u64::try_from(duration.as_nanos()).ok().filter(|nanos| *nanos != u64::MAX).map(Self)
    }

    pub(crate) fn saturating(duration: Duration) -> Self {
        Self::new(duration).unwrap_or(Self::NEVER)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let end = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(end + Duration::from_secs(9), Instant::NEVER);
        assert_eq!(end + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::EPOCH.since(end), Duration::ZERO);
    }

    #[test]
    fn a_period_beyond_64_bits_of_nanoseconds_is_refused() {
        assert_eq!(Period::new(Duration::MAX), None);
        assert_eq!(Period::new(Duration::from_nanos(u64::MAX)), None);
        assert_eq!(Period::new(Duration::from_nanos(7)), Some(Period::from_nanos(7)));
    }
}
