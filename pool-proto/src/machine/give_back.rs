//! Giving leases back (put, reject), and emptying the pool (clean, flush, close).

use core::time::Duration;

use super::Machine;
use crate::error::{PutError, Refusal};
use crate::event::{Action, CheckKind, CheckResult, CloseReason, Token};
use crate::role::Role;
use crate::state::State;
use crate::time::{Instant, Period};

impl<C, R: Role> Machine<C, R> {
    /// Puts a leased connection back.
    ///
    /// The connection is drained, and then handed off to a waiter or kept. If the pool is full or the
    /// connection's lifetime is over, it is closed, which is not an error.
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
        let now = self.advance(now);
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
        slot.connection = Some(connection);
        slot.used = true;
        (slot.claimed, slot.finished) = (None, false);
        let id = slot.id;
        let by_id_only = !self.is_ours(index);
        let wanted = self.is_control(id)
            || id.is_some_and(|id| self.waiters.first_for(id, by_id_only).is_some());
        if let Some(reason) = self.expiry(index, now) {
            self.close_one(index, reason);
        } else if !wanted && self.supply() >= self.role.max_capacity() {
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
        Ok(())
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

    /// Closes the idle connections that are this end's to acquire, and returns their number. All others
    /// stay.
    ///
    /// Where nobody says which end acquires ([`Acquirer::Either`](crate::Acquirer::Either)), these are all
    /// idle ones, and at an end that does not acquire, one may be among them that the peer has just
    /// acquired.
    pub fn clean(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.len(State::Idle);
        self.close_all(State::Idle, CloseReason::Cleaned);
        self.dispatch(now);
        count
    }

    /// Ends the finished connections and returns their number. An acquire by id of one of them is refused
    /// from now on.
    ///
    /// They count against no limit here, but each holds a descriptor. For a driver that has none left.
    pub fn end_finished(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.len(State::Finished);
        self.close_all(State::Finished, CloseReason::PeerClosed);
        self.dispatch(now);
        count
    }

    /// Ends every connection: idle ones, leased ones, dials and handshakes. Returns their number.
    ///
    /// Waiters for any connection or for stock stay, and later connections serve them. A waiter for
    /// the id of an ended connection is refused.
    pub fn flush(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.total();
        self.end_everything(CloseReason::Flushed);
        if !self.closed {
            self.role.flushed(now);
        }
        self.dispatch(now);
        count
    }

    /// Closes the pool: ends every connection, refuses all waiters, and begins nothing any more.
    /// Closing again does nothing.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        if self.closed {
            return;
        }
        self.closed = true;
        while let Some(waiter) = self.waiters.first() {
            self.refuse(waiter, Refusal::PoolClosed);
        }
        self.end_everything(CloseReason::PoolClosed);
    }

    /// Returns whether the pool was closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }
}
