//! Pins: a certificate, or a public key, that an end accepts.

use core::fmt;
use core::str::FromStr;
use std::string::{String, ToString};
use std::vec::Vec;

use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};

use super::{Fingerprint, TlsError, pem};

/// The length of a SHA-256 digest in bytes (FIPS 180-4, section 1).
const BYTES: usize = 32;
/// The length of its Base64 with padding (RFC 4648, section 4).
const CHARACTERS: usize = 44;

/// The start of the text of a public key's digest. curl's option `--pinnedpubkey` has the same form.
const PREFIX: &str = "sha256//";

/// Characters of a refused text that an error shows: enough to recognize it.
const SHOWN: usize = 32;

/// The SHA-256 digest of a public key: of the certificate's SubjectPublicKeyInfo (RFC 5280, section
/// 4.1.2.7) in DER, 32 bytes.
///
/// A renewed certificate with the same key has the same digest, so a pin of it survives the renewal.
/// (`certbot renew` makes a new key by default, and keeps it with `--reuse-key`.)
///
/// [`Display`](fmt::Display) writes `sha256//` and the digest in Base64, and [`FromStr`] reads this form
/// only. The option `--pinnedpubkey` of curl has the same form, and OpenSSL prints the part after
/// `sha256//`:
///
/// ```sh
/// openssl x509 -in certificate.pem -noout -pubkey | openssl pkey -pubin -outform der |
///   openssl dgst -sha256 -binary | openssl base64
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint([u8; BYTES]);

impl KeyFingerprint {
    /// Computes the fingerprint of the key in a DER-encoded certificate.
    ///
    /// # Errors
    ///
    /// [`TlsError::BadCertificate`] if the bytes are not an X.509 v3 certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        Self::try_of(certificate).map_err(|reason| TlsError::BadCertificate {
            certificate: Fingerprint::of(certificate),
            reason,
        })
    }

    pub(super) fn try_of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Self(Sha256::digest(key).into()))
    }

    /// Returns the 32 bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl From<[u8; BYTES]> for KeyFingerprint {
    fn from(digest: [u8; BYTES]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from(PREFIX);
        pem::push_base64(&mut text, &self.0);
        f.write_str(&text)
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

impl FromStr for KeyFingerprint {
    type Err = TlsError;

    /// Reads `sha256//` and 44 characters of Base64.
    ///
    /// # Errors
    ///
    /// [`TlsError::KeyFingerprint`] for anything else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TlsError::KeyFingerprint { found: beginning(text) };
        let digits = text.strip_prefix(PREFIX).ok_or_else(refused)?;
        let bytes = Some(digits).filter(|digits| digits.len() == CHARACTERS).and_then(pem::base64);
        let digest = <[u8; BYTES]>::try_from(bytes.ok_or_else(refused)?).map_err(|_| refused())?;
        Ok(Self(digest))
    }
}

/// A certificate, or a public key, that an end accepts.
///
/// | pin | text | lasts |
/// |---|---|---|
/// | [`Certificate`](Self::Certificate) | `e3:b0:c4:…`, 32 hex pairs | until the certificate is renewed |
/// | [`Key`](Self::Key) | `sha256//47DEQpj8…` | until the key is replaced |
///
/// [`FromStr`] reads both texts, and [`Display`](fmt::Display) writes them.
///
/// ```
/// use pool_driver::tls::{Pin, TlsError};
///
/// # fn main() -> Result<(), TlsError> {
/// let pin: Pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".parse()?;
/// assert!(matches!(pin, Pin::Key(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// The certificate with this fingerprint.
    Certificate(Fingerprint),
    /// Every certificate with this public key.
    Key(KeyFingerprint),
}

impl From<Fingerprint> for Pin {
    fn from(certificate: Fingerprint) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<KeyFingerprint> for Pin {
    fn from(key: KeyFingerprint) -> Self {
        Self::Key(key)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(certificate) => certificate.fmt(f),
            Self::Key(key) => key.fmt(f),
        }
    }
}

impl FromStr for Pin {
    type Err = TlsError;

    /// Reads the text of either kind.
    ///
    /// # Errors
    ///
    /// Those of [`KeyFingerprint`] for a text that begins with `sha256//`, those of [`Fingerprint`] for hex
    /// digits and colons, and [`TlsError::UnknownPin`] for anything else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(PREFIX) {
            return text.parse().map(Self::Key);
        }
        let is_hex = |found: char| found == ':' || found.is_ascii_hexdigit();
        if text.is_empty() || !text.chars().all(is_hex) {
            return Err(TlsError::UnknownPin { found: beginning(text) });
        }
        text.parse().map(Self::Certificate)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Pin {
    /// Reads the text of either kind, so that a format that knows the line of a wrong pin names it.
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The beginning of a refused text: not the whole one, which may be something else by mistake.
fn beginning(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

/// The pins of an end as text, for errors.
pub(super) fn listed(pins: &[Pin], most: usize) -> String {
    let mut text = pins.iter().take(most).map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    let more = pins.len().saturating_sub(most);
    if more > 0 {
        text.push_str(&std::format!(" or one of {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_a_short_one_is_not() {
        assert_eq!(beginning(&"a".repeat(SHOWN)), "a".repeat(SHOWN));
        assert_eq!(beginning(&"a".repeat(SHOWN + 1)), "a".repeat(SHOWN) + "…");
    }

    #[test]
    fn pins_beyond_the_most_are_counted() {
        let pin = Pin::from(Fingerprint::from([7; 32]));
        let text = pin.to_string();
        assert_eq!(listed(&[pin], 1), text);
        assert_eq!(listed(&[pin; 3], 1), text + " or one of 2 more");
    }
}
