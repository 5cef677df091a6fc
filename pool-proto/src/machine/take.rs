//! Acquiring (any connection, by id, or one that the peer has begun to use), waiting for stock, collecting,
//! cancelling.

use super::Machine;
use crate::answer::{Acquired, Collected, Lease, Stock, WaitOutcome, WaitReason};
use crate::config::{Acquirer, TakeOrder};
use crate::error::Refusal;
use crate::event::WaiterId;
use crate::id::ConnId;
use crate::role::Role;
use crate::slots::NO_WAITER;
use crate::state::State;
use crate::time::Instant;
use crate::waiters::{Request, WaiterState};

impl<C, R: Role> Machine<C, R> {
    /// Takes any ready connection, or queues for the next one.
    ///
    /// A queued caller [collects](Self::collect) when [`Action::Wake`](crate::Action::Wake) names its
    /// waiter. A caller that gives up, or does not want to wait at all, must
    /// [cancel](Self::cancel) its waiter: a granted connection stays reserved until then.
    #[inline]
    pub fn acquire(&mut self, now: Instant) -> Acquired<C> {
        match self.try_acquire(now) {
            Some(lease) => Acquired::Ready(lease),
            None => self.acquire_any(now, false),
        }
    }

    /// Takes the next ready connection, for callers that will not wait. `None` without one, or if it has to
    /// be closed first, which [`acquire`](Self::acquire) does; then nothing has changed.
    ///
    /// Inlined: to return a lease through memory costs as much as to take it.
    #[inline(always)]
    pub fn try_acquire(&mut self, now: Instant) -> Option<Lease<C>> {
        let now = self.tick(now);
        let index = self.next_idle().filter(|index| self.expiry(*index, now).is_none())?;
        let lease = self.lease(index, true, now)?;
        let forgets_at = self.role.demanded(now);
        self.sets_deadline(forgets_at);
        self.served_at_once(now);
        Some(lease)
    }

    /// Acquires for a caller that has just [rejected](Self::reject) a connection.
    ///
    /// It is like [`acquire`](Self::acquire), but queues at the front, because the caller has waited
    /// its turn already.
    pub fn acquire_again(&mut self, now: Instant) -> Acquired<C> {
        self.acquire_any(now, true)
    }

    #[inline(never)]
    fn acquire_any(&mut self, now: Instant, again: bool) -> Acquired<C> {
        let now = self.advance(now);
        if let Some(refusal) = self.ending() {
            return self.refused(refusal);
        }
        if self.acquirer == Acquirer::Peer {
            return self.refused(Refusal::PeerAcquires);
        }
        if !again {
            self.role.demanded(now);
        }
        while let Some(index) = self.next_idle() {
            if let Some(reason) = self.expiry(index, now) {
                self.close_one(index, reason);
            } else if let Some(lease) = self.lease(index, true, now) {
                self.served_at_once(now);
                return Acquired::Ready(lease);
            }
        }
        if let Some(refusal) = self.role.supply_ended() {
            // The last connection may just have been closed.
            self.dispatch(now);
            return self.refused(refusal);
        }
        self.enqueue(Request::Any, again, now)
    }

