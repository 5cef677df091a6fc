//! Virtual time: whole nanoseconds since the begin of a run.

use std::time::Duration;

/// Nanoseconds.
pub type Nanos = u64;

/// A millisecond.
pub const MILLISECOND: Nanos = 1_000_000;
/// A second.
pub const SECOND: Nanos = 1_000_000_000;

/// Returns a number of seconds in nanoseconds. A negative number counts as zero, and one that does not
/// fit, as the longest time.
#[must_use]
pub fn from_seconds(seconds: f64) -> Nanos {
    if seconds <= 0.0 {
        return 0;
    }
    Duration::try_from_secs_f64(seconds).map_or(Nanos::MAX, from_duration)
}

/// Returns a duration in nanoseconds; the longest time if it does not fit.
#[must_use]
pub fn from_duration(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Returns a time in seconds.
#[must_use]
pub fn seconds(time: Nanos) -> f64 {
    Duration::from_nanos(time).as_secs_f64()
}

/// Returns a time in milliseconds.
#[must_use]
pub fn millis(time: Nanos) -> f64 {
    seconds(time) * 1e3
}
