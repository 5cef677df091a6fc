//! The scenarios that every adapter must pass, on tokio's multi-threaded runtime.

mod harness;

use std::process::ExitCode;

use harness::Tokio;
use pool_conformance::{Adapter, Ends, OnFutures};

fn main() -> ExitCode {
    let tokio: &'static dyn Adapter = &OnFutures::<Tokio>::ADAPTER;
    pool_conformance::main("tokio", Ends { client: tokio, server: tokio })
}
