//! From id to connection, in O(1).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::error::Refusal;
use crate::event::CloseReason;
use crate::id::ConnId;
use crate::slab::Key;
use crate::state_key::CanonicalNames;

/// Where the ids of live connections lead.
#[derive(Clone)]
pub(crate) enum Ids {
    /// This end makes the ids: they are the slots, permuted, and need no table; but for the zero id,
    /// which is given to one connection at a time, or to none.
    Issued {
        permutation: Permutation,
        /// The slot of the connection that has the zero id.
        zero: Option<u32>,
    },
    /// The peer makes the ids.
    Received(Received),
}

/// Ids made by the peer: untrusted, hashed with a key of our own.
#[derive(Clone)]
pub(crate) struct Received {
    live: HashMap<ConnId, u32, FixedState>,
    /// The connections that ended last, oldest first. An id whose connection has ended on this end
    /// while the other was handing it out is refused at once, instead of being waited for in vain.
    ended: VecDeque<(ConnId, CloseReason)>,
}

/// How many ended connections are remembered: an id is on its way for a round trip or so, in which
/// no more connections than this should end. Looked through only for ids that are not live.
const REMEMBERED: usize = 256;

impl Ids {
    /// Ids made here, for slots below `slots`.
    pub(crate) fn issued(slots: u32, random: &mut fastrand::Rng) -> Self {
        Self::Issued { permutation: Permutation::new(slots, random), zero: None }
    }

    /// Ids made by the peer.
    pub(crate) fn received(random: &mut fastrand::Rng) -> Self {
        Self::Received(Received {
            live: HashMap::with_hasher(FixedState::with_seed(random.u64(..))),
            ended: VecDeque::with_capacity(REMEMBERED),
        })
    }

    /// The slot that an id leads to, if any. For issued ids the caller compares the slot's id: an
    /// id of a former use, or one never issued, leads to a slot too.
    pub(crate) fn find(&self, id: ConnId) -> Option<u32> {
        match self {
            Self::Issued { zero, .. } if id == ConnId::ZERO => *zero,
            Self::Issued { permutation, .. } => Some(permutation.slot(id)),
            Self::Received(received) => received.live.get(&id).copied(),
        }
    }

    /// Why no connection with an id that leads nowhere can come any more, if so.
    pub(crate) fn refusal(&self, id: ConnId) -> Option<Refusal> {
        match self {
            Self::Issued { .. } => Some(Refusal::UnknownId { id }),
            Self::Received(received) => {
                let (_, reason) = received.ended.iter().rev().find(|(ended, _)| *ended == id)?;
                Some(Refusal::Gone { id, reason: *reason })
            }
        }
    }

    /// Whether an id leads to this slot.
    pub(crate) fn leads_to(&self, id: ConnId, index: u32) -> bool {
        self.find(id) == Some(index)
    }

    /// Feeds a model checker's hasher with the ids that lead nowhere any more and may still be asked
    /// for.
    pub(crate) fn hash_state<C, N: CanonicalNames<C>, H: Hasher>(&self, names: &N, hasher: &mut H) {
        let Self::Received(received) = self else { return };
        let live = |id| received.live.contains_key(id);
        let named = received.ended.iter().rev().filter(|(id, _)| !live(id));
        let named = named.filter_map(|(id, reason)| Some((names.id(*id)?, reason)));
        let mut ended: Vec<(u32, &CloseReason)> = Vec::new();
        for (name, reason) in named {
            if ended.iter().all(|(other, _)| *other != name) {
                ended.push((name, reason));
            }
        }
        ended.sort_unstable_by_key(|(name, _)| *name);
        (received.live.len(), ended).hash(hasher);
    }

    pub(crate) fn ended(&mut self, id: ConnId, index: u32, reason: CloseReason) {
        match self {
            Self::Issued { zero, .. } if id == ConnId::ZERO => *zero = None,
            Self::Received(received) if received.live.get(&id) == Some(&index) => {
                received.live.remove(&id);
                if received.ended.len() >= REMEMBERED {
                    received.ended.pop_front();
                }
                received.ended.push_back((id, reason));
            }
            _ => {}
        }
    }
}

impl Received {
    /// Enters the id of a new connection; `false` if a live one has it.
    pub(crate) fn enter(&mut self, id: ConnId, index: u32) -> bool {
        if self.live.contains_key(&id) {
            return false;
        }
        self.live.insert(id, index);
        true
    }
}

/// A keyed permutation of 32 bits: `(generation, slot) ↔ id`.
///
/// Ids of live connections differ because their slots do; ids of a slot's successive connections
/// differ until its generation has wrapped. A balanced Feistel network of four rounds: by Luby and
/// Rackoff (1988) a permutation whatever the round function is. It makes ids look drawn at random,
/// as the reference's are; it is not a secret: whoever can guess 32 bits can guess an id.
#[derive(Clone)]
pub(crate) struct Permutation {
    keys: [u32; 4],
    slot_bits: u32,
}

impl Permutation {
    fn new(slots: u32, random: &mut fastrand::Rng) -> Self {
        Self {
            keys: core::array::from_fn(|_| random.u32(..)),
            slot_bits: u32::BITS - slots.saturating_sub(1).leading_zeros(),
        }
    }

    /// The id of one life of a slot.
    pub(crate) fn id(&self, key: Key) -> ConnId {
        let generation = key.generation.checked_shl(self.slot_bits).unwrap_or(0);
        let (mut left, mut right) = halves(generation | key.index);
        for round_key in self.keys {
            (left, right) = (right, left ^ mix(right, round_key));
        }
        ConnId::from_bytes((left << 16 | right).to_be_bytes())
    }

    fn slot(&self, id: ConnId) -> u32 {
        let (mut left, mut right) = halves(u32::from_be_bytes(id.to_bytes()));
        for round_key in self.keys.iter().rev() {
            (left, right) = (right ^ mix(left, *round_key), left);
        }
        let mask = 1u32.checked_shl(self.slot_bits).unwrap_or(0).wrapping_sub(1);
        (left << 16 | right) & mask
    }
}

const fn halves(word: u32) -> (u32, u32) {
    (word >> 16, word & 0xffff)
}

/// The round function: multiplicative hashing (Knuth, TAOCP 6.4) of a half word to a half word.
const fn mix(half: u32, key: u32) -> u32 {
    let product = (half ^ key).wrapping_mul(0x9e37_79b1);
    (product ^ (product >> 15)).wrapping_mul(0x85eb_ca6b) >> 16
}

#[cfg(test)]
mod tests;
