//! Goals for a law of the stock, checked against the Go package's law and fixed stocks.

use std::fmt;

use crate::cell::{Cell, Circumstances, Row, run_all};
use crate::law::{Contender, LawError};
use crate::load::Load;
use crate::patterns::{MAIN, Pattern, STEADY};
use crate::scenario::Taker;
use crate::time::{MILLISECOND, Nanos, millis};

/// The pattern and the round trip of the fleet, and its size.
const FLEET: (&str, Nanos, u32) = ("p500", 20 * MILLISECOND, 200);

/// A goal, and the cells in which it was checked.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The goal in words.
    pub name: &'static str,
    /// The cells in which it holds.
    pub held: usize,
    /// All cells.
    pub cells: usize,
    /// The share of the cells in which it must hold, from 0 to 1.
    pub share: f64,
    /// The cells in which it does not hold, with their figures.
    pub misses: Vec<String>,
}

impl Goal {
    const fn new(name: &'static str, share: f64) -> Self {
        Self { name, held: 0, cells: 0, share, misses: Vec::new() }
    }

    /// Counts a cell: the figure that was found, and the one that it must not exceed.
    fn at_most(&mut self, row: &Row, found: f64, limit: f64) {
        self.cells += 1;
        if found <= limit {
            self.held += 1;
        } else {
            let (pattern, rtt, taker) = (&row.pattern, millis(row.rtt), row.taker);
            self.misses.push(format!(
                "{pattern}, {rtt} ms, {taker} takes: {found:.3}, more than {limit:.3}"
            ));
        }
    }

    /// Returns whether it holds in enough cells.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a few hundred cells")]
    pub fn holds(&self) -> bool {
        self.held as f64 >= self.share * self.cells as f64
    }
}

/// A line with the verdict, and if the goal fails, a line for each cell in which it does not hold.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "holds" } else { "FAILS" };
        write!(f, "{verdict}  {:>3} of {:>3} cells  {}", self.held, self.cells, self.name)?;
        if !self.holds() {
            for miss in &self.misses {
                write!(f, "\n         {miss}")?;
            }
        }
        Ok(())
    }
}

/// The runs on which the goals are checked.
#[derive(Clone, Debug)]
pub struct Course<'a> {
    /// The law.
    pub contender: Contender,
    /// The settings of all laws.
    pub settings: &'a [String],
    /// The seeds of each cell.
    pub seeds: &'a [u64],
    /// The round trips.
    pub rtts: &'a [Nanos],
    /// The ends that take.
    pub takers: &'a [Taker],
    /// The circumstances.
    pub circumstances: Circumstances,
}

/// Checks every goal.
///
/// # Errors
///
/// [`LawError`], if a law cannot be run.
pub fn check(course: &Course<'_>) -> Result<Vec<Goal>, LawError> {
    let law = |name| Contender::parse(name, course.settings, None);
    let rivals = [course.contender.clone(), law("go")?];
    let fitted = [course.contender.clone(), law("go")?, law("fitted")?];
    let varied: Vec<&str> = MAIN.into_iter().filter(|name| !STEADY.contains(name)).collect();
    let steady = course.run(&STEADY, course.rtts, &fitted, &course.circumstances)?;
    let varied = course.run(&varied, course.rtts, &rivals, &course.circumstances)?;
    let outages = course.run(&["out60refuse"], course.rtts, &rivals, &course.circumstances)?;

    let mut goals = against_go(steady.chunks(3).chain(varied.chunks(2)));
    goals.extend(steady_ones(steady.chunks(3)));
    goals.extend(after_outages(outages.chunks(2)));
    goals.push(fleet(course)?);
    Ok(goals)
}

