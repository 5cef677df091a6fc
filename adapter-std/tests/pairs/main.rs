//! The scenarios that concern both ends, on all nine pairs of a client and a server of the three
//! adapters.
//!
//! This test uses the harnesses in the other adapters' tests, so it is excluded from the package.

#[allow(dead_code, reason = "the other executors are for smol's own tests")]
#[path = "../../../adapter-smol/tests/conformance/executors.rs"]
mod executors;
#[path = "../../../adapter-smol/tests/conformance/harness.rs"]
mod smol;
#[path = "../conformance/facade.rs"]
mod std;
#[path = "../../../adapter-tokio/tests/conformance/harness.rs"]
mod tokio;

use ::std::process::ExitCode;

use executors::Global;
use pool_conformance::OnFutures;

fn main() -> ExitCode {
    static STD: std::Std = std::Std;
    let tokio = &OnFutures::<tokio::Tokio>::ADAPTER;
    let adapters = [tokio as _, &OnFutures::<smol::On<Global>>::ADAPTER as _, &STD as _];
    if pool_conformance::run_pairs(&adapters) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
