//! Lives through seeds.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use pool_simulation::options::Options;
use pool_simulation::world::{Outcome, live};
use pool_testkit::regressions;

/// Simulates real pools, with their driver and TLS, on a network that fails them.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to live through.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    start: u64,
    /// Lives through this one only, and prints its log.
    #[arg(long, conflicts_with_all = ["seeds", "start", "twice"])]
    seed: Option<u64>,
    /// Lives through the seeds that have failed once: the files in `regressions/`.
    #[arg(long, conflicts_with_all = ["seeds", "start", "seed"])]
    regressions: bool,
    /// Lives through each seed twice, and compares everything that happened.
    #[arg(long)]
    twice: bool,
}

/// After so many failures the rest would only repeat them.
const ENOUGH: usize = 5;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = match arguments.seed {
        Some(seed) => vec![seed],
        None if arguments.regressions => {
            regressions::seeds(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions"))
        }
        None => (0..arguments.seeds).map(|n| arguments.start.wrapping_add(n)).collect(),
    };
    let log = arguments.seed.is_some();
    let (next, lived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let sum = Mutex::new(Outcome::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied();
                    let failed = failures.lock().unwrap_or_else(PoisonError::into_inner).len();
                    let Some(seed) = seed.filter(|_| failed < ENOUGH) else { break };
                    let outcome = live(Options::new(seed), log);
                    let again = arguments.twice.then(|| live(Options::new(seed), false));
                    let mut text = outcome.violation.map(|it| format!("{}: {}", it.rule, it.seen));
                    if again.is_some_and(|again| again.fingerprint != outcome.fingerprint) {
                        text.get_or_insert("a seed has one life: two differ".to_owned());
                    }
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.extend(text.map(|text| (seed, text)));
                    drop(failures);
                    lived.fetch_add(1, Ordering::Relaxed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.visits += outcome.visits;
                    sum.established += outcome.established;
                    sum.most_calls = sum.most_calls.max(outcome.most_calls);
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    let Outcome { visits, established, most_calls, .. } = sum;
    println!(
        "{} seeds: {visits} visits, {established} connections of the last pools, at most \
         {most_calls} system calls in a poll",
        lived.into_inner()
    );
    for (seed, text) in &failures {
        println!("violation of “{text}”");
        println!("  replay: cargo run --release -p pool-simulation -- --seed {seed}");
        println!(
            "  keep: a file pool-proto/simulation/regressions/{seed} that says what it has shown"
        );
    }
    println!("violations: {}", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
