//! Bugs planted in a copy of the driver, each behind a switch: the tests of interleavings must find every
//! one of them. If they do not, it is they that have the bug.
#![cfg(pool_model)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod bugs;
mod copy;

use std::path::{Path, PathBuf};
use std::process::Command;

use bugs::{BUGS, Bug};

#[test]
fn the_tests_of_interleavings_find_every_planted_bug() {
    let folder = plant();
    let none = run(&folder, BUGS.len(), "pairs");
    assert!(none.contains("test result: ok"), "without any bug:\n{none}");
    let mut hidden = Vec::new();
    for (number, Bug { name, found_by, finding, .. }) in BUGS.iter().enumerate() {
        let began = clock();
        let output = run(&folder, number, found_by);
        let took = began.elapsed();
        let at = output.lines().find(|line| line.starts_with("in ")).unwrap_or_default();
        match output.lines().find(|line| line.contains(finding)) {
            Some(line) => println!("{took:.1?} {name}: {line} {at}"),
            None => hidden.push(format!("{number} {name}, by “{finding}”: {output}")),
        }
    }
    println!("planted bugs: {}, found: {}", BUGS.len(), BUGS.len() - hidden.len());
    assert!(hidden.is_empty(), "not found:\n{}", hidden.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "how long a search takes is measured outside it")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// The folder of the build, whose dependencies the copy shares.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// Makes the copy. Returns its folder.
fn plant() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    copy::copy(workspace, &folder);
    let sources = folder.join("pool-proto/driver/src");
    for (number, bug) in BUGS.iter().enumerate() {
        copy::plant(&sources, bug.name, number, bug.edits);
    }
    copy::add_switch(&sources);
    folder
}

/// Runs a test in the copy, with one bug switched on. Returns its output.
fn run(folder: &Path, number: usize, test: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--quiet", "--offline", "-p", "pool-driver", "--no-default-features"])
        .args(["--test", "interleavings", "--", test])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .env("POOL_PLANTED", number.to_string())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("cargo runs this test, so it is there");
    let (out, err) = (output.stdout, output.stderr);
    [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat()
}
