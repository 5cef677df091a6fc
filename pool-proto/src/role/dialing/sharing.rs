//! A client that acquires, as its server does: each end has its own part of the stock.

use core::time::Duration;

use super::super::share::Parts;
use super::Client;
use crate::config::Acquirer;
use crate::event::CloseReason;
use crate::state::State;
use crate::time::Instant;

/// The shortest time between two moments at which connections are given up because the peer has none.
/// More than a round trip: the next one may be on its way.
pub(crate) const YIELDING: Duration = Duration::from_secs(1);

impl<C> Client<C> {
    /// Ready connections that may be closed as surplus: none, if each end acquires its own and one has none
    /// left.
    pub(super) fn spare(&self) -> u32 {
        let Parts { ours, theirs } = self.stock();
        let both = self.acquirer == Acquirer::Both;
        if both && (ours == 0 || theirs == 0) { 0 } else { ours + theirs }
    }

    /// Ready connections, by the end that may acquire them.
    fn stock(&self) -> Parts {
        Parts { ours: self.slots.len(State::Idle), theirs: self.slots.len(State::Reserved) }
    }

    /// The capacity, and at least one connection for each end that acquires.
    fn shared_capacity(&self) -> u32 {
        let ends = if self.acquirer == Acquirer::Both { 2 } else { 1 };
        self.role.tuner.capacity().max(ends)
    }

    /// The capacity, and one more for each caller that waits at either end: a connection that is served to
    /// one of them adds nothing to the stock. So each caller brings about one dial, whether it waits or not.
    /// All this within the maximum of the capacity, of which a hint may use three quarters.
    fn wanted(&self) -> u32 {
        let (capacity, tuner) = (self.shared_capacity(), &self.role.tuner);
        if self.is_paced() {
            return capacity;
        }
        let stock = self.waiters.largest_stock().unwrap_or(0);
        let here = capacity.saturating_add(self.waiters.any()).max(stock).min(tuner.max_capacity());
        let at_peer = capacity.saturating_add(tuner.backlog()).min(tuner.believed());
        capacity.max(here).max(at_peer)
    }

    /// The supply to dial up to.
    ///
    /// Where each end has its own connections, and callers wait while all ready ones are the peer's, the
    /// peer's do not count: the client dials until this end has a connection for each caller. The peer gives
    /// a new connection to the end that lacks it most, so few dials are needed.
    pub(super) fn aim(&self) -> u32 {
        if self.waiters.for_supply() == 0 && self.role.tuner.backlog() == 0 {
            return self.shared_capacity();
        }
        let (capacity, waiting) = (self.wanted(), self.waiters.any());
        match self.acquirer {
            Acquirer::Both if waiting > 0 => {
                self.stock().theirs.saturating_add(waiting).max(capacity)
            }
            _ => capacity,
        }
    }

    /// The supply beyond which a connection for callers that wait is dialled now and then only, as the
    /// last one has become the peer's.
    pub(super) fn plenty(&self) -> u32 {
        self.shared_capacity().saturating_mul(2)
    }

    /// A connection has come: if it is not for the callers that wait, the next one may have to wait.
    pub(super) fn pace_beyond_plenty(&mut self, now: Instant) {
        let both = self.acquirer == Acquirer::Both;
        if both && self.waiters.any() > 0 && self.supply() >= self.plenty() {
            let wait = self.role.probes.failure_within(self.role.cap_with_waiters);
            self.role.wait(wait, now);
        }
    }

    /// When this end gives up connections because all of the stock are its own; [`Instant::NEVER`] if
    /// they are not. The peer gives the next one to itself then.
    #[inline]
    pub(super) fn yields_at(&self) -> Instant {
        if self.acquirer == Acquirer::Both { self.gives_up_at() } else { Instant::NEVER }
    }

    fn gives_up_at(&self) -> Instant {
        let role = &self.role;
        // Not while nothing can be dialled in its place.
        let can_dial = !(role.is_down() && role.retry_at.is_some());
        if self.leaves_none() && can_dial { role.yielded_at + YIELDING } else { Instant::NEVER }
    }

    /// Whether all of the stock are this end's own, and no more are dialled.
    fn leaves_none(&self) -> bool {
        let Parts { ours, theirs } = self.stock();
        let room = self.role.ceiling.unwrap_or(u32::MAX).min(self.aim());
        theirs == 0 && ours >= 2 && self.in_flight() == 0 && self.supply() >= room
    }

    /// Gives up connections because the peer has none: as many as it takes for one to be dialled.
    pub(super) fn yield_to_peer(&mut self, now: Instant) {
        self.role.yielded_at = now;
        while self.leaves_none()
            && let Some(oldest) = self.slots.front(State::Idle)
        {
            self.close_one(oldest, CloseReason::Yielded);
        }
    }

    /// An end has acquired a connection of its own: this end (`here`), or the peer.
    pub(super) fn count_acquired(&mut self, here: bool) {
        let stock = self.stock();
        if self.role.share.acquired(here, stock)
            && let Some(oldest) = self.slots.front(State::Idle)
        {
            self.close_one(oldest, CloseReason::Yielded);
        }
    }
}
