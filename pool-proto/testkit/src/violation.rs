//! What must never be seen.

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one, with its number in the list at the top of the simulation.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

pub type Verdict<T = ()> = Result<T, Violation>;

/// Returns from the function with a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $invariant:literal, $($seen:tt)+) => {
        if !$holds {
            return Err(crate::violation::Violation {
                invariant: $invariant,
                seen: format!($($seen)+),
            });
        }
    };
}
pub(crate) use ensure;
