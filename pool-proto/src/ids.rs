//! The ids of connections: issuing them, and the way from an id to its connection, in O(1).

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use siphasher::sip::SipHasher24;

use crate::config::assigned;
use crate::entropy::{Entropy, Use};
use crate::error::Refusal;
use crate::event::CloseReason;
use crate::id::{ConnId, with_hint};
use crate::keyed::TableKey;

/// The number of remembered ended ids. An id travels for about a round trip, in which no more
/// connections than this should end. They are searched only for ids that are not live.
const REMEMBERED: usize = 256;

/// The ids of live connections, and of those that ended last.
#[derive(Clone)]
pub(crate) struct Ids {
    live: Live,
    /// The ids of the connections that ended last, oldest first. An id may be on its way to a caller
    /// while its connection ends; an acquire by that id is refused at once, with the reason.
    pub(crate) ended: VecDeque<(ConnId, CloseReason)>,
}

/// The slots of live ids.
#[derive(Clone)]
enum Live {
    /// This end makes the ids.
    Issued(Issuer, Places),
    /// The peer makes the ids: untrusted, so the table is keyed.
    Received(HashMap<ConnId, u32, TableKey>),
}

/// The facts that the id of a connection tells the peer, if it is to tell them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    /// Whether the server may acquire the connection.
    pub(crate) servers: Option<bool>,
    /// How many callers wait at this end.
    pub(crate) waiters: Option<u32>,
}

impl Ids {
    /// Ids made by this end.
    pub(crate) fn issued(entropy: &Entropy) -> Self {
        Self::new(Live::Issued(Issuer::new(entropy.key(Use::Ids)), Places::default()))
    }

    /// Ids made by the peer.
    pub(crate) fn received(entropy: &Entropy) -> Self {
        let key = TableKey::new(entropy.key(Use::IdTable));
        Self::new(Live::Received(HashMap::with_hasher(key)))
    }

    fn new(live: Live) -> Self {
        Self { live, ended: VecDeque::with_capacity(REMEMBERED) }
    }

    /// Whether the peer makes the ids.
    pub(crate) const fn are_received(&self) -> bool {
        matches!(self.live, Live::Received(_))
    }

    /// The number of live ids.
    pub(crate) fn len(&self) -> usize {
        match &self.live {
            Live::Issued(_, places) => places.used + usize::from(places.zero.is_some()),
            Live::Received(slots) => slots.len(),
        }
    }

    /// The slot of the live connection with this id, if any.
    #[inline]
    pub(crate) fn find(&self, id: ConnId) -> Option<u32> {
        match &self.live {
            Live::Issued(_, places) => places.find(id),
            Live::Received(slots) => slots.get(&id).copied(),
        }
    }

    /// Why no connection can come any more for an id that is not live, if so.
    pub(crate) fn refusal(&self, id: ConnId) -> Option<Refusal> {
        match self.ended.iter().rev().find(|(ended, _)| *ended == id) {
            Some((_, reason)) => Some(Refusal::Gone { id, reason: *reason }),
            None if self.are_received() => None,
            None => Some(Refusal::UnknownId { id }),
        }
    }

    /// Makes an id for the connection in slot `index`, at any time of its life; `None` if the peer
    /// makes the ids. With `control`, it is the zero id unless a live connection has that. The id
    /// encodes `told` for the peer.
    pub(crate) fn issue(&mut self, index: u32, control: bool, told: Told) -> Option<ConnId> {
        let Live::Issued(issuer, places) = &mut self.live else {
            return None;
        };
        if control && places.zero.is_none() {
            places.zero = Some(index);
            return Some(ConnId::ZERO);
        }
        places.reserve();
        // Ends soon: at least half of the places are free.
        loop {
            let drawn = issuer.draw();
            let drawn = told.waiters.map_or(drawn, |waiters| with_hint(drawn, waiters));
            let id = told.servers.map_or(drawn, |servers| assigned(drawn, servers));
            if id != ConnId::ZERO && places.enter(id, index) {
                return Some(id);
            }
        }
    }

    /// Enters an id from the peer; `false` if a live connection has it.
    pub(crate) fn enter(&mut self, id: ConnId, index: u32) -> bool {
        if let Live::Received(slots) = &mut self.live
            && let Entry::Vacant(vacant) = slots.entry(id)
        {
            vacant.insert(index);
            return true;
        }
        false
    }

