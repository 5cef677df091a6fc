//! Sources: the peers of a server's connections, ranked by their share of the pool.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::entropy::{Entropy, Use};
use crate::keyed::TableKey;
use crate::role::share::{Parts, Share};
use crate::slab::{List, Slab};
use crate::slots::Slots;
use crate::time::Instant;

/// The identity of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Peer {
    /// An IPv4 address, or an IPv6 /64 network.
    Source(IpAddr),
    /// The SHA-256 fingerprint of a verified certificate.
    Certificate([u8; 32]),
}

impl Peer {
    /// The peer at this address: its IPv4 address, or its IPv6 /64 network (RFC 6177: the smallest
    /// block that a customer is given). IPv4-mapped IPv6 addresses count as IPv4.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Source(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        })
    }

    /// The address of a source; the unspecified one for a certificate.
    pub(crate) const fn address(&self) -> IpAddr {
        match self {
            Self::Source(address) => *address,
            Self::Certificate(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// The time in which a peer may replace as many of its connections as it holds: a reconnect after a
/// loss is much rarer than this, and dials of a client that wants more than the server holds are much
/// more frequent.
pub(crate) const REPLACING: Duration = Duration::from_secs(60);

/// The weight of a handshake from a source that is not known, against one from a source that is. A
/// client that fills its pool has several handshakes under way, and must not lose them to a crowd with
/// one from each source; but a known source must not keep out strangers either.
const STRANGER: u32 = 16;

/// The most sources that are remembered because peers have proven themselves from there: some 100 KiB.
const KNOWN: usize = 1024;

#[derive(Clone)]
pub(crate) struct Source {
    peer: Peer,
    /// Its pooled connections: all that are past their handshakes, but neither leased nor finished;
    /// oldest entry first.
    pub(crate) pooled: List<2>,
    /// Its rank: the number of its pooled connections when it was ranked last.
    rank: u32,
    /// Whether it is in the list of sources to rank anew.
    is_unranked: bool,
    /// Its connections that are ready or become so, by the end that may acquire them, and the last
    /// acquires of both, where both acquire.
    pub(crate) stock: Parts,
    pub(crate) share: Share,
    pub(crate) want: Want,
    /// The number of its unproven handshakes.
    pub(crate) handshakes: u32,
    /// Whether a peer has proven itself from there. Not looked up in the set of these: an eviction asks
    /// once for each handshake, and would take five times as long.
    pub(crate) known: bool,
    /// The number of all its connections.
    pub(crate) live: u32,
    /// The number of its connections that newer ones have replaced since `replacing`.
    pub(crate) replaced: u32,
    pub(crate) replacing: Instant,
}

/// Whether a peer lacks a connection of its own, where both ends acquire and this end could give one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It does not lack one.
    None,
    /// It has lacked one since then.
    Since(Instant),
    /// It lacked one, and this end has given one up since.
    Answered,
}

/// All sources with live connections, ranked by the number of their pooled connections.
///
/// Each acquire and each return changes such a number, and the ranks are asked for at a limit only. So the
/// sources with a new number are listed, and ranked when it comes to that.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) slab: Slab<Source, 3>,
    /// The sources of which the number has changed since they were ranked.
    unranked: List<2>,
    /// The sources that [want](Want::Since) a connection of their own, in the order in which they began
    /// to.
    pub(crate) wanting: List<1>,
    pub(crate) by_peer: HashMap<Peer, u32, TableKey>,
    /// The [`KNOWN`] sources from which peers have proven themselves last, and their order.
    pub(crate) known: HashSet<Peer, TableKey>,
    known_order: VecDeque<Peer>,
    /// `ranks[n]`: the sources that had n pooled connections when they were ranked.
    ranks: Vec<List<0>>,
    highest: usize,
}

impl Sources {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self {
            slab: Slab::new(),
            unranked: List::new(),
            wanting: List::new(),
            by_peer: HashMap::with_hasher(TableKey::new(entropy.key(Use::SourceTable))),
            known: HashSet::with_hasher(TableKey::new(entropy.key(Use::SourceTable))),
            known_order: VecDeque::new(),
            ranks: Vec::new(),
            highest: 0,
        }
    }

    pub(crate) fn peer(&self, source: u32) -> Option<Peer> {
        self.slab.get(source).map(|source| source.peer)
    }

    /// A peer's even share of a number. Peers in their handshakes count as well, so that it may be less.
    pub(crate) fn share_of(&self, number: u32) -> u32 {
        number.div_ceil(u32::try_from(self.by_peer.len()).unwrap_or(u32::MAX).max(1))
    }

    /// The number of pooled connections of a peer.
    pub(crate) fn pooled_count(&self, peer: &Peer) -> u32 {
        let source = self.by_peer.get(peer).and_then(|index| self.slab.get(*index));
        source.map_or(0, |source| source.pooled.len())
    }

    /// The sources with at least `least` pooled connections, heaviest first, as [`rank`](Self::rank) has
    /// ranked them.
    pub(crate) fn heaviest(&self, least: u32) -> impl Iterator<Item = u32> + '_ {
        debug_assert!(self.unranked.is_empty(), "all sources are ranked");
        let ranks = self.ranks.get(least as usize..=self.highest).unwrap_or_default();
        ranks
            .iter()
            .rev()
            .flat_map(|rank| core::iter::successors(rank.front(), |at| rank.next(&self.slab, *at)))
    }

    /// The pooled connections of a source, oldest entry first.
    pub(crate) fn pooled_slots<'a, C>(
        &'a self,
        source: u32,
        slots: &'a Slots<C>,
    ) -> impl Iterator<Item = u32> + 'a {
        let list = self.slab.get(source).map(|source| source.pooled);
        let first = list.and_then(|list| list.front());
        core::iter::successors(first, move |at| list?.next(&slots.slab, *at))
    }

    /// The number of a peer, if it has live connections.
    pub(crate) fn number(&self, peer: &Peer) -> Option<u32> {
        self.by_peer.get(peer).copied()
    }

    /// Whether a newer connection may replace an older one of this source.
    pub(crate) fn may_replace(&self, source: u32, now: Instant) -> bool {
        self.slab.get(source).is_some_and(|source| {
            now.since(source.replacing) >= REPLACING || source.replaced < source.pooled.len()
        })
    }

    pub(crate) fn count_replaced(&mut self, source: u32, now: Instant) {
        if let Some(entry) = self.slab.get_mut(source) {
            if entry.replaced == 0 || now.since(entry.replacing) >= REPLACING {
                (entry.replacing, entry.replaced) = (now, 0);
            }
            entry.replaced += 1;
        }
    }

    /// The weight of a source's handshakes: those of the heaviest source are evicted first.
    pub(crate) fn handshake_weight(&self, source: u32) -> u32 {
        self.slab.get(source).map_or(0, |source| match source.known {
            true => source.handshakes,
            false => source.handshakes.saturating_mul(STRANGER),
        })
    }

    /// The number of a peer: a new one if it has no live connection.
    pub(crate) fn register(&mut self, peer: Peer) -> Option<u32> {
        if let Some(index) = self.by_peer.get(&peer) {
            return Some(*index);
        }
        let source = Source {
            peer,
            pooled: List::new(),
            rank: 0,
            is_unranked: false,
            stock: Parts::default(),
            share: Share::default(),
            want: Want::None,
            handshakes: 0,
            known: self.known.contains(&peer),
            live: 0,
            replaced: 0,
            replacing: Instant::EPOCH,
        };
        let index = self.slab.insert(source)?.index;
        self.by_peer.insert(peer, index);
        self.at_rank(0, |rank, slab| rank.push_back(slab, index));
        Some(index)
    }

    /// A peer of `source` was accepted.
    pub(crate) fn accepted(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.live += 1;
            entry.handshakes += 1;
        }
    }

    /// A handshake of `source` has ended.
    pub(crate) fn handshake_ended(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
        }
    }

    /// A handshake of `source` is over, and its connection belongs to the source `proven` from now on.
    pub(crate) fn proven(&mut self, source: u32, proven: u32) {
        self.remember(source);
        if let Some(entry) = self.slab.get_mut(proven) {
            entry.live += 1;
        }
        self.handshake_ended(source);
        self.connection_ended(source);
    }

    /// Remembers that a peer has proven itself from this source.
    fn remember(&mut self, source: u32) {
        let Some(entry) = self.slab.get_mut(source).filter(|entry| !entry.known) else { return };
        entry.known = true;
        let peer = entry.peer;
        if self.known.insert(peer) {
            self.known_order.push_back(peer);
        }
        if self.known_order.len() > KNOWN
            && let Some(first) = self.known_order.pop_front()
        {
            self.known.remove(&first);
        }
    }

    /// A connection of `source` came into the pool.
    #[inline]
    pub(crate) fn add_pooled<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change_pooled(source, |pooled| pooled.push_back(&mut slots.slab, index));
    }

    /// A connection of `source` left the pool: leased, or about to end.
    #[inline]
    pub(crate) fn remove_pooled<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change_pooled(source, |pooled| pooled.remove(&mut slots.slab, index));
    }

    /// A connection of `source` ended, after it had left the pool.
    pub(crate) fn connection_ended(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.live = entry.live.saturating_sub(1);
        }
        self.forget_if_unused(source);
    }

    /// Forgets a source that has no live connection.
    pub(crate) fn forget_if_unused(&mut self, source: u32) {
        let Some(entry) = self.slab.get(source).filter(|entry| entry.live == 0) else {
            return;
        };
        let &Source { peer, rank, is_unranked, want, .. } = entry;
        if is_unranked {
            self.unranked.remove(&mut self.slab, source);
        }
        if matches!(want, Want::Since(_)) {
            self.wanting.remove(&mut self.slab, source);
        }
        self.at_rank(rank, |rank, slab| rank.remove(slab, source));
        self.slab.remove(source);
        self.by_peer.remove(&peer);
    }

    /// A peer lacks a connection of its own, or does not.
    pub(crate) fn want(&mut self, source: u32, wants: bool, now: Instant) {
        let Some(entry) = self.slab.get_mut(source) else { return };
        match (entry.want, wants) {
            (Want::None, true) => {
                entry.want = Want::Since(now);
                self.wanting.push_back(&mut self.slab, source);
            }
            (Want::Since(_), false) => {
                entry.want = Want::None;
                self.wanting.remove(&mut self.slab, source);
            }
            (Want::Answered, false) => entry.want = Want::None,
            _ => {}
        }
    }

    /// This end gives a connection up for a peer that wants one.
    pub(crate) fn answer_want(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source).filter(|entry| entry.want != Want::None) {
            entry.want = Want::Answered;
            self.wanting.remove(&mut self.slab, source);
        }
    }

    /// This end could not give a connection up for a peer that wants one.
    pub(crate) fn renew_want(&mut self, source: u32, now: Instant) {
        self.want(source, false, now);
        self.want(source, true, now);
    }

    #[inline]
    fn change_pooled(&mut self, source: u32, change: impl FnOnce(&mut List<2>)) {
        let Some(entry) = self.slab.get_mut(source) else {
            return;
        };
        change(&mut entry.pooled);
        let was_unranked = core::mem::replace(&mut entry.is_unranked, true);
        // In the order of their last changes, as if each were ranked at once.
        if self.unranked.back() == Some(source) {
            return;
        }
        if was_unranked {
            self.unranked.remove(&mut self.slab, source);
        }
        self.unranked.push_back(&mut self.slab, source);
    }

    /// Ranks the sources of which the number of pooled connections has changed.
    pub(crate) fn rank(&mut self) {
        while let Some(source) = self.unranked.front() {
            self.unranked.remove(&mut self.slab, source);
            let Some(entry) = self.slab.get_mut(source) else { continue };
            entry.is_unranked = false;
            let count = entry.pooled.len();
            let before = core::mem::replace(&mut entry.rank, count);
            // Also where the number is as before: in between it was another one, and the source comes back as
            // the last one of its rank.
            self.at_rank(before, |rank, slab| rank.remove(slab, source));
            self.at_rank(count, |rank, slab| rank.push_back(slab, source));
            self.highest = self.highest.max(count as usize);
        }
        while self.highest > 0 && self.ranks.get(self.highest).is_none_or(List::is_empty) {
            self.highest -= 1;
        }
    }

    /// The sources of each rank, as [`rank`](Self::rank) would leave them: lowest first. Sources without a
    /// pooled connection are left out: their order has no effect.
    pub(crate) fn ranked(&self) -> Vec<(u32, u32)> {
        let mut all: Vec<(u32, u32)> = Vec::new();
        for (rank, list) in (0..).zip(&self.ranks) {
            let sources = core::iter::successors(list.front(), |at| list.next(&self.slab, *at));
            let stay = |at: &u32| self.slab.get(*at).is_some_and(|source| !source.is_unranked);
            all.extend(sources.filter(stay).map(|at| (rank, at)));
        }
        let unranked =
            core::iter::successors(self.unranked.front(), |at| self.unranked.next(&self.slab, *at));
        all.extend(unranked.filter_map(|at| Some((self.slab.get(at)?.pooled.len(), at))));
        all.retain(|(rank, _)| *rank > 0);
        // Stable: those that move come last.
        all.sort_by_key(|(rank, _)| *rank);
        all
    }

    fn at_rank(&mut self, count: u32, act: impl FnOnce(&mut List<0>, &mut Slab<Source, 3>)) {
        let count = count as usize;
        if self.ranks.len() <= count {
            self.ranks.resize_with(count + 1, List::new);
        }
        if let Some(rank) = self.ranks.get_mut(count) {
            act(rank, &mut self.slab);
        }
    }
}
