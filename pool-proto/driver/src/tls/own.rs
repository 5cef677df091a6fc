//! The part of an end's settings that the texts of failures name.

use std::vec::Vec;

use super::{Fingerprint, TlsError};

/// The certificate and the protocols of this end.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// `None` if this end presents no certificate, or only a custom configuration knows it.
    pub(super) certificate: Option<Fingerprint>,
    /// For ALPN (RFC 7301), the preferred one first.
    pub(super) protocols: Vec<Vec<u8>>,
}

/// The length of a protocol's name (RFC 7301, section 3.1).
const LONGEST: usize = 255;

/// Checks a list of protocols.
pub(super) fn protocols(
    protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>,
) -> Result<Vec<Vec<u8>>, TlsError> {
    let protocols: Vec<Vec<u8>> = protocols.into_iter().map(Into::into).collect();
    match protocols.iter().find(|name| name.is_empty() || name.len() > LONGEST) {
        Some(name) => Err(TlsError::Protocol { length: name.len() }),
        None => Ok(protocols),
    }
}
