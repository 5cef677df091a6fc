//! The error for bytes that are not an id, and its hints.

use core::fmt;

use super::ID_BYTES;

/// The reason why the bytes at the start of a connection are not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The peer ended the stream before the id was whole.
    #[error(
        "expected a connection id of {expected} bytes, but the peer ended the stream after {got}: \
         {}", short_hint(.got)
    )]
    Short {
        /// The number of bytes that came.
        got: usize,
        /// The number of bytes of a whole id: [`IdFormat::wire_len`](super::IdFormat::wire_len).
        expected: usize,
    },
    /// The format is [`IdFormat::Hex8`](super::IdFormat::Hex8) and a byte is not one of `0-9a-f`.
    #[error(
        "expected a connection id of 8 characters 0-9a-f, but byte {} came at offset {offset}: {}; \
         if the peer sends Raw4 ids, configure IdFormat::Raw4",
        ShownByte(*byte), not_hex_hint(.offset, .byte)
    )]
    NotHex {
        /// The position of the first wrong byte, 0 to 7.
        offset: usize,
        /// The wrong byte.
        byte: u8,
    },
    /// The format is [`IdFormat::Raw4`](super::IdFormat::Raw4), and several connections in a row have
    /// begun with 8 characters of `0-9a-f`: see [`FormatDetector`](super::FormatDetector).
    #[error(
        "several connections in a row began with 8 characters 0-9a-f, of which 4 were taken for an \
         id: the peer sends Hex8 ids, configure IdFormat::Hex8"
    )]
    HalfOfHex8,
}

fn short_hint(got: &usize) -> &'static str {
    match got {
        0 => {
            "it refuses this connection (an allow list or a limit of its own), or it sends no ids \
             at all and IdExchange::None is to be configured, or it waits for TLS"
        }
        4 => {
            "4 bytes are a whole Raw4 id: configure IdFormat::Raw4 if the peer sends those, else \
             the connection was cut"
        }
        _ => "the connection was cut, or the peer writes its ids in another format",
    }
}

fn not_hex_hint(offset: &usize, byte: &u8) -> &'static str {
    match (offset, byte) {
        // The record types of alert and handshake (RFC 8446, section 5.1).
        (0, 0x15 | 0x16) => {
            "it begins a TLS record, the peer may speak TLS to a plaintext port: configure TLS on both ends or on neither"
        }
        // A Raw4 id is any 4 bytes, so one byte in its place does not prove text or an upper-case id.
        (..ID_BYTES, b'A'..=b'F') => {
            "if it is an upper-case letter of an id, the peer must write its ids in lower case"
        }
        (..ID_BYTES, b' '..=b'~' | b'\t' | b'\r' | b'\n') => {
            "if it is text that is not an id, check the address, or configure IdExchange::None if \
             the peer sends no ids"
        }
        (_, b'A'..=b'F') => "an upper-case letter, the peer must write its ids in lower case",
        (_, b' '..=b'~' | b'\t' | b'\r' | b'\n') => {
            "the peer sends text that is not an id: check the address, or configure \
             IdExchange::None if it sends no ids"
        }
        _ => "not even text, check the address",
    }
}

struct ShownByte(u8);

impl fmt::Display for ShownByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)?;
        if self.0.is_ascii_graphic() {
            write!(f, " ({:?})", char::from(self.0))?;
        }
        Ok(())
    }
}
