//! A tunnel on two connection pools, shown at work and put to the test: `cargo run --release
//! --example demo`. Loopback only, no arguments, about 15 seconds. The last line is `demo: ok …`
//! and the exit code 0 if every check held.

mod aftermath;
mod control;
mod descriptors;
mod entry;
mod exit;
mod fresh;
mod latency;
mod ledger;
mod outage;
mod payload;
mod progress;
mod proxy;
mod report;
mod story;
mod tasks;
mod tunnel;
mod visitors;
mod world;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use report::{Checks, time};

/// Whatever goes wrong outside the checks.
type Failure = Box<dyn Error + Send + Sync>;

/// With what comes before and after, less than 30 s.
const DEADLINE: Duration = Duration::from_secs(28);

fn main() -> ExitCode {
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let verdict = match runtime {
        Ok(runtime) => {
            let verdict = runtime.block_on(tell());
            // After the deadline something may hang: it is not waited for.
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

/// Tells the story within the deadline, and says how it ended.
async fn tell() -> Result<String, String> {
    let began = Instant::now();
    let mut checks = Checks::default();
    let told = timeout(DEADLINE, story::tell(&mut checks)).await;
    let (count, failed) = checks.print();
    println!();
    match told {
        Err(_) => return Err(format!("not done after {}", time(DEADLINE))),
        Ok(Err(error)) => return Err(format!("it broke off: {error}")),
        Ok(Ok(())) => {}
    }
    if failed.is_empty() {
        Ok(format!("{count} checks held in {}", time(began.elapsed())))
    } else {
        Err(format!("{} of {count} checks: {}", failed.len(), failed.join("; ")))
    }
}
