//! A state's key: equal for two states that have the same future in other names.
//!
//! Connections are named by their place in the naive pool: by state, and in each state by the order
//! in which they entered it. No two enter at once, so a state that differs in names only gives them the
//! same places. Waiters are named by their place in the queue; waiters with an outcome have no order,
//! and may have any of their names.

use std::hash::{Hash, Hasher};

use pool_proto::{CanonicalNames, ConnId, Token, WaiterId};

use super::checked::Checked;
use super::names::made;
use crate::call::TestRole;

/// In place of a name: a connection that has ended.
const ENDED: u32 = 1000;
/// In place of a name: a connection other than the one that the driver handed in.
const MIXED_UP: u32 = 1001;
/// The id that nobody makes but peers, and the latest that has ended.
const MADE: u32 = 1002;
const LATEST: u32 = 1003;

/// The names in a state.
pub struct Naming {
    pub connections: Vec<Named>,
    pub waiters: Vec<WaiterId>,
    latest: Option<ConnId>,
}

/// A live connection; its name is its index.
pub struct Named {
    pub token: Token,
    pub id: Option<ConnId>,
    /// The number under which the driver handed it in, as long as the machine holds it.
    pub connection: Option<u32>,
}

impl CanonicalNames<u32> for Naming {
    fn connection(&self, token: Token) -> u32 {
        let at = self.connections.iter().position(|named| named.token == token);
        at.map_or(ENDED, |at| u32::try_from(at).unwrap())
    }

    fn held(&self, token: Token, held: &u32) -> u32 {
        let named = self.connections.iter().find(|named| named.token == token);
        if named.is_some_and(|named| named.connection == Some(*held)) { 0 } else { MIXED_UP }
    }

    fn waiter(&self, waiter: WaiterId) -> u32 {
        let at = self.waiters.iter().position(|other| *other == waiter);
        at.map_or(ENDED, |at| u32::try_from(at).unwrap())
    }

    fn id(&self, id: ConnId) -> Option<u32> {
        let live = self.connections.iter().position(|named| named.id == Some(id));
        match live {
            Some(at) => u32::try_from(at).ok(),
            None if id == made(0) => Some(MADE),
            None => (self.latest == Some(id)).then_some(LATEST),
        }
    }
}

impl<R: TestRole> Checked<R> {
    /// The state's key, of 128 bits: that two of some millions of states share one by chance is as
    /// good as impossible.
    pub fn key(&self) -> u128 {
        self.key_of(true, true)
    }

    /// The key of a part: of the world outside, and of the machine or the naive pool if so wanted.
    pub fn key_of(&self, machine: bool, naive: bool) -> u128 {
        let mut hasher = Wide::default();
        let naming = self.naming();
        self.driver().hash_state(&naming, &mut hasher);
        if machine {
            self.machine().hash_state(&naming, &mut hasher);
        }
        if let Some(pool) = self.naive().filter(|_| naive) {
            pool.hash_state(&naming, &mut hasher);
        }
        hasher.key()
    }

    pub fn naming(&self) -> Naming {
        let driver = self.driver();
        let (tokens, waiters) = self.naive().map(super::naive::Naive::ranks).unwrap_or_default();
        let connections = tokens.into_iter().map(|token| {
            let life = driver.ledger.life(token);
            let (id, connection) = life.map(|life| (life.id, life.inside())).unwrap_or_default();
            Named { token, id, connection }
        });
        Naming { connections: connections.collect(), waiters, latest: driver.latest_ended_id() }
    }
}

/// Two hashes at once, of folded multiplications (as in wyhash).
#[derive(Default)]
struct Wide {
    one: u64,
    other: u64,
}

impl Wide {
    fn key(&self) -> u128 {
        u128::from(self.one) << 64 | u128::from(self.other)
    }
}

const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.one
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.one = fold(self.one ^ value ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db);
        self.other = fold(self.other ^ value ^ 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3);
        // A product of zero must not erase the state before it.
        self.one = self.one.rotate_left(23).wrapping_add(value);
        self.other = self.other.rotate_left(41).wrapping_add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// Feeds `hasher` with items in an order of their own.
pub fn hash_set<T: Hash + Ord>(items: impl Iterator<Item = T>, hasher: &mut impl Hasher) {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.hash(hasher);
}
