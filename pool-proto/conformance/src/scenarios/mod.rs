//! The list of all scenarios, a module per topic.

mod accepting;
mod acquirers;
mod admission;
mod balancer;
mod configuring;
mod crowds;
mod dead;
mod dialing;
mod early;
mod ended;
mod endings;
mod exchange;
mod families;
mod handshakes;
mod ids;
mod listening;
mod not_renewed;
mod observability;
mod options;
mod paths;
mod reasons;
mod recording;
mod refusals;
mod renewal;
mod resources;
mod reuse;
mod settings;
mod shutdown;
mod stalls;
mod trust;
mod waiters;
mod writes;

use std::time::Duration;

pub(super) use waiters::assert_adds_up;

use super::Scenario;
use super::prelude::*;
use pool_driver::shared::AcquireError;
use pool_proto::{Stats, Totals};

/// Returns all scenarios, the exclusive ones first.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let mut all = [
        accepting::SCENARIOS,
        acquirers::SCENARIOS,
        admission::SCENARIOS,
        balancer::SCENARIOS,
        configuring::SCENARIOS,
        crowds::SCENARIOS,
        dead::SCENARIOS,
        dialing::SCENARIOS,
        early::SCENARIOS,
        ended::SCENARIOS,
        endings::SCENARIOS,
        exchange::SCENARIOS,
        families::SCENARIOS,
        handshakes::SCENARIOS,
        ids::SCENARIOS,
        listening::SCENARIOS,
        not_renewed::SCENARIOS,
        observability::SCENARIOS,
        options::SCENARIOS,
        paths::SCENARIOS,
        reasons::SCENARIOS,
        recording::SCENARIOS,
        refusals::SCENARIOS,
        renewal::SCENARIOS,
        resources::SCENARIOS,
        reuse::SCENARIOS,
        settings::SCENARIOS,
        shutdown::SCENARIOS,
        stalls::SCENARIOS,
        trust::SCENARIOS,
        waiters::SCENARIOS,
        writes::SCENARIOS,
    ]
    .concat();
    for scenario in &mut all {
        scenario.name = scenario.name.trim_start_matches(HERE);
    }
    // First, while nothing else runs in this process: otherwise an exclusive scenario could wait
    // for a parallel one and the reverse.
    all.sort_by_key(|scenario| !scenario.exclusive);
    all
}

/// The part of a scenario's path before its topic.
const HERE: &str = concat!(module_path!(), "::");

/// Lists the scenarios of a topic. A scenario that is not listed is dead code, which does not
/// compile.
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

/// Waits for a failure that `count` counts. Checks that it made no connection, and that the last
/// failure contains `words`.
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
