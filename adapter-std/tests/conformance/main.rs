//! The scenarios that every adapter must pass, on plain threads.

mod facade;

use std::process::ExitCode;

use adapter_std::pool_proto::conformance::{self, Ends};
use facade::Std;

fn main() -> ExitCode {
    static STD: Std = Std;
    conformance::main("std", Ends { client: &STD, server: &STD })
}
