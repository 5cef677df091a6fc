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

mod browser;
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
    let trial = |&(name, scenario): &scenarios::Named| {
        Trial::test(name, move || {
            scenario();
            Ok(())
        })
    };
    let mut trials: Vec<_> = scenarios::ALL.iter().map(trial).collect();
    let is_skipped = browser::is_missing();
    trials.push(trial(&pages::IN_BROWSER).with_ignored_flag(is_skipped));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    if is_skipped {
        println!("skipped: {}: there is no chromium on the PATH", pages::IN_BROWSER.0);
    }
    conclusion.exit_code()
}
