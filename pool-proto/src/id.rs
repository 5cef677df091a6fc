//! Connection ids: their value, their two wire formats, and the sans-I/O reader and writer.
//!
//! After TCP (and TLS, if there is any) the server sends the id of the connection, first and once.
//! Everything after it is the user's data, in both directions. The id is 4 random bytes; users see
//! it as their 8 lower-case hex characters, whichever of the two [`IdFormat`]s carried it.
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

use core::fmt;
use core::str::FromStr;

use bytes::{Buf, Bytes, BytesMut};

mod watch;

pub use watch::FormatDetector;

/// Bytes of an id: the wire protocol names a connection by 4 random bytes.
const ID_BYTES: usize = 4;

/// Characters of an id in hex, 2 for a byte.
const ID_CHARS: usize = 2 * ID_BYTES;

/// Whether the id of a connection travels on it. Both ends must be configured alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdExchange {
    /// The server sends the id before anything else, in this format.
    Wire(IdFormat),
    /// No id travels and each end names its connections for itself, so that the peer may be any
    /// TCP or TLS server. The two ends' names of a connection have nothing to do with each other.
    None,
}

impl Default for IdExchange {
    /// The id travels as [`IdFormat::Hex8`].
    fn default() -> Self {
        Self::Wire(IdFormat::default())
    }
}

/// How an id is written on the wire.
///
/// A reader of `Hex8` nearly always notices a peer that sends `Raw4` (4 random bytes are hex
/// characters by chance once in 65 536 connections). A reader of `Raw4` cannot notice by one
/// connection that its peer sends `Hex8`: any 4 bytes are an id, and the other 4 characters then come
/// out as user data. By several it can: [`FormatDetector`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdFormat {
    /// 8 ASCII characters, the lower-case hex of the id.
    #[default]
    Hex8,
    /// The 4 bytes of the id themselves.
    Raw4,
}

impl IdFormat {
    /// Length of an id on the wire, in bytes: 8 for `Hex8`, 4 for `Raw4`.
    #[must_use]
    pub const fn wire_len(self) -> usize {
        match self {
            Self::Hex8 => ID_CHARS,
            Self::Raw4 => ID_BYTES,
        }
    }

    /// The id at the start of `wire`, or `None` if `wire` is a flawless but incomplete one.
    fn decode(self, wire: &[u8]) -> Result<Option<ConnId>, IdError> {
        match self {
            Self::Hex8 => decode_hex8(wire),
            Self::Raw4 => Ok(wire.first_chunk().copied().map(ConnId::from_bytes)),
        }
    }
}

/// The id of a connection: 4 bytes, shown as 8 lower-case hex characters.
///
/// The order is that of the bytes, which is also that of the text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u32);

impl ConnId {
    /// The id `00000000`. Newer releases of the reference give it to the first connection, and their
    /// users take that one as their control connection. A machine does so only where
    /// [asked](crate::ServerConfigBuilder::control_connection), and else never makes it; as an id
    /// that a peer sends it is like any other.
    pub const ZERO: Self = Self(0);

    /// The id made of these 4 bytes; the first one is the first in the text and on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// The 4 bytes of the id, in the order of [`ConnId::from_bytes`].
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    const fn to_hex(self) -> [u8; ID_CHARS] {
        let [a, b, c, d] = self.to_bytes();
        [
            hex_digit(a >> 4),
            hex_digit(a & 0xf),
            hex_digit(b >> 4),
            hex_digit(b & 0xf),
            hex_digit(c >> 4),
            hex_digit(c & 0xf),
            hex_digit(d >> 4),
            hex_digit(d & 0xf),
        ]
    }
}

