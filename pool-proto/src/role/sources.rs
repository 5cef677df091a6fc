//! Which peer address holds how much of a server's pool, and who holds most.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv6Addr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::slab::{List, Slab};
use crate::slots::Slots;

/// What one limit counts as one peer: an IPv4 address, or an IPv6 /64 network (RFC 6177: the
/// smallest block that one customer is given). IPv4-mapped IPv6 addresses are IPv4 addresses.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[derive(Clone)]
struct Source {
    address: IpAddr,
    /// Its connections that are not leased, longest there first.
    pooled: List<2>,
    /// Its connections in their handshakes.
    handshakes: u32,
    /// All its connections.
    live: u32,
}

/// All sources with live connections, ranked by how many of them are not leased.
#[derive(Clone)]
pub(crate) struct Sources {
    slab: Slab<Source, 1>,
    by_address: HashMap<IpAddr, u32, FixedState>,
    /// `ranks[n]`: the sources with exactly n pooled connections. Counts move by one, so a source
    /// moves to the neighbouring rank, and the highest rank is known without a search.
    ranks: Vec<List<0>>,
    highest: usize,
}

impl Sources {
    pub(crate) fn new(random: &mut fastrand::Rng) -> Self {
        Self {
            slab: Slab::new(),
            by_address: HashMap::with_hasher(FixedState::with_seed(random.u64(..))),
            ranks: Vec::new(),
            highest: 0,
        }
    }

    pub(crate) fn address(&self, source: u32) -> Option<IpAddr> {
        self.slab.get(source).map(|source| source.address)
    }

    /// Feeds a model checker's hasher with the sources, each named by its address.
    pub(crate) fn hash_state<H: Hasher>(
        &self,
        hash_pooled: impl Fn(&List<2>, &mut H),
        hasher: &mut H,
    ) {
        let mut live: Vec<(IpAddr, u32)> = self
            .slab
            .live()
            .filter_map(|(index, _)| self.address(index).map(|address| (address, index)))
            .collect();
        live.sort_unstable();
        for (address, index) in &live {
            let Some(source) = self.slab.get(*index) else { continue };
            hash_pooled(&source.pooled, hasher);
            let known = self.number(*address) == Some(*index);
            (address, known, source.handshakes, source.live).hash(hasher);
        }
        (live.len(), self.by_address.len()).hash(hasher);
        // Ranks that are empty are as good as none.
        for (rank, sources) in self.ranks.iter().enumerate().filter(|(_, rank)| !rank.is_empty()) {
            let next = |at: &u32| sources.next(&self.slab, *at);
            rank.hash(hasher);
            for source in core::iter::successors(sources.front(), next) {
                self.address(source).hash(hasher);
            }
        }
        self.highest.hash(hasher);
    }

    /// Connections of `address` that are not leased.
    pub(crate) fn pooled(&self, address: IpAddr) -> u32 {
        let source = self.by_address.get(&address).and_then(|index| self.slab.get(*index));
        source.map_or(0, |source| source.pooled.len())
    }

    /// The sources with at least `least` pooled connections, those with most first.
    pub(crate) fn heaviest(&self, least: u32) -> impl Iterator<Item = u32> + '_ {
        let ranks = self.ranks.get(least as usize..=self.highest).unwrap_or_default();
        ranks
            .iter()
            .rev()
            .flat_map(|rank| core::iter::successors(rank.front(), |at| rank.next(&self.slab, *at)))
    }

    /// The pooled connections of a source, longest there first.
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

    /// Handshakes of a source.
    pub(crate) fn handshakes(&self, source: u32) -> u32 {
        self.slab.get(source).map_or(0, |source| source.handshakes)
    }

    /// The number of the source `address`, new if it has no live connection.
    pub(crate) fn enrol(&mut self, address: IpAddr) -> Option<u32> {
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
        self.joined(source, slots, index);
    }

    /// A handshake of `source` is over.
    pub(crate) fn handshake_over(&mut self, source: u32) {
        if let Some(entry) = self.slab.get_mut(source) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
        }
    }

    /// A connection of `source` was put back.
    pub(crate) fn joined<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change(source, |pooled| pooled.push_back(&mut slots.slab, index));
    }

    /// A connection of `source` was leased.
    pub(crate) fn left<C>(&mut self, source: u32, slots: &mut Slots<C>, index: u32) {
        self.change(source, |pooled| pooled.remove(&mut slots.slab, index));
    }

    /// A connection of `source` ended; it has left before.
    pub(crate) fn ended(&mut self, source: u32) {
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

    fn change(&mut self, source: u32, change: impl FnOnce(&mut List<2>)) {
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
