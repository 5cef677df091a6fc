//! The TLS settings of the accepting end.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

use super::own::{self, Own};
use super::verify::{PinnedClientVerifier, Pins};
use super::{Fingerprint, Identity, Pin, TlsError};

/// The TLS settings of a server: its certificate, and the clients that it accepts.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Without the certificate of a custom configuration: only its resolver knows that.
    own: Arc<Own>,
    clients: Clients,
}

/// The clients that a server accepts.
#[derive(Clone, Copy, Debug)]
enum Clients {
    Anyone,
    /// In a custom configuration, only its verifier knows them.
    Unknown,
    /// In a custom configuration, which authenticates them according to its author.
    Vouched,
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
        let own = Own { certificate: Some(identity.fingerprint()), ..Own::default() };
        Ok(Self { config, own: Arc::new(own), clients: Clients::Anyone })
    }

    /// Uses a configuration of the caller's own, unchanged.
    ///
    /// This module's promises about versions and session tickets do not hold for it. Failures get the same
    /// remedies as with other settings, and streams the same facts. The certificate of this end is not
    /// named in them, as only the resolver knows it: [`identity`](Self::identity) replaces the resolver.
    /// [`assume_authenticated`](Self::assume_authenticated) states that the configuration authenticates
    /// clients.
    #[must_use]
    pub fn custom(config: Arc<ServerConfig>) -> Self {
        let own = Own { certificate: None, protocols: config.alpn_protocols.clone() };
        Self { config, own: Arc::new(own), clients: Clients::Unknown }
    }

    /// Presents another identity, and keeps everything else: the provider, the clients, the protocols. In a
    /// custom configuration, it takes the place of the resolver.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        let resolver = SingleCertAndKey::from(identity.certified_key());
        Arc::make_mut(&mut self.config).cert_resolver = Arc::new(resolver);
        Arc::make_mut(&mut self.own).certificate = Some(identity.fingerprint());
        self
    }

    /// States that a [`custom`](Self::custom) configuration admits only certain clients, so that
    /// `require_authentication` of the builders lets it pass. Changes no check: an untrue statement makes
    /// that promise of the builder untrue, too.
    ///
    /// # Errors
    ///
    /// [`TlsError::NotCustom`] for settings of this module, which tell by themselves.
    pub fn assume_authenticated(mut self) -> Result<Self, TlsError> {
        match self.clients {
            Clients::Unknown | Clients::Vouched => self.clients = Clients::Vouched,
            Clients::Anyone | Clients::Issued | Clients::Pinned => {
                return Err(TlsError::NotCustom);
            }
        }
        Ok(self)
    }

    /// Speaks these protocols by ALPN (RFC 7301), the preferred one first; none, the default, ignores the
    /// extension. A later call replaces the list.
    ///
    /// [`TlsFacts::alpn`](super::TlsFacts::alpn) of a stream has the choice: the first protocol of this list
    /// that the client offers. A client that offers only others is refused. A client without a list is
    /// admitted without a protocol: compare the facts where the protocol matters.
    ///
    /// # Errors
    ///
    /// [`TlsError::Protocol`] for a name that is empty or longer than 255 bytes.
    pub fn alpn(
        mut self,
        protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>,
    ) -> Result<Self, TlsError> {
        let protocols = own::protocols(protocols)?;
        Arc::make_mut(&mut self.config).alpn_protocols.clone_from(&protocols);
        Arc::make_mut(&mut self.own).protocols = protocols;
        Ok(self)
    }

    /// Accepts only clients with one of these pins, which prove to hold the key of their certificate
    /// (mutual TLS; RFC 8446, section 4.3.2). A pin is a [`Pin`], a [`Fingerprint`] of a certificate, or a
    /// [`KeyFingerprint`](super::KeyFingerprint) of a public key. A later call replaces the pins or the
    /// roots of an earlier one.
    ///
    /// Neither the chain of the certificate nor its names and dates are checked, and only the client's
    /// own (end-entity) certificate is compared. Pin the old and the new certificate while one is being
    /// renewed, or pin the key. To lock one client out, replace the settings by others without its pin
    /// (`set_tls` of the pool), and `flush` the pool. For many clients, or for clients that come and go, let
    /// an authority of your own issue their certificates:
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
            Clients::Unknown | Clients::Vouched => Err(TlsError::CustomServerConfig),
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
        let resolver = Arc::clone(&self.config.cert_resolver);
        let mut config = server_config(provider, verifier, resolver)?;
        let protocols = &self.own.protocols;
        Arc::make_mut(&mut config).alpn_protocols.clone_from(protocols);
        Ok(Self { config, clients, ..self })
    }

    /// Returns whether only certain clients are admitted: pinned ones, or those with a certificate of
    /// the given roots. `false` after [`custom`](Self::custom), because only the author of the
    /// configuration knows and may [state it](Self::assume_authenticated).
    #[must_use]
    pub fn authenticates_clients(&self) -> bool {
        !matches!(self.clients, Clients::Anyone | Clients::Unknown)
    }

    /// Returns whether clients may present certificates: then a peer is known by its own, and not by its
    /// address.
    pub(crate) fn may_see_certificates(&self) -> bool {
        !matches!(self.clients, Clients::Anyone)
    }

    pub(super) fn own(&self) -> &Arc<Own> {
        &self.own
    }

    /// Returns the configuration for handshakes.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Returns the fingerprint of the leaf certificate, for clients to pin; `None` after
    /// [`custom`](Self::custom), unless [`identity`](Self::identity) follows it.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.own.certificate
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("own", &self.own)
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