impl fmt::Display for ConnId {
    /// 8 lower-case hex characters; width, fill and alignment are honoured.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hex digits are always UTF-8: the default is never taken.
        f.pad(core::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

impl FromStr for ConnId {
    type Err = ParseIdError;

    /// Parses exactly 8 lower-case hex characters, so that an id has one spelling only.
    ///
    /// # Errors
    ///
    /// [`ParseIdError::Length`] for any other number of characters, else
    /// [`ParseIdError::Character`] for the first one that is not in `0-9a-f`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let got = text.chars().count();
        if got != ID_CHARS {
            return Err(ParseIdError::Length { got });
        }
        let mut value = 0;
        for (offset, character) in text.chars().enumerate() {
            let digit = u8::try_from(character).ok().and_then(hex_value);
            let digit = digit.ok_or(ParseIdError::Character { offset, character })?;
            value = (value << 4) | digit;
        }
        Ok(Self(value))
    }
}

/// Reads the id at the start of a connection, from bytes that come in any fragmentation.
///
/// Put bytes in with [`buffer_mut`](Self::buffer_mut) or [`feed`](Self::feed), then ask
/// [`poll`](Self::poll). Bytes behind the id are kept for [`into_surplus`](Self::into_surplus).
/// The reader holds what it is given: poll after each read, and it never holds more than one read
/// and an unfinished id.
pub struct IdReader {
    format: IdFormat,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Whole(ConnId),
    Failed(IdError),
}

impl IdReader {
    /// A reader of one id in this format. Allocates nothing before the first byte.
    #[must_use]
    pub fn new(format: IdFormat) -> Self {
        Self { format, buffer: BytesMut::new(), state: State::Waiting }
    }

    /// The buffer, for an adapter that reads straight into it. Append to it only.
    ///
    /// An adapter that must not read past the id limits the read to [`missing`](Self::missing)
    /// bytes.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes that came from the peer. After an error they are dropped: nobody can want
    /// them, and a babbling peer must not fill the memory.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The id, or `Ok(None)` as long as more bytes are needed.
    ///
    /// The first `Ok(Some(id))` takes the id out of the buffer; later polls repeat the answer.
    ///
    /// # Errors
    ///
    /// [`IdError::NotHex`] as soon as the first wrong byte is there, without waiting for the rest.
    /// The error is final: later polls repeat it.
    pub fn poll(&mut self) -> Result<Option<ConnId>, IdError> {
        match &self.state {
            State::Waiting => {}
            State::Whole(id) => return Ok(Some(*id)),
            State::Failed(error) => return Err(error.clone()),
        }
        match self.format.decode(&self.buffer) {
            Ok(None) => Ok(None),
            Ok(Some(id)) => {
                // Decoding needed this many bytes, so that many are there.
                self.buffer.advance(self.format.wire_len());
                self.state = State::Whole(id);
                Ok(Some(id))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// How many bytes the id still lacks; 0 if it is whole or has failed.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self.state {
            State::Waiting => self.format.wire_len().saturating_sub(self.buffer.len()),
            State::Whole(_) | State::Failed(_) => 0,
        }
    }

    /// To be called when the peer has ended the stream: the id, if it was whole by then.
    ///
    /// # Errors
    ///
    /// [`IdError::Short`] if it was not, or the error [`poll`](Self::poll) would give. Either is
    /// final.
    pub fn end(&mut self) -> Result<ConnId, IdError> {
        match self.poll()? {
            Some(id) => Ok(id),
            None => {
                let short =
                    IdError::Short { got: self.buffer.len(), expected: self.format.wire_len() };
                Err(self.fail(short))
            }
        }
    }

    /// The bytes that came after the id, untouched and in order, without copying them.
    ///
    /// Empty if there is no whole id: no byte is the user's before that.
    #[must_use]
    pub fn into_surplus(mut self) -> Bytes {
        // Without this an id nobody polled for would come out as user data.
        match self.poll() {
            Ok(Some(_)) => self.buffer.freeze(),
            Ok(None) | Err(_) => Bytes::new(),
        }
    }

    fn fail(&mut self, error: IdError) -> IdError {
        self.state = State::Failed(error.clone());
        error
    }
}

impl fmt::Debug for IdReader {
    /// Tells how much is buffered and not what: the surplus is user data and not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdReader")
            .field("format", &self.format)
            .field("state", &self.state)
            .field("buffered", &self.buffer.len())
            .finish()
    }
}

/// An id on its way to the wire: a [`Buf`] without any allocation.
///
/// Write [`chunk`](Buf::chunk), [`advance`](Buf::advance) by what was taken, until nothing
/// [`remaining`](Buf::remaining)s. Advancing too far is the same as advancing to the end; it does
/// not panic.
#[derive(Clone, Debug)]
pub struct IdWriter {
    wire: [u8; ID_CHARS],
    len: usize,
    sent: usize,
}

impl IdWriter {
    /// A writer of this id in this format.
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

/// Why the bytes at the start of a connection are not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The peer ended the stream before the id was whole.
    #[error(
        "expected a connection id of {expected} bytes, but the peer ended the stream after {got}: \
         {}", short_hint(.got)
    )]
    Short {
        /// Bytes of the id that came.
        got: usize,
        /// Bytes of a whole id, see [`IdFormat::wire_len`].
        expected: usize,
    },
    /// The format is [`IdFormat::Hex8`] and a byte is not one of `0-9a-f`.
    #[error(
        "expected a connection id of 8 characters 0-9a-f, but byte {} came at offset {offset}: {}; \
         if the peer sends Raw4 ids, configure IdFormat::Raw4",
        ShownByte(*byte), not_hex_hint(.offset, .byte)
    )]
    NotHex {
        /// Place of the first wrong byte, 0 to 7.
        offset: usize,
        /// The wrong byte.
        byte: u8,
    },
    /// The format is [`IdFormat::Raw4`], and connection after connection begins with 8 characters of
    /// `0-9a-f`: see [`FormatDetector`].
    #[error(
        "the last connections all began with 8 characters 0-9a-f, of which 4 were taken for an id: \
         the peer sends Hex8 ids, configure IdFormat::Hex8"
    )]
    HalfOfHex8,
}

