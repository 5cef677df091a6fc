//! Who an end of a connection is: a certificate chain and its private key.

use core::fmt;
use std::borrow::ToOwned;
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use super::{Fingerprint, PemFault, TlsError, host_name, pem, provider};

/// A certificate chain and the private key of its leaf.
///
/// The key and the certificate are checked to belong together when the identity is made, so no
/// configuration can hold a pair every handshake would fail with. Clones share the key; neither
/// [`Debug`](fmt::Debug) nor any method shows it.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// Reads a certificate chain, leaf first, and an unencrypted private key (PKCS#8, PKCS#1 or
    /// SEC1) from PEM text.
    ///
    /// Sections of other kinds are skipped, so both arguments may be the same text. Of several
    /// keys the first is taken.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] when either cannot be read, and everything
    /// [`from_der`](Self::from_der) refuses.
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = pem::certificates(cert_pem, "a certificate chain")?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::Pem {
            expected: "a private key",
            length: key_pem.len(),
            fault: PemFault::from(&error),
        })?;
        Self::from_der(chain, key)
    }

    /// Takes a DER-encoded certificate chain, leaf first (RFC 8446, section 4.4.2), and a
    /// DER-encoded private key.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyChain`] without a certificate, [`TlsError::KeyMismatch`] when the key is
    /// not the leaf's, [`TlsError::BadIdentity`] when rustls cannot use either.
    pub fn from_der(
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = chain.into_iter().collect();
        let fingerprint = chain.first().map(Fingerprint::of).ok_or(TlsError::EmptyChain)?;
        match CertifiedKey::from_der(chain, key, &provider()) {
            Ok(key) => Ok(Self { key: Arc::new(key), fingerprint }),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TlsError::KeyMismatch { certificate: fingerprint })
            }
            Err(reason) => Err(TlsError::BadIdentity { certificate: fingerprint, reason }),
        }
    }

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

    /// The fingerprint of the leaf certificate: what a peer pins.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The certificate chain, leaf first, as PEM text (RFC 7468) without the private key.
    ///
    /// For a self-signed identity this is what a peer gives to
    /// [`ClientTls::verified_pem`](super::ClientTls::verified_pem).
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem::write(self.chain())
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .field("certificates", &self.chain().len())
            .finish_non_exhaustive()
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
