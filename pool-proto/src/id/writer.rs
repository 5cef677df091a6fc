//! Writes an id to the start of a stream.

use bytes::Buf;

use super::{ConnId, ID_CHARS, IdFormat};

/// A writer of an id: a [`Buf`] that does not allocate.
///
/// Write [`chunk`](Buf::chunk) and [`advance`](Buf::advance) by the number of bytes written, until
/// [`remaining`](Buf::remaining) is 0. Advancing too far is the same as advancing to the end; it does
/// not panic.
#[derive(Clone, Debug)]
pub struct IdWriter {
    wire: [u8; ID_CHARS],
    len: usize,
    sent: usize,
}

impl IdWriter {
    /// Creates a writer of this id in this format.
    #[must_use]
    pub const fn new(format: IdFormat, id: ConnId) -> Self {
        let wire = match format {
            IdFormat::Hex8 => id.to_hex(),
            IdFormat::Raw4 => {
                let [a, b, c, d] = id.to_bytes();
                [a, b, c, d, 0, 0, 0, 0]
            }
        };
        Self { wire, len: format.wire_len(), sent: 0 }
    }
}

impl Buf for IdWriter {
    fn remaining(&self) -> usize {
        self.len.saturating_sub(self.sent)
    }

    fn chunk(&self) -> &[u8] {
        // `sent <= len <= 8` always: the default is never taken.
        self.wire.get(self.sent..self.len).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.len);
    }
}
