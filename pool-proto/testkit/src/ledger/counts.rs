//! Sums of a ledger: steps, edges, ends, waits after failures.

use std::time::Duration;

use pool_proto::{CloseReason, State};

/// The states, and one more for "no such connection": before its birth, after its end.
const PLACES: usize = State::ALL.len() + 1;
const NOWHERE: usize = State::ALL.len();

/// Counts of one machine, or of many.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Calls, each of them checked.
    pub steps: u64,
    /// The most connections at a time.
    pub most: u32,
    pub dials: u64,
    pub leases: u64,
    pub admitted: u64,
    /// Waiters whose deadline passed while they had nothing.
    pub timeouts: u64,
    pub ends: Reasons,
    edges: [[u64; PLACES]; PLACES],
    /// Waits before a dial after a failure, each as a part of its bound.
    waits: u64,
    wait_parts: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            steps: 0,
            most: 0,
            dials: 0,
            leases: 0,
            admitted: 0,
            timeouts: 0,
            ends: Reasons::default(),
            edges: [[0; PLACES]; PLACES],
            waits: 0,
            wait_parts: 0.0,
        }
    }
}

impl Counts {
    pub(super) const fn edge(&mut self, from: Option<State>, to: Option<State>) {
        self.edges[place(from)][place(to)] += 1;
    }

    /// How many connections went from one state to another; `None` is before birth and after the end.
    pub const fn edge_count(&self, from: Option<State>, to: Option<State>) -> u64 {
        self.edges[place(from)][place(to)]
    }

    /// A client has waited for `wait` after a failure, which may be up to `bound`.
    pub(super) fn waited(&mut self, wait: Duration, bound: Duration) {
        self.waits += 1;
        self.wait_parts += wait.as_secs_f64() / bound.as_secs_f64().max(1e-9);
    }

    /// The mean wait after a failure as a part of its bound, which is half if the jitter is full
    /// (and more where the client was in no hurry); `None` with too few of them to tell.
    pub fn mean_wait(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a mean of millions at the most")]
        let waits = self.waits as f64;
        (self.waits >= 10_000).then(|| self.wait_parts / waits)
    }

    pub fn merge(&mut self, other: &Self) {
        self.steps += other.steps;
        self.most = self.most.max(other.most);
        self.dials += other.dials;
        self.leases += other.leases;
        self.admitted += other.admitted;
        self.timeouts += other.timeouts;
        self.waits += other.waits;
        self.wait_parts += other.wait_parts;
        let mine = self.edges.as_flattened_mut();
        for (mine, theirs) in mine.iter_mut().zip(other.edges.as_flattened()) {
            *mine += theirs;
        }
        for (reason, count) in other.ends.iter() {
            self.ends.add(reason, count);
        }
    }
}

const fn place(state: Option<State>) -> usize {
    match state {
        Some(state) => state as usize,
        None => NOWHERE,
    }
}

/// How many connections ended for which reason.
#[derive(Clone, Debug, Default)]
pub struct Reasons(Vec<(CloseReason, u64)>);

impl Reasons {
    pub(super) fn add(&mut self, reason: CloseReason, more: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += more,
            None => self.0.push((reason, more)),
        }
    }

    pub fn of(&self, reason: CloseReason) -> u64 {
        self.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| count)
    }

    pub fn iter(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        self.0.iter().copied()
    }
}
