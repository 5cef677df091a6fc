//! The list.

mod admission;
mod balancer;
mod dead;
mod dialing;
mod early;
mod endings;
mod exchange;
mod handshakes;
mod ids;
mod listening;
mod options;
mod refusals;
mod resources;
mod reuse;
mod settings;
mod trust;
mod waiters;

use std::time::Duration;

pub(super) use waiters::assert_adds_up;

use super::Scenario;
use super::prelude::*;
use pool_driver::shared::AcquireError;
use pool_proto::{Stats, Totals};

/// All scenarios, those that must be alone first.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let mut all = [
        admission::SCENARIOS,
        balancer::SCENARIOS,
        dead::SCENARIOS,
        dialing::SCENARIOS,
        early::SCENARIOS,
        endings::SCENARIOS,
        exchange::SCENARIOS,
        handshakes::SCENARIOS,
        ids::SCENARIOS,
        listening::SCENARIOS,
        options::SCENARIOS,
        refusals::SCENARIOS,
        resources::SCENARIOS,
        reuse::SCENARIOS,
        settings::SCENARIOS,
        trust::SCENARIOS,
        waiters::SCENARIOS,
    ]
    .concat();
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
        pub(super) const SCENARIOS: &[$crate::Scenario] = &[$(
            $crate::Scenario {
                name: concat!(module_path!(), "::", stringify!($name)),
                exclusive: topic!(@ $kind),
                run: $name,
            },
        )*];
    };
    (@ parallel) => { false };
    (@ exclusive) => { true };
}
use topic;

/// Waits for a failure of the kind that `count` counts, and checks that nothing came of it, and that
/// who waits is told.
#[track_caller]
fn fails(client: &dyn Pool, count: impl Fn(&Totals) -> u64, words: &str) -> Stats {
    let stats = eventually(|| client.stats(), |stats| count(&stats.totals) > 0);
    assert_eq!((stats.totals.established, stats.idle), (0, 0));
    let says =
        |failure: &Option<_>| failure.as_deref().is_some_and(|text: &str| text.contains(words));
    eventually(|| client.last_failure(), says);
    let error = client.acquire(Duration::ZERO).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    stats
}
