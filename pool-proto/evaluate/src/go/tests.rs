//! The law against measurements of the Go package.

use std::path::{Path, PathBuf};

use super::*;
use crate::load::Load;
use crate::network::Network;

fn vectors(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The rows of numbers, without comments and the header.
fn rows(text: &str) -> impl Iterator<Item = Vec<u64>> {
    let rows = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    rows.map(|line| line.split(',').map(|field| field.trim().parse().unwrap()).collect())
}

fn law(capacity: RangeInclusive<u64>, interval: RangeInclusive<u64>) -> Law {
    let small = |number: &u64| u32::try_from(*number).unwrap();
    let ms = |number: &u64| Duration::from_millis(*number);
    Law::new(
        small(capacity.start())..=small(capacity.end()),
        &(ms(interval.start())..=ms(interval.end())),
    )
}

#[test]
fn each_step_agrees_with_the_package() {
    let mut count = 0;
    for row in rows(&vectors("law.csv")) {
        let &[min, max, capacity, shortest, longest, interval, idle, created, new_interval, new] =
            row.as_slice()
        else {
            panic!("{row:?}");
        };
        let mut law = law(min..=max, shortest..=longest);
        law.capacity = u32::try_from(capacity).unwrap();
        law.interval = interval * MILLISECOND;
        law.begin(u32::try_from(idle).unwrap());
        law.end(u32::try_from(created).unwrap());
        let found = (u64::from(law.capacity), law.interval / MILLISECOND);
        assert_eq!(found, (new, new_interval), "{row:?}");
        count += 1;
    }
    assert!(count > 12_000, "{count} rows");
}

/// A run of a pool without callers, and its capacities after each round, against a measured run.
#[test]
fn an_idle_run_agrees_with_the_package() {
    let mut law = law(5..=20, 100..=1000);
    let text = vectors("tuning-idle.csv");
    let mut idle = 0;
    for row in text.lines().filter(|line| line.contains('.') && !line.starts_with('#')) {
        let fields: Vec<f64> = row.split(',').map(|field| field.parse().unwrap()).collect();
        let dials = law.begin(idle);
        assert_eq!(f64::from(dials), fields[3], "{row}");
        idle += dials;
        law.end(dials);
        assert_eq!(law.interval as f64 / 1e6, fields[4], "{row}");
        assert_eq!(f64::from(law.capacity), fields[5], "{row}");
    }
    assert_eq!(idle, 6);
}

#[test]
fn a_round_waits_for_its_dials() {
    // Dials of 350 ms and a sleep of 100 ms: a round each 450 ms, with one caller each.
    let arrivals = (0..40).map(|n| Arrival { at: n * 225 * MILLISECOND, hold: 0 }).collect();
    let load = Load::new("even", arrivals, 9 * SECOND);
    let mut network = Network::new(100 * MILLISECOND);
    network.handshake_cost = 0;
    let mut scenario = Scenario::new(&load, network, Taker::Client);
    scenario.warm_up = 0.0;
    let bounds = Duration::from_millis(100)..=Duration::from_millis(100);
    let measures = run(&scenario, 2..=2, &bounds).measures();
    // 9 s hold 20 rounds of two dials.
    assert!((0.9..=1.0).contains(&measures.dials_per_served), "{measures:?}");
    assert_eq!((measures.in_flight_max, measures.unserved), (2, 0), "{measures:?}");
}
