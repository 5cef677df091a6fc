//! What a simulation adds up: steps, faults, edges, ends, waits.

use std::time::Duration;

use pool_proto::{CloseReason, State};

use crate::violation::{Verdict, ensure};
use crate::world::faults::Fault;
use crate::world::options::Side;

/// The states, and one more for "no such connection": before its birth, after its end.
pub(crate) const PLACES: usize = State::ALL.len() + 1;
const NOWHERE: usize = State::ALL.len();

/// Every edge that there is, as it is seen between two calls of a machine: a call may take a
/// connection through several of the internal ones at once.
///
/// The first column is where it comes from, the second where it goes; then who has the edge.
pub const EDGES: [(Option<State>, Option<State>, Who); 31] = {
    use State::{Checking, Claimed, Dialing, Granted, Handshaking, Idle, Leased, Resting};
    use Who::{Both, Client, Server};
    [
        (None, Some(Dialing), Client),
        (None, Some(Handshaking), Server),
        (Some(Dialing), Some(Handshaking), Client),
        (Some(Dialing), None, Client),
        (Some(Handshaking), Some(Idle), Both),
        (Some(Handshaking), Some(Granted), Both),
        (Some(Handshaking), Some(Checking), Both),
        (Some(Handshaking), None, Both),
        (Some(Idle), Some(Checking), Both),
        (Some(Idle), Some(Granted), Both),
        (Some(Idle), Some(Leased), Both),
        (Some(Idle), None, Both),
        (Some(Claimed), Some(Leased), Both),
        (Some(Claimed), None, Both),
        (Some(Granted), Some(Idle), Both),
        (Some(Granted), Some(Claimed), Both),
        (Some(Granted), Some(Checking), Both),
        (Some(Granted), Some(Leased), Both),
        (Some(Granted), None, Both),
        (Some(Leased), Some(Idle), Both),
        (Some(Leased), Some(Claimed), Both),
        (Some(Leased), Some(Granted), Both),
        (Some(Leased), Some(Resting), Both),
        (Some(Leased), Some(Checking), Both),
        (Some(Leased), None, Both),
        (Some(Resting), Some(Checking), Both),
        (Some(Resting), None, Both),
        (Some(Checking), Some(Idle), Both),
        (Some(Checking), Some(Claimed), Both),
        (Some(Checking), Some(Granted), Both),
        (Some(Checking), None, Both),
    ]
};

/// Whose edge it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Client,
    Server,
    Both,
}

impl Who {
    pub fn has(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::Client => side == Side::Client,
            Self::Server => side == Side::Server,
        }
    }
}

/// Counts of one seed, or of many.
#[derive(Clone)]
pub struct Tally {
    pub seeds: u64,
    /// Calls of the machines, each of them checked.
    pub steps: u64,
    pub simulated: Duration,
    pub faults: [u64; Fault::ALL.len()],
    pub edges: [[[u64; PLACES]; PLACES]; 2],
    pub ends: [Reasons; 2],
    /// Waits before a dial after a failure, each as a part of its bound.
    waits: u64,
    wait_parts: f64,
    pub connections: u64,
    /// The most that one machine had at a time.
    pub most: u32,
    pub conversations: u64,
    pub broken_conversations: u64,
    pub bytes: u64,
    /// Waiters of phase 2 that were served in time, and stocks that filled up.
    pub served: u64,
    pub filled: u64,
    /// Seeds in whose phase 2 there were waiters to be served, and a conversation.
    pub serving_seeds: u64,
    pub last_conversations: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            seeds: 0,
            steps: 0,
            simulated: Duration::ZERO,
            faults: [0; Fault::ALL.len()],
            edges: [[[0; PLACES]; PLACES]; 2],
            ends: <[Reasons; 2]>::default(),
            waits: 0,
            wait_parts: 0.0,
            connections: 0,
            most: 0,
            conversations: 0,
            broken_conversations: 0,
            bytes: 0,
            served: 0,
            filled: 0,
            serving_seeds: 0,
            last_conversations: 0,
        }
    }
}

impl Tally {
    /// A connection of `side` has gone from one state to another.
    pub fn edge(&mut self, side: Side, from: Option<State>, to: Option<State>) -> Verdict {
        let known = EDGES.iter().any(|(a, b, who)| *a == from && *b == to && who.has(side));
        ensure!(known, "1: only edges that there are", "{side:?}: {from:?} to {to:?}");
        self.edges[side as usize][place(from)][place(to)] += 1;
        Ok(())
    }

    pub fn edge_count(&self, side: Side, from: Option<State>, to: Option<State>) -> u64 {
        self.edges[side as usize][place(from)][place(to)]
    }

    pub fn end(&mut self, side: Side, reason: CloseReason) {
        self.ends[side as usize].add(reason, 1);
    }

    pub fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// A client has waited for `wait` after a failure, which may be up to `bound`.
    pub fn waited(&mut self, wait: Duration, bound: Duration) {
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
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.simulated += other.simulated;
        self.waits += other.waits;
        self.wait_parts += other.wait_parts;
        self.connections += other.connections;
        self.most = self.most.max(other.most);
        self.conversations += other.conversations;
        self.broken_conversations += other.broken_conversations;
        self.bytes += other.bytes;
        self.served += other.served;
        self.filled += other.filled;
        self.serving_seeds += other.serving_seeds;
        self.last_conversations += other.last_conversations;
        for (mine, theirs) in self.faults.iter_mut().zip(other.faults) {
            *mine += theirs;
        }
        let mine = self.edges.as_flattened_mut().as_flattened_mut();
        for (mine, theirs) in mine.iter_mut().zip(other.edges.as_flattened().as_flattened()) {
            *mine += theirs;
        }
        for (mine, theirs) in self.ends.iter_mut().zip(&other.ends) {
            for (reason, count) in theirs.iter() {
                mine.add(reason, count);
            }
        }
    }
}

fn place(state: Option<State>) -> usize {
    state.map_or(NOWHERE, |state| state as usize)
}

/// How many connections ended for which reason.
#[derive(Clone, Default)]
pub struct Reasons(Vec<(CloseReason, u64)>);

impl Reasons {
    pub fn add(&mut self, reason: CloseReason, more: u64) {
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