    /// The connection with this id has ended.
    pub(crate) fn ended(&mut self, id: ConnId, reason: CloseReason) {
        match &mut self.live {
            Live::Issued(_, places) => places.remove(id),
            Live::Received(slots) => drop(slots.remove(&id)),
        }
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, reason));
    }
}

/// The slots of issued ids. The place of an id is given by its last bits.
///
/// An id is issued only if its place is free, so a find reads one place, which costs one cache miss in
/// a large pool. A hash table costs two, and a hash. Issued ids need neither: they are random already,
/// and no peer chooses them.
#[derive(Clone, Default)]
struct Places {
    /// A power of two of them, at most half of them in use.
    places: Vec<Place>,
    used: usize,
    /// The slot of the zero id, which needs no place.
    zero: Option<u32>,
}

#[derive(Clone, Copy)]
struct Place {
    /// The zero id, which has no place, if the place is free.
    id: ConnId,
    slot: u32,
}

const FREE: Place = Place { id: ConnId::ZERO, slot: 0 };

/// The number of places at first: enough for small pools.
const FIRST_PLACES: usize = 64;

impl Places {
    const fn at(&self, id: ConnId) -> usize {
        u32::from_be_bytes(id.to_bytes()) as usize & self.places.len().wrapping_sub(1)
    }

    #[inline]
    fn find(&self, id: ConnId) -> Option<u32> {
        if id == ConnId::ZERO {
            return self.zero;
        }
        let place = self.places.get(self.at(id))?;
        (place.id == id).then_some(place.slot)
    }

    /// Makes room for one more id. Ids in different places remain so when the places double.
    fn reserve(&mut self) {
        if self.used >= self.places.len() / 2 {
            let doubled = (self.places.len() * 2).max(FIRST_PLACES);
            let former = core::mem::replace(&mut self.places, vec![FREE; doubled]);
            self.used = 0;
            for place in former.into_iter().filter(|place| place.id != FREE.id) {
                self.enter(place.id, place.slot);
            }
        }
    }

    /// Enters an id; `false` if its place is not free.
    fn enter(&mut self, id: ConnId, slot: u32) -> bool {
        let at = self.at(id);
        match self.places.get_mut(at) {
            Some(place) if place.id == FREE.id => {
                *place = Place { id, slot };
                self.used += 1;
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, id: ConnId) {
        if id == ConnId::ZERO {
            self.zero = None;
            return;
        }
        let at = self.at(id);
        if let Some(place) = self.places.get_mut(at) {
            *place = FREE;
            self.used -= 1;
        }
    }
}

/// A sequence of ids that cannot be predicted from any of its parts.
///
/// The n-th draw is SipHash-2-4 of the number n under a secret key, cut to 32 bits. SipHash-2-4 is a
/// pseudorandom function under its 128-bit key (Aumasson and Bernstein, "SipHash: a fast short-input
/// PRF", 2012): without the key, its outputs for new inputs cannot be told from independent random
/// ones, however many outputs are known. A draw whose place is taken is skipped. So a peer that knows
/// all ids so far, and which of them are live, can only guess the next among those with a free place, at
/// least half of all: it is right once in 2³¹ tries. (Ids on the wire have 25 random bits, and 24 if
/// they tell the acquirer: there it is right once in 2²⁴ or 2²³ tries.)
///
/// The alternative is a permutation of 32 bits, whose ids would not repeat and, if it permutes slots,
/// would need no table. A block of 32 bits is too small for that: the usual proofs for a cipher of
/// such blocks end at some 2¹⁶ known ids, and a permutation of slots repeats its ids when the
/// generations of a slot are used up. Here, the id of a connection that has ended comes again like any
/// other: once in 2³² draws.
#[derive(Clone)]
struct Issuer {
    key: SipHasher24,
    drawn: u64,
}

impl Issuer {
    fn new([first, second]: [u64; 2]) -> Self {
        Self { key: SipHasher24::new_with_keys(first, second), drawn: 0 }
    }

    fn draw(&mut self) -> ConnId {
        let [a, b, c, d, ..] = self.key.hash(&self.drawn.to_le_bytes()).to_le_bytes();
        self.drawn = self.drawn.wrapping_add(1);
        ConnId::from_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests;
