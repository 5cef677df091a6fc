//! The buffers of readers: slices, or memory of a runtime that need not be initialised.

use std::io::{self, Read};

use bytes::{Buf, BytesMut};

/// The buffer of a reader, which is filled from its beginning.
pub trait Buffer {
    /// Returns how many bytes it has room for.
    fn room(&self) -> usize;

    /// Appends data, for which there is room.
    fn put(&mut self, data: &[u8]);
}

/// A socket that reads into a buffer of its runtime.
pub trait ReadTo<B> {
    /// Reads once, and appends to `buffer`. Returns the number of bytes; 0 at EOF, or without room.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn read_to(&mut self, buffer: &mut B) -> io::Result<usize>;
}

/// The part of a slice that has not been filled.
#[derive(Debug)]
pub struct Slice<'a>(&'a mut [u8]);

impl<'a> Slice<'a> {
    /// A buffer of the whole slice.
    pub const fn new(slice: &'a mut [u8]) -> Self {
        Self(slice)
    }

    fn advance(&mut self, count: usize) {
        let slice = core::mem::take(&mut self.0);
        self.0 = slice.get_mut(count..).unwrap_or_default();
    }
}

/// Moves as many bytes as there is room for from `kept` to `buffer`, and returns how many.
pub(crate) fn hand_over(kept: &mut BytesMut, buffer: &mut impl Buffer) -> usize {
    let count = kept.len().min(buffer.room());
    buffer.put(kept.get(..count).unwrap_or_default());
    consume(kept, count);
    count
}

/// Removes bytes from the front, and gives the memory back with the last.
pub(crate) fn consume(bytes: &mut BytesMut, count: usize) {
    bytes.advance(count.min(bytes.len()));
    if bytes.is_empty() {
        *bytes = BytesMut::new();
    }
}

impl Buffer for BytesMut {
    fn room(&self) -> usize {
        usize::MAX - self.len()
    }

    fn put(&mut self, data: &[u8]) {
        self.extend_from_slice(data);
    }
}

impl Buffer for Slice<'_> {
    fn room(&self) -> usize {
        self.0.len()
    }

    fn put(&mut self, data: &[u8]) {
        if let Some(place) = self.0.get_mut(..data.len()) {
            place.copy_from_slice(data);
        }
        self.advance(data.len());
    }
}

impl<T: Read> ReadTo<Slice<'_>> for T {
    fn read_to(&mut self, buffer: &mut Slice<'_>) -> io::Result<usize> {
        let count = self.read(buffer.0)?;
        buffer.advance(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_filled_from_its_beginning() {
        let mut bytes = [0; 8];
        let mut slice = Slice::new(&mut bytes);
        slice.put(b"one");
        assert_eq!((&b"two, three"[..]).read_to(&mut slice).ok(), Some(5));
        assert_eq!(slice.room(), 0);
        assert_eq!(&bytes, b"onetwo, ");
    }
}
