//! Fresh self-signed certificates.

use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::{Identity, ServerTls, TlsError, host_name};

impl Identity {
    /// Makes a fresh P-256 key and a certificate for the given DNS names and IP addresses, signed
    /// by the key itself.
    ///
    /// A DNS name may start with the wildcard label `*.`. The certificate serves both roles, and
    /// a peer may trust it as a root. It is valid from 1975 to 4096, because this module reads no
    /// clock. The identity lasts as long as the process: the next one makes its own, which the other
    /// end would have to pin anew. [`load_or_create`](Self::load_or_create) makes one that lasts.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoNames`] without a name, [`TlsError::EmptyHost`] or [`TlsError::InvalidHost`]
    /// for a bad name, [`TlsError::Generate`] if the system's random number generator fails.
    pub fn self_signed(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = generate(names)?;
        Self::from_der([certificate], key)
    }
}

/// Makes a certificate, and the key that has signed it.
pub(super) fn generate(
    names: impl IntoIterator<Item = impl Into<String>>,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
    let names =
        names.into_iter().map(|name| subject_name(&name.into())).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(TlsError::NoNames);
    }
    let generated = |error: rcgen::Error| TlsError::Generate { reason: error.to_string() };
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(generated)?;
    let certificate = rcgen::CertificateParams::new(names)
        .and_then(|params| params.self_signed(&key))
        .map_err(generated)?;
    Ok((certificate.der().clone(), key.into()))
}

impl ServerTls {
    /// Presents a fresh self-signed certificate for `localhost`, another one at every start. Like
    /// [`new`](Self::new), admits everybody until the clients are restricted.
    ///
    /// # Errors
    ///
    /// The errors of [`Identity::self_signed`].
    pub fn self_signed() -> Result<Self, TlsError> {
        Self::self_signed_for(["localhost"])
    }

    /// Presents a fresh self-signed certificate for the given DNS names and IP addresses, another one at
    /// every start. Like [`new`](Self::new), admits everybody until the clients are restricted.
    ///
    /// # Errors
    ///
    /// The errors of [`Identity::self_signed`].
    pub fn self_signed_for(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        Self::new(Identity::self_signed(names)?)
    }
}

/// The form of a name in a certificate: a DNS name loses its final dot.
fn subject_name(name: &str) -> Result<String, TlsError> {
    let Some(parent) = name.strip_prefix("*.") else {
        return Ok(host_name(name)?.to_str().into_owned());
    };
    match host_name(parent) {
        Ok(ServerName::DnsName(parent)) => Ok(format!("*.{}", parent.as_ref())),
        _ => Err(TlsError::InvalidHost { host: name.to_owned() }),
    }
}
