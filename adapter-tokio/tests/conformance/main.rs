//! The scenarios that every adapter must pass, on tokio with several threads.

mod facade;

use std::process::ExitCode;

use adapter_tokio::pool_proto::conformance::{self, Ends};
use facade::Tokio;

fn main() -> ExitCode {
    static TOKIO: Tokio = Tokio;
    conformance::main("tokio", Ends { client: &TOKIO, server: &TOKIO })
}
