//! A client's and a server's machine, a control channel and users at both ends, on a network that
//! fails them in every way that the options of a seed allow, in virtual time.
//!
//! ```text
//! cargo run --release -p pool-testkit --bin simulate                    25,000 seeds, twenty seconds
//! cargo run --release -p pool-testkit --bin simulate -- --seed 4711     one again, with its log
//! cargo run --release -p pool-testkit --bin simulate -- --help
//! ```
//!
//! The machines are the real ones, and so are the ids on the wire; sockets, TLS and time are made
//! up. Each seed lives through three phases: faults, in which only safety is asked for; no faults, in
//! which liveness must follow; and the close. After every call the [ledger](pool_testkit::ledger) of
//! its machine checks the invariants. The [world] checks these in addition:
//!
//! - 4: both ends of a connection have one id, and every byte behind it reaches its lessee, in order.
//! - 7: when faults stop, waiters are served and the stock fills up within bounds.
//! - 8: after a close everything comes out.
//! - 9: clocks jump, events come late or for nothing, and nothing panics.
//! - 10: the same seed gives the same log.

#![allow(clippy::indexing_slicing, reason = "tables are indexed by the simulation's own enums")]

mod report;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use pool_testkit::regressions;
use pool_testkit::violation::Violation;
use pool_testkit::world::{self, Options, Outcome, Tally};

/// Simulates clients and servers of the pool on a network that fails them.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to live through.
    #[arg(long, default_value_t = 25_000, value_parser = clap::value_parser!(u64).range(1..))]
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
    /// Lives through each seed twice, and compares the logs.
    #[arg(long)]
    twice: bool,
    /// Compares each step with the naive pool as well, where lifetimes are exact: slow.
    #[arg(long)]
    oracle: bool,
    /// Lives through a seed with so many connections, whose states are checked now and then only.
    #[arg(long, value_name = "CONNECTIONS", conflicts_with_all = ["seeds", "start", "seed", "twice"])]
    scale: Option<u32>,
    /// Fails unless each kind of fault and each edge occurred so often.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    coverage: u64,
    /// Threads; by default as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
}

thread_local! {
    /// Where this thread panicked last.
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// A violation, and the command that replays it.
struct Failure {
    seed: u64,
    flag: String,
    violation: Violation,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is a violation like any other, and is told with its seed.
    std::panic::set_hook(Box::new(|panic| PANIC.set(panic.location().map(Location::to_string))));
    let began = clock();
    let (tally, failures) = match (arguments.seed, arguments.scale) {
        (Some(seed), _) => replay(seed, &arguments),
        (None, Some(connections)) => {
            let mut outcome = live(Options::large(1, connections), false);
            let most = outcome.tally.most();
            if most < connections && outcome.violation.is_none() {
                let seen = format!("{most} connections at a time, not {connections}");
                outcome.violation = Some(Violation { invariant: "the simulation itself", seen });
            }
            (outcome.tally, failure(1, format!("--scale {connections}"), outcome.violation))
        }
        (None, None) => many(&arguments),
    };
    report::print(&tally, began.elapsed());
    for Failure { seed, flag, violation } in &failures {
        println!("violation of {}: {}", violation.invariant, violation.seen);
        println!("  replay: cargo run --release -p pool-testkit --bin simulate -- {flag}");
        println!(
            "  keep: a file pool-proto/testkit/regressions/{seed} that says what it has shown"
        );
    }
    let rare = report::rarer_than(arguments.coverage, &tally);
    for line in &rare {
        println!("not covered: {line}");
    }
    println!("violations: {}", failures.len());
    if failures.is_empty() && rare.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "how long a simulation takes is measured outside it")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Lives through one seed, and takes a panic for a violation.
fn live(options: Options, log: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| world::live_seed(options, log))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let seen = format!("{} at {}", text.unwrap_or_default(), PANIC.take().unwrap_or_default());
        let violation = Violation { invariant: "9: nothing panics", seen };
        Outcome { tally: Tally::default(), log: None, violation: Some(violation) }
    })
}

fn options(seed: u64, arguments: &Arguments) -> Options {
    Options { oracle: arguments.oracle, ..Options::of_seed(seed) }
}

fn failure(seed: u64, flag: String, violation: Option<Violation>) -> Vec<Failure> {
    violation.map(|violation| Failure { seed, flag, violation }).into_iter().collect()
}

/// Lives through a seed, and prints its log.
fn replay(seed: u64, arguments: &Arguments) -> (Tally, Vec<Failure>) {
    println!("{}", options(seed, arguments));
    let outcome = live(options(seed, arguments), true);
    print!("{}", outcome.log.unwrap_or_default());
    (outcome.tally, failure(seed, format!("--seed {seed}"), outcome.violation))
}

/// The seeds to live through.
fn seeds(arguments: &Arguments) -> Vec<u64> {
    if arguments.regressions {
        return regressions::seeds(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions"));
    }
    (0..arguments.seeds).map(|number| arguments.start.wrapping_add(number)).collect()
}

/// Many seeds, on all threads.
fn many(arguments: &Arguments) -> (Tally, Vec<Failure>) {
    /// After so many failures the rest would only repeat them.
    const ENOUGH: usize = 5;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    let seeds = seeds(arguments);
    let bar = ProgressBar::new(seeds.len() as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let next = AtomicUsize::new(0);
    let total = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied();
                    let failed = total.lock().unwrap_or_else(PoisonError::into_inner).1.len();
                    let Some(seed) = seed.filter(|_| failed < ENOUGH) else { break };
                    let violation = once_or_twice(seed, arguments, &mut tally);
                    let failures = failure(seed, format!("--seed {seed}"), violation);
                    if !failures.is_empty() {
                        total.lock().unwrap_or_else(PoisonError::into_inner).1.extend(failures);
                    }
                    bar.inc(1);
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).0.merge(&tally);
            });
        }
    });
    bar.finish_and_clear();
    let (tally, mut failures) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    (tally, failures)
}

fn once_or_twice(seed: u64, arguments: &Arguments, tally: &mut Tally) -> Option<Violation> {
    let first = live(options(seed, arguments), arguments.twice);
    tally.merge(&first.tally);
    if first.violation.is_some() || !arguments.twice {
        return first.violation;
    }
    let second = live(options(seed, arguments), true);
    let (one, two) = (first.log.unwrap_or_default(), second.log.unwrap_or_default());
    let empty = one.is_empty();
    if one == two && !empty {
        return None;
    }
    let differing = one.lines().zip(two.lines()).find(|(one, two)| one != two);
    let seen = match differing {
        Some((one, two)) => format!("first: {one}\nsecond: {two}"),
        None => format!("logs of {} and {} bytes", one.len(), two.len()),
    };
    Some(Violation { invariant: "10: the same seed gives the same log", seen })
}
