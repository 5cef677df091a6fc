//! The steps of which every call is made: offer a connection, check it, complete a waiter, end a
//! connection.

use super::Machine;
use crate::error::Refusal;
use crate::event::{Action, CheckKind, CloseReason, Token};
use crate::id::ConnId;
use crate::role::Role;
use crate::slots::{NO_WAITER, Slot};
use crate::state::State;
use crate::time::Instant;
use crate::waiters::{Kind, Request, WaiterState};

impl<C, R: Role> Machine<C, R> {
    /// Runs after every change: serves or refuses the waiters that the change concerns, and fills the
    /// pool.
    pub(crate) fn dispatch(&mut self, now: Instant) {
        if self.is_ending() {
            return self.dispatch_at_the_end(now);
        }
        if self.waiters.len() != 0 {
            self.dispatch_to_waiters(now);
        } else if R::refill_quickly(self, now).is_none() {
            R::refill(self, now);
        }
    }

    /// [`dispatch`](Self::dispatch) after an acquire or a return of a ready connection, which usually has
    /// no other effect.
    #[inline]
    pub(super) fn dispatch_quickly(&mut self, now: Instant) {
        if self.waiters.len() == 0
            && !self.is_ending()
            && let Some(deadline) = R::refill_quickly(self, now)
        {
            return self.sets_deadline(deadline);
        }
        let now = self.advance(now);
        self.dispatch(now);
    }

    /// [`dispatch`](Self::dispatch) of a pool that is closed or shuts down: with its last connection, a
    /// shutdown is over.
    #[inline(never)]
    fn dispatch_at_the_end(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.dispatch_requests(now);
        if self.slots.total() == 0 {
            self.end_pool(CloseReason::ShutDown);
        }
    }

    /// Slow path of [`dispatch`](Self::dispatch): there are waiters.
    #[inline(never)]
    fn dispatch_to_waiters(&mut self, now: Instant) {
        // A waiter that was requeued because its connection ended may find others idle.
        while self.waiters.any() > 0
            && let Some(index) = self.next_idle()
        {
            self.offer(index, false, now);
        }
        if let Some(refusal) = self.role.supply_ended() {
            while let Some(waiter) = self.waiters.first_for_supply() {
                self.refuse(waiter, refusal);
            }
            // Of the waiters by id, these alone outlive their connection, for another to come.
            while self.ids.find(ConnId::ZERO).is_none()
                && let Some(waiter) = self.waiters.first_by_id(ConnId::ZERO)
            {
                self.refuse(waiter, refusal);
            }
        }
        self.dispatch_requests(now);
        R::refill(self, now);
        while let Some(index) = self.waiters.first_satisfied(self.idle()) {
            self.complete(index, WaiterState::Stocked);
        }
    }

    /// Serves the waiters for a connection that the peer has begun to use, or refuses them if there will
    /// be none.
    fn dispatch_requests(&mut self, now: Instant) {
        // A waiter that was requeued because its connection ended may find others.
        while !self.waiters.claimed.is_empty()
            && let Some(index) = self.slots.requests.front()
        {
            self.offer(index, false, now);
        }
        if let Some(refusal) = self.requests_ended() {
            while let Some(waiter) = self.waiters.claimed.front() {
                self.refuse(waiter, refusal);
            }
        }
    }

    /// Moves a connection to another state. Every transition goes through here, so that the role's
    /// accounts follow the state.
    #[inline]
    pub(crate) fn enter(&mut self, index: u32, state: State, now: Instant) {
        if let Some(former) = self.slots.enter(index, state, now) {
            R::moved(self, index, former, state);
        }
    }

    /// The slot of a token, if the connection is in one of `states`. Otherwise the event is stale.
    pub(crate) fn resolve(&mut self, token: Token, states: &[State]) -> Option<u32> {
        let index = self.slots.resolve(token, states);
        if index.is_none() {
            self.totals.stale_events += 1;
        }
        index
    }

