//! Giving leases back (put, reject), and emptying the pool (clean, flush, close, graceful shutdown).

use core::time::Duration;

use super::Machine;
use crate::error::{PutError, Refusal};
use crate::event::{Action, CheckKind, CheckResult, CloseReason, Token};
use crate::role::Role;
use crate::state::State;
use crate::time::{Instant, Period};
use crate::waiters::{Kind, Request};

impl<C, R: Role> Machine<C, R> {
    /// Puts a leased connection back.
    ///
    /// The connection is drained, and then handed off to a waiter or kept. If the pool is full or shuts
    /// down, or the connection's lifetime is over, it is closed, which is not an error. A full pool keeps a
    /// connection that is the peer's to acquire, as the peer may have acquired it again.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the machine has no such lease (any more). Then too, the connection is
    /// closed.
    pub fn put(&mut self, now: Instant, token: Token, connection: C) -> Result<(), PutError> {
        self.put_back(now, token, connection, None)
    }

    /// Puts a leased connection back that the driver has just drained, with this result.
    ///
    /// It is like [`put`](Self::put), but the connection can be acquired again at once, without an
    /// [`Action::Check`]. With a [reuse delay](Self::reuse_delay), the machine ignores
    /// [`CheckResult::Data`] and has the connection drained after the delay.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_drained(
        &mut self,
        now: Instant,
        token: Token,
        connection: C,
        result: CheckResult,
    ) -> Result<(), PutError> {
        self.put_back(now, token, connection, Some(result))
    }

    /// Returns how long a connection that was put back rests before it is drained.
    #[must_use]
    pub const fn reuse_delay(&self) -> Duration {
        self.reuse_delay.duration()
    }

    fn put_back(
        &mut self,
        now: Instant,
        token: Token,
        connection: C,
        drained: Option<CheckResult>,
    ) -> Result<(), PutError> {
        let now = self.tick(now);
        let index = self.slots.resolve(token, &[State::Leased]);
        let Some((index, slot)) = index.and_then(|i| Some((i, self.slots.get_mut(i)?))) else {
            self.totals.put_unknown += 1;
            let (reason, error) = if self.closed {
                (CloseReason::PoolClosed, PutError::PoolClosed)
            } else {
                (CloseReason::Stale, PutError::NotLeased)
            };
            self.actions.push_back(Action::Close { token, connection, reason });
            return Err(error);
        };
        self.totals.put += 1;
        self.role.returned();
        slot.connection = Some(connection);
        slot.used = true;
        (slot.claimed, slot.finished) = (None, false);
        if drained == Some(CheckResult::Quiet) && self.rests_at_once(index, now) {
            // The fast path: what follows comes to the same.
            self.sets_deadline(self.retires_with_one_more(now));
            self.enter(index, State::Idle, now);
            self.dispatch_quickly(now);
            return Ok(());
        }
        self.put_back_slowly(index, drained, now);
        Ok(())
    }

    /// Whether a connection that is put back and quiet is idle from now on, without more ado.
    #[inline]
    fn rests_at_once(&self, index: u32, now: Instant) -> bool {
        let Some(slot) = self.slots.get(index) else { return false };
        self.waiters.len() == 0
            && !self.is_ending()
            && !slot.readable
            && !self.is_barred(index)
            && self.reuse_delay == Period::ZERO
            && self.is_ours(index)
            && !self.is_control(slot.id)
            && self.expiry(index, now).is_none()
            && self.supply() < self.role.max_capacity()
    }

    /// Decides what becomes of a connection that was put back.
    #[inline(never)]
    fn put_back_slowly(&mut self, index: u32, drained: Option<CheckResult>, now: Instant) {
        let now = self.advance(now);
        let id = self.slots.get(index).and_then(|slot| slot.id);
        let ours = self.is_ours(index);
        let kind = if ours { Kind::Any } else { Kind::IdOnly };
        let wanted = self.is_control(id)
            || id.is_some_and(|id| self.first_waiter_for(id, kind, false).is_some());
        if let Some(reason) = self.expiry(index, now) {
            self.close_one(index, reason);
        } else if self.shutdown.is_some() {
            self.close_one(index, CloseReason::ShutDown);
        } else if self.is_barred(index) {
            self.close_one(index, CloseReason::NotAllowed);
        } else if ours && !wanted && self.supply() >= self.role.max_capacity() {
            self.close_one(index, CloseReason::Overflow);
        } else if matches!(drained, Some(CheckResult::Closed | CheckResult::Finished)) {
            self.close_one(index, CloseReason::PeerClosed);
        } else if self.reuse_delay != Period::ZERO {
            self.enter(index, State::Resting, now);
        } else if drained == Some(CheckResult::Data) {
            self.close_one(index, CloseReason::Leftover);
        } else if drained == Some(CheckResult::Quiet) {
            self.offer(index, false, now);
        } else {
            self.check(index, CheckKind::Drain, now);
        }
        self.dispatch(now);
    }

    /// Counts an attempt to put back a connection of another pool. Only the driver can tell: to the
    /// machine a foreign token may look like one of its own.
    pub const fn put_foreign(&mut self) -> PutError {
        self.totals.put_unknown += 1;
        PutError::Foreign
    }

    /// Gives back a lease unused, because a check found that the peer has
    /// [closed](CheckResult::Closed) the connection or [begun to use](CheckResult::Data) it, or
    /// [both](CheckResult::Finished).
    pub fn reject(&mut self, now: Instant, token: Token, connection: C, result: CheckResult) {
        let now = self.advance(now);
        let Some(index) = self.reclaim(token, &[State::Leased], connection) else {
            return;
        };
        if self.keeps(index, result) {
            self.note_result(index, result, now);
            if let Some(slot) = self.slots.get_mut(index) {
                // A claim that was known before begins anew.
                slot.claimed = slot.claimed.map(|_| now);
            }
            if !self.slots.get(index).is_some_and(|slot| slot.finished) {
                // Out of the lease first: `offer` compares the supply, this connection included, with
                // the capacity.
                self.enter(index, State::Checking, now);
            }
            self.offer(index, true, now);
        } else {
            self.close_one(index, CloseReason::PeerClosed);
        }
        self.dispatch(now);
    }

    /// Returns whether data on a pooled connection means that the peer has taken the connection, so
    /// that only an acquire by id may take it here.
    #[must_use]
    pub const fn peer_claims(&self) -> bool {
        self.peer_claims
    }

    /// Returns whether the end that acquires any connection sends an [opening byte](crate::OPENING_BYTE)
    /// on it: the driver then writes it after [`acquire`](Self::acquire), and removes it from the received
    /// data after [`acquire_by_id`](Self::acquire_by_id) and [`acquire_claimed`](Self::acquire_claimed).
    #[must_use]
    pub const fn has_opening_byte(&self) -> bool {
        self.opening
    }

    /// Closes the idle connections that are this end's to acquire, and returns their number. All others
    /// stay.
    ///
    /// With [`Acquirer::Either`](crate::Acquirer::Either), these are all idle connections, and at an end
    /// that does not acquire, the peer may just have acquired one of them.
    pub fn clean(&mut self, now: Instant) -> u32 {
        self.end_state(State::Idle, CloseReason::Cleaned, now)
    }

    /// Ends the finished connections and returns their number. An acquire by id of one of them is refused
    /// from now on.
    ///
    /// They count against no limit here, but each holds a descriptor. For a driver that has none left.
    pub fn end_finished(&mut self, now: Instant) -> u32 {
        self.end_state(State::Finished, CloseReason::PeerClosed, now)
    }

    /// Ends the connections in a state, and returns their number.
    fn end_state(&mut self, state: State, reason: CloseReason, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.len(state);
        self.close_all(state, reason);
        self.dispatch(now);
        count
    }

    /// Ends every connection: idle ones, leased ones, dials and handshakes. Returns their number.
    ///
    /// A waiter for the id of an ended connection is refused. All others stay, and later connections
    /// serve them.
    pub fn flush(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.total();
        self.end_everything(CloseReason::Flushed);
        if !self.is_ending() {
            self.role.flushed(now);
        }
        self.dispatch(now);
        count
    }

    /// Closes the pool: ends every connection, refuses all waiters, and begins nothing any more. A
    /// graceful shutdown is cut short. Closing again does nothing.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        if !self.closed {
            self.end_pool(CloseReason::PoolClosed);
        }
    }

    /// Begins a graceful shutdown: nothing is dialled, accepted or handed out any more, and the
    /// connections that are in use go on to their end. With the last of them, or at the `deadline` if
    /// there is one, the pool is closed as by [`close`](Self::close). Without any, it is closed at once.
    ///
    /// - *Waiters* are refused ([`Refusal::ShuttingDown`]), and so are later acquires. (Calls of
    ///   [`acquire_claimed`](Self::acquire_claimed) are first served with the connections that the peer has
    ///   begun to use.)
    /// - *Leased* and *granted* connections are in use. They are closed when they are put back or the grant
    ///   is cancelled.
    /// - *Claimed* connections, and *finished* ones with data, are in use at the peer, and their ids may be
    ///   on the way here. An acquire by id takes such a connection, until the claim timeout. So a connection
    ///   that is being inspected stays until the result is known.
    /// - All others end now: idle ones, those on their way back into the pool, dials and handshakes.
    ///
    /// A second call may bring the deadline nearer; a later deadline changes nothing.
    pub fn graceful_shutdown(&mut self, now: Instant, deadline: Option<Instant>) {
        let now = self.advance(now);
        if self.closed {
            return;
        }
        let deadline = deadline.unwrap_or(Instant::NEVER);
        let begun = self.shutdown.is_some();
        let deadline = self.shutdown.map_or(deadline, |former| former.min(deadline));
        self.shutdown = Some(deadline);
        if !begun {
            self.end_what_is_unused();
        }
        match deadline <= now {
            true => self.end_pool(CloseReason::ShutDown),
            false => self.dispatch(now),
        }
    }

    /// Refuses the waiters of a pool that begins to shut down, and ends the connections of which nobody
    /// makes use.
    fn end_what_is_unused(&mut self) {
        while let Some(waiter) = self.waiters.first_for_supply() {
            self.refuse(waiter, Refusal::ShuttingDown);
        }
        let mut at = self.waiters.all.front();
        while let Some(waiter) = at {
            at = self.waiters.next(waiter);
            let id = match self.waiters.request(waiter) {
                // `dispatch` refuses it when nothing is left to come.
                Some(Request::Claimed) => continue,
                Some(Request::Id(id)) => self.ids.find(id),
                _ => None,
            };
            if !id.is_some_and(|index| self.is_inspected(index)) {
                self.refuse(waiter, Refusal::ShuttingDown);
            }
        }
        for state in State::EACH {
            let mut at = self.slots.front(state);
            while let Some(index) = at {
                at = self.slots.next(index);
                let in_use = match state {
                    State::Granted | State::Leased => true,
                    // The control connection is claimed from the start, and nobody need use it; a connection
                    // that has ended without data has nothing to deliver.
                    State::Claimed | State::Finished => {
                        self.slots.get(index).is_some_and(|s| s.claimed.is_some())
                    }
                    State::Checking => self.is_inspected(index),
                    _ => false,
                };
                if !in_use {
                    self.close_one(index, CloseReason::ShutDown);
                }
            }
        }
    }

    /// Whether a connection is being inspected: its peer may have begun to use it.
    pub(super) fn is_inspected(&self, index: u32) -> bool {
        let slot = self.slots.get(index);
        slot.is_some_and(|slot| slot.state == State::Checking && slot.check == CheckKind::Inspect)
    }

    /// Returns whether the pool was closed, or its graceful shutdown is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns whether a graceful shutdown has begun and is not over.
    #[must_use]
    pub const fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some() && !self.closed
    }

    /// Whether the pool is closed, or shuts down.
    pub(crate) const fn is_ending(&self) -> bool {
        self.shutdown.is_some() || self.closed
    }
}