impl Course<'_> {
    fn run(
        &self,
        patterns: &[&str],
        rtts: &[Nanos],
        laws: &[Contender],
        circumstances: &Circumstances,
    ) -> Result<Vec<Row>, LawError> {
        let draw = |pattern: &'static Pattern| -> Vec<Load> {
            self.seeds.iter().map(|seed| pattern.draw(*seed)).collect()
        };
        let patterns = patterns.iter().filter_map(|name| Pattern::named(name));
        let loads: Vec<Vec<Load>> = patterns.map(draw).collect();
        let cells = Cell::all(&loads, rtts, self.takers);
        run_all(&cells, laws, circumstances)
    }
}

fn against_go<'a>(cells: impl Iterator<Item = &'a [Row]>) -> Vec<Goal> {
    let mut at_once = Goal::new("more is served at once than by Go's law", 1.0);
    let mut p99 = Goal::new("the p99 wait (ms) is a tenth of that of Go's law", 1.0);
    let mut idle = Goal::new("the mean idle stock is not above that of Go's law", 2.0 / 3.0);
    for cell in cells {
        let [ours, go, ..] = cell else { continue };
        let (our, theirs) = (&ours.measures, &go.measures);
        // The share that waited. If nobody waits under Go's law, nobody may wait under ours.
        let limit = if theirs.at_once < 1.0 { (1.0 - theirs.at_once).next_down() } else { 0.0 };
        at_once.at_most(ours, 1.0 - our.at_once, limit);
        p99.at_most(ours, our.p99, theirs.p99 / 10.0);
        idle.at_most(ours, our.idle, theirs.idle);
    }
    vec![at_once, p99, idle]
}

fn steady_ones<'a>(cells: impl Iterator<Item = &'a [Row]>) -> Vec<Goal> {
    let mut fitted = Goal::new(
        "steady demand: the mean idle stock is at most 1.15 times that of the clairvoyant-fitted \
         fixed stock",
        1.0,
    );
    let mut deviation =
        Goal::new("steady demand: the capacity deviates by at most 5 % of its mean", 1.0);
    for cell in cells {
        let [ours, _, fixed] = cell else { continue };
        fitted.at_most(ours, ours.measures.idle, 1.15 * fixed.measures.idle);
        let limit = 0.05 * ours.measures.capacity;
        deviation.at_most(ours, ours.measures.capacity_deviation, limit);
    }
    vec![fitted, deviation]
}

fn after_outages<'a>(cells: impl Iterator<Item = &'a [Row]>) -> Vec<Goal> {
    let mut dials = Goal::new("an outage of 60 s: a fortieth of the dials of Go's law", 1.0);
    let mut recovery = Goal::new("an outage of 60 s: the stock is back within 2,500 ms", 1.0);
    for cell in cells {
        let [ours, go, ..] = cell else { continue };
        let (Some(our), Some(theirs)) = (ours.measures.outage, go.measures.outage) else {
            continue;
        };
        dials.at_most(ours, our.dials, theirs.dials / 40.0);
        recovery.at_most(ours, our.full.max(our.first_served), 2500.0);
    }
    vec![dials, recovery]
}

/// Compares many clients with one that has the sum of their demand. The stock that the minimum of the
/// capacity makes each of them hold does not count.
fn fleet(course: &Course<'_>) -> Result<Goal, LawError> {
    let (pattern, rtt, clients) = FLEET;
    let mut goal = Goal::new(
        "200 clients idle, beyond their minimum, at most 1.5 times what one with their demand does",
        1.0,
    );
    let laws = std::slice::from_ref(&course.contender);
    let least = course.contender.config()?.tuner().min_capacity();
    let run = |clients| {
        let circumstances = Circumstances { clients, ..course.circumstances };
        course.run(&[pattern], &[rtt], laws, &circumstances)
    };
    for (one, many) in run(1)?.iter().zip(&run(clients)?) {
        let beyond = |row: &Row, clients| row.measures.idle - f64::from(clients * least);
        goal.at_most(many, beyond(many, clients), 1.5 * beyond(one, 1).max(0.0));
    }
    Ok(goal)
}