    /// Takes back a connection that comes with its token. A stale one goes out again to be closed.
    pub(super) fn reclaim(&mut self, token: Token, states: &[State], connection: C) -> Option<u32> {
        let index = self.resolve(token, states);
        match index.and_then(|index| self.slots.get_mut(index)) {
            Some(slot) => slot.connection = Some(connection),
            None => {
                let reason = CloseReason::Stale;
                self.actions.push_back(Action::Close { token, connection, reason });
            }
        }
        index
    }

    /// The reason of the end of a claimed or finished connection that nobody acquires.
    pub(super) const fn unwanted(finished: bool) -> CloseReason {
        if finished { CloseReason::PeerClosed } else { CloseReason::Unclaimed }
    }

    /// Grants a connection to the first waiter that it suits, or keeps it in the pool.
    ///
    /// With `limited`, a connection of this end's that would exceed the capacity is closed instead of kept.
    /// A connection that is the peer's to acquire is kept: the peer may have acquired it.
    pub(super) fn offer(&mut self, index: u32, limited: bool, now: Instant) {
        if let Some(reason) = self.expiry(index, now) {
            return self.close_one(index, reason);
        }
        let control = self.is_control(self.slots.get(index).and_then(|slot| slot.id));
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if slot.barred && slot.claimed.is_none() {
            return self.close_one(index, CloseReason::NotAllowed);
        }
        let finished = slot.finished;
        let claimed = slot.claimed.is_some() || finished || control;
        let is_request = slot.claimed.is_some() && !control;
        let readable = slot.readable && !finished;
        let unwanted = Self::unwanted(finished);
        slot.waiter = NO_WAITER;
        let id = slot.id;
        // A pool that shuts down keeps what its peer has begun to use, and nothing else.
        let is_unused = self.shutdown.is_some() && slot.claimed.is_none() && !readable;
        let ours = self.is_ours(index);
        let kind = match claimed {
            true if is_request => Kind::Claimed,
            false if ours => Kind::Any,
            _ => Kind::IdOnly,
        };
        let waiter = id.and_then(|id| self.first_waiter_for(id, kind, claimed));
        if waiter.is_some() {
            self.enter(index, State::Granted, now);
        } else if is_unused {
            return self.close_one(index, CloseReason::ShutDown);
        } else if claimed && self.slots.claim_is_over(index, now) {
            return self.close_one(index, unwanted);
        } else if claimed && !readable {
            let state = if finished { State::Finished } else { State::Claimed };
            self.enter(index, state, now);
            if let Some(surplus) = R::surplus_claim(self, state) {
                self.close_one(surplus, unwanted);
            }
        } else if !claimed && ours && limited && self.supply() > self.role.max_capacity() {
            return self.close_one(index, CloseReason::Overflow);
        } else if readable {
            return self.check(index, CheckKind::Inspect, now);
        } else {
            self.enter(index, if ours { State::Idle } else { State::Reserved }, now);
        }
        if let Some(waiter) = waiter {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.waiter = waiter;
            }
            self.complete(waiter, WaiterState::Granted(index));
        }
    }

    /// The first waiter that the connection with this id would serve, and whose peer `has_begun` to use it
    /// or not. Waiters for the id come before those of a kind.
    #[inline]
    pub(super) fn first_waiter_for(&self, id: ConnId, kind: Kind, has_begun: bool) -> Option<u32> {
        // With opening bytes, the driver could not tell a later opening byte from the data of the user.
        let by_id = if has_begun || !self.opening { self.waiters.first_by_id(id) } else { None };
        by_id.or_else(|| self.waiters.first_of(kind))
    }

    /// Takes a granted connection back that its waiter has not collected. The waiter leaves the queue until
    /// it comes: at the front, it would be granted every connection in turn, and collect none.
    pub(super) fn lapse(&mut self, index: u32, now: Instant) {
        if let Some(slot) = self.slots.get_mut(index) {
            let waiter = core::mem::replace(&mut slot.waiter, NO_WAITER);
            self.waiters.set_outcome(waiter, WaiterState::Lapsed);
        }
        self.offer(index, true, now);
    }

    /// Hands a connection to the driver to be checked.
    pub(super) fn check(&mut self, index: u32, kind: CheckKind, now: Instant) {
        self.enter(index, State::Checking, now);
        let token = self.slots.token(index);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.check = kind;
        slot.readable = false;
        if let (Some(token), Some(connection)) = (token, slot.connection.take()) {
            self.actions.push_back(Action::Check { token, connection, kind });
        }
    }

    /// Gives a waiter its outcome and wakes it.
    pub(super) fn complete(&mut self, index: u32, outcome: WaiterState) {
        if let Some(waiter) = self.waiters.complete(index, outcome) {
            self.actions.push_back(Action::Wake { waiter });
        }
    }

    pub(crate) fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.totals.refused += 1;
        self.complete(index, WaiterState::Refused(refusal));
    }

    pub(super) fn close_all(&mut self, state: State, reason: CloseReason) {
        // From the back: granted waiters return to the front of their queue in their old order.
        while let Some(index) = self.slots.back(state) {
            self.close_one(index, reason);
        }
    }

    /// Closes the pool: ends every connection for this reason, and refuses all waiters.
    pub(super) fn end_pool(&mut self, reason: CloseReason) {
        self.closed = true;
        while let Some(waiter) = self.waiters.first() {
            self.refuse(waiter, Refusal::PoolClosed);
        }
        self.end_everything(reason);
    }

    pub(super) fn end_everything(&mut self, reason: CloseReason) {
        for state in State::EACH {
            self.close_all(state, reason);
        }
    }

    /// Ends a connection, and has the driver close its part of it.
    pub(crate) fn close_one(&mut self, index: u32, reason: CloseReason) {
        let Some((token, slot)) = self.end(index, reason) else {
            return;
        };
        match (slot.connection, slot.state) {
            (Some(connection), _) => {
                self.actions.push_back(Action::Close { token, connection, reason });
            }
            // A connection that is being checked comes back with a stale token, and is closed then.
            (None, State::Checking) => {}
            (None, _) => self.actions.push_back(Action::Abort { token, reason }),
        }
    }

    /// Ends a connection. Every end goes through here.
    pub(crate) fn end(&mut self, index: u32, reason: CloseReason) -> Option<(Token, Slot<C>)> {
        let token = self.slots.token(index)?;
        R::ending(self, index, reason);
        let slot = self.slots.remove(index)?;
        self.totals.count(reason);
        if let Some(id) = slot.id {
            self.ids.ended(id, reason);
            // Another control connection may come, unless the pool shuts down.
            while (!self.is_control(Some(id)) || self.shutdown.is_some())
                && let Some(waiter) = self.waiters.first_by_id(id)
            {
                self.refuse(waiter, Refusal::Gone { id, reason });
            }
        }
        if slot.waiter != NO_WAITER {
            self.connection_lost(slot.waiter, reason);
        }
        Some((token, slot))
    }

    /// The connection granted to a waiter has ended before it was collected.
    pub(super) fn connection_lost(&mut self, waiter: u32, reason: CloseReason) {
        let refusal = match self.waiters.request(waiter) {
            // It was cancelled in this call.
            None => return,
            _ if self.closed => Refusal::PoolClosed,
            Some(Request::Id(id)) if !self.is_control(Some(id)) => Refusal::Gone { id, reason },
            _ if self.shutdown.is_some() => Refusal::ShuttingDown,
            _ => return self.waiters.requeue(waiter),
        };
        self.totals.refused += 1;
        self.waiters.set_outcome(waiter, WaiterState::Refused(refusal));
    }
}
