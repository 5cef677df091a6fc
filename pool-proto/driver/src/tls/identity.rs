//! The identity of an end: a certificate chain and its private key.

use core::fmt;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use super::provider;
use super::{Fingerprint, KeyFingerprint, TlsError, pem};

/// A certificate chain and the private key of its leaf.
///
/// The constructors check that the key and the certificate belong together: a mismatch is an error
/// there, and not a failure of every handshake. Clones share the key. Neither [`Debug`](fmt::Debug)
/// nor any method shows it. To keep a fresh identity, use `load_or_create` or `generate_pem` (feature
/// `self-signed`).
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    key_fingerprint: KeyFingerprint,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Reads a certificate chain, leaf first, and an unencrypted private key (PKCS#8, PKCS#1 or
    /// SEC1) from PEM text.
    ///
    /// Sections of other kinds are skipped, so both arguments may be the same text. The first of
    /// several keys is used.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] if the chain or the key cannot be read, and the errors of
    /// [`from_der`](Self::from_der).
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        Self::from_pem_with_provider(cert_pem, key_pem, provider())
    }

    /// Like [`from_pem`](Self::from_pem), with this provider.
    ///
    /// # Errors
    ///
    /// The errors of [`from_pem`](Self::from_pem).
    pub fn from_pem_with_provider(
        cert_pem: &[u8],
        key_pem: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = pem::certificates(cert_pem, "a certificate chain")?;
        let key = pem::private_key(key_pem)?;
        Self::from_der_with_provider(chain, key, provider)
    }

    /// Takes a DER-encoded certificate chain, leaf first (RFC 8446, section 4.4.2), and a
    /// DER-encoded private key.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyChain`] without a certificate, [`TlsError::KeyMismatch`] if the key does not
    /// belong to the leaf, [`TlsError::BadIdentity`] if rustls cannot use the key or the leaf.
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
    /// The errors of [`from_der`](Self::from_der).
    pub fn from_der_with_provider(
        chain: impl IntoIterator<Item = CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain: Vec<_> = chain.into_iter().collect();
        let fingerprint = chain.first().map(Fingerprint::of).ok_or(TlsError::EmptyChain)?;
        let bad = |reason| TlsError::BadIdentity { certificate: fingerprint, reason };
        let key = match CertifiedKey::from_der(chain, key, &provider) {
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::KeyMismatch { certificate: fingerprint });
            }
            result => result.map_err(bad)?,
        };
        let key_fingerprint =
            key.end_entity_cert().and_then(KeyFingerprint::try_of).map_err(bad)?;
        Ok(Self { key: Arc::new(key), fingerprint, key_fingerprint, provider })
    }

    /// Returns the fingerprint of the leaf certificate, for peers to pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the fingerprint of the public key, for peers to pin: it stays where a renewed certificate
    /// has the same key.
    #[must_use]
    pub fn key_fingerprint(&self) -> KeyFingerprint {
        self.key_fingerprint
    }

    /// Returns the certificate chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Returns the certificate chain, leaf first, as PEM text (RFC 7468) without the private key.
    ///
    /// A peer that trusts a self-signed identity passes this text to
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
            .field("key_fingerprint", &self.key_fingerprint)
            .field("certificates", &self.chain().len())
            .finish_non_exhaustive()
    }
}