/// Why a text is not a [`ConnId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// The text is too short or too long.
    #[error("expected a connection id of 8 characters 0-9a-f, but the text has {got}")]
    Length {
        /// Characters (not bytes) of the text.
        got: usize,
    },
    /// A character is not one of `0-9a-f`.
    #[error(
        "expected a connection id of 8 characters 0-9a-f, but {character:?} is at offset {offset}\
         {}", if .character.is_ascii_hexdigit() { ": write it in lower case" } else { "" }
    )]
    Character {
        /// Place of the first wrong character, 0 to 7.
        offset: usize,
        /// The wrong character.
        character: char,
    },
}

fn decode_hex8(wire: &[u8]) -> Result<Option<ConnId>, IdError> {
    let mut value = 0;
    for (offset, &byte) in wire.iter().take(ID_CHARS).enumerate() {
        let digit = hex_value(byte).ok_or(IdError::NotHex { offset, byte })?;
        value = (value << 4) | digit;
    }
    Ok((wire.len() >= ID_CHARS).then_some(ConnId(value)))
}

fn hex_value(digit: u8) -> Option<u32> {
    match digit {
        b'0'..=b'9' => Some(u32::from(digit - b'0')),
        b'a'..=b'f' => Some(u32::from(digit - b'a') + 10),
        _ => None,
    }
}

/// The character for a value below 16.
const fn hex_digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' - 10 + (value & 0xf),
    }
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
        (_, b'A'..=b'F') => "an upper-case letter, the peer must write its ids in lower case",
        // The record types alert and handshake of RFC 8446, section 5.1.
        (0, 0x15 | 0x16) => {
            "it begins a TLS record, the peer may speak TLS on what is a plaintext port here: \
             configure TLS on both ends or on neither"
        }
        (_, b' '..=b'~' | b'\t' | b'\r' | b'\n') => {
            "the peer sends text that is no id: check the address, or configure IdExchange::None \
             if it sends no ids"
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

#[cfg(test)]
mod tests;
