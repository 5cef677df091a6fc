//! The scenarios that every adapter must pass, on plain threads.

mod facade;

use std::process::ExitCode;

use facade::Std;
use pool_conformance::Ends;

fn main() -> ExitCode {
    static STD: Std = Std;
    pool_conformance::main("std", Ends { client: &STD, server: &STD })
}
