//! The law of [`Tuning::Demand`](super::Tuning::Demand): a base stock over the lead time.
//!
//! A connection that is acquired now is replaced one lead time later. So an acquire is served at once if
//! and only if the stock is at least the number of acquires within the lead time before it. (In the theory
//! of inventories this is the base-stock policy, which is optimal where an order costs nothing but its
//! lead time.) The law therefore counts the acquires of each lead time, whatever the stock is: an acquire
//! that was served from stock teaches as much as one that had to wait.
//!
//! The capacity is the third highest count of two thirds of the last `keep`, and one more. A rank below the
//! first fluctuates less, and ignores singular peaks: an extreme value of a random demand, the backlog after
//! a start, a crowd that does not come again. But half of the highest count is kept for all of `keep`, in
//! case the crowd does come again.

use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};
use core::ops::RangeInclusive;
use core::time::Duration;

use super::lead_time::LeadTime;
use crate::time::{Instant, Period};

/// The number of counts in a row that the law looks at.
const RANKS: usize = 3;

/// The lead times after which a hint is stale: until then, connections that are dialled because of it have
/// brought newer ones.
const STALE: u32 = 4;

/// The lead times after which the stock that was missing at a start is there: enough for [`RANKS`] slots
/// with the demand as it is, twice over.
const SETTLED: u32 = 8;

/// The most acquires that are counted: more than a pool has connections by default.
const MOST: u32 = 1 << 16;

/// The highest count of acquires within a lead time that was seen in one slot of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peak {
    at: Instant,
    count: u32,
    /// How many later slots had a count at least as high. With [`RANKS`] of them, it is of no interest.
    beaten: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    keep: Period,
    lead_time: LeadTime,
    /// The acquires of the last lead time, oldest first; at most as many as the maximum of the capacity,
    /// because more would change nothing.
    recent: VecDeque<Instant>,
    /// Connections that were put back, by the time of the acquire before that, oldest first.
    returned: VecDeque<Instant>,
    /// The peak of the current slot. Slots are a lead time long, so that no acquire counts in more than two.
    current: Option<Peak>,
    /// The end of the current slot, if there is one.
    slot_end: Instant,
    /// The peaks of former slots that may still be among the [`RANKS`] highest, oldest first.
    peaks: VecDeque<Peak>,
    /// How many of them, from the oldest on, are too old to be ranked: of these, only the highest counts.
    aged: usize,
    /// The highest of the others.
    highest: [u32; RANKS],
    /// The highest of all of them.
    highest_ever: u32,
    /// Callers at the peer's end that wait, as far as its hints and its acquires say.
    backlog: u32,
    /// The time of the last of these hints. An old one says nothing.
    heard_at: Instant,
    /// Since when the peer is down. In this time nothing is learnt, and nothing forgotten.
    down_since: Option<Instant>,
    /// Whether the next hint is of callers that an outage, or the lack of any stock at the start, has kept
    /// waiting: it says nothing about demand.
    resync: bool,
    /// When such a hint told of waiters, and when the peer was last heard to have any since. These are
    /// served as dials come in, all at once: their acquires come in waves, whose peaks are too high.
    unsettled: Option<(Instant, Instant)>,
    /// When something is forgotten. Kept, because each acquire asks for it.
    changes_at: Instant,
}

impl Demand {
    /// The default of `keep`.
    pub(super) const KEEP: Duration = Duration::from_secs(60);

    /// Creates the law of a pool with at most `most` ready connections.
    pub(super) fn new(most: u32) -> Self {
        // Enough for small pools; in large ones the buffers grow.
        let room = most.min(32) as usize;
        Self {
            keep: Period::saturating(Self::KEEP),
            lead_time: LeadTime::new(),
            recent: VecDeque::with_capacity(room),
            returned: VecDeque::with_capacity(room),
            current: None,
            slot_end: Instant::EPOCH,
            peaks: VecDeque::with_capacity(RANKS * room),
            aged: 0,
            highest: [0; RANKS],
            highest_ever: 0,
            backlog: 0,
            heard_at: Instant::EPOCH,
            down_since: None,
            resync: true,
            unsettled: None,
            changes_at: Instant::NEVER,
        }
    }

    pub(super) const fn keep(&self) -> Period {
        self.keep
    }

    pub(super) fn set_keep(&mut self, keep: Period) {
        self.keep = keep;
        self.changes_at = self.first_change();
    }

    pub(super) const fn lead_time(&self) -> &LeadTime {
        &self.lead_time
    }

    pub(super) const fn backlog(&self) -> u32 {
        self.backlog
    }

