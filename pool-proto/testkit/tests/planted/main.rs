//! Bugs planted in a copy of the core and of the driver, each behind a switch: the simulation of the core,
//! or that of real pools, must find every one of them. If it does not, it is the simulation that has the
//! bug.
//!
//! The copy is made, edited and built below `target/planted`; the sources have no trace of them.
//! `POOL_PLANTED=<number>` switches one on in the copy's simulations. With `POOL_PLANTED_SKIPPED`, the test does
//! nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod bugs;
#[path = "../../../driver/tests/planted_interleavings/copy.rs"]
mod copy;
mod driver_bugs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bugs::{BUGS, Bug};
use driver_bugs::DRIVER_BUGS;

/// A simulation, and the bugs that it must find.
struct Subject {
    binary: &'static str,
    /// The folder of the sources.
    sources: &'static str,
    bugs: &'static [Bug],
    /// The number of its first bug.
    first: usize,
    /// How many seeds a bug may hide from. Most bugs are found within the first number; the others take
    /// some ten seconds on two cores.
    seeds: [&'static str; 2],
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        binary: "simulate",
        sources: "pool-proto/src",
        bugs: BUGS,
        first: 0,
        seeds: ["2000", "20000"],
    },
    Subject {
        binary: "pool-simulation",
        sources: "pool-proto/driver/src",
        bugs: DRIVER_BUGS,
        first: BUGS.len(),
        seeds: ["100", "1000"],
    },
];

#[test]
fn the_simulations_find_every_planted_bug() {
    if std::env::var_os("POOL_PLANTED_SKIPPED").is_some() {
        println!("skipped: planted bugs, as POOL_PLANTED_SKIPPED is set");
        return;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let binaries = build(&plant(workspace));
    let mut hidden = Vec::new();
    for Subject { binary, bugs, first, seeds, .. } in &SUBJECTS {
        let binary = binaries.join(binary);
        assert!(bugs.len() >= 20, "only {} bugs", bugs.len());
        let none = run(&binary, usize::MAX, "1", seeds[0]);
        assert!(none.ends_with("violations: 0"), "without any bug:\n{none}");
        let before = hidden.len();
        for (number, bug) in (*first..).zip(*bugs) {
            let began = clock();
            let mut found = String::new();
            let line = seeds.iter().find_map(|seeds| {
                found = run(&binary, number, bug.start, seeds);
                found.lines().find(|line| line.starts_with(bug.found_by)).map(str::to_owned)
            });
            let took = began.elapsed();
            match line {
                Some(line) => println!("{:.1?} {}: {line}", took, bug.name),
                None => {
                    hidden.push(format!("{number} {}, by “{}”: {found}", bug.name, bug.found_by));
                }
            }
        }
        println!("planted bugs: {}, found: {}", bugs.len(), bugs.len() + before - hidden.len());
    }
    assert!(hidden.is_empty(), "not found:\n{}", hidden.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "how long a search takes is measured outside it")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Makes the copy. Returns its folder.
fn plant(workspace: &Path) -> PathBuf {
    let folder = workspace.join("target/planted/copy");
    copy::copy(workspace, &folder);
    for Subject { sources, bugs, first, .. } in &SUBJECTS {
        let sources = folder.join(sources);
        for (number, bug) in (*first..).zip(*bugs) {
            copy::plant(&sources, bug.name, number, std::slice::from_ref(&bug.edit));
        }
        copy::add_switch(&sources);
    }
    folder
}

/// Builds the copy's simulations. Returns the folder of the binaries.
fn build(copy: &Path) -> PathBuf {
    let target = copy.parent().unwrap().join("target");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--offline"])
        .args(["-p", "pool-testkit", "-p", "pool-simulation", "--bins", "--no-default-features"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-A warnings")
        .status()
        .expect("cargo runs this test, so it is there");
    assert!(status.success(), "the copy in {} does not build", copy.display());
    target.join("release")
}

/// Runs a simulation of the copy with one bug switched on. Returns its output.
fn run(binary: &Path, number: usize, start: &str, seeds: &str) -> String {
    let output = Command::new(binary)
        .args(["--start", start, "--seeds", seeds])
        .env("POOL_PLANTED", number.to_string())
        .stderr(Stdio::null())
        .output()
        .expect("it was just built");
    // A run that ends in another way than by a verdict has found something, too.
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with(['│', '╭', '╞', '╰'])).collect();
    match output.status.code() {
        Some(0 | 1) => lines.join("\n"),
        code => format!("violation of 9: nothing panics: it ended with {code:?}"),
    }
}
