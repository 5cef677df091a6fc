//! The list.

mod balancer;
mod exchange;

use super::Scenario;
use super::prelude::*;

/// All scenarios, those that must be alone first.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let mut all = [balancer::SCENARIOS, exchange::SCENARIOS].concat();
    for scenario in &mut all {
        scenario.name = scenario.name.trim_start_matches(HERE);
    }
    // Alone in a process in which nothing else has happened yet, or two would wait for each other.
    all.sort_by_key(|scenario| !scenario.exclusive);
    all
}

/// What comes before a scenario's topic in its path.
const HERE: &str = concat!(module_path!(), "::");

/// The scenarios of a topic: what is not listed is dead code, and does not compile.
macro_rules! topic {
    ($($kind:ident $name:ident,)*) => {
        pub(super) const SCENARIOS: &[$crate::conformance::Scenario] = &[$(
            $crate::conformance::Scenario {
                name: concat!(module_path!(), "::", stringify!($name)),
                exclusive: topic!(@ $kind),
                run: $name,
            },
        )*];
    };
    (@ beside) => { false };
    (@ alone) => { true };
}
use topic;
