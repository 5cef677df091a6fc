//! Numbers as bytes.

/// The most bytes that an input takes: a time, an operation, two keys or a key and a peer, and a check.
pub(super) const LONGEST: usize = 10 + 1 + 2 * 10 + 8 + 1;

/// A few bytes on the stack. Input by input, they go into a buffer at once, which takes half the time of
/// going there byte by byte.
pub(super) struct Short {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Short {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; LONGEST], len: 0 }
    }

    /// Appends a byte. No input is longer than [`LONGEST`] bytes.
    #[inline]
    pub(super) const fn push(&mut self, byte: u8) {
        debug_assert!(self.len < LONGEST, "an input is not longer");
        if let Some((_, rest)) = self.bytes.split_at_mut_checked(self.len)
            && let Some(place) = rest.first_mut()
        {
            *place = byte;
            self.len += 1;
        }
    }

    /// Appends a number of fixed size.
    pub(super) fn long(&mut self, value: u64) {
        value.to_le_bytes().into_iter().for_each(|byte| self.push(byte));
    }

    /// Appends a varint.
    #[inline]
    pub(super) const fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(low(value) | 0x80);
            value >>= 7;
        }
        self.push(low(value));
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The lowest seven bits.
const fn low(value: u64) -> u8 {
    let [lowest, ..] = value.to_le_bytes();
    lowest & 0x7f
}

/// Reads bytes from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// The place of the rest in the tape.
    pub(super) offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(rest: &'a [u8], offset: usize) -> Self {
        Self { rest, offset }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes; `None` at the end.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.offset += count;
        Some(taken)
    }

    /// All but the last `count` bytes, and these; `None` if there are fewer.
    pub(super) fn split_last(self, count: usize) -> Option<(Self, Self)> {
        let at = self.rest.len().checked_sub(count)?;
        let (first, last) = self.rest.split_at_checked(at)?;
        Some((Self::new(first, self.offset), Self::new(last, self.offset + at)))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint; `None` at the end, or for one of more than 64 bits.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if bits << shift >> shift != bits {
                return None;
            }
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn int(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }
}
