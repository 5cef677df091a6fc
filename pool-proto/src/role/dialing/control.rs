//! Dials for the control connection.
//!
//! A server names the next connection by the zero id when no live one has it. While the stock is full no
//! connection is dialled, so a control connection that has been lost would stay away until somebody
//! acquires one. So one is dialled beyond the stock for callers that wait for it. The server may notice
//! the loss later than the client, and name that connection otherwise: it joins the stock, and the next
//! dial comes after a wait. The waits double up to the claim timeout, after which a server gives up a
//! control connection that nobody has claimed: one that names none at all gets two dials a minute.

use super::{Client, PROBATION};
use crate::id::ConnId;
use crate::state::State;
use crate::time::Instant;

/// The dials for the control connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ControlDials {
    /// How many were begun since there was one.
    pub(crate) begun: u32,
    /// The end of the wait for the next one.
    pub(crate) next: Option<Instant>,
}

impl ControlDials {
    /// The control connection is there. If it ends at once, the next one must not be dialled in a hot loop.
    pub(super) fn succeeded(&mut self, now: Instant) {
        *self = Self { begun: 0, next: Some(now + PROBATION) };
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.next = self.next.filter(|at| *at > now);
    }
}

impl<C> Client<C> {
    /// Whether a caller waits for a control connection that has to be dialled.
    pub(super) fn lacks_control(&self) -> bool {
        let id = ConnId::ZERO;
        self.is_control(Some(id))
            && self.waiters.first_by_id(id).is_some()
            && self.ids.find(id).is_none()
    }

    /// The end of the wait for the next dial for the control connection, if somebody waits for it.
    pub(super) fn control_due(&self) -> Option<Instant> {
        self.role.control.next.filter(|_| self.lacks_control())
    }

    /// Dials for the control connection, if it is time for it. A connection under way may become it, and
    /// after a failure or a rejection nothing is dialled before the end of that wait.
    pub(super) fn dial_for_control(&mut self, now: Instant) {
        let role = &self.role;
        let waits = role.control.next.is_some() || role.retry_at.is_some();
        if waits || !self.lacks_control() || self.in_flight() > 0 || !self.has_room() {
            return;
        }
        let longest = self.slots.period(State::Claimed);
        let wait = self.role.backoff.after(self.role.control.begun).min(longest);
        let begun = self.role.control.begun.saturating_add(1);
        self.role.control = ControlDials { begun, next: Some(now.after(wait)) };
        self.dial(now);
    }
}
