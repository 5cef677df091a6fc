//! The faults of a PEM text: the kind, and the line.

use core::fmt;
use std::vec::Vec;

use rustls::pki_types::pem::{self, PemObject, SectionKind};

/// The beginning of a section's first line.
const BEGIN: &[u8] = b"-----BEGIN ";

/// The fault of a PEM text.
///
/// The text itself is not kept: a private key that has lost its line breaks would otherwise be
/// copied whole into the error, and from there into a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PemFault {
    /// No section of the expected kind is present, nor one of those below.
    Missing,
    /// Private keys, in place of the expected sections.
    OnlyKey,
    /// Certificates, in place of the expected sections.
    OnlyCertificate,
    /// A request for a certificate, which no authority has answered yet.
    Request,
    /// The private key is encrypted.
    Encrypted,
    /// The text is not PEM, but DER.
    Der,
    /// A section has a start and no end.
    Unterminated,
    /// A `-----BEGIN` line is malformed.
    BadStart,
    /// The body of a section is not Base64 (RFC 4648, section 4).
    Base64,
    /// Any other fault.
    Other,
}

impl fmt::Display for PemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "there is no such section: check that this is the right file, that it is not \
                 DER, and that a private key is not encrypted"
            }
            Self::OnlyKey => {
                "there is only a private key: give the file with the certificate, and those of its \
                 issuers, here"
            }
            Self::OnlyCertificate => {
                "there are only certificates: give the file with the private key, which is not \
                 encrypted, here"
            }
            Self::Request => {
                "there is a request for a certificate: let an authority sign it, and give the certificate"
            }
            Self::Encrypted => {
                "the private key is encrypted: decrypt it, as by `openssl pkey -in FILE -out NEW`, and \
                 protect the file by its mode"
            }
            Self::Der => {
                "it is DER: convert it, as by `openssl x509 -inform der` for a certificate or \
                 `openssl pkey -inform der` for a key"
            }
            Self::Unterminated => {
                "a section has a BEGIN line and no matching END line: check that the text is \
                 complete and its line breaks are real ones"
            }
            Self::BadStart => {
                "a BEGIN line does not end in five dashes: check that the text is unchanged and its \
                 line breaks are real ones"
            }
            Self::Base64 => {
                "a section is not Base64: check that the text is complete and unchanged"
            }
            Self::Other => {
                "a section cannot be read: check that the text is complete and unchanged"
            }
        })
    }
}

impl PemFault {
    pub(super) fn of(pem: &[u8], error: &pem::Error) -> Self {
        let is_encrypted = has_section(pem, |label| label == b"ENCRYPTED PRIVATE KEY");
        match error {
            pem::Error::NoItemsFound if is_encrypted => Self::Encrypted,
            pem::Error::NoItemsFound => Self::instead(pem),
            // A key in the form of PEM's first days (RFC 1421, section 4.6.1.1).
            pem::Error::Base64Decode(_) if contains(pem, b"Proc-Type: 4,ENCRYPTED") => {
                Self::Encrypted
            }
            pem::Error::MissingSectionEnd { .. } => Self::Unterminated,
            pem::Error::IllegalSectionStart { .. } => Self::BadStart,
            pem::Error::Base64Decode(_) => Self::Base64,
            _ => Self::Other,
        }
    }

    /// The fault of a text without a section of the expected kind.
    fn instead(pem: &[u8]) -> Self {
        if has_section(pem, |label| label.ends_with(b"PRIVATE KEY")) {
            Self::OnlyKey
        } else if has_section(pem, |label| label == b"CERTIFICATE") {
            Self::OnlyCertificate
        } else if has_section(pem, |label| label.ends_with(b"CERTIFICATE REQUEST")) {
            Self::Request
        } else if matches!(pem, [0x30, 0x81..=0x83, ..]) {
            // A SEQUENCE of more than 127 bytes.
            Self::Der
        } else {
            Self::Missing
        }
    }
}

/// Returns the line of the first section that cannot be read, counted from 1.
pub(super) fn broken_line(pem: &[u8]) -> Option<usize> {
    let starts: Vec<_> = starts(pem).collect();
    starts.iter().enumerate().find_map(|(index, (line, start))| {
        let end = starts.get(index + 1).map_or(pem.len(), |(_, next)| *next);
        let section = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.get(*start..end)?).next()?;
        section.is_err().then_some(*line)
    })
}

/// The line, counted from 1, and the position of each BEGIN line.
fn starts(pem: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut position = 0;
    pem.split_inclusive(|byte| *byte == b'\n').enumerate().filter_map(move |(index, line)| {
        let start = position;
        position += line.len();
        line.starts_with(BEGIN).then_some((index + 1, start))
    })
}

/// Whether a text has a section whose label fits.
fn has_section(pem: &[u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    starts(pem).any(|(_, start)| {
        let rest = pem.get(start..).unwrap_or_default();
        let line = rest.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let label = line
            .strip_prefix(BEGIN)
            .and_then(|label| label.trim_ascii_end().strip_suffix(b"-----"));
        label.is_some_and(&fits)
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
