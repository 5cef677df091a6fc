//! A tunnel on two connection pools, demonstrated and checked: `cargo run --release --example
//! demo`. It uses loopback only, and runs for about 15 seconds. If every check holds, the last line is
//! `demo: ok …` and the exit code is 0. `-- --record FOLDER` leaves a tape of each pool there.

mod control;
mod descriptors;
mod entry;
mod exit;
mod framing;
mod fresh;
mod latency;
mod ledger;
mod outage;
mod outage_report;
mod payload;
mod progress;
mod proxy;
mod report;
mod stages;
mod tapes;
mod tasks;
mod tunnel;
mod visitors;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::{Instant, timeout};

use report::{Checks, time};

/// An error outside the checks.
type Failure = Box<dyn Error + Send + Sync>;

/// With start and shutdown, the program takes less than 30 s.
const DEADLINE: Duration = Duration::from_secs(28);

/// A tunnel on two connection pools, demonstrated and checked
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Leaves a tape of each pool in this folder, to be replayed by `replay` of the package pool-tape
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { record } = Arguments::parse();
    if let Some(Err(error)) = record.map(tapes::keep_in) {
        println!("demo: FAILED – no place for tapes: {error}");
        return ExitCode::FAILURE;
    }
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let verdict = match runtime {
        Ok(runtime) => {
            let verdict = runtime.block_on(run());
            // Do not wait for tasks: after the deadline, one may hang.
            runtime.shutdown_background();
            verdict
        }
        Err(error) => Err(format!("no runtime: {error}")),
    };
    match verdict {
        Ok(verdict) => {
            println!("demo: ok – {verdict}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("demo: FAILED – {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all stages within the deadline; returns the verdict.
async fn run() -> Result<String, String> {
    let began = Instant::now();
    let mut checks = Checks::default();
    let outcome = timeout(DEADLINE, stages::run(&mut checks)).await;
    let (count, failed) = checks.print();
    println!();
    match outcome {
        Err(_) => return Err(format!("not done within {}", time(DEADLINE))),
        Ok(Err(error)) => return Err(format!("stopped early: {error}")),
        Ok(Ok(())) => {}
    }
    if failed.is_empty() {
        Ok(format!("{count} checks held in {}", time(began.elapsed())))
    } else {
        Err(format!("{} of {count} checks: {}", failed.len(), failed.join("; ")))
    }
}
