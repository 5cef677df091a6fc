//! The scenarios that every adapter must pass, on three executors one after another.

mod executors;
mod harness;

use std::process::ExitCode;

use adapter_smol::pool_proto::conformance::{self, Adapter, Ends, OnFutures};
use executors::{AsyncStd, Executor, Global, Own};
use harness::On;

fn main() -> ExitCode {
    // All of them, even if one has failed.
    let passed = [all_on::<Global>(), all_on::<AsyncStd>(), all_on::<Own>()];
    if passed == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all_on<E: Executor>() -> bool {
    let adapter: &'static dyn Adapter = &OnFutures::<On<E>>::ADAPTER;
    conformance::run(E::NAME, Ends { client: adapter, server: adapter })
}
