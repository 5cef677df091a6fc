//! A server that acquires, as its peers do: each end has its own part of the stock of a peer's connections.

use core::time::Duration;

use super::super::sources::{Peer, Want};
use super::Server;
use crate::config::Acquirer;
use crate::event::CloseReason;
use crate::state::State;
use crate::time::Instant;

/// The age from which a client does not take the end of an unused connection for a rejection: twice the
/// time that it allows for that.
const OLD: Duration = Duration::from_secs(2);

/// A peer that leaves a connection of its own unused for so long has no callers that wait: they would take
/// it, and the word of that would arrive within a round trip. Shorter than the time after which a client
/// of which all is its own gives one up, so that the next one is not given to it again.
const UNUSED: Duration = Duration::from_millis(500);

impl<C> Server<C> {
    /// Whether the next connection of a peer is to be this end's, where both acquire.
    pub(super) fn next_is_ours(&mut self, source: u32) -> bool {
        let waiting = self.waiters.any();
        let oldest = self.slots.front(State::Reserved).and_then(|index| self.slots.get(index));
        let unused = oldest.is_some_and(|oldest| oldest.since + UNUSED <= self.now);
        let Some(source) = self.role.sources.slab.get_mut(source) else { return true };
        source.share.next_is_ours(source.stock, waiting, unused)
    }

    /// A connection comes into the stock that two ends share, or leaves it.
    pub(super) fn count_stock(&mut self, index: u32, comes: bool) {
        let ours = self.is_ours(index);
        let Some(slot) = self.slots.get(index) else { return };
        if let Some(source) = self.role.sources.slab.get_mut(slot.origin) {
            let all = source.stock.ours + source.stock.theirs;
            let count = source.stock.of(ours);
            *count = if comes { *count + 1 } else { count.saturating_sub(1) };
            if !comes {
                source.share.left(ours, all);
            }
            let wants = source.stock.theirs == 0 && source.stock.ours >= 2;
            self.role.sources.want(slot.origin, wants, self.now);
        }
    }

    /// The peer has ended a connection that it had not begun to use.
    pub(super) fn count_finished(&mut self, index: u32) {
        let ours = self.is_ours(index);
        let Some(slot) = self.slots.get(index) else { return };
        if ours || slot.established + UNUSED > self.now {
            return;
        }
        if let Some(source) = self.role.sources.slab.get_mut(slot.origin) {
            source.share.left_unused();
        }
    }

    /// When this end gives up a connection for the peer that has wanted one longest.
    pub(super) fn yields_at(&self) -> Instant {
        let sources = &self.role.sources;
        let first = sources.wanting.front().and_then(|first| sources.slab.get(first));
        match first.map(|first| first.want) {
            Some(Want::Since(since)) => since + OLD,
            _ => Instant::NEVER,
        }
    }

    /// Gives up a connection for each peer that has wanted one for long: it may be unable to dial any more
    /// connections.
    pub(super) fn yield_to_wanting(&mut self, now: Instant) {
        while self.yields_at() <= now
            && let Some(source) = self.role.sources.wanting.front()
        {
            self.role.sources.answer_want(source);
            match self.oldest_to_yield(source) {
                Some(oldest) => self.close_one(oldest, CloseReason::Yielded),
                // All are too young, or in use: later.
                None => self.role.sources.renew_want(source, now),
            }
        }
    }

    /// The oldest connection of a peer that this end can give up, where both acquire, so that the peer
    /// gets one at all.
    pub(super) fn yielded_to(&self, peer: &Peer) -> Option<(u32, CloseReason)> {
        let sources = &self.role.sources;
        let number = sources.number(peer).filter(|_| self.acquirer == Acquirer::Both)?;
        let stock = sources.slab.get(number)?.stock;
        if stock.theirs > 0 {
            return None;
        }
        let idle = |index: &u32| self.state(*index) == Some(State::Idle);
        Some((sources.pooled_slots(number, &self.slots).find(idle)?, CloseReason::Yielded))
    }

    /// An end has acquired a connection of its own: this end (`here`), or the peer.
    pub(super) fn count_acquired(&mut self, index: u32, here: bool) {
        let Some(origin) = self.slots.get(index).map(|slot| slot.origin) else { return };
        let Some(source) = self.role.sources.slab.get_mut(origin) else { return };
        if !here {
            source.share.acquired_by_peer();
        }
        if !source.share.acquired(here, source.stock) {
            return;
        }
        if let Some(oldest) = self.oldest_to_yield(origin) {
            self.close_one(oldest, CloseReason::Yielded);
        }
    }

    /// The oldest connection of a peer that this end can give up. Not a young one: a client takes a server
    /// that closes those for a full one.
    fn oldest_to_yield(&self, source: u32) -> Option<u32> {
        let is_old = |index: &u32| {
            let slot = self.slots.get(*index);
            slot.is_some_and(|slot| slot.state == State::Idle && slot.established + OLD <= self.now)
        };
        self.role.sources.pooled_slots(source, &self.slots).find(is_old)
    }
}
