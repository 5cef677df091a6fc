//! Sums of a simulation: faults, users, and the counts of its ledgers.

use std::time::Duration;

use super::faults::Fault;
use crate::ledger::Counts;

/// Counts of one seed, or of many.
#[derive(Clone)]
pub struct Tally {
    pub seeds: u64,
    pub simulated: Duration,
    pub faults: [u64; Fault::ALL.len()],
    /// The counts of the ledgers of both sides.
    pub sides: [Counts; 2],
    pub connections: u64,
    pub conversations: u64,
    pub broken_conversations: u64,
    /// Connections that were closed at once at one end, and taken by their ids at the other.
    pub ends_by_id: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    pub bytes: u64,
    /// Waiters of phase 2 that were served in time, and stocks that filled up.
    pub served: u64,
    pub filled: u64,
    /// Seeds in whose phase 2 there were waiters to be served, a conversation, and a connection that was
    /// closed at once.
    pub serving_seeds: u64,
    pub last_conversations: u64,
    pub last_ends: u64,
    /// Seeds in whose phase 2 the control connection came to both ends.
    pub last_controls: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            seeds: 0,
            simulated: Duration::ZERO,
            faults: [0; Fault::ALL.len()],
            sides: <[Counts; 2]>::default(),
            connections: 0,
            conversations: 0,
            broken_conversations: 0,
            ends_by_id: 0,
            accepted: 0,
            bytes: 0,
            served: 0,
            filled: 0,
            serving_seeds: 0,
            last_conversations: 0,
            last_ends: 0,
            last_controls: 0,
        }
    }
}

impl Tally {
    pub fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// Calls of the machines, each of them checked.
    pub fn steps(&self) -> u64 {
        self.sides.iter().map(|counts| counts.steps).sum()
    }

    /// The most connections that one machine had at a time.
    pub fn most(&self) -> u32 {
        self.sides.iter().map(|counts| counts.most).max().unwrap_or(0)
    }

    pub fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.connections += other.connections;
        self.conversations += other.conversations;
        self.broken_conversations += other.broken_conversations;
        self.ends_by_id += other.ends_by_id;
        self.accepted += other.accepted;
        self.bytes += other.bytes;
        self.served += other.served;
        self.filled += other.filled;
        self.serving_seeds += other.serving_seeds;
        self.last_conversations += other.last_conversations;
        self.last_ends += other.last_ends;
        self.last_controls += other.last_controls;
        for (mine, theirs) in self.faults.iter_mut().zip(other.faults) {
            *mine += theirs;
        }
        for (mine, theirs) in self.sides.iter_mut().zip(&other.sides) {
            mine.merge(theirs);
        }
    }
}
