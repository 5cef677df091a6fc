//! Where the choices of a world come from: a seed, or bytes.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use fastrand::Rng;

/// A source of choices.
///
/// A seed draws without end. Bytes are an input of a fuzzer or of proptest: a small change of the
/// bytes is a small change of the world, and smaller bytes mean a quieter world. When they are used
/// up, every choice is the lowest and nothing goes wrong any more.
#[derive(Clone, Debug)]
pub enum Source {
    Seed(Rng),
    Bytes(VecDeque<u8>),
}

/// A number within a range, for each type of number.
macro_rules! within {
    ($($number:ident),*) => {
        $(
            pub(super) fn $number(&mut self, range: impl RangeBounds<$number>) -> $number {
                match self {
                    Self::Seed(random) => random.$number(range),
                    Self::Bytes(_) => {
                        let low = match range.start_bound() {
                            Bound::Included(low) => *low,
                            Bound::Excluded(low) => *low + 1,
                            Bound::Unbounded => $number::MIN,
                        };
                        let high = match range.end_bound() {
                            Bound::Included(high) => *high,
                            Bound::Excluded(high) => *high - 1,
                            Bound::Unbounded => $number::MAX,
                        };
                        let span = high.abs_diff(low) as u64;
                        let offset = self.scaled(span) as $number;
                        low.wrapping_add(offset)
                    }
                }
            }
        )*
    };
}

impl Source {
    pub fn seed(seed: u64) -> Self {
        Self::Seed(Rng::with_seed(seed))
    }

    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.iter().copied().collect())
    }

    /// Whether the choices come from bytes, of which there are few.
    pub(super) const fn is_brief(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }

    within!(u8, u16, u32, u64, usize, i64);

    pub(super) fn bool(&mut self) -> bool {
        match self {
            Self::Seed(random) => random.bool(),
            Self::Bytes(_) => self.byte() & 1 == 1,
        }
    }

    pub(super) fn choice<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match self {
            Self::Seed(random) => random.choice(from),
            Self::Bytes(_) => from.get(usize::from(self.byte()).checked_rem(from.len())?),
        }
    }

    /// Whether an event happens that happens `part` times of `whole`.
    pub(super) fn happens(&mut self, part: u16, whole: u16) -> bool {
        match self {
            Self::Seed(random) => random.u16(..whole) < part,
            // High bytes, so that the lowest choice is that nothing happens.
            Self::Bytes(_) => {
                let distance = u32::from(u8::MAX - self.byte());
                distance * u32::from(whole) < u32::from(part) * 255
            }
        }
    }

    fn byte(&mut self) -> u8 {
        match self {
            Self::Seed(random) => random.u8(..),
            Self::Bytes(bytes) => bytes.pop_front().unwrap_or(0),
        }
    }

    /// A number up to `span`, from one byte where that is fine enough.
    fn scaled(&mut self, span: u64) -> u64 {
        if span < 256 {
            return if span == 0 { 0 } else { u64::from(self.byte()) % (span + 1) };
        }
        if span >= u32::MAX.into() {
            let bytes = [self.byte(), self.byte(), self.byte(), self.byte()];
            return u64::from(u32::from_be_bytes(bytes));
        }
        u64::from(self.byte()) * span / 255
    }
}
