//! Reading and writing certificates and keys as PEM text (RFC 7468).

use std::string::String;
use std::vec::Vec;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use super::pem_fault::{PemFault, broken_line};

/// Reads every certificate of a PEM text as a trust anchor.
///
/// Unlike [`RootCertStore::add_parsable_certificates`], this function skips no certificate: a root
/// that is silently missing shows itself only later, as refused handshakes. For a system-wide
/// collection, which may contain malformed certificates, fill a [`RootCertStore`] with that method.
///
/// # Errors
///
/// [`TlsError::Pem`] if the text is malformed or contains no certificate, [`TlsError::BadRoot`] if
/// a certificate cannot be a trust anchor.
pub fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem, "root certificates")?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|reason| TlsError::BadRoot { number: index.saturating_add(1), reason })?;
    }
    Ok(roots)
}

/// Reads the certificates of a PEM text, and requires at least one.
pub(super) fn certificates(
    pem: &[u8],
    expected: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(pem, expected, &error))?;
    if found.is_empty() {
        return Err(refused(pem, expected, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// Reads the first private key of a PEM text.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| refused(pem, "a private key", &error))
}

fn refused(pem: &[u8], expected: &'static str, error: &pem::Error) -> TlsError {
    let fault = PemFault::of(pem, error);
    TlsError::Pem { expected, length: pem.len(), line: broken_line(pem), fault }
}

/// Writes certificates as PEM text.
pub(super) fn write(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        push_section(&mut text, "CERTIFICATE", certificate);
    }
    text
}

/// Appends one section.
pub(super) fn push_section(text: &mut String, label: &str, bytes: &[u8]) {
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    push_base64_lines(text, bytes);
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
}

/// Appends Base64 in lines of 64 characters (RFC 7468, section 2).
fn push_base64_lines(text: &mut String, bytes: &[u8]) {
    for line in bytes.chunks(48) {
        push_base64(text, line);
        text.push('\n');
    }
}

/// Appends Base64 with padding (RFC 4648, section 4).
pub(super) fn push_base64(text: &mut String, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3_usize.saturating_sub(group.len())));
        for position in 0..4 {
            text.push(if position <= group.len() {
                base64_digit(bits >> (18 - 6 * position))
            } else {
                '='
            });
        }
    }
}

/// Reads what [`push_base64`] writes, and nothing else: each value has one text.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
        // Fewer than eight bits are left.
        bits &= 0xFF;
    }
    let mut written = String::new();
    push_base64(&mut written, &bytes);
    (written == text).then_some(bytes)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns the Base64 digit of the low six bits.
fn base64_digit(bits: u32) -> char {
    let index = usize::try_from(bits & 63).unwrap_or_default();
    DIGITS.get(index).copied().map_or('=', char::from)
}
