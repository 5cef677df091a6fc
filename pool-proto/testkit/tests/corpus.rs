//! The fuzz targets without a fuzzer: replays every input of `fuzz/corpus` and `fuzz/regressions`,
//! and some thousand random ones.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::fs;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use pool_testkit::fuzz::{Body, TARGETS};

/// Random inputs for each target. Most are short, as most bugs are.
const RANDOM_INPUTS: u64 = 3000;
const MOST_RANDOM_BYTES: usize = 512;

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Runs a target on an input; `name` is told if it fails.
fn run(body: Body, input: &[u8], name: impl FnOnce() -> String) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        eprintln!("this input failed: {}", name());
        resume_unwind(panic);
    }
}

/// The entries of a directory in the order of their names; none if it does not exist.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_directory_of_inputs_belongs_to_a_target() {
    // With all features or none: the corpus of a feature is there without the feature too.
    let tls_text = iter::once("tls_text");
    let known: HashSet<&str> = TARGETS.iter().map(|(target, _)| *target).chain(tls_text).collect();
    for inputs in ["corpus", "regressions"] {
        for path in entries(&fuzz_directory().join(inputs)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(known.contains(name), "no target has the inputs of {}", path.display());
        }
    }
}

#[test]
fn every_input_of_the_corpora_passes() {
    let fuzz = fuzz_directory();
    for (target, body) in TARGETS {
        let corpus = entries(&fuzz.join("corpus").join(target));
        assert!(!corpus.is_empty(), "{target} has no corpus in {}", fuzz.display());
        let regressions = entries(&fuzz.join("regressions").join(target));
        for path in corpus.iter().chain(&regressions) {
            run(*body, &fs::read(path).unwrap(), || path.display().to_string());
        }
        println!("{target}: {} inputs, {} regressions", corpus.len(), regressions.len());
    }
}

#[test]
fn random_inputs_pass() {
    for (target, body) in TARGETS {
        for seed in 0..RANDOM_INPUTS {
            let mut random = Rng::with_seed(seed);
            let most = random.usize(1..=MOST_RANDOM_BYTES);
            let length = random.usize(..most);
            let input: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            let hex = || input.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            run(*body, &input, || format!("{target}, seed {seed}, in hex {}", hex()));
        }
    }
}