    /// The number of acquires within a lead time to be prepared for.
    pub(super) fn demand(&self) -> u32 {
        let current = self.current.map_or(0, |current| current.count);
        let [first, second, third] = self.highest;
        let ranked = third.max(second.min(current));
        ranked.max(first.max(current).max(self.highest_ever).div_ceil(2))
    }

    /// When something is forgotten, or [`Instant::NEVER`].
    #[inline]
    pub(super) fn changes_at(&self) -> Instant {
        debug_assert_eq!(self.changes_at, self.first_change(), "it is kept up to date");
        self.changes_at
    }

    fn first_change(&self) -> Instant {
        self.next_forgotten().min(self.next_aged()).min(self.hint_until())
    }

    /// When the last hint is stale.
    fn hint_until(&self) -> Instant {
        if self.backlog == 0 {
            return Instant::NEVER;
        }
        let fresh = Period::saturating(self.lead_time.bound().duration() * STALE);
        self.heard_at.after(fresh.min(self.keep))
    }

    /// When a peak is forgotten.
    fn next_forgotten(&self) -> Instant {
        let oldest = self.peaks.front().or(self.current.as_ref());
        let oldest = oldest.filter(|_| self.down_since.is_none());
        oldest.map_or(Instant::NEVER, |peak| peak.at.after(self.keep))
    }

    /// When a peak is too old to be ranked.
    fn next_aged(&self) -> Instant {
        let oldest = self.peaks.get(self.aged).or(self.current.as_ref());
        let oldest = oldest.filter(|_| self.down_since.is_none());
        oldest.map_or(Instant::NEVER, |peak| self.ages_at(peak))
    }

    fn ages_at(&self, peak: &Peak) -> Instant {
        peak.at.after(Period::from_nanos(self.keep.as_nanos() / 3 * 2))
    }

    pub(super) fn advance(&mut self, now: Instant) {
        if self.changes_at > now {
            return;
        }
        if self.hint_until() <= now {
            self.backlog = 0;
        }
        while self.next_forgotten() <= now {
            if self.peaks.pop_front().is_none() {
                self.current = None;
            }
            self.rank(now);
        }
        if self.next_aged() <= now {
            if self.current.is_some_and(|current| self.ages_at(&current) <= now) {
                self.end_slot(now);
            }
            self.rank(now);
        }
        self.changes_at = self.first_change();
    }

    pub(super) fn established(&mut self, now: Instant, took: Duration) {
        self.lead_time.sample(took);
        if let Some(since) = self.down_since.take() {
            let outage = now.since(since);
            for peak in self.peaks.iter_mut().chain(&mut self.current) {
                peak.at = peak.at + outage;
            }
            self.rank(now);
        }
        self.set_slot_end();
        self.changes_at = self.first_change();
    }

    pub(super) fn failed(&mut self, now: Instant) {
        (self.backlog, self.resync, self.unsettled) = (0, true, None);
        self.down_since.get_or_insert(now);
        self.changes_at = self.first_change();
    }

    /// Counts `count` acquires at `now`, of which no more than `limit` matter.
    pub(super) fn acquired(&mut self, now: Instant, count: u32, limit: u32) {
        if self.down_since.is_some() {
            return;
        }
        let limit = limit.min(MOST);
        let lead_time = self.lead_time.bound();
        for times in [&mut self.recent, &mut self.returned] {
            while times.front().is_some_and(|at| at.after(lead_time) <= now) {
                times.pop_front();
            }
        }
        for _ in 0..count.min(limit) {
            if self.recent.len() >= limit as usize {
                self.recent.pop_front();
                self.returned.pop_front();
            }
            self.recent.push_back(now);
        }
        let net = self.recent.len().saturating_sub(self.returned.len());
        self.note_count(now, u32::try_from(net).unwrap_or(u32::MAX));
    }

    /// A connection has come back without a dial: in a lead time, the stock is short of the acquires without
    /// the returns. More of these than acquires can be known are of no use.
    pub(super) fn returned(&mut self) {
        if let Some(last) = self.recent.back()
            && self.returned.len() < MOST as usize
        {
            self.returned.push_back(*last);
        }
    }

    /// Counts an acquire of the peer's user. With `fresh`, it had waited for this connection.
    pub(super) fn acquired_by_peer(&mut self, now: Instant, fresh: bool, limit: u32) {
        if fresh && self.backlog > 0 {
            // It was counted when the peer told of it.
            self.backlog -= 1;
            self.changes_at = self.first_change();
        } else {
            self.acquired(now, 1, limit);
        }
    }

