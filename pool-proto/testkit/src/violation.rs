//! An invariant that did not hold, as a value: the simulation reports it with its seed, and tests
//! panic with it.

use std::fmt;

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which invariant, beginning with its number in `pool-proto/tests/README.md`.
    pub invariant: &'static str,
    /// The state that contradicts it.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violation of {}: {}", self.invariant, self.seen)
    }
}

/// The result of a check.
pub type Verdict<T = ()> = Result<T, Violation>;

/// Returns from the function with a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $invariant:literal, $($seen:tt)+) => {
        if !$holds {
            return Err($crate::violation::Violation {
                invariant: $invariant,
                seen: format!($($seen)+),
            });
        }
    };
}
pub(crate) use ensure;

/// Panics with the violation, if there is one: for tests, whose failures are panics.
#[track_caller]
pub fn hold<T>(verdict: Verdict<T>) -> T {
    match verdict {
        Ok(value) => value,
        Err(violation) => panic!("{violation}"),
    }
}
