//! The id of a connection as a value.

use core::fmt;
use core::str::FromStr;

use super::{ID_CHARS, hex_value};

/// The id of a connection: 4 bytes, shown as 8 lower-case hex characters.
///
/// An id is a name, not a capability: it is told over a channel of the user's and shown in logs, and
/// one of 2²⁵ is soon guessed. Nothing may follow from knowing an id. A user that acquires by an id
/// that a peer has told compares the connection's address or certificate with that peer's.
///
/// An id that a server of this crate makes has 25 random bits, or 24 with
/// [`Acquirer::Both`](crate::Acquirer::Both), where one bit tells the acquirer. Seven bits are a hint for
/// [`Tuning::Demand`](crate::Tuning::Demand) at the client: roughly how many callers wait at the server. They
/// are masked by the other bits, so that ids look random. To a Go end, it is an id like any other.
///
/// Ids are ordered by their bytes, which is also the order of their texts.
///
/// # As text
///
/// The text of an id is 8 characters `0-9a-f`, with either [`IdFormat`](super::IdFormat) on the wire. It is
/// the string that an end on the Go package has for the same connection. [`Display`](fmt::Display)
/// writes it (`id.to_string()`), and [`FromStr`] reads it (`text.parse()`).
///
/// Nothing else is read: not upper case, nor a prefix or a blank, nor fewer or more characters. An id has
/// one spelling, so its texts can be compared, kept as keys and found in logs like the ids themselves.
/// [`ParseIdError`] says what is wrong. Where the other end is known to write upper case, its text is
/// the user's to convert, by `to_ascii_lowercase`.
///
/// # As bytes
///
/// For a control channel of binary messages, [`to_bytes`](Self::to_bytes) and
/// [`from_bytes`](Self::from_bytes) are the 4 bytes of the id, in the order of the text. Any 4 bytes are
/// an id.
///
/// # Under other names
///
/// The server makes the ids, and nobody else can choose one. A user whose control channel carries other
/// names (numbers of requests, UUIDs) sends the id along with the name when the connection is
/// acquired, and keeps a table where only the name comes later. A later connection may have the same
/// id, so the entry goes when the connection does.
///
/// ```
/// use std::collections::HashMap;
///
/// use pool_proto::{ConnId, ParseIdError};
///
/// # fn main() -> Result<(), ParseIdError> {
/// // The id of a connection that this end has acquired.
/// let id = ConnId::from_bytes([0x3f, 0x9c, 0x02, 0xab]);
///
/// // Told as text.
/// let told = id.to_string();
/// assert_eq!(told, "3f9c02ab");
/// assert_eq!(told.parse(), Ok(id));
/// let error = "3F9C02AB".parse::<ConnId>().unwrap_err();
/// assert_eq!(error, ParseIdError::Character { offset: 1, character: 'F' });
/// assert_eq!("3f9c02a".parse::<ConnId>(), Err(ParseIdError::Length { got: 7 }));
///
/// // Told as bytes.
/// let told: [u8; 4] = id.to_bytes();
/// assert_eq!(ConnId::from_bytes(told), id);
///
/// // Told once with a name of the user's own, by which later messages mean it.
/// let mut connections: HashMap<String, ConnId> = HashMap::new();
/// let (name, told) = ("visitor 17", "3f9c02ab");
/// connections.insert(name.to_owned(), told.parse()?);
/// assert_eq!(connections.get("visitor 17"), Some(&id));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u32);

impl ConnId {
    /// The id `00000000`.
    ///
    /// Newer releases of the Go package give it to their first connection, which their users take as
    /// the control connection. A machine makes this id only if the
    /// [configuration](crate::ServerConfigBuilder::control_connection) says so. Sent by a peer, it is
    /// an id like any other.
    pub const ZERO: Self = Self(0);

    /// Returns the id of these 4 bytes. The first byte is the first in the text and on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// Returns the 4 bytes of the id, in the order of [`ConnId::from_bytes`].
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub(super) const fn to_hex(self) -> [u8; ID_CHARS] {
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
    /// Writes 8 lower-case hex characters. Width, fill and alignment apply.
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

    /// Parses exactly 8 lower-case hex characters, so that an id has only one spelling.
    ///
    /// # Errors
    ///
    /// [`ParseIdError::Length`] for any other number of characters, otherwise
    /// [`ParseIdError::Character`] for the first character that is not in `0-9a-f`.
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

/// The reason why a text is not a [`ConnId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIdError {
    /// The text is too short or too long.
    #[error("expected a connection id of 8 characters 0-9a-f, but the text has {got}")]
    Length {
        /// The number of characters (not bytes) in the text.
        got: usize,
    },
    /// A character is not one of `0-9a-f`.
    #[error(
        "expected a connection id of 8 characters 0-9a-f, but {character:?} is at offset {offset}\
         {}", if .character.is_ascii_hexdigit() { ": write it in lower case" } else { "" }
    )]
    Character {
        /// The position of the first wrong character, 0 to 7.
        offset: usize,
        /// The wrong character.
        character: char,
    },
}

/// The character for a value below 16.
const fn hex_digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' - 10 + (value & 0xf),
    }
}