    /// The peer has told roughly how many of its callers wait. New ones count as acquires.
    pub(super) fn peer_waits(&mut self, now: Instant, waiters: &RangeInclusive<u32>, limit: u32) {
        let (least, most) = (*waiters.start(), *waiters.end());
        self.heard_at = now;
        if least > 0 && (self.resync || self.unsettled.is_some()) {
            let (since, _) = self.unsettled.unwrap_or((now, now));
            self.unsettled = Some((since, now));
        }
        if self.backlog > most {
            self.backlog = most;
        } else if self.backlog < least {
            let new = least - self.backlog;
            self.backlog = least;
            if !self.resync {
                self.acquired(now, new, limit);
            }
        }
        self.resync = false;
        self.changes_at = self.first_change();
    }

    /// A caller waits for a stock of `ready`, which it will use up, perhaps at once, and perhaps again.
    pub(super) fn require(&mut self, now: Instant, ready: u32) {
        if self.down_since.is_none() {
            self.note_count(now, ready.saturating_sub(1).saturating_mul(2));
        }
    }

    fn note_count(&mut self, now: Instant, count: u32) {
        self.advance(now);
        self.settle(now);
        match &mut self.current {
            // More acquires must not be forgotten sooner: a slot is as old as its last one.
            Some(current) if now < self.slot_end => {
                (current.at, current.count) = (now, current.count.max(count));
                // An older peak is the next to be forgotten, and the next to be too old.
                if self.peaks.len() > self.aged {
                    return;
                }
            }
            _ => {
                self.end_slot(now);
                self.current = Some(Peak { at: now, count, beaten: 0 });
                self.set_slot_end();
            }
        }
        self.changes_at = self.first_change();
    }

    /// Forgets the peaks of a time in which the stock was built up, once there are better ones.
    fn settle(&mut self, now: Instant) {
        let settled = |at: Instant| at + self.lead_time.bound().duration() * SETTLED <= now;
        if let Some((since, heard)) = self.unsettled.take_if(|(_, at)| settled(*at)) {
            self.peaks.retain(|peak| peak.at < since || peak.at > heard);
            self.rank(now);
            self.changes_at = self.first_change();
        }
    }

    /// Sets the end of the current slot. Kept, because each acquire would need two divisions.
    fn set_slot_end(&mut self) {
        if let Some(Peak { at, .. }) = self.current {
            let length = self.lead_time.bound().as_nanos();
            let end = (at.as_nanos() / length).saturating_add(1).saturating_mul(length);
            self.slot_end = Instant::from_nanos(end);
        }
    }

    fn end_slot(&mut self, now: Instant) {
        if let Some(ended) = self.current.take() {
            self.peaks.retain_mut(|peak| {
                peak.beaten += usize::from(peak.count <= ended.count);
                peak.beaten < RANKS
            });
            self.peaks.push_back(ended);
            self.rank(now);
        }
    }

    fn rank(&mut self, now: Instant) {
        self.aged = self.peaks.iter().take_while(|peak| self.ages_at(peak) <= now).count();
        self.highest = [0; RANKS];
        for peak in self.peaks.iter().skip(self.aged) {
            insert(&mut self.highest, peak.count);
        }
        self.highest_ever = self.peaks.iter().map(|peak| peak.count).max().unwrap_or(0);
    }

    /// Feeds `hasher` with everything that the future depends on: of times, the distances from `now`.
    pub(super) fn hash_state<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        (self.keep, self.lead_time, self.backlog, self.resync, self.aged).hash(hasher);
        let lead_time = self.lead_time.bound();
        // The begin of the slot.
        (now.as_nanos() % lead_time.as_nanos()).hash(hasher);
        for at in self.recent.iter().filter(|at| at.after(lead_time) > now) {
            at.distance(now).hash(hasher);
        }
        for at in self.returned.iter().filter(|at| at.after(lead_time) > now) {
            at.distance(now).hash(hasher);
        }
        for Peak { at, count, beaten } in self.peaks.iter().chain(&self.current) {
            (at.distance(now), count, beaten).hash(hasher);
        }
        self.down_since.map(|at| at.distance(now)).hash(hasher);
        (self.backlog > 0).then(|| self.heard_at.distance(now)).hash(hasher);
        self.unsettled.map(|(since, at)| (since.distance(now), at.distance(now))).hash(hasher);
    }
}

/// Inserts a count into the highest ones, in descending order.
fn insert(highest: &mut [u32; RANKS], count: u32) {
    let mut falling = count;
    for rank in highest {
        if falling > *rank {
            core::mem::swap(rank, &mut falling);
        }
    }
}
