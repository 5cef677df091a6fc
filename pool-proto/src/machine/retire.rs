//! Idle timeouts without gaps: idle connections go one after another.
//!
//! Connections that were established together become too old together. If they were closed together,
//! the pool would be empty for the time of a dial. So the oldest idle connection may go when half of
//! the timeout is over, and the next ones after it in even steps, within the third quarter. A client
//! first dials a connection to take the place of the old one, for which it has the last quarter. The
//! connections that come instead are spread out for good.

use super::Machine;
use crate::event::CloseReason;
use crate::role::Role;
use crate::state::State;
use crate::time::{Instant, Period};

impl<C, R: Role> Machine<C, R> {
    /// Half of the idle timeout, if there is one.
    pub(crate) fn half_of_idle_timeout(&self) -> Option<Period> {
        let timeout = self.slots.period(State::Idle);
        (timeout != Period::NEVER).then(|| Period::from_nanos(timeout.as_nanos() / 2))
    }

    /// Whether half of the idle timeout of a connection is over.
    fn is_ageing(&self, index: u32, now: Instant) -> bool {
        let half = self.half_of_idle_timeout();
        let since = self.slots.get(index).map(|slot| slot.since);
        half.zip(since).is_some_and(|(half, since)| since.after(half) <= now)
    }

    /// The oldest idle connection, if half of its timeout is over.
    pub(crate) fn oldest_ageing(&self, now: Instant) -> Option<u32> {
        self.slots.front(State::Idle).filter(|index| self.is_ageing(*index, now))
    }

    /// Whether more than `count` idle connections are ageing.
    pub(crate) fn are_ageing(&self, count: u32, now: Instant) -> bool {
        let mut at = self.slots.front(State::Idle);
        for _ in 0..count {
            at = at.and_then(|index| self.slots.next(index));
        }
        at.is_some_and(|index| self.is_ageing(index, now))
    }

    /// When the next idle connection may go.
    pub(super) fn retire_at(&self) -> Instant {
        let oldest = self.slots.front(State::Idle).and_then(|index| self.slots.get(index));
        let Some((half, oldest)) = self.half_of_idle_timeout().zip(oldest) else {
            return Instant::NEVER;
        };
        let (at, longest_step) = (oldest.since.after(half), half.as_nanos() / 2);
        // Spares a division, which costs as much as an event.
        if self.retired_at.after(Period::from_nanos(longest_step.max(1))) <= at {
            return at;
        }
        let step = longest_step / u64::from(self.slots.len(State::Idle)).max(1);
        at.max(self.retired_at.after(Period::from_nanos(step.max(1))))
    }

    /// A time before which the next idle connection does not go when another one comes, if it may go
    /// earlier then: the steps become smaller. Otherwise [`Instant::NEVER`].
    #[inline]
    pub(super) fn retires_with_one_more(&self, now: Instant) -> Instant {
        let Some(half) = self.half_of_idle_timeout() else { return Instant::NEVER };
        let oldest = self.slots.front(State::Idle).and_then(|index| self.slots.get(index));
        let Some(oldest) = oldest else { return now.after(half) };
        let (at, longest_step) = (oldest.since.after(half), half.as_nanos() / 2);
        let may_wait_for_step = self.retired_at.after(Period::from_nanos(longest_step)) > at;
        if may_wait_for_step { at } else { Instant::NEVER }
    }

    /// Lets an idle connection go, if it is time.
    pub(super) fn retire(&mut self, now: Instant) {
        if self.retire_at() <= now
            && let Some(index) = self.oldest_ageing(now)
        {
            self.retired_at = now;
            if R::may_retire(self, now) {
                self.close_one(index, CloseReason::IdleTimeout);
            }
        }
    }
}
