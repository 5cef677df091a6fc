//! Scenarios that every adapter of the connection pool must pass, written once and run on each
//! adapter. They connect two pools over loopback, of one adapter or of two, and let pools meet peers
//! that are not pools. This package is for the tests of adapters only.
//!
//! An adapter implements [`Adapter`], [`Pool`], [`Stream`] and [`Balancer`]: some 200 lines, most
//! of which forward. For an adapter whose pools are [`pool_driver::Pool`]s, [`OnFutures`]
//! implements them already, and a [`Harness`] is enough. The adapter calls [`main`] from a test
//! target without the standard test harness:
//!
//! ```toml
//! [dev-dependencies]
//! pool-conformance = "0.1"
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! ```ignore
//! static MINE: MyAdapter = MyAdapter;
//!
//! fn main() -> ExitCode {
//!     conformance::main("mine", Ends { client: &MINE, server: &MINE })
//! }
//! ```
//!
//! `cargo test --test conformance` then takes filters and options as for other tests. To run a
//! client of one adapter against a server of another, put both into [`Ends`]. [`run`] runs one pair
//! of adapters and returns, so that a test can run several pairs in one process; [`run_pairs`] runs
//! the scenarios that concern both ends on each pair of several adapters.
//!
//! An adapter whose calls are futures also calls the functions of [`polls`] and [`dialers`], each
//! from a test of its own, and [`forwarding_test!`] for the concrete types of its public API.
//!
//! # Where to look
//!
//! | file | content |
//! |---|---|
//! | `facade.rs` | the traits that an adapter implements |
//! | `futures.rs` | their implementation for adapters whose calls are futures |
//! | `scenarios/` | the scenarios, by topic |
//! | `polls.rs`, `dialers.rs` | tests for adapters of futures: polled by hand, and dropped |
//! | `forwarding.rs` | a test for the concrete types of an adapter |
//! | `ends.rs` | set-up: servers, clients, both ends of a connection |
//! | `peers.rs`, `certificates.rs`, `session_tickets.rs` | hand-written peers, certificates of every kind, a flood of TLS session tickets |
//! | `process.rs`, `starving.rs` | descriptors, threads and processor time; a server without descriptors |
//! | `child.rs` | a scenario in a process of its own |
//! | `network.rs` | two hosts in namespaces, for bad days of the network |
//! | `wait.rs` | the clock, and polling for conditions that cannot be awaited |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed scenario"
)]

mod certificates;
mod child;
pub mod dialers;
mod ends;
mod facade;
mod forwarding;
mod futures;
mod log;
mod network;
mod peers;
pub mod polls;
mod prelude;
mod process;
mod relay;
mod scenarios;
mod session_tickets;
mod skipped;
mod starving;
mod wait;

pub use ends::Ends;
pub use facade::{
    Adapter, Balancer, ClientSetup, Demand, Dial, Halves, Handle, Listen, OpenTape, Pool,
    ServerSetup, Stream, Tls,
};
pub use futures::{Harness, OnFutures, StreamOf};
pub use scenarios::scenarios;
pub use session_tickets::handshake_and_make_tickets;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};

/// A behaviour that every adapter must have.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The topic and the behaviour: `topic::behaviour`.
    pub name: &'static str,
    /// Whether no other scenario may run at the same time: this one counts descriptors or threads,
    /// or measures time.
    pub exclusive: bool,
    /// Checks the behaviour, and panics if the adapters do not have it.
    pub run: fn(&Ends),
}

/// Runs all scenarios on one pair of adapters, as the `main` of a test target. `label` is printed
/// with their names. The arguments of the process are those of other tests.
#[must_use]
pub fn main(label: &str, ends: Ends) -> ExitCode {
    if run(label, ends) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all scenarios on one pair of adapters; returns whether all have passed.
#[must_use]
pub fn run(label: &str, ends: Ends) -> bool {
    run_where(label, ends, |_| true)
}

/// Runs the scenarios in which the executor of an adapter matters, for one that shares everything else with
/// an adapter that runs all of them; returns whether all have passed.
#[must_use]
pub fn run_on_executor(label: &str, ends: Ends) -> bool {
    run_where(label, ends, |scenario| scenario.is_of(&EXECUTOR_TOPICS))
}

fn run_where(label: &str, ends: Ends, wanted: impl Fn(&Scenario) -> bool) -> bool {
    if starving::starves(&ends) || child::is_for_another_pair(&ends) {
        return true;
    }
    let wanted = scenarios().into_iter().filter(wanted);
    run_each(wanted.map(|scenario| (label.to_owned(), ends, scenario)).collect())
}

/// Runs the scenarios that connect two pools on each pair of these adapters, also each adapter with
/// itself; returns whether all have passed.
#[must_use]
pub fn run_pairs(adapters: &[&'static dyn Adapter]) -> bool {
    let mut all = Vec::new();
    for client in adapters {
        for server in adapters {
            let label = format!("{} client, {} server", client.name(), server.name());
            let ends = Ends { client: *client, server: *server };
            let paired = scenarios().into_iter().filter(Scenario::is_between_pools);
            all.extend(paired.map(|scenario| (label.clone(), ends, scenario)));
        }
    }
    run_each(all)
}

fn run_each(all: Vec<(String, Ends, Scenario)>) -> bool {
    let arguments = Arguments::from_args();
    if !arguments.list {
        println!("conformance: {} scenarios", all.len());
    }
    let trials = all.into_iter().map(|(label, ends, scenario)| {
        let trial = Trial::test(scenario.name, move || {
            skipped::within(scenario.name, || scenario.run_in_turn(&ends));
            Ok(())
        });
        trial.with_kind(label)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        skipped::summary();
    }
    !conclusion.has_failed()
}

/// Locked for writing by exclusive scenarios, and for reading by the others.
static EXCLUSIVE: RwLock<()> = RwLock::new(());

/// The topics in which the executor matters: tasks that are spawned, woken, dropped and cut off.
const EXECUTOR_TOPICS: [&str; 7] =
    ["early::", "endings::", "exchange::", "resources::", "reuse::", "shutdown::", "waiters::"];

/// The topics in which the adapter at the other end matters.
const PAIRED_TOPICS: [&str; 5] = ["early::", "exchange::", "renewal::", "reuse::", "trust::"];

impl Scenario {
    fn is_between_pools(&self) -> bool {
        self.is_of(&PAIRED_TOPICS)
    }

    fn is_of(&self, topics: &[&str]) -> bool {
        topics.iter().any(|topic| self.name.starts_with(topic))
    }

    fn run_in_turn(&self, ends: &Ends) {
        if self.exclusive {
            let _alone = EXCLUSIVE.write().unwrap_or_else(PoisonError::into_inner);
            (self.run)(ends);
        } else {
            let _beside = EXCLUSIVE.read().unwrap_or_else(PoisonError::into_inner);
            (self.run)(ends);
        }
    }
}
