//! Cells: every law on the same arrivals, network and taker, over several seeds.

use rayon::prelude::*;

use crate::law::{Contender, LawError};
use crate::load::Load;
use crate::measure::{Measures, Trace};
use crate::network::Network;
use crate::scenario::{Scenario, Taker};
use crate::time::Nanos;

/// The circumstances that all cells share.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The network, except for its round trip.
    pub network: Network,
    /// How long a caller waits.
    pub patience: Nanos,
    /// The share of a run that is not counted at its begin.
    pub warm_up: f64,
    /// The number of clients.
    pub clients: u32,
    /// Whether the machines are told which end acquires.
    pub assigned: bool,
    /// Whether the course of the first run is recorded.
    pub traced: bool,
}

/// A cell: loads of one pattern, which differ by their seeds, a round trip, and the end that takes.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The loads.
    pub loads: &'a [Load],
    /// The round trip.
    pub rtt: Nanos,
    /// The end that takes any connection.
    pub taker: Taker,
}

impl<'a> Cell<'a> {
    /// Returns the cells of these loads, each with every round trip and taker.
    #[must_use]
    pub fn all(loads: &'a [Vec<Load>], rtts: &[Nanos], takers: &[Taker]) -> Vec<Self> {
        let with_takers = |loads: &'a [Load], rtt: Nanos| {
            takers.iter().map(move |&taker| Self { loads, rtt, taker })
        };
        let with_rtts =
            |loads: &'a Vec<Load>| rtts.iter().flat_map(move |&rtt| with_takers(loads, rtt));
        loads.iter().flat_map(with_rtts).collect()
    }
}

/// The figures of a law in a cell.
#[derive(Clone, Debug)]
pub struct Row {
    /// The pattern, or the file.
    pub pattern: String,
    /// The round trip.
    pub rtt: Nanos,
    /// The end that took.
    pub taker: Taker,
    /// The law.
    pub law: String,
    /// The figures.
    pub measures: Measures,
    /// The course of the first run, if it was recorded.
    pub trace: Option<Trace>,
}

/// Runs every law in every cell, on all cores. The rows are in the order of the cells and the laws.
///
/// # Errors
///
/// [`LawError`] of the first law that cannot be run.
pub fn run_all(
    cells: &[Cell<'_>],
    laws: &[Contender],
    circumstances: &Circumstances,
) -> Result<Vec<Row>, LawError> {
    let rows: Vec<Vec<Row>> = cells
        .par_iter()
        .map(|cell| run_cell(cell, laws, circumstances))
        .collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Returns the scenarios of a cell.
#[must_use]
pub fn scenarios<'a>(cell: &Cell<'a>, circumstances: &Circumstances) -> Vec<Scenario<'a>> {
    let scenario = |(number, load): (usize, &'a Load)| Scenario {
        load,
        network: Network { rtt: cell.rtt, ..circumstances.network },
        taker: cell.taker,
        patience: circumstances.patience,
        warm_up: circumstances.warm_up,
        clients: circumstances.clients,
        assigned: circumstances.assigned,
        traced: circumstances.traced && number == 0,
    };
    cell.loads.iter().enumerate().map(scenario).collect()
}

/// Runs every law in a cell, one after the other.
///
/// # Errors
///
/// [`LawError`] of the first law that cannot be run.
pub fn run_cell(
    cell: &Cell<'_>,
    laws: &[Contender],
    circumstances: &Circumstances,
) -> Result<Vec<Row>, LawError> {
    let scenarios = scenarios(cell, circumstances);
    let mut rows: Vec<Row> = Vec::new();
    for law in laws {
        let rival = rows.first().map(|row| row.measures);
        let mut recorder = law.run(&scenarios, rival.as_ref())?;
        let trace = recorder.take_trace();
        rows.push(Row {
            pattern: cell.loads.first().map(|load| load.name.clone()).unwrap_or_default(),
            rtt: cell.rtt,
            taker: cell.taker,
            law: law.name.clone(),
            measures: recorder.measures(),
            trace,
        });
    }
    Ok(rows)
}
