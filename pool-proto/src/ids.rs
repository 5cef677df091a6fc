//! The way from an id to its connection, in O(1).

use alloc::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::error::Refusal;
use crate::event::CloseReason;
use crate::id::ConnId;
use crate::slab::Key;

/// The ids of live connections.
#[derive(Clone)]
pub(crate) enum Ids {
    /// This end makes the ids. They are permuted slots and need no table, except for the zero id,
    /// which at most one connection has at a time.
    Issued {
        permutation: Permutation,
        /// The slot of the connection that has the zero id.
        zero: Option<u32>,
    },
    /// The peer makes the ids.
    Received(Received),
}

/// Ids made by the peer: untrusted, so they are hashed with a key of this end.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) live: HashMap<ConnId, u32, FixedState>,
    /// The ids of the connections that ended last, oldest first. The peer may hand out an id while
    /// its connection ends here; an acquire by that id is refused at once instead of waiting in vain.
    pub(crate) ended: VecDeque<(ConnId, CloseReason)>,
}

/// The number of remembered ended ids. An id travels for about a round trip, in which no more
/// connections than this should end. They are searched only for ids that are not live.
const REMEMBERED: usize = 256;

impl Ids {
    /// Ids made by this end, for slots below `slots`.
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

    /// The slot of an id, if any.
    ///
    /// For issued ids the caller must compare the id in the slot: an id of a former connection, or
    /// one that was never issued, leads to a slot too.
    pub(crate) fn find(&self, id: ConnId) -> Option<u32> {
        match self {
            Self::Issued { zero, .. } if id == ConnId::ZERO => *zero,
            Self::Issued { permutation, .. } => Some(permutation.slot(id)),
            Self::Received(received) => received.live.get(&id).copied(),
        }
    }

    /// Why no connection can come any more for an id that is not live, if so.
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

    /// The connection with this id has ended.
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
    /// Enters the id of a new connection; `false` if a live connection has it.
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
/// Ids of live connections differ because their slots do. Ids of a slot's successive connections
/// differ until its generation has wrapped. It is a balanced Feistel network of four rounds, which
/// is a permutation for any round function (Luby and Rackoff, 1988). It makes ids look random, as
/// the ids of the Go package are. It keeps no secret: a peer that can guess 32 bits can guess an id.
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
