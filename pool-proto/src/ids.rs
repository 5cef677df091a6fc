//! The ids of connections: issuing them, and the way from an id to its connection, in O(1).

use alloc::collections::VecDeque;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use siphasher::sip::SipHasher24;

use crate::entropy::{Entropy, Use};
use crate::error::Refusal;
use crate::event::CloseReason;
use crate::id::ConnId;
use crate::keyed::TableKey;

/// The number of remembered ended ids. An id travels for about a round trip, in which no more
/// connections than this should end. They are searched only for ids that are not live.
const REMEMBERED: usize = 256;

/// The ids of live connections, and of those that ended last.
#[derive(Clone)]
pub(crate) struct Ids {
    /// Makes the ids, if this end does. Otherwise the peer sends them.
    issuer: Option<Issuer>,
    /// The slot of each id. Ids from the peer are untrusted, so the table is keyed.
    pub(crate) live: HashMap<ConnId, u32, TableKey>,
    /// The ids of the connections that ended last, oldest first. An id may be on its way to a caller
    /// while its connection ends; an acquire by that id is refused at once, with the reason.
    pub(crate) ended: VecDeque<(ConnId, CloseReason)>,
}

impl Ids {
    /// Ids made by this end.
    pub(crate) fn issued(entropy: &Entropy) -> Self {
        let issuer = Issuer::new(entropy.key(Use::Ids));
        Self { issuer: Some(issuer), ..Self::received(entropy) }
    }

    /// Ids made by the peer.
    pub(crate) fn received(entropy: &Entropy) -> Self {
        Self {
            issuer: None,
            live: HashMap::with_hasher(TableKey::new(entropy.key(Use::IdTable))),
            ended: VecDeque::with_capacity(REMEMBERED),
        }
    }

    /// Whether the peer makes the ids.
    pub(crate) const fn are_received(&self) -> bool {
        self.issuer.is_none()
    }

    /// The slot of the live connection with this id, if any.
    #[inline]
    pub(crate) fn find(&self, id: ConnId) -> Option<u32> {
        self.live.get(&id).copied()
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
    /// makes the ids. With `control`, it is the zero id unless a live connection has that.
    pub(crate) fn issue(&mut self, index: u32, control: bool) -> Option<ConnId> {
        let issuer = self.issuer.as_mut()?;
        if control && !self.live.contains_key(&ConnId::ZERO) {
            self.live.insert(ConnId::ZERO, index);
            return Some(ConnId::ZERO);
        }
        // Ends: at most 2²⁴ of the 2³² ids are live, so a draw is rarely repeated.
        loop {
            let id = issuer.draw();
            if id != ConnId::ZERO
                && let Entry::Vacant(vacant) = self.live.entry(id)
            {
                vacant.insert(index);
                return Some(id);
            }
        }
    }

    /// Enters an id from the peer; `false` if a live connection has it.
    pub(crate) fn enter(&mut self, id: ConnId, index: u32) -> bool {
        let Entry::Vacant(vacant) = self.live.entry(id) else {
            return false;
        };
        vacant.insert(index);
        true
    }

    /// The connection with this id has ended.
    pub(crate) fn ended(&mut self, id: ConnId, reason: CloseReason) {
        self.live.remove(&id);
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, reason));
    }
}

/// A sequence of ids that cannot be predicted from any of its parts.
///
/// The n-th draw is SipHash-2-4 of the number n under a secret key, cut to 32 bits. SipHash-2-4 is a
/// pseudorandom function under its 128-bit key (Aumasson and Bernstein, "SipHash: a fast short-input
/// PRF", 2012): without the key, its outputs for new inputs cannot be told from independent random
/// ones, however many outputs are known. So a peer that has seen any number of ids can only guess the
/// next, and hits each id that is in use once in 2³² tries.
///
/// The alternative is a permutation of 32 bits, whose ids would not repeat and, if it permutes slots,
/// would need no table. A block of 32 bits is too small for that: the usual proofs for a cipher of
/// such blocks end at some 2¹⁶ known ids, and a permutation of slots repeats its ids when the
/// generations of a slot are used up. Here, a drawn id that is in use is passed over. The id of a
/// connection that has ended comes again as any other does: with one in 2³² draws.
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
