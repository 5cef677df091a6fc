//! The scenarios that every adapter must pass, on smol's executor, and those in which the executor matters
//! on two more. `POOL_CONFORMANCE_EXECUTOR` names one that runs all of them, alone.

mod executors;
mod harness;

use std::process::ExitCode;

use executors::{AsyncStd, Executor, Global, Own};
use harness::On;
use pool_conformance::{Adapter, Ends, OnFutures};

fn main() -> ExitCode {
    // Run all executors, even if one has failed.
    let passed = [on::<Global>(), on::<AsyncStd>(), on::<Own>()];
    if passed == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Names the one executor to run.
const ONLY: &str = "POOL_CONFORMANCE_EXECUTOR";

fn on<E: Executor>() -> bool {
    let only = std::env::var_os(ONLY);
    if only.as_ref().is_some_and(|only| only != E::NAME) {
        println!("skipped: the executor {}, for {ONLY}", E::NAME);
        return true;
    }
    let adapter: &'static dyn Adapter = &OnFutures::<On<E>>::ADAPTER;
    let ends = Ends { client: adapter, server: adapter };
    if only.is_some() || E::NAME == Global::NAME {
        pool_conformance::run(E::NAME, ends)
    } else {
        pool_conformance::run_on_executor(E::NAME, ends)
    }
}
