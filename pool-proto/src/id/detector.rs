//! Notices a peer that writes its ids as `Hex8` to a reader of `Raw4`.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{ConnId, ID_BYTES, IdError, IdFormat, hex_value};

/// One for all connections to a peer: notices when it writes `Hex8` ids and `Raw4` is configured.
///
/// To a reader of `Raw4` any 4 bytes are an id, also the first half of a `Hex8` one. The other half
/// comes with it, as if the user's data had begun. One such connection proves nothing: 4 random
/// bytes are hex characters once in 65,536 times, and a user may send hex at once. But
/// [three in a row](Self::IN_A_ROW) are no chance: a peer of random `Raw4` ids does it once in 2.8 ×
/// 10¹⁴ times, and only if its user sends hex. Then the third and all after it fail, and say why.
#[derive(Debug, Default)]
pub struct FormatDetector {
    in_a_row: AtomicU32,
}

impl FormatDetector {
    /// How many connections in a row have to look like it.
    pub const IN_A_ROW: u32 = 3;

    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { in_a_row: AtomicU32::new(0) }
    }

    /// To be asked once for each connection, with the format that is configured, the id, and what
    /// came with it (see [`into_surplus`](super::IdReader::into_surplus)).
    ///
    /// # Errors
    ///
    /// [`IdError::HalfOfHex8`] when the peer writes its ids as `Hex8`.
    pub fn judge(&self, format: IdFormat, id: ConnId, surplus: &[u8]) -> Result<(), IdError> {
        if format != IdFormat::Raw4 || !are_halves_of_hex8(id, surplus) {
            self.in_a_row.store(0, Ordering::Relaxed);
            return Ok(());
        }
        // It stays at the limit: connections without end must not bring it back to zero.
        let seen = self.in_a_row.load(Ordering::Relaxed).saturating_add(1);
        let seen = seen.min(Self::IN_A_ROW);
        self.in_a_row.store(seen, Ordering::Relaxed);
        if seen < Self::IN_A_ROW { Ok(()) } else { Err(IdError::HalfOfHex8) }
    }
}

/// Whether this `Raw4` id and what came with it could be a `Hex8` id.
fn are_halves_of_hex8(id: ConnId, surplus: &[u8]) -> bool {
    let is_hex = |bytes: &[u8]| bytes.iter().all(|byte| hex_value(*byte).is_some());
    is_hex(&id.to_bytes()) && surplus.get(..ID_BYTES).is_some_and(is_hex)
}

#[cfg(test)]
mod tests;
