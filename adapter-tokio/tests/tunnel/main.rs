//! The example `tunnel`, end to end: real processes, signals, restarts, and every byte checked.
//!
//! Cargo builds examples only if all targets are tested. So this test contains the program, and runs
//! itself as that program: it always tests the present code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

#[path = "../../examples/tunnel/main.rs"]
#[allow(unreachable_pub, reason = "the program of the example")]
mod program;

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
