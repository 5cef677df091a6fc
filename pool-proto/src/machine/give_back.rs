//! Giving back: putting a lease back or rejecting it; and emptying the pool.

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
    /// It is drained and then handed to a waiter or kept; in a full pool, or at the end of its
    /// lifetime, it is closed, which is no error.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the machine has no such lease (any more). The connection is closed then,
    /// too.
    pub fn put(&mut self, now: Instant, token: Token, connection: C) -> Result<(), PutError> {
        self.put_back(now, token, connection, None)
    }

    /// [`put`](Self::put) for a driver that has drained the connection itself just before, with this
    /// outcome: the connection can be taken again at once, without a [`Check`](Action::Check). Where
    /// there is a [reuse delay](Self::reuse_delay), that is when it is drained, not before.
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

    /// How long a connection that was put back rests before it is drained.
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
        slot.claimed = false;
        let id = slot.id;
        let wanted =
            self.is_control(id) || id.is_some_and(|id| self.waiters.first_for(id, false).is_some());
        if let Some(reason) = self.slots.expiry(index, now) {
            self.close_one(index, reason);
        } else if !wanted && self.supply() >= self.role.limit() {
            self.close_one(index, CloseReason::Overflow);
        } else if drained == Some(CheckResult::Closed) {
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
        self.settle(now);
        Ok(())
    }

    /// Counts a connection of another pool that was to be put back here. Only the driver can tell:
    /// to the machine a foreign token may look like one of its own.
    pub const fn put_foreign(&mut self) -> PutError {
        self.totals.put_unknown += 1;
        PutError::Foreign
    }

    /// Gives back a lease that its holder has not used, because a look at the connection found it
    /// [closed](CheckResult::Closed), or [begun to be used](CheckResult::Data) by the peer.
    pub fn reject(&mut self, now: Instant, token: Token, connection: C, result: CheckResult) {
        let now = self.advance(now);
        let Some(index) = self.resolve_with(token, &[State::Leased], connection) else {
            return;
        };
        if result == CheckResult::Closed {
            self.close_one(index, CloseReason::PeerClosed);
        } else {
            // Out of the lease before it is offered, so that it counts as supply there.
            self.enter(index, State::Checking, now);
            if let Some(slot) = self.slots.get_mut(index) {
                slot.claimed |= result == CheckResult::Data && self.peer_claims;
            }
            self.offer(index, true, now);
        }
        self.settle(now);
    }

    /// Whether data that arrives on a connection in the pool means that the peer has taken it, so
    /// that only an acquire by id may have it.
    #[must_use]
    pub const fn peer_claims(&self) -> bool {
        self.peer_claims
    }

    /// Closes the idle connections and returns how many there were. The rest is left alone.
    pub fn clean(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.len(State::Idle);
        self.close_all(State::Idle, CloseReason::Cleaned);
        self.settle(now);
        count
    }

    /// Ends everything there is: idle connections, those in use, dials and handshakes. Waiters
    /// stay, and are served by what comes after. Returns how many there were.
    pub fn flush(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.total();
        self.end_everything(CloseReason::Flushed);
        if !self.closed {
            self.role.flushed(now);
        }
        self.settle(now);
        count
    }

    /// Ends everything there is, and the pool: waiters are refused, and nothing begins any more.
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

    /// Whether the pool was closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }
}
