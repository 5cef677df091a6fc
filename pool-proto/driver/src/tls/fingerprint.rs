//! SHA-256 fingerprints of certificates, for pinning.

use core::fmt;
use core::str::FromStr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::TlsError;

/// The length of a SHA-256 digest in bytes (FIPS 180-4, section 1).
const BYTES: usize = 32;
const DIGITS: usize = BYTES * 2;

/// The SHA-256 digest of a certificate's DER encoding, 32 bytes.
///
/// The digest covers the whole certificate: a renewed certificate has another fingerprint, even with
/// the same key. The command `openssl x509 -noout -fingerprint -sha256 -in certificate.pem` prints
/// the same value after the `=`.
///
/// [`Display`](fmt::Display) writes lower-case hex pairs with colons between them. [`FromStr`] reads
/// this form, and the forms without colons and in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; BYTES]);

impl Fingerprint {
    /// Computes the fingerprint of a DER-encoded certificate.
    ///
    /// The bytes are not parsed: any byte string has a fingerprint. The hash is that of the crate
    /// sha2, and not that of a cryptography provider.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Returns the 32 bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl From<[u8; BYTES]> for Fingerprint {
    fn from(digest: [u8; BYTES]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for byte in self.0 {
            write!(f, "{separator}{byte:02x}")?;
            separator = ":";
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = TlsError;

    /// Reads 64 hex digits, upper or lower case, with a colon between every pair or with no colons.
    ///
    /// # Errors
    ///
    /// [`TlsError::FingerprintCharacter`] names the first misplaced character,
    /// [`TlsError::FingerprintLength`] counts the digits if they are not 64.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separated = text.contains(':');
        let mut bytes = [0_u8; BYTES];
        let mut digits = 0;
        for (position, found) in text.chars().enumerate() {
            let at_separator = separated && position % 3 == 2;
            // A colon after the last pair is an error.
            if at_separator && found == ':' && digits < DIGITS {
                continue;
            }
            let value = found.to_digit(16).and_then(|value| u8::try_from(value).ok());
            let Some(value) = value.filter(|_| !at_separator || digits >= DIGITS) else {
                return Err(TlsError::FingerprintCharacter { found, position });
            };
            if let Some(byte) = bytes.get_mut(digits / 2) {
                *byte = (*byte << 4) | value;
            }
            digits += 1;
        }
        if digits == DIGITS { Ok(Self(bytes)) } else { Err(TlsError::FingerprintLength { digits }) }
    }
}
