//! Fresh self-signed certificates.

use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use rustls::pki_types::ServerName;

use super::{Identity, ServerTls, TlsError, host_name};

impl Identity {
    /// Makes a fresh P-256 key and a certificate for the given DNS names and IP addresses, signed
    /// by the key itself.
    ///
    /// A DNS name may start with the wildcard label `*.`. The certificate serves both roles, and
    /// a peer may use it as its root. It is valid from 1975 to 4096, since there is no clock here
    /// to date it by: it is meant to live as long as the process and to be made anew by the next.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoNames`] without a name, [`TlsError::EmptyHost`] or [`TlsError::InvalidHost`]
    /// for a bad one, [`TlsError::Generate`] when the system's random numbers fail.
    pub fn self_signed(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        let names = names
            .into_iter()
            .map(|name| subject_name(&name.into()))
            .collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(TlsError::NoNames);
        }
        let generated = |error: rcgen::Error| TlsError::Generate { reason: error.to_string() };
        let key =
            rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(generated)?;
        let certificate = rcgen::CertificateParams::new(names)
            .and_then(|params| params.self_signed(&key))
            .map_err(generated)?;
        Self::from_der([certificate.der().clone()], key.into())
    }
}

impl ServerTls {
    /// A fresh self-signed certificate for `localhost`.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::self_signed`].
    pub fn self_signed() -> Result<Self, TlsError> {
        Self::self_signed_for(["localhost"])
    }

    /// A fresh self-signed certificate for the given DNS names and IP addresses.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::self_signed`].
    pub fn self_signed_for(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        Self::new(Identity::self_signed(names)?)
    }
}

/// A name as it stands in a certificate: without the dot a full DNS name may end in.
fn subject_name(name: &str) -> Result<String, TlsError> {
    let Some(parent) = name.strip_prefix("*.") else {
        return Ok(host_name(name)?.to_str().into_owned());
    };
    match host_name(parent) {
        Ok(ServerName::DnsName(parent)) => Ok(format!("*.{}", parent.as_ref())),
        _ => Err(TlsError::InvalidHost { host: name.to_owned() }),
    }
}
