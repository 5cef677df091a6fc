//! Detects a peer that sends `Hex8` ids to a reader of `Raw4`.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{ConnId, ID_BYTES, IdError, IdFormat, hex_value};

/// A detector of a peer that sends `Hex8` ids while `Raw4` is configured, shared by all connections
/// to that peer.
///
/// To a reader of `Raw4` any 4 bytes are an id, so also the first half of a `Hex8` id. The other half
/// arrives with it and looks like the user's data. A single such connection proves nothing: 4
/// random bytes are hex characters once in 65,536 times, and a user may send hex first. But
/// [three in a row](Self::IN_A_ROW) are not chance: with random `Raw4` ids they occur once in
/// 2.8 × 10¹⁴ times, and only if the user sends hex. Then the third and all later connections fail.
#[derive(Debug, Default)]
pub struct FormatDetector {
    in_a_row: AtomicU32,
}

impl FormatDetector {
    /// The number of such connections in a row that is taken as proof.
    pub const IN_A_ROW: u32 = 3;

    /// Creates a detector that has seen no connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { in_a_row: AtomicU32::new(0) }
    }

    /// Judges a connection, by the configured format, its id, and the
    /// [surplus](super::IdReader::into_surplus) after the id. Call it once per connection.
    ///
    /// # Errors
    ///
    /// [`IdError::HalfOfHex8`] if the peer sends `Hex8` ids.
    pub fn judge(&self, format: IdFormat, id: ConnId, surplus: &[u8]) -> Result<(), IdError> {
        if format != IdFormat::Raw4 || !are_halves_of_hex8(id, surplus) {
            self.in_a_row.store(0, Ordering::Relaxed);
            return Ok(());
        }
        // Saturates at the limit, so that the counter never wraps to zero.
        let seen = self.in_a_row.load(Ordering::Relaxed).saturating_add(1);
        let seen = seen.min(Self::IN_A_ROW);
        self.in_a_row.store(seen, Ordering::Relaxed);
        if seen < Self::IN_A_ROW { Ok(()) } else { Err(IdError::HalfOfHex8) }
    }
}

/// Whether this `Raw4` id and the first bytes after it could be a `Hex8` id.
fn are_halves_of_hex8(id: ConnId, surplus: &[u8]) -> bool {
    let is_hex = |bytes: &[u8]| bytes.iter().all(|byte| hex_value(*byte).is_some());
    is_hex(&id.to_bytes()) && surplus.get(..ID_BYTES).is_some_and(is_hex)
}

#[cfg(test)]
mod tests;
