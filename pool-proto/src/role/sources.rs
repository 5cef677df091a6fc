//! Sources: the peer addresses of a server's connections, ranked by their share of the pool.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

use crate::entropy::{Entropy, Use};
use crate::keyed::TableKey;
use crate::slab::{List, Slab};
use crate::slots::Slots;

/// Returns the source of a peer: its IPv4 address, or its IPv6 /64 network (RFC 6177: the smallest
/// block that a customer is given). IPv4-mapped IPv6 addresses count as IPv4.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[derive(Clone)]
pub(crate) struct Source {
    address: IpAddr,
    /// Its pooled connections, that is all but the leased ones, oldest entry first.
    pub(crate) pooled: List<2>,
    /// The number of its connections in handshakes.
    pub(crate) handshakes: u32,
    /// The number of all its connections.
    pub(crate) live: u32,
}

/// All sources with live connections, ranked by the number of their pooled connections.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) slab: Slab<Source, 1>,
    pub(crate) by_address: HashMap<IpAddr, u32, TableKey>,
    /// `ranks[n]`: the sources with exactly n pooled connections. Counts change by one, so a source
    /// moves to the neighbouring rank, and the highest rank is known without a search.
    pub(crate) ranks: Vec<List<0>>,
    pub(crate) highest: usize,
}

impl Sources {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self {
            slab: Slab::new(),
            by_address: HashMap::with_hasher(TableKey::new(entropy.key(Use::SourceTable))),
            ranks: Vec::new(),
            highest: 0,
        }
    }

    pub(crate) fn address(&self, source: u32) -> Option<IpAddr> {
        self.slab.get(source).map(|source| source.address)
    }

    /// The number of pooled connections of the source `address`.
    pub(crate) fn pooled_count(&self, address: IpAddr) -> u32 {
        let source = self.by_address.get(&address).and_then(|index| self.slab.get(*index));
        source.map_or(0, |source| source.pooled.len())
    }

    /// The sources with at least `least` pooled connections, heaviest first.
    pub(crate) fn heaviest(&self, least: u32) -> impl Iterator<Item = u32> + '_ {
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

    /// The number of the source `address`, if it has live connections.
    pub(crate) fn number(&self, address: IpAddr) -> Option<u32> {
        self.by_address.get(&address).copied()
    }

    /// The number of handshakes of a source.
    pub(crate) fn handshakes(&self, source: u32) -> u32 {
        self.slab.get(source).map_or(0, |source| source.handshakes)
    }

    /// The number of the source `address`: a new one if it has no live connection.
    pub(crate) fn register(&mut self, address: IpAddr) -> Option<u32> {
        if let Some(index) = self.by_address.get(&address) {
            return Some(*index);
        }
        let index = self
            .slab
            .insert(Source { address, pooled: List::new(), handshakes: 0, live: 0 })?
            .index;
        self.by_address.insert(address, index);
        self.at_rank(0, |rank, slab| rank.push_back(slab, index));
        Some(index)
    }

    /// A connection of `source` was admitted.
    pub(crate) fn admitted<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.live += 1;
            entry.handshakes += 1;
        }
        self.add_pooled(source, slots, index);
    }

    /// A handshake of `source` has ended.
    pub(crate) fn handshake_ended(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
        }
    }

    /// A connection of `source` came into the pool.
    pub(crate) fn add_pooled<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change_rank(source, |pooled| pooled.push_back(&mut slots.slab, index));
    }

    /// A connection of `source` left the pool: leased, or about to end.
    pub(crate) fn remove_pooled<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change_rank(source, |pooled| pooled.remove(&mut slots.slab, index));
    }

    /// A connection of `source` ended, after it had left the pool.
    pub(crate) fn connection_ended(&mut self, source: u32) {
        let Some(entry) = self.slab.get_mut(source) else {
            return;
        };
        entry.live = entry.live.saturating_sub(1);
        if entry.live == 0 {
            let (address, rank) = (entry.address, entry.pooled.len());
            self.at_rank(rank, |rank, slab| rank.remove(slab, source));
            self.slab.remove(source);
            self.by_address.remove(&address);
        }
    }

    fn change_rank(&mut self, source: u32, change: impl FnOnce(&mut List<2>)) {
        let Some(entry) = self.slab.get_mut(source) else {
            return;
        };
        let before = entry.pooled.len();
        change(&mut entry.pooled);
        let after = entry.pooled.len();
        self.at_rank(before, |rank, slab| rank.remove(slab, source));
        self.at_rank(after, |rank, slab| rank.push_back(slab, source));
        self.highest = self.highest.max(after as usize);
        while self.highest > 0 && self.ranks.get(self.highest).is_none_or(List::is_empty) {
            self.highest -= 1;
        }
    }

    fn at_rank(&mut self, count: u32, act: impl FnOnce(&mut List<0>, &mut Slab<Source, 1>)) {
        let count = count as usize;
        if self.ranks.len() <= count {
            self.ranks.resize_with(count + 1, List::new);
        }
        if let Some(rank) = self.ranks.get_mut(count) {
            act(rank, &mut self.slab);
        }
    }
}
