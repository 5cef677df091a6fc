//! The modes of TLS, for configuration files.

use core::fmt;
use core::str::FromStr;
use std::borrow::ToOwned;
use std::string::ToString;

use super::TlsError;

/// How connections are protected.
///
/// For configuration files: there is no default, so that a file has to say which, and an unknown
/// mode is an error. In code, giving a pool no TLS settings means plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `0`, `none`: plaintext.
    None,
    /// `1`, `self-signed`: TLS with any certificate, or with a pinned one.
    ///
    /// Without pins this keeps out listeners, not an attacker who can answer in the server's
    /// place.
    SelfSigned,
    /// `2`, `verified`: TLS with the certificate chain and the host name checked.
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

    /// Reads a mode's number or its name, exactly as written in [`TlsMode`].
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

    /// Takes a mode's number, 0 to 2.
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
