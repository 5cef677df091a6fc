//! What every adapter must do, as scenarios that are written once and run on each: two pools over
//! loopback, of one adapter or of two, and peers that are no pools. Feature `conformance`; for the
//! tests of adapters only.
//!
//! An adapter implements [`Adapter`], [`Pool`], [`Stream`] and [`Balancer`] (some 200 lines, most of
//! them forwarding); for one whose pools are [`adapter::Pool`](pool_driver::Pool)s that is done, as
//! [`OnFutures`], and a [`Harness`] is enough. It calls [`main`] from a test without the usual harness:
//!
//! ```toml
//! [dev-dependencies]
//! pool-proto = { version = "0.1", features = ["conformance"] }
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
//! `cargo test --test conformance` then takes filters and options as for other tests. For a pair of
//! two adapters, [`Ends`] has two different ones; [`run`] runs one pair after another in one process,
//! and [`run_pairs`] what concerns both ends on each pair of several adapters.
//!
//! # Where to look
//!
//! | file | what is in it |
//! |---|---|
//! | `facade.rs` | what an adapter implements |
//! | `futures.rs` | that, for adapters whose calls are futures |
//! | `scenarios/` | the scenarios, by topic |
//! | `polls.rs`, `dialers.rs` | what only futures can do: be polled by hand, and be dropped |
//! | `ends.rs` | what they begin with: servers, clients, both ends of a connection |
//! | `kit.rs`, `certificates.rs`, `tickets.rs` | peers by hand, certificates of every kind, a flood |
//! | `census.rs`, `starving.rs` | descriptors, threads, processor time; a server without descriptors |
//! | `wait.rs` | the clock, and waiting for what cannot be awaited |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed scenario"
)]

mod certificates;
pub mod dialers;
mod ends;
mod facade;
mod futures;
mod peers;
pub mod polls;
mod prelude;
mod process;
mod scenarios;
mod session_tickets;
mod starving;
mod wait;

pub use ends::Ends;
pub use facade::{
    Adapter, Balancer, ClientSetup, Dial, Halves, Handle, Listen, Pool, ServerSetup, Stream,
};
pub use futures::{Harness, OnFutures, StreamOf};
pub use scenarios::scenarios;
pub use session_tickets::handshake_and_make_tickets;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Trial};

/// Something that must be so on every adapter.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The behaviour, behind its topic.
    pub name: &'static str,
    /// It counts descriptors or threads, or measures time, so that no other may run beside it.
    pub exclusive: bool,
    /// Panics when it is not so.
    pub run: fn(&Ends),
}

/// Runs all scenarios on one pair of adapters, as the `main` of a test; `label` is put before their
/// names. Takes the arguments of the process as other tests do.
#[must_use]
pub fn main(label: &str, ends: Ends) -> ExitCode {
    if run(label, ends) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all scenarios on one pair of adapters; says whether all have passed.
#[must_use]
pub fn run(label: &str, ends: Ends) -> bool {
    if starving::starves(&ends) {
        return true;
    }
    run_each(scenarios().into_iter().map(|scenario| (label.to_owned(), ends, scenario)).collect())
}

/// Runs the scenarios in which two pools meet on each pair of these adapters, those of one with
/// itself included; says whether all have passed.
#[must_use]
pub fn run_pairs(adapters: &[&'static dyn Adapter]) -> bool {
    let mut all = Vec::new();
    for client in adapters {
        for server in adapters {
            let label = format!("{} client, {} server", client.name(), server.name());
            let ends = Ends { client: *client, server: *server };
            let meeting = scenarios().into_iter().filter(Scenario::is_between_pools);
            all.extend(meeting.map(|scenario| (label.clone(), ends, scenario)));
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
            scenario.run_in_turn(&ends);
            Ok(())
        });
        trial.with_kind(label)
    });
    !libtest_mimic::run(&arguments, trials.collect()).has_failed()
}

/// Held for writing by a scenario that must be alone.
static EXCLUSIVE: RwLock<()> = RwLock::new(());

/// The topics in which it matters who is at the other end.
const PAIRED_TOPICS: [&str; 4] = ["early::", "exchange::", "reuse::", "trust::"];

impl Scenario {
    fn is_between_pools(&self) -> bool {
        PAIRED_TOPICS.iter().any(|topic| self.name.starts_with(topic))
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
