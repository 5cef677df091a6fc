//! The scenarios that every adapter must pass, on tokio with several threads.

mod harness;

use std::process::ExitCode;

use adapter_tokio::pool_proto::conformance::{self, Adapter, Ends, OnFutures};
use harness::Tokio;

fn main() -> ExitCode {
    let tokio: &'static dyn Adapter = &OnFutures::<Tokio>::ADAPTER;
    conformance::main("tokio", Ends { client: tokio, server: tokio })
}
