//! The scenarios that every adapter must pass, on three executors one after another.

mod executors;
mod harness;

use std::process::ExitCode;

use executors::{AsyncStd, Executor, Global, Own};
use harness::On;
use pool_conformance::{Adapter, Ends, OnFutures};

fn main() -> ExitCode {
    // Run all executors, even if one has failed.
    let passed = [all_on::<Global>(), all_on::<AsyncStd>(), all_on::<Own>()];
    if passed == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Names the one executor to run.
const ONLY: &str = "POOL_CONFORMANCE_EXECUTOR";

fn all_on<E: Executor>() -> bool {
    if std::env::var_os(ONLY).is_some_and(|only| only != E::NAME) {
        println!("skipped: the executor {}, for {ONLY}", E::NAME);
        return true;
    }
    let adapter: &'static dyn Adapter = &OnFutures::<On<E>>::ADAPTER;
    pool_conformance::run(E::NAME, Ends { client: adapter, server: adapter })
}
