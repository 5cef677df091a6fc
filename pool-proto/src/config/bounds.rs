//! The bounds of a number that the tuner moves.

use core::ops::RangeInclusive;
use core::time::Duration;

/// The bounds of a number that a [`Tuning`](crate::Tuning) law moves: a range that includes both ends,
/// or one value, which the number then keeps.
///
/// The settings that have bounds take either:
///
/// ```
/// use core::time::Duration;
/// use pool_proto::ClientConfig;
///
/// // Begins with 8 connections, and may aim at up to 64 of them.
/// let config = ClientConfig::builder().capacity(8..=64);
///
/// // Always 16 connections; under `Tuning::NodePass`, a second after each round.
/// let config = ClientConfig::builder().capacity(16).interval(Duration::from_secs(1));
/// ```
///
/// Lower bounds above their upper ones are refused when the configuration is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bounds<T>(pub(crate) RangeInclusive<T>);

// Not generic, and not by a macro: the compiler's error about a wrong argument quotes these lines, and so
// says what fits.

impl From<u32> for Bounds<u32> {
    /// Returns the bounds that leave this value only.
    fn from(value: u32) -> Self {
        Self(value..=value)
    }
}

impl From<RangeInclusive<u32>> for Bounds<u32> {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self(range)
    }
}

impl From<Duration> for Bounds<Duration> {
    /// Returns the bounds that leave this value only.
    fn from(value: Duration) -> Self {
        Self(value..=value)
    }
}

impl From<RangeInclusive<Duration>> for Bounds<Duration> {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self(range)
    }
}
