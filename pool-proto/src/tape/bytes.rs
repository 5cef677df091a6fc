//! Numbers as bytes.

use alloc::vec::Vec;

/// Appends a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while let Ok(0x80..) | Err(_) = u8::try_from(value) {
        out.push(low(value) | 0x80);
        value >>= 7;
    }
    out.push(low(value));
}

/// The lowest seven bits.
const fn low(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7f
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
