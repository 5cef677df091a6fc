//! Who an end of a connection is: a certificate chain and its private key.

use core::fmt;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use super::provider;
use super::{Fingerprint, PemFault, TlsError, pem};

/// A certificate chain and the private key of its leaf.
///
/// The key and the certificate are checked to belong together when the identity is made, so no
/// configuration can hold a pair every handshake would fail with. Clones share the key; neither
/// [`Debug`](fmt::Debug) nor any method shows it.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
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
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        Self::from_pem_with_provider(cert_pem, key_pem, provider())
    }

    /// Like [`from_pem`](Self::from_pem), with this provider.
    ///
    /// # Errors
    ///
    /// Those of [`from_pem`](Self::from_pem).
    pub fn from_pem_with_provider(
        cert_pem: &[u8],
        key_pem: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = pem::certificates(cert_pem, "a certificate chain")?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::Pem {
            expected: "a private key",
            length: key_pem.len(),
            fault: PemFault::from(&error),
        })?;
        Self::from_der_with_provider(chain, key, provider)
    }

    /// Takes a DER-encoded certificate chain, leaf first (RFC 8446, section 4.4.2), and a
    /// DER-encoded private key.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyChain`] without a certificate, [`TlsError::KeyMismatch`] when the key is
    /// not the leaf's, [`TlsError::BadIdentity`] when rustls cannot use either.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn from_der(
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        Self::from_der_with_provider(chain, key, provider())
    }

    /// Like [`from_der`](Self::from_der), with this provider.
    ///
    /// # Errors
    ///
    /// Those of [`from_der`](Self::from_der).
    pub fn from_der_with_provider(
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = chain.into_iter().collect();
        let fingerprint = chain.first().map(Fingerprint::of).ok_or(TlsError::EmptyChain)?;
        match CertifiedKey::from_der(chain, key, &provider) {
            Ok(key) => Ok(Self { key: Arc::new(key), fingerprint, provider }),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TlsError::KeyMismatch { certificate: fingerprint })
            }
            Err(reason) => Err(TlsError::BadIdentity { certificate: fingerprint, reason }),
        }
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

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
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