    /// Takes the connection with this id, or queues for it: until it comes (client), until its
    /// handshake is over, or until its holder puts it back.
    ///
    /// The end that makes the ids refuses an id that no live connection has. The other end queues,
    /// because the connection may still come. Both refuse the last 256 ids that have ended, with the
    /// reason of their end, and the id of a connection that this end has acquired itself
    /// ([`Refusal::AcquiredHere`]). With [opening bytes](crate::OPENING_BYTE), a caller waits until that
    /// of the peer has come.
    /// A queued caller collects or cancels as for [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_by_id(&mut self, now: Instant, id: ConnId) -> Acquired<C> {
        match self.try_acquire_by_id(now, id) {
            Some(lease) => Acquired::Ready(lease),
            None => self.wait_for_id(id, now),
        }
    }

    /// Takes the connection with this id, for callers that will not wait. `None` if it is not there to be
    /// taken, or has to be closed, which [`acquire_by_id`](Self::acquire_by_id) does; then nothing has
    /// happened.
    #[inline(always)]
    pub fn try_acquire_by_id(&mut self, now: Instant, id: ConnId) -> Option<Lease<C>> {
        let now = self.tick(now);
        let index = self.ids.find(id)?;
        if !self.takeable_by_id(index) || self.expiry(index, now).is_some() {
            return None;
        }
        let lease = self.lease(index, false, now)?;
        self.served_at_once(now);
        Some(lease)
    }

    /// Slow path of [`acquire_by_id`](Self::acquire_by_id): the connection cannot be handed out now.
    #[inline(never)]
    fn wait_for_id(&mut self, id: ConnId, now: Instant) -> Acquired<C> {
        let now = self.advance(now);
        if let Some(refusal) = self.refusal_for(Request::Id(id)) {
            return self.refused(refusal);
        }
        if let Some(index) = self.ids.find(id)
            && self.takeable_by_id(index)
            && let Some(reason) = self.expiry(index, now)
        {
            self.close_one(index, reason);
            // In the place of a control connection another one may come.
            if let Some(refusal) = self.refusal_for(Request::Id(id)) {
                self.dispatch(now);
                return self.refused(refusal);
            }
        }
        self.enqueue(Request::Id(id), false, now)
    }

    /// Why a caller has nothing to wait for, except that the listener has ended.
    fn refusal_for(&self, request: Request) -> Option<Refusal> {
        let id = match request {
            Request::Any | Request::Stock(_) => return self.ending(),
            Request::Claimed => return self.requests_ended(),
            Request::Id(id) => id,
        };
        match self.ids.find(id) {
            _ if self.closed => self.ending(),
            None if self.is_control(Some(id)) => self.role.supply_ended().or(self.ending()),
            None => self.ids.refusal(id).or(self.ending()),
            Some(index) if self.takeable_by_id(index) || self.is_inspected(index) => None,
            Some(index) if self.was_acquired(index) => Some(Refusal::AcquiredHere { id }),
            Some(_) => self.ending(),
        }
    }

    /// Takes a connection that the peer has begun to use, or queues for the next one. No id has to be told.
    /// The pools of the adapters call it `accept`.
    ///
    /// The peer has begun to use a connection when its first byte has arrived. Connections come in that
    /// order, except one that was inspected again because more data has arrived. Waiters for the id of a
    /// connection come first, and the control connection is taken by its id only. A queued caller collects
    /// or cancels as for [`acquire`](Self::acquire).
    ///
    /// Refused where the peer acquires nothing ([`Refusal::PeerNeverAcquires`]), where the pool ends and
    /// no connection is left that the peer has begun to use, and when the listener has ended and no
    /// connection at all is left.
    pub fn acquire_claimed(&mut self, now: Instant) -> Acquired<C> {
        let now = self.advance(now);
        if self.acquirer == Acquirer::ThisEnd || !self.peer_claims {
            return self.refused(Refusal::PeerNeverAcquires);
        }
        while let Some(index) = self.slots.requests.front() {
            if let Some(reason) = self.expiry(index, now) {
                self.close_one(index, reason);
            } else if let Some(lease) = self.lease(index, false, now) {
                self.served_at_once(now);
                return Acquired::Ready(lease);
            }
        }
        if let Some(refusal) = self.requests_ended() {
            self.dispatch(now);
            return self.refused(refusal);
        }
        self.enqueue(Request::Claimed, false, now)
    }

    /// Why an `acquire_claimed` cannot be served, now or later; `None` if it can.
    pub(super) fn requests_ended(&self) -> Option<Refusal> {
        if self.closed {
            return Some(Refusal::PoolClosed);
        }
        if !self.slots.requests.is_empty() {
            return None;
        }
        match self.shutdown {
            Some(_) if self.slots.len(State::Checking) == 0 => Some(Refusal::ShuttingDown),
            None if self.slots.total() == 0 => self.role.supply_ended(),
            _ => None,
        }
    }

    #[inline]
    fn served_at_once(&mut self, now: Instant) {
        self.totals.served_at_once += 1;
        self.dispatch_quickly(now);
    }

    /// Waits until `ready` connections are idle at once. It reserves none of them.
    ///
    /// A queued caller collects or cancels as for [`acquire`](Self::acquire).
    pub fn wait_ready(&mut self, now: Instant, ready: u32) -> Stock {
        let now = self.advance(now);
        let refusal = if let Some(refusal) = self.ending() {
            Some(refusal)
        } else if self.idle() >= ready {
            return Stock::Ready;
        } else if ready > self.role.max_capacity() {
            let capacity = self.role.max_capacity();
            Some(Refusal::StockBeyondCapacity { wanted: ready, capacity })
        } else {
            self.role.supply_ended()
        };
        if let Some(refusal) = refusal {
            self.totals.refused += 1;
            return Stock::Refused(refusal);
        }
        self.role.require(now, ready);
        let queued = self.waiters.enqueue(Request::Stock(ready), false);
        self.dispatch(now);
        match queued {
            Ok(waiter) => Stock::Queued(waiter),
            Err(refusal) => {
                self.totals.refused += 1;
                Stock::Refused(refusal)
            }
        }
    }

    /// Returns the outcome of a waiter, if it has one; then the waiter is over.
    ///
    /// A grant is taken back after 10 seconds. A waiter that collects later gets another ready connection,
    /// or waits again, at the front of its queue; or it is refused, if no connection can come any more.
    pub fn collect(&mut self, now: Instant, waiter: WaiterId) -> Collected<C> {
        let now = self.advance(now);
        loop {
            let Some(state) = self.waiters.get(waiter).map(|waiter| waiter.state) else {
                return Collected::Unknown;
            };
            let index = match state {
                WaiterState::Waiting => return Collected::Waiting,
                WaiterState::Granted(index) => index,
                WaiterState::Lapsed => match self.ask_again(waiter, now) {
                    Some(index) => index,
                    None => continue,
                },
                WaiterState::Stocked => {
                    self.waiters.remove(waiter);
                    return Collected::Stocked;
                }
                WaiterState::Refused(refusal) => {
                    self.waiters.remove(waiter);
                    return Collected::Refused(refusal);
                }
            };
            if let Some(reason) = self.expiry(index, now) {
                self.close_one(index, reason);
                self.dispatch(now);
                continue;
            }
            let request = self.waiters.get(waiter).map(|waiter| waiter.request);
            let lease = self.lease(index, request == Some(Request::Any), now);
            self.waiters.remove(waiter);
            match request {
                // It has waited for a user of the peer, and not for a connection.
                Some(Request::Claimed) => self.totals.served_at_once += 1,
                _ => self.totals.served_after_waiting += 1,
            }
            self.dispatch(now);
            return lease.map_or(Collected::Unknown, Collected::Ready);
        }
    }

    /// The connection that is there for a waiter whose grant has lapsed. Without one, it waits at the front
    /// of its queue, or is refused.
    fn ask_again(&mut self, waiter: WaiterId, now: Instant) -> Option<u32> {
        let index = self.waiters.slab.resolve(waiter.0)?;
        let request = self.waiters.request(index)?;
        let found = match request {
            Request::Id(id) => self.ids.find(id).filter(|found| self.takeable_by_id(*found)),
            Request::Claimed => self.slots.requests.front(),
            Request::Any | Request::Stock(_) => self.next_idle(),
        };
        if found.is_some() {
            return found;
        }
        match self.refusal_for(request) {
            Some(refusal) => {
                self.totals.refused += 1;
                self.waiters.set_outcome(index, WaiterState::Refused(refusal));
            }
            None => self.waiters.requeue(index),
        }
        self.dispatch(now);
        None
    }

    /// Ends a waiter and returns how far it had come. A connection that was granted to it goes to
    /// the next waiter, or back into the pool.
    pub fn cancel(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        self.end_wait(now, waiter, false)
    }

    /// [Cancels](Self::cancel) a waiter because the deadline of its caller has passed. If it had nothing
    /// yet, [`Totals::timeouts`](crate::Totals::timeouts) counts the reason.
    pub fn time_out(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        self.end_wait(now, waiter, true)
    }

    fn end_wait(&mut self, now: Instant, waiter: WaiterId, timed_out: bool) -> WaitOutcome {
        let now = self.advance(now);
        let reason = self.why(waiter);
        let Some(ended) = self.waiters.remove(waiter) else {
            return WaitOutcome::Unknown;
        };
        let outcome = match ended.state {
            WaiterState::Waiting => {
                self.totals.cancelled += 1;
                if let Some(reason) = reason.filter(|_| timed_out) {
                    self.totals.timeouts.count(reason);
                }
                reason.map_or(WaitOutcome::Unknown, WaitOutcome::Waiting)
            }
            WaiterState::Granted(index) => {
                self.totals.cancelled += 1;
                self.offer(index, true, now);
                WaitOutcome::Granted
            }
            WaiterState::Lapsed => {
                self.totals.cancelled += 1;
                WaitOutcome::Granted
            }
            WaiterState::Stocked => WaitOutcome::Granted,
            WaiterState::Refused(refusal) => WaitOutcome::Refused(refusal),
        };
        self.dispatch(now);
        outcome
    }

    /// Returns why a waiter has nothing yet; `None` when it no longer waits.
    #[must_use]
    pub fn why(&self, waiter: WaiterId) -> Option<WaitReason> {
        let waiter = self.waiters.get(waiter)?;
        if waiter.state != WaiterState::Waiting {
            return None;
        }
        Some(match waiter.request {
            Request::Claimed if self.idle() > 0 => WaitReason::NotClaimed { ready: self.idle() },
            Request::Any | Request::Claimed => R::wait_reason(self),
            Request::Stock(wanted) => WaitReason::Stock { idle: self.idle(), wanted },
            Request::Id(id) => match self.ids.find(id).and_then(|index| self.state(index)) {
                None => WaitReason::IdNotSeen,
                Some(State::Dialing | State::Handshaking | State::Admitted) => {
                    WaitReason::IdHandshaking
                }
                Some(State::Resting) => WaitReason::IdResting,
                Some(State::Checking) => WaitReason::IdChecking,
                Some(State::Idle | State::Reserved) => WaitReason::IdNotBegun,
                Some(_) => WaitReason::IdLeased,
            },
        })
    }

    fn enqueue(&mut self, request: Request, again: bool, now: Instant) -> Acquired<C> {
        let queued = self.waiters.enqueue(request, again);
        // Also after a refusal: the capacity may have risen, or connections may have ended.
        self.dispatch(now);
        match queued {
            Ok(waiter) => Acquired::Queued(waiter),
            Err(refusal) => self.refused(refusal),
        }
    }

    /// Why callers are refused, if the pool is closed or shuts down.
    fn ending(&self) -> Option<Refusal> {
        match self.closed {
            true => Some(Refusal::PoolClosed),
            false => self.shutdown.map(|_| Refusal::ShuttingDown),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Acquired<C> {
        self.totals.refused += 1;
        Acquired::Refused(refusal)
    }

    /// The idle connection to hand out next.
    pub(super) fn next_idle(&self) -> Option<u32> {
        match self.take_order {
            TakeOrder::OldestFirst => self.slots.front(State::Idle),
            TakeOrder::NewestFirst => self.slots.back(State::Idle),
        }
    }

    /// Leases a connection to a caller that asked for `any`, or for its id.
    #[inline(always)]
    fn lease(&mut self, index: u32, any: bool, now: Instant) -> Option<Lease<C>> {
        let (token, slot) = self.slots.named_mut(index)?;
        let lease = Lease { token, id: slot.id?, connection: slot.connection.take()? };
        slot.waiter = NO_WAITER;
        slot.acquired = any;
        let is_news = any || slot.claimed.is_none();
        self.totals.leases += 1;
        self.totals.reused += u64::from(slot.used);
        if core::mem::take(&mut slot.doubted) {
            self.role.doubt_refuted();
        }
        self.enter(index, State::Leased, now);
        if !any {
            let forgets_at = R::demanded_by_peer(self, index, now);
            self.sets_deadline(forgets_at);
        }
        if any && self.opening {
            self.refuse_by_id(lease.id);
        }
        if self.acquirer == Acquirer::Both && is_news {
            self.note_acquired(index, any);
        }
        Some(lease)
    }

    /// Refuses the waiters for the opening byte of a connection that this end has acquired.
    #[inline(never)]
    fn refuse_by_id(&mut self, id: ConnId) {
        while let Some(waiter) = self.waiters.first_by_id(id) {
            self.refuse(waiter, Refusal::AcquiredHere { id });
        }
    }

    /// Takes note that one of the ends has acquired a connection without being told its id.
    #[inline(never)]
    fn note_acquired(&mut self, index: u32, here: bool) {
        if self.is_ours(index) == here {
            R::acquired(self, index, here);
        }
    }

    /// Takes note that the peer has begun to use a connection.
    pub(super) fn acquired_by_peer(&mut self, index: u32) {
        if self.acquirer == Acquirer::Both {
            self.note_acquired(index, false);
        }
    }

    /// Whether a caller here has a connection, or is about to get it, without having asked for its id,
    /// so that the peer's user cannot have it too.
    fn was_acquired(&self, index: u32) -> bool {
        let Some(slot) = self.slots.get(index).filter(|_| self.peer_claims) else { return false };
        match slot.state {
            State::Leased => slot.acquired,
            State::Granted => self.waiters.request(slot.waiter) == Some(Request::Any),
            _ => false,
        }
    }

    fn takeable_by_id(&self, index: u32) -> bool {
        match self.state(index) {
            Some(State::Claimed | State::Finished) => true,
            Some(State::Idle | State::Reserved) => !self.opening,
            _ => false,
        }
    }
}
