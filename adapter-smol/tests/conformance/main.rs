//! The scenarios that every adapter must pass, on three executors one after another.

mod executors;
mod facade;

use std::process::ExitCode;

use adapter_smol::pool_proto::conformance::{self, Adapter, Ends};
use executors::{AsyncStd, Executor, Global, Own};
use facade::Smol;

fn main() -> ExitCode {
    // All of them, even if one has failed.
    let passed = [all_on::<Global>(), all_on::<AsyncStd>(), all_on::<Own>()];
    if passed == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all_on<E: Executor>() -> bool {
    let adapter: &'static dyn Adapter = &Smol::<E>::ADAPTER;
    conformance::run(E::NAME, Ends { client: adapter, server: adapter })
}
