//! The tuner under `Tuning::NodePass` against measurements of the Go package: every
//! CSV in `tests/vectors`, or in the folder that the variable `POOL_VECTORS` names.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pool_proto::{Tuner, Tuning};

/// Takes a step of the law from a given state.
const STEPS: &str =
    "min_cap,max_cap,cap,min_ivl_ms,max_ivl_ms,ivl_ms,idle,created,new_ivl_ms,new_cap";
/// A whole run; its bounds are in a comment.
const RUN: &str = "t_s,idle,capacity_before,created,interval_ms_after,capacity_after";

fn node_pass(capacity: [u64; 2], interval: [u64; 2]) -> Tuner {
    let [min, max] = capacity.map(|value| u32::try_from(value).unwrap());
    let [shortest, longest] = interval.map(Duration::from_millis);
    Tuner::new(Tuning::NodePass, min..=max, shortest..=longest)
}

fn numbers(line: &str) -> Result<Vec<u64>, String> {
    line.split(',')
        .map(|field| field.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{line:?}: {error}"))
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Result<(), String> {
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, but the Go package's {wanted:?}"))
    }
}

fn step(line: &str) -> Result<(), String> {
    let row = numbers(line)?;
    let &[min_cap, max_cap, cap, min_ivl, max_ivl, ivl, idle, created, new_ivl, new_cap] =
        row.as_slice()
    else {
        return Err(format!("{} columns", row.len()));
    };
    let small = |value: u64| u32::try_from(value).unwrap();
    let mut tuner = node_pass([min_cap, max_cap], [min_ivl, max_ivl])
        .with_state(small(cap), Duration::from_millis(ivl));
    expect("capacity before", tuner.capacity(), small(cap))?;
    expect("interval before", tuner.interval().as_millis(), ivl.into())?;
    let (capacity, interval) = tuner.round(small(idle), small(created));
    expect("capacity", capacity, small(new_cap))?;
    expect("interval", interval, Duration::from_millis(new_ivl))
}

fn run_row(tuner: &mut Tuner, line: &str) -> Result<(), String> {
    let (_, rest) = line.split_once(',').ok_or("one column")?;
    let row = numbers(rest)?;
    let &[idle, before, created, interval_after, capacity_after] = row.as_slice() else {
        return Err(format!("{} columns", row.len() + 1));
    };
    let small = |value: u64| u32::try_from(value).unwrap();
    expect("capacity before", tuner.capacity(), small(before))?;
    let (capacity, interval) = tuner.round(small(idle), small(created));
    expect("capacity", capacity, small(capacity_after))?;
    expect("interval", interval, Duration::from_millis(interval_after))
}

/// `name=value` pairs of a comment.
fn settings(comment: &str) -> HashMap<&str, u64> {
    comment
        .split([' ', ';', '#'])
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}

/// Checks a file and returns how many rows it has.
fn check(path: &Path) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut header = None;
    let mut bounds = HashMap::new();
    let mut run: Option<Tuner> = None;
    let mut rows = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            bounds.extend(settings(line));
            continue;
        }
        let result = match header {
            None if line == STEPS => {
                header = Some(STEPS);
                continue;
            }
            None if line == RUN => {
                header = Some(RUN);
                let setting = |name| bounds.get(name).copied().ok_or(format!("no {name}"));
                run = Some(node_pass(
                    [setting("min_capacity")?, setting("max_capacity")?],
                    [setting("min_interval_ms")?, setting("max_interval_ms")?],
                ));
                continue;
            }
            None => return Err(format!("unknown header {line:?}")),
            Some(_) => match &mut run {
                Some(tuner) => run_row(tuner, line),
                None => step(line),
            },
        };
        result.map_err(|error| format!("line {}: {error}", number + 1))?;
        rows += 1;
    }
    if rows == 0 {
        return Err("no rows".into());
    }
    Ok(rows)
}

fn folder() -> PathBuf {
    std::env::var_os("POOL_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from)
}

#[test]
fn the_reference_law_agrees_with_every_measurement() {
    let folder = folder();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no CSV in {}", folder.display());
    let mut total = 0;
    for file in &files {
        let rows = check(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        println!("{}: {rows} rows", file.display());
        total += rows;
    }
    println!("{total} rows of {} files agree", files.len());
}

#[test]
fn a_file_of_an_unknown_kind_or_with_a_wrong_row_is_a_failure() {
    let folder = std::env::temp_dir().join(format!("pool-vectors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let said = |text: &str| {
        let path = folder.join("case.csv");
        std::fs::write(&path, text).unwrap();
        check(&path)
    };
    let bounds = "# min_capacity=5 max_capacity=20 min_interval_ms=100 max_interval_ms=1000; x";
    assert!(said("a,b\n1,2\n").unwrap_err().contains("unknown header"));
    assert!(said(STEPS).unwrap_err().contains("no rows"));
    assert!(said(&format!("{RUN}\n")).unwrap_err().contains("no min_"));
    assert_eq!(said(&format!("{STEPS}\n1,1,1,100,1000,100,0,0,100,1\n")), Ok(1));
    assert!(said(&format!("{STEPS}\n1,1,1,100,1000,100,0,0,200,1\n")).is_err());
    assert!(said(&format!("{STEPS}\n1,1,2,100,1000,100,0,0,100,1\n")).is_err());
    assert_eq!(said(&format!("{bounds}\n{RUN}\n0.001,0,5,5,100,6\n")), Ok(1));
    assert!(said(&format!("{bounds}\n{RUN}\n0.001,0,6,5,100,6\n")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_state_beyond_the_bounds_is_clamped_into_them() {
    let tuner = node_pass([5, 20], [100, 1000]);
    let state = |capacity, interval| {
        let tuner = tuner.clone().with_state(capacity, Duration::from_millis(interval));
        (tuner.capacity(), tuner.interval().as_millis())
    };
    assert_eq!(state(0, 0), (5, 100));
    assert_eq!(state(7, 333), (7, 333));
    assert_eq!(state(21, 1001), (20, 1000));
}
