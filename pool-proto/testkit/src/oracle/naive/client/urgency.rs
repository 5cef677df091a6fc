//! Dials that wait while callers are served from stock.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use pool_proto::Instant;
use pool_proto::State::*;

use super::Naive;
use crate::oracle::naive::waiters::Want;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Urgency {
    /// The acquires of either end, as far as they may count.
    acquires: Vec<Instant>,
    /// Until when the dials so far have used up the pace.
    used: Instant,
}

impl Urgency {
    pub(super) fn acquired(&mut self, now: Instant) {
        self.acquires.retain(|at| now.since(*at) < ms(2000));
        self.acquires.push(now);
    }

    /// How many there were in the four quarters of a second before this one.
    fn rate(&self, now: Instant) -> u32 {
        let quarter = |at: Instant| at.as_nanos() / 250_000_000;
        let counts = |at: &&Instant| (1..=4).contains(&(quarter(now) - quarter(**at)));
        u32::try_from(self.acquires.iter().filter(counts).count()).unwrap()
    }

    fn busy_until(&self) -> Instant {
        self.acquires.last().map_or(Instant::EPOCH, |last| *last + ms(1000))
    }

    pub(super) fn hash_state(&self, now: Instant, hasher: &mut impl Hasher) {
        let ahead = |at: Instant| at.since(now);
        (self.rate(now), ahead(self.busy_until()), ahead(self.used)).hash(hasher);
    }
}

impl Naive {
    /// How far apart dials are, if they are not to be begun all at once.
    fn gap(&self) -> Option<Duration> {
        let (idle, wanted, now) = (self.count(Idle), self.wanted(), self.now);
        let dialer = self.dialer()?;
        let served_by_peer = self.count_waiting(Want::Claimed);
        let somebody_waits = self.stats().waiters > served_by_peer || dialer.tuner.backlog() > 0;
        let served = dialer.urgency.busy_until() > now && idle > 0 && !somebody_waits;
        let spread = ms(20) * idle.min(wanted) / wanted;
        let rate = dialer.urgency.rate(now);
        let gap = if rate == 0 { spread } else { spread.min(ms(800) / rate) };
        (served && wanted > 16 && !dialer.paced()).then_some(gap)
    }

    /// How many dials the pace allows now.
    pub fn allowed_by_pace(&self) -> u32 {
        let (Some(gap), Some(dialer)) = (self.gap(), self.dialer()) else { return u32::MAX };
        let (now, mut used, mut allowed) = (self.now, dialer.urgency.used, 0);
        while used <= now + ms(20) && allowed < self.setup.max_connections {
            used = used.max(now) + gap;
            allowed += 1;
        }
        allowed
    }

    /// Takes the share of one dial.
    pub fn take_pace(&mut self) {
        let now = self.now;
        if let Some(gap) = self.gap()
            && let Some(dialer) = self.dialer_mut()
        {
            dialer.urgency.used = dialer.urgency.used.max(now) + gap;
        }
    }

    /// When a dial that had to wait for the pace is due.
    pub fn dial_due(&self) -> Option<Instant> {
        let dialer = self.dialer()?;
        let missing = self.stock() < self.wanted() && self.gap().is_some();
        let on_pace = dialer.urgency.used.as_nanos().saturating_sub(20_000_000);
        let due = Instant::from_nanos(on_pace).min(dialer.urgency.busy_until());
        (missing && due > self.now).then_some(due)
    }
}
