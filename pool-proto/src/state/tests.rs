//! The table of edges and the diagram in the crate documentation say the same.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;

pub(crate) mod walk;

const NEW: &str = "new";
const CLOSED: &str = "closed";
const EVERY: &str = "every state";

fn name(state: Option<State>, outside: &str) -> String {
    state.map_or_else(|| outside.into(), |state| std::format!("{state:?}").to_lowercase())
}

/// The diagram: the lines with arrows in the crate documentation.
fn diagram() -> Vec<&'static str> {
    let docs = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("//! "));
    docs.filter(|line| line.contains('►')).collect()
}

/// The steps on one line: `a ─ label ─► b, c ─ label ─► d` has four.
fn steps(line: &str) -> Vec<(String, String)> {
    let mut steps = Vec::new();
    let mut stops = line.split('►').map(|stop| {
        let states = stop.split('─').next().unwrap_or_default();
        states.split(',').map(str::trim).collect::<Vec<_>>()
    });
    let mut from = stops.next().unwrap();
    for to in stops {
        for source in &from {
            for target in &to {
                steps.push(((*source).into(), (*target).into()));
            }
        }
        from = to;
    }
    steps
}

#[test]
fn the_diagram_shows_the_edges_of_the_table_and_no_others() {
    let mut drawn = BTreeSet::new();
    for (from, to) in diagram().into_iter().flat_map(steps) {
        if from == EVERY {
            drawn.extend(State::EACH.map(|state| (name(Some(state), NEW), to.clone())));
        } else {
            drawn.insert((from, to));
        }
    }
    let table: BTreeSet<_> =
        EDGES.iter().map(|(from, to)| (name(*from, NEW), name(*to, CLOSED))).collect();
    assert_eq!(drawn, table);
}

#[test]
fn no_edge_stands_twice_in_the_table() {
    let distinct: BTreeSet<_> =
        EDGES.iter().map(|(from, to)| (name(*from, NEW), name(*to, CLOSED))).collect();
    assert_eq!(distinct.len(), EDGES.len());
}

#[test]
fn a_connection_can_always_end() {
    for state in State::EACH {
        assert!(EDGES.contains(&(Some(state), None)), "{state:?}");
    }
}
