//! The secret of a machine, and the keys that are derived from it.

use core::fmt;

use siphasher::sip::SipHasher24;

/// The secret from which everything random in a machine is derived.
///
/// Each use has a key of its own: SipHash-2-4 of the number of the use, under each half of the secret.
/// SipHash-2-4 is a pseudorandom function, so the keys cannot be told from independent random ones. So
/// a peer that learns one of them learns nothing about the others: from the times of dials and of
/// expiries, the state of a generator of jitter can be computed; from it, neither ids nor the keys of
/// tables. For the same reason a tape may hold the seeds of these generators.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entropy {
    /// Both halves of the secret.
    Secret([[u8; 16]; 2]),
    /// The seeds that a tape has of a machine. Everything else is the same in each replay.
    Taped(Jitter),
}

/// The seeds of the generators of jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jitter {
    pub(crate) lifetimes: u64,
    pub(crate) backoff: u64,
}

/// The use of a derived key. No two are alike, and a number is not used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Use {
    /// Ids that this end makes.
    Ids = 1,
    /// The table of ids.
    IdTable = 2,
    /// The table of waiters by id.
    WaiterTable = 3,
    /// The table of sources.
    SourceTable = 4,
    /// The jitter of lifetimes.
    Lifetimes = 5,
    /// The jitter of the backoff.
    Backoff = 6,
    /// The names of peers on a tape.
    Peers = 7,
}

impl Entropy {
    /// Random bytes, all of them secret.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        let mut halves = [[0; 16]; 2];
        halves.as_flattened_mut().copy_from_slice(&bytes);
        Self::Secret(halves)
    }

    /// The secret that a seed stands for: not a secret, but the same each time.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
        Self::Secret([[a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h]; 2])
    }

    /// The key for one use, of 128 bits.
    pub(crate) fn key(&self, usage: Use) -> [u64; 2] {
        let [first, second] = match (self, usage) {
            (Self::Secret(halves), _) => halves,
            (Self::Taped(jitter), Use::Lifetimes) => return [jitter.lifetimes, 0],
            (Self::Taped(jitter), Use::Backoff) => return [jitter.backoff, 0],
            (Self::Taped(_), _) => &[[0; 16]; 2],
        };
        // The number of the half, too, because the halves of a seed's secret are equal.
        let derive = |half, number| SipHasher24::new_with_key(half).hash(&[usage as u8, number]);
        [derive(first, 0), derive(second, 1)]
    }

    /// A generator for one use. Its outputs are not secret: its state can be computed from them.
    pub(crate) fn generator(&self, usage: Use) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed(usage))
    }

    /// The seeds of the generators of jitter, from which nothing else can be derived.
    pub(crate) fn jitter(&self) -> Jitter {
        Jitter { lifetimes: self.seed(Use::Lifetimes), backoff: self.seed(Use::Backoff) }
    }

    fn seed(&self, usage: Use) -> u64 {
        let [seed, _] = self.key(usage);
        seed
    }
}

impl fmt::Debug for Entropy {
    /// Does not show the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const USES: [Use; 7] = {
        use Use::{Backoff, IdTable, Ids, Lifetimes, Peers, SourceTable, WaiterTable};
        [Ids, IdTable, WaiterTable, SourceTable, Lifetimes, Backoff, Peers]
    };

    fn keys(entropy: Entropy) -> impl Iterator<Item = u64> {
        USES.into_iter().flat_map(move |usage| entropy.key(usage))
    }

    #[test]
    fn every_half_of_every_key_is_another() {
        let secrets = [Entropy::new([0; 32]), Entropy::new([1; 32]), Entropy::of_seed(1)];
        let all: HashSet<u64> = secrets.into_iter().flat_map(keys).collect();
        assert_eq!(all.len(), 3 * 2 * USES.len());
    }

    #[test]
    fn every_bit_of_the_secret_changes_every_key() {
        let before: HashSet<[u64; 2]> = USES.map(|usage| Entropy::new([7; 32]).key(usage)).into();
        for bit in 0..256 {
            let mut bytes = [7; 32];
            bytes[bit / 8] ^= 1 << (bit % 8);
            for usage in USES {
                assert!(!before.contains(&Entropy::new(bytes).key(usage)), "{bit}, {usage:?}");
            }
        }
    }

    #[test]
    fn a_tape_brings_back_the_jitter_and_no_other_key() {
        let secret = Entropy::new([7; 32]);
        let taped = Entropy::Taped(secret.jitter());
        for usage in USES {
            let draw = |entropy: Entropy| entropy.generator(usage).u64(..);
            let same = matches!(usage, Use::Lifetimes | Use::Backoff);
            assert_eq!(draw(taped) == draw(secret), same, "{usage:?}");
        }
    }

    #[test]
    fn every_bit_of_a_seed_changes_its_secret() {
        let seeds = (0..64).map(|bit| 1 << bit).chain([0, u64::MAX]);
        let all: HashSet<u64> = seeds.flat_map(|seed| keys(Entropy::of_seed(seed))).collect();
        assert_eq!(all.len(), 66 * 2 * USES.len());
    }
}
