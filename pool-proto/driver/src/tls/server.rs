//! The TLS settings of the accepting end.

use core::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

use super::{Fingerprint, Identity, TlsError};

/// The TLS settings of a server: its certificate, and the clients that it accepts.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// `None` in a custom configuration: only its resolver knows its certificates.
    fingerprint: Option<Fingerprint>,
    client_certificates: bool,
}

impl ServerTls {
    /// Presents this identity to every client, and uses its provider.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`] if the provider does not support TLS 1.3.
    pub fn new(identity: Identity) -> Result<Self, TlsError> {
        let resolver = SingleCertAndKey::from(identity.certified_key());
        let config = server_config(
            identity.provider(),
            WebPkiClientVerifier::no_client_auth(),
            Arc::new(resolver),
        )?;
        Ok(Self { config, fingerprint: Some(identity.fingerprint()), client_certificates: false })
    }

    /// Uses a configuration of the caller's own, unchanged.
    ///
    /// This module's promises about versions and session tickets do not hold for it.
    #[must_use]
    pub fn custom(config: Arc<ServerConfig>) -> Self {
        Self { config, fingerprint: None, client_certificates: false }
    }

    /// Refuses clients without a certificate that one of `roots` has issued (mutual TLS; RFC 8446,
    /// section 4.3.2). Revocation is not checked.
    ///
    /// The subjects of the roots are sent to every client as a hint (RFC 8446, section 4.2.4).
    /// Give the few roots that issue client certificates, and not a system-wide collection.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyRoots`], and [`TlsError::CustomServerConfig`] after
    /// [`custom`](Self::custom).
    pub fn require_client_certificates(self, roots: RootCertStore) -> Result<Self, TlsError> {
        const EMPTY: TlsError = TlsError::EmptyRoots { purpose: "checks of client certificates" };
        if self.fingerprint.is_none() {
            return Err(TlsError::CustomServerConfig);
        }
        if roots.is_empty() {
            return Err(EMPTY);
        }
        let provider = Arc::clone(self.config.crypto_provider());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            // The other error of this builder concerns revocation lists, and none were given.
            .map_err(|_| EMPTY)?;
        let config = server_config(provider, verifier, Arc::clone(&self.config.cert_resolver))?;
        Ok(Self { config, client_certificates: true, ..self })
    }

    /// Returns the configuration for handshakes.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Returns the fingerprint of the leaf certificate, for clients to pin; `None` after
    /// [`custom`](Self::custom).
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("fingerprint", &self.fingerprint)
            .field("client_certificates", &self.client_certificates)
            .finish_non_exhaustive()
    }
}

fn server_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}
