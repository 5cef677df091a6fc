//! The example `tunnel`, end to end: real processes, signals, restarts, and every byte checked.
//!
//! Cargo builds examples only if all targets are tested. So this test contains the program, and runs
//! itself as that program: it always tests the present code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]
#![allow(clippy::disallowed_methods, reason = "the time that the program takes, seen from outside")]

#[path = "../../examples/tunnel/main.rs"]
mod program;

mod pages;
mod process;
mod scenarios;
mod visits;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Says to this program that it is the example.
const IS_EXAMPLE: &str = "POOL_TEST_IS_TUNNEL";

fn main() -> ExitCode {
    if std::env::var_os(IS_EXAMPLE).is_some() {
        return program::main();
    }
    let trials = scenarios::ALL.iter().map(|&(name, scenario)| {
        Trial::test(name, move || {
            scenario();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
