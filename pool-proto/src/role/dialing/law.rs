//! When the tuner is asked, and what follows from its answers.

use core::time::Duration;

use super::Client;
use crate::time::Instant;
use crate::tuner::Tuning;

/// A limit of the settings that keeps callers waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Dials,
    Capacity,
}

/// How long callers must wait at a limit for it to be counted.
const PERSISTENT: Duration = Duration::from_secs(1);

impl<C> Client<C> {
    // --- rounds ---------------------------------------------------------------------------------

    pub(super) fn begin_round(&mut self) {
        let idle = self.idle();
        self.role.next_round = None;
        self.role.tuner.begin_round(idle);
        self.role.quota = self.aim().saturating_sub(self.supply());
    }

    /// Ends a round whose dials are over, and sleeps the interval, as the Go package does: a round lasts
    /// as long as its slowest dial.
    pub(super) fn end_round(&mut self, now: Instant) {
        if self.is_paced() && self.role.next_round.is_none() && self.in_flight() == 0 {
            let role = &mut self.role;
            let created = core::mem::take(&mut role.created);
            role.tuner.end_round(created);
            role.next_round = Some(now.after(role.tuner.period()));
            role.quota = 0;
        }
    }

    /// Whether connections are dialled in rounds only.
    pub(super) fn is_paced(&self) -> bool {
        self.role.tuner.tuning() == Tuning::NodePass
    }

    // --- limits ---------------------------------------------------------------------------------

    /// Counts each second in which callers wait and a limit of the settings holds.
    pub(super) fn note_limit(&mut self, now: Instant) {
        let holds = self.limit();
        let role = &mut self.role;
        match (holds, role.limited) {
            (Some(limit), Some((former, since))) if limit == former => {
                if now.since(since) >= PERSISTENT {
                    role.limited = Some((limit, now));
                    let counter = match limit {
                        Limit::Dials => &mut self.totals.limited_by_dials,
                        Limit::Capacity => &mut self.totals.limited_by_capacity,
                    };
                    *counter = counter.wrapping_add(1);
                }
            }
            _ => role.limited = holds.map(|limit| (limit, now)),
        }
    }

    /// The limit that holds while more callers wait, at either end, than connections are under way.
    fn limit(&self) -> Option<Limit> {
        let waiting = self.waiters.any().max(self.role.tuner.backlog());
        if waiting <= self.in_flight() || self.role.is_down() {
            None
        } else if self.in_flight() >= self.role.max_dials {
            Some(Limit::Dials)
        } else if self.supply() >= self.role.tuner.max_capacity() {
            Some(Limit::Capacity)
        } else {
            None
        }
    }
}
