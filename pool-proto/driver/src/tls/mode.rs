//! The modes of TLS, for configuration files.

use core::fmt;
use core::str::FromStr;
use std::borrow::ToOwned;
use std::string::ToString;

use super::TlsError;

/// The protection of connections, as configuration files name it.
///
/// The mode has no default, and an unknown mode is an error: a file has to name the mode that it
/// means. In code, a pool without TLS settings uses plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `0`, `none`: plaintext.
    None,
    /// `1`, `self-signed`: TLS with any certificate, or with a pinned one.
    ///
    /// Without pins at the client, this mode protects from eavesdroppers, but not from an attacker who
    /// can answer in the server's place. **Without client certificates at the server, strangers are
    /// handed requests**: the server admits everybody who can reach its listener, and sends requests
    /// over any connection. Use it with [`ClientTls::pinned`](super::ClientTls::pinned) and
    /// [`ServerTls::pinned_clients`](super::ServerTls::pinned_clients).
    SelfSigned,
    /// `2`, `verified`: TLS with a check of the server's certificate chain and of its host name. The
    /// server admits everybody all the same, unless it restricts its clients.
    Verified,
}

impl fmt::Display for TlsMode {
    /// Writes the name, which [`FromStr`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::SelfSigned => "self-signed",
            Self::Verified => "verified",
        })
    }
}

impl FromStr for TlsMode {
    type Err = TlsError;

    /// Reads the number or the name of a mode, exactly as [`TlsMode`] lists them.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnknownMode`] for anything else: a typing error must not mean plaintext.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" | "none" => Ok(Self::None),
            "1" | "self-signed" => Ok(Self::SelfSigned),
            "2" | "verified" => Ok(Self::Verified),
            _ => Err(TlsError::UnknownMode { value: text.to_owned() }),
        }
    }
}

impl TryFrom<u8> for TlsMode {
    type Error = TlsError;

    /// Converts the number of a mode, 0 to 2.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnknownMode`] for anything else.
    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::SelfSigned),
            2 => Ok(Self::Verified),
            _ => Err(TlsError::UnknownMode { value: number.to_string() }),
        }
    }
}
