//! Keyed hashing of things that peers choose.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// The secret key of one table.
///
/// Peers choose ids and addresses. With a known hash they could choose them such that all fall on one
/// place of a table. SipHash-1-3 resists that, as its output cannot be predicted without the key; the
/// tables of `std` and of the Linux kernel rely on it, too. (Foldhash, which is faster by some
/// nanoseconds, promises no resistance to a peer that can measure it.)
#[derive(Clone)]
pub(crate) struct TableKey(SipHasher13);

impl TableKey {
    pub(crate) fn new([first, second]: [u64; 2]) -> Self {
        Self(SipHasher13::new_with_keys(first, second))
    }
}

impl BuildHasher for TableKey {
    type Hasher = SipHasher13;

    #[inline]
    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}
