//! The TLS settings of the accepting end.

use core::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

use super::verify::{PinnedClientVerifier, Pins};
use super::{Fingerprint, Identity, Pin, TlsError};

/// The TLS settings of a server: its certificate, and the clients that it accepts.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// `None` in a custom configuration: only its resolver knows its certificates.
    fingerprint: Option<Fingerprint>,
    clients: Clients,
}

/// The clients that a server accepts.
#[derive(Clone, Copy, Debug)]
enum Clients {
    Anyone,
    /// In a custom configuration, only its verifier knows them.
    Unknown,
    Issued,
    Pinned,
}

impl ServerTls {
    /// Presents this identity to every client, and uses its provider.
    ///
    /// **Strangers are handed requests.** The server admits everybody who can reach its listener, and
    /// a take of any connection may be that of a stranger, who then reads the request and answers it.
    /// Add [`pinned_clients`](Self::pinned_clients) or
    /// [`require_client_certificates`](Self::require_client_certificates), unless the network or the
    /// allow list admits nobody else.
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
        Ok(Self { config, fingerprint: Some(identity.fingerprint()), clients: Clients::Anyone })
    }

    /// Uses a configuration of the caller's own, unchanged.
    ///
    /// This module's promises about versions and session tickets do not hold for it.
    #[must_use]
    pub fn custom(config: Arc<ServerConfig>) -> Self {
        Self { config, fingerprint: None, clients: Clients::Unknown }
    }

    /// Accepts only clients with one of these pins, which prove to hold the key of their certificate
    /// (mutual TLS; RFC 8446, section 4.3.2). A pin is a [`Pin`], a [`Fingerprint`] of a certificate, or a
    /// [`KeyFingerprint`](super::KeyFingerprint) of a public key. A later call replaces the pins or the
    /// roots of an earlier one.
    ///
    /// Neither the chain of the certificate nor its names and dates are checked, and only the client's
    /// own (end-entity) certificate is compared. Pin the old and the new certificate while one is
    /// being renewed. To lock one client out, build the pool anew without its pin. For many clients,
    /// or for clients that come and go, let an authority of your own issue their certificates:
    /// [`require_client_certificates`](Self::require_client_certificates) then needs no change for a
    /// new client.
    ///
    /// ```
    /// use pool_driver::tls::{ClientTls, Identity, ServerTls, TlsError};
    ///
    /// # #[cfg(not(feature = "self-signed"))]
    /// # fn main() {}
    /// # #[cfg(feature = "self-signed")]
    /// # fn main() -> Result<(), TlsError> {
    /// // Made here for both ends. In use, each end has its own, and the fingerprint of the other's.
    /// let server = Identity::self_signed(["tunnel.example"])?;
    /// let client = Identity::self_signed(["agent.example"])?;
    ///
    /// let server_tls = ServerTls::new(server.clone())?.pinned_clients([client.fingerprint()])?;
    /// let client_tls =
    ///     ClientTls::self_signed()?.pinned(server.fingerprint())?.client_certificate(client);
    /// # let _ = (server_tls, client_tls);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyPins`] without a pin, and [`TlsError::CustomServerConfig`] after
    /// [`custom`](Self::custom).
    pub fn pinned_clients(
        self,
        pins: impl IntoIterator<Item = impl Into<Pin>>,
    ) -> Result<Self, TlsError> {
        self.refuse_if_custom()?;
        let algorithms = self.config.crypto_provider().signature_verification_algorithms;
        let verifier = PinnedClientVerifier::new(algorithms, Pins::new(pins)?);
        self.verifying(Arc::new(verifier), Clients::Pinned)
    }

    /// Refuses clients without a certificate that one of `roots` has issued (mutual TLS; RFC 8446,
    /// section 4.3.2). Revocation is not checked. A later call replaces the pins or the roots of an
    /// earlier one.
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
        self.refuse_if_custom()?;
        if roots.is_empty() {
            return Err(EMPTY);
        }
        let provider = Arc::clone(self.config.crypto_provider());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            // The other error of this builder concerns revocation lists, and none were given.
            .map_err(|_| EMPTY)?;
        self.verifying(verifier, Clients::Issued)
    }

    fn refuse_if_custom(&self) -> Result<(), TlsError> {
        match self.clients {
            Clients::Unknown => Err(TlsError::CustomServerConfig),
            Clients::Anyone | Clients::Issued | Clients::Pinned => Ok(()),
        }
    }

    /// Replaces the check of the clients.
    fn verifying(
        self,
        verifier: Arc<dyn ClientCertVerifier>,
        clients: Clients,
    ) -> Result<Self, TlsError> {
        let provider = Arc::clone(self.config.crypto_provider());
        let config = server_config(provider, verifier, Arc::clone(&self.config.cert_resolver))?;
        Ok(Self { config, clients, ..self })
    }

    /// Returns whether only certain clients are admitted: pinned ones, or those with a certificate of
    /// the given roots. `false` after [`custom`](Self::custom), because only the author of the
    /// configuration knows.
    #[must_use]
    pub fn authenticates_clients(&self) -> bool {
        matches!(self.clients, Clients::Issued | Clients::Pinned)
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
            .field("clients", &self.clients)
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
