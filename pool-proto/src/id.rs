//! Connection ids: their value, their two wire formats, and the sans-I/O reader and writer.
//!
//! After the TCP (and TLS) handshake the server sends the id of the connection, once. All other bytes
//! are the user's data, in both directions. An id is 4 bytes, most bits of which are random. Users see it
//! as 8 lower-case hex characters, in both [`IdFormat`]s.
//!
//! ```
//! use bytes::Buf;
//! use pool_proto::id::{ConnId, IdFormat, IdReader, IdWriter};
//!
//! let id = ConnId::from_bytes([0x0a, 0x1b, 0x2c, 0x3d]);
//! let writer = IdWriter::new(IdFormat::Hex8, id);
//! assert_eq!(writer.chunk(), b"0a1b2c3d");
//!
//! let mut reader = IdReader::new(IdFormat::Hex8);
//! reader.feed(b"0a1b2");
//! assert_eq!((reader.poll(), reader.missing()), (Ok(None), 3));
//! reader.feed(b"c3dhello");
//! assert_eq!(reader.poll(), Ok(Some(id)));
//! assert_eq!(reader.into_surplus(), "hello");
//! ```

mod detector;
mod error;
mod hint;
mod reader;
mod value;
mod writer;

pub use detector::FormatDetector;
pub use error::IdError;
pub use hint::Hint;
pub(crate) use hint::{HintReader, with_hint};
pub use reader::IdReader;
pub use value::{ConnId, ParseIdError};
pub use writer::IdWriter;

/// The bytes of an id: the wire protocol names a connection by 4 bytes.
const ID_BYTES: usize = 4;

/// The characters of an id in hex, 2 per byte.
const ID_CHARS: usize = 2 * ID_BYTES;

/// Whether the server sends the id of a connection on it. Both ends must be configured alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdExchange {
    /// The server sends the id before anything else, in this format.
    Wire(IdFormat),
    /// No id is sent, and each end names its connections itself. So the peer may be any TCP or TLS
    /// server, but the two ends have different ids for a connection.
    None,
}

impl Default for IdExchange {
    /// Returns `Wire(IdFormat::Hex8)`.
    fn default() -> Self {
        Self::Wire(IdFormat::default())
    }
}

/// The format of an id on the wire.
///
/// A reader of `Hex8` nearly always notices a peer that sends `Raw4`: 4 random bytes are hex
/// characters once in 65,536 connections. A reader of `Raw4` cannot notice on one connection that
/// its peer sends `Hex8`: any 4 bytes are an id, and the other 4 characters come out as user data. On
/// several connections it can: see [`FormatDetector`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdFormat {
    /// 8 ASCII characters, the lower-case hex of the id.
    #[default]
    Hex8,
    /// The 4 bytes of the id themselves.
    Raw4,
}

impl IdFormat {
    /// Returns the length of an id on the wire, in bytes: 8 for `Hex8`, 4 for `Raw4`.
    #[must_use]
    pub const fn wire_len(self) -> usize {
        match self {
            Self::Hex8 => ID_CHARS,
            Self::Raw4 => ID_BYTES,
        }
    }

    /// The id at the start of `wire`; `None` if `wire` is correct so far but incomplete.
    fn decode(self, wire: &[u8]) -> Result<Option<ConnId>, IdError> {
        match self {
            Self::Hex8 => decode_hex8(wire),
            Self::Raw4 => Ok(wire.first_chunk().copied().map(ConnId::from_bytes)),
        }
    }
}

fn hex_value(digit: u8) -> Option<u32> {
    match digit {
        b'0'..=b'9' => Some(u32::from(digit - b'0')),
        b'a'..=b'f' => Some(u32::from(digit - b'a') + 10),
        _ => None,
    }
}

fn decode_hex8(wire: &[u8]) -> Result<Option<ConnId>, IdError> {
    let mut value = 0;
    for (offset, &byte) in wire.iter().take(ID_CHARS).enumerate() {
        let digit = hex_value(byte).ok_or(IdError::NotHex { offset, byte })?;
        value = (value << 4) | digit;
    }
    Ok((wire.len() >= ID_CHARS).then(|| ConnId::from_bytes(value.to_be_bytes())))
}

#[cfg(test)]
mod tests;
