//! The hint in an id: how many callers wait at the server.
//!
//! A client that keeps the stock does not see the callers at its server. The server tells it by seven
//! bits of each id that it makes, so that nothing is added to the wire: to an end on the Go package, it
//! is an id like any other.
//!
//! The seven bits are the low bits of the first byte; its high bit may name the
//! [acquirer](crate::Acquirer::Both). Four of them are the level of the number, three are zero; all are
//! masked by a mix of the other 25 bits, so that ids look as random as before, and have 25 random bits.
//! The three zeros tell a server of this crate from servers that make other ids.

use core::fmt;
use core::ops::RangeInclusive;

use super::ConnId;

/// The bits of an id that are the hint.
const BITS: u32 = 0x7f00_0000;
const SHIFT: u32 = 24;

/// The least number of waiters of each level.
const LEVELS: [u32; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024];

/// The ids without an exception after which hints are believed: another server makes five such ids by
/// chance once in 2¹⁵ tries.
const FIRST: u8 = 5;

/// The same, after an id that was not a hint.
const AGAIN: u8 = 16;

/// Returns `id` with the hint that `waiters` callers wait.
pub(crate) fn with_hint(id: ConnId, waiters: u32) -> ConnId {
    let higher = LEVELS.iter().skip(1).take_while(|least| **least <= waiters);
    marked(id, u32::try_from(higher.count()).unwrap_or(0))
}

fn marked(id: ConnId, level: u32) -> ConnId {
    let rest = value(id) & !BITS;
    ConnId::from_bytes((rest | ((level << SHIFT) ^ mask(rest))).to_be_bytes())
}

/// Returns the level of the number of waiters; `None` if the id has no hint.
fn level(id: ConnId) -> Option<u32> {
    let level = ((value(id) ^ mask(value(id) & !BITS)) & BITS) >> SHIFT;
    (level as usize).lt(&LEVELS.len()).then_some(level)
}

/// Returns the bounds of the number of waiters; `None` if the id has no hint.
fn hint(id: ConnId) -> Option<RangeInclusive<u32>> {
    let level = level(id)? as usize;
    let most = LEVELS.get(level + 1).map_or(u32::MAX, |next| next - 1);
    Some(*LEVELS.get(level)?..=most)
}

/// The hint of an id on a tape: its level, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(Option<u8>);

impl Hint {
    pub(crate) fn of(id: ConnId) -> Self {
        Self(level(id).and_then(|level| u8::try_from(level).ok()))
    }

    /// Puts this hint into an id; without a hint, returns the id unchanged.
    pub(crate) fn mark(self, id: ConnId) -> ConnId {
        self.0.map_or(id, |level| marked(id, level.into()))
    }

    pub(crate) const fn to_byte(self) -> u8 {
        match self.0 {
            Some(level) => level + 1,
            None => 0,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let level = byte.checked_sub(1);
        level.is_none_or(|level| usize::from(level) < LEVELS.len()).then_some(Self(level))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.and_then(|level| LEVELS.get(usize::from(level)));
        least.map_or(Ok(()), |least| write!(f, ", with the hint of {least} waiters or more"))
    }
}

const fn value(id: ConnId) -> u32 {
    u32::from_be_bytes(id.to_bytes())
}

/// A mix of bits by a multiplication (Knuth, "The Art of Computer Programming", volume 3, 6.4).
const fn mask(rest: u32) -> u32 {
    (rest.wrapping_mul(0x9e37_79b1) >> 1) & BITS
}

/// Reads the hints of one server, if it gives any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HintReader {
    /// How many ids must still be hints before they are believed.
    doubt: u8,
}

impl HintReader {
    pub(crate) const fn new() -> Self {
        Self { doubt: FIRST }
    }

    /// Returns the bounds of the number of waiters at the server, if it is known to give hints.
    pub(crate) fn read(&mut self, id: ConnId) -> Option<RangeInclusive<u32>> {
        let hint = hint(id);
        self.doubt = if hint.is_some() { self.doubt.saturating_sub(1) } else { AGAIN };
        hint.filter(|_| self.doubt == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> impl Iterator<Item = ConnId> {
        let mut random = fastrand::Rng::with_seed(1);
        core::iter::from_fn(move || Some(ConnId::from_bytes(random.u32(..).to_be_bytes())))
    }

    #[test]
    fn a_hint_bounds_the_number_of_waiters() {
        for (id, waiters) in ids().zip((0..2000).chain([9_999, 16_384, u32::MAX])) {
            let bounds = hint(with_hint(id, waiters)).unwrap();
            assert!(bounds.contains(&waiters), "{waiters} in {bounds:?}");
            let open = waiters >= 1024;
            assert!(open || *bounds.end() < (2 * bounds.start()).max(1), "{bounds:?}");
        }
    }

    #[test]
    fn a_hint_leaves_the_acquirer_and_the_last_bytes_of_an_id() {
        for (id, waiters) in ids().zip(0..1000) {
            let hinted = with_hint(id, waiters);
            assert_eq!(value(hinted) & !BITS, value(id) & !BITS);
        }
    }

    #[test]
    fn ids_with_hints_look_random() {
        let mut seen = [0; 128];
        for id in ids().take(128 * 1000) {
            let [first, ..] = with_hint(id, 0).to_bytes();
            seen[usize::from(first & 0x7f)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_fifth_id_in_a_row_is_believed() {
        let mut reader = HintReader::new();
        let read: std::vec::Vec<_> =
            ids().take(6).map(|id| reader.read(with_hint(id, 3))).collect();
        assert_eq!(read, [None, None, None, None, Some(3..=3), Some(3..=3)]);
    }

    #[test]
    fn random_ids_are_hardly_ever_believed() {
        let believed = |reader: &mut HintReader, id| reader.read(id).is_some();
        let mut reader = HintReader::new();
        let count = ids().take(1_000_000).filter(|id| believed(&mut reader, *id)).count();
        assert_eq!(count, 0);
        let mut once = ids();
        let tries = 100_000;
        let wrong = (0..tries).filter(|_| {
            let mut reader = HintReader::new();
            once.by_ref().take(5).filter(|id| believed(&mut reader, *id)).count() > 0
        });
        assert!(wrong.count() < 20, "of {tries}, three are expected");
    }
}
