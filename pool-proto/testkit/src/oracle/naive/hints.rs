//! The number of waiters that a server tells by its ids.

use std::ops::RangeInclusive;

use pool_proto::ConnId;

/// How many ids have been hints in a row, and how many it takes.
#[derive(Clone, Debug, Hash)]
pub(super) struct Hints {
    row: u32,
    needed: u32,
}

impl Hints {
    pub(super) const fn new() -> Self {
        Self { row: 0, needed: 5 }
    }

    pub(super) fn read(&mut self, id: ConnId) -> Option<RangeInclusive<u32>> {
        let [first, rest @ ..] = id.to_bytes();
        let rest = u32::from_be_bytes([first & 0x80, rest[0], rest[1], rest[2]]);
        let product = u64::from(rest) * 0x9e37_79b1 % (1 << 32);
        let level = u32::from(first % 128) ^ u32::try_from(product >> 25 & 127).unwrap();
        if level > 15 {
            (self.row, self.needed) = (0, 16);
            return None;
        }
        self.row += 1;
        let least = |level: u32| match level {
            0 | 1 => level,
            // Two for each doubling up to 32, then one.
            2..10 => (2 + level % 2) << (level / 2 - 1),
            _ => 1 << (level - 5),
        };
        let most = if level == 15 { u32::MAX } else { least(level + 1) - 1 };
        (self.row >= self.needed).then(|| least(level)..=most)
    }
}
