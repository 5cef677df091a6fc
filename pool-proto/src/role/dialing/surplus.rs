//! Ready connections beyond the capacity, and when they are closed.
//!
//! A connection that no caller has needed for a while will not be missed. How long that has to be depends on
//! how many callers came: where many did, a short time proves as much as a long one does otherwise.

use core::hash::Hash;

use super::Client;
use crate::event::CloseReason;
use crate::state::State;
use crate::time::{Instant, Period};

/// The acquires after which the short time is enough.
const MANY: u32 = 16;

/// The shares of [`keep`](crate::ClientConfigBuilder::keep) for which nobody must have needed a connection.
const LONG: u64 = 32;
const SHORT: u64 = 128;

/// Ready connections beyond the capacity that there have been for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surplus {
    /// The fewest in this time.
    fewest: u32,
    /// The end of the short time, and that of the long one.
    soon: Instant,
    late: Instant,
    /// The acquires, of both ends, that have come meanwhile, up to [`MANY`].
    acquires: u32,
}

impl Surplus {
    fn new(fewest: u32, keep: Period, now: Instant) -> Self {
        let after = |share: u64| now.after(Period::from_nanos((keep.as_nanos() / share).max(1)));
        Self { fewest, soon: after(SHORT), late: after(LONG), acquires: 0 }
    }

    #[inline]
    pub(super) fn acquired(&mut self) {
        self.acquires = (self.acquires + 1).min(MANY);
    }

    /// When as many as `fewest` are closed.
    #[inline]
    pub(super) fn closes_at(&self) -> Instant {
        if self.acquires < MANY { self.late } else { self.soon }
    }

    /// Returns everything that the future depends on: of times, the distances from `now`.
    pub(crate) fn key(self, now: Instant) -> impl Hash {
        (self.fewest, self.acquires, self.soon.distance(now), self.late.distance(now))
    }
}

impl<C> Client<C> {
    /// Takes note of how many ready connections are beyond the capacity. Returns when they are closed, or
    /// [`Instant::NEVER`].
    #[inline]
    pub(super) fn note_surplus(&mut self, surplus: u32, now: Instant) -> Instant {
        let role = &mut self.role;
        role.surplus = match role.surplus {
            _ if surplus == 0 => None,
            Some(noted) => Some(Surplus { fewest: noted.fewest.min(surplus), ..noted }),
            // No law but the one that forgets demand closes any.
            None => role.tuner.keep().map(|keep| Surplus::new(surplus, keep, now)),
        };
        role.surplus.map_or(Instant::NEVER, |noted| noted.closes_at())
    }

    /// Closes the ready connections that were beyond the capacity for all of the time: the oldest ones,
    /// which a server that acquires takes last.
    pub(super) fn close_surplus(&mut self, now: Instant) {
        let due = self.role.surplus.take_if(|noted| noted.closes_at() <= now);
        for _ in 0..due.map_or(0, |due| due.fewest) {
            if let Some(oldest) = self.slots.front(State::Idle) {
                self.close_one(oldest, CloseReason::Surplus);
            }
        }
    }
}
