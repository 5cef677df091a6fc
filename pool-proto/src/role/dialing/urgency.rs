//! How fast connections are replaced while callers are served from stock.
//!
//! A dial and its handshakes take as much processor time as many requests. If the connections that a crowd
//! has acquired were all replaced at once, the crowd would wait for the processor instead of a connection.
//! So while the stock serves everybody, dials are spread, the more the fuller the stock still is. As soon
//! as a caller waits, at either end, nothing is spread.
//!
//! The spread is a leaky bucket (as GCRA, ITU-T I.371, describes it). Steady demand is not slowed down: the
//! dials may be a quarter faster than the acquires of the last second.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use super::Client;
use crate::time::{Instant, Period};

/// The time between two dials with a full stock; with half of the stock, it is half as long.
const GAP: Duration = Duration::from_millis(20);

/// How far dials may be ahead of that pace, in nanoseconds.
const AHEAD: u64 = 20_000_000;

/// The time after an acquire in which the next acquires are expected.
const BUSY: Period = Period::from_nanos(1_000_000_000);

/// A stock of this size is replaced at once: so few handshakes are not a burden.
const SMALL: u32 = 16;

/// The length of a slot in which acquires are counted, and the number of slots.
const SLOT: Period = Period::from_nanos(250_000_000);
const SLOTS: usize = 4;

/// The acquires of the last second, without the current slot: its acquires may be a crowd's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Rate {
    /// The number of the current slot.
    slot: u64,
    current: u32,
    former: [u32; SLOTS],
}

impl Rate {
    fn count(&mut self, now: Instant) {
        self.advance(now);
        self.current = self.current.saturating_add(1);
    }

    fn advance(&mut self, now: Instant) {
        let slot = now.as_nanos() / SLOT.as_nanos();
        for _ in 0..(slot - self.slot).min(SLOTS as u64) {
            self.former.rotate_right(1);
            let [latest, ..] = &mut self.former;
            *latest = core::mem::take(&mut self.current);
        }
        self.slot = slot;
    }

    fn a_second(&self) -> u32 {
        self.former.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The pace of dials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Urgency {
    rate: Rate,
    /// The end of the time in which callers are to be expected.
    busy_until: Instant,
    /// The time up to which dials have used up the pace.
    used: Instant,
}

impl Urgency {
    /// A connection was acquired, at either end.
    pub(super) fn acquired(&mut self, now: Instant) {
        self.rate.count(now);
        self.busy_until = now.after(BUSY);
    }

    /// Feeds `hasher` with everything that the future depends on, from `now` on.
    pub(crate) fn hash_state<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        let ahead = |at: Instant| at.since(now);
        (self.rate, ahead(self.busy_until), ahead(self.used)).hash(hasher);
    }
}

impl<C> Client<C> {
    /// The time between two dials, if they are to be spread.
    fn gap(&self, now: Instant) -> Option<Duration> {
        let waits = self.waiters.for_supply() > 0 || self.role.tuner.backlog() > 0;
        let busy = self.role.urgency.busy_until > now;
        if waits || !busy || self.idle() == 0 || self.is_paced() {
            return None;
        }
        let (idle, aim) = (self.idle(), self.aim());
        if aim <= SMALL {
            return None;
        }
        let spread = GAP * idle.min(aim) / aim;
        let rate = self.role.urgency.rate.a_second();
        let steady = Duration::from_millis(800).checked_div(rate);
        Some(steady.map_or(spread, |steady| spread.min(steady)))
    }

    /// Whether the pool may ever be so large that its dials are spread.
    pub(crate) fn can_be_busy(&self) -> bool {
        self.role.tuner.max_capacity() > SMALL
    }

    /// Whether the next dial would be ahead of the pace. Otherwise it takes its share of the pace.
    pub(super) fn is_ahead(&mut self, now: Instant) -> bool {
        self.role.urgency.rate.advance(now);
        let Some(gap) = self.gap(now) else { return false };
        let used = self.role.urgency.used;
        if used > now.after(Period::from_nanos(AHEAD)) {
            return true;
        }
        self.role.urgency.used = used.max(now) + gap;
        false
    }

    /// When a dial that would be ahead of the pace is due, if one is missing; else [`Instant::NEVER`].
    #[inline]
    pub(super) fn dial_at(&self) -> Instant {
        let urgency = &self.role.urgency;
        let on_pace = Instant::from_nanos(urgency.used.as_nanos().saturating_sub(AHEAD));
        let at = on_pace.min(urgency.busy_until);
        if at > self.now && self.is_spread_and_missing() { at } else { Instant::NEVER }
    }

    /// Whether dials are spread, and one is missing.
    #[inline(never)]
    fn is_spread_and_missing(&self) -> bool {
        self.gap(self.now).is_some() && self.supply() < self.aim()
    }
}
