//! The TLS settings of the dialling end.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use super::own::{self, Own};
use super::verify::{Pins, SelfSignedVerifier};
use super::{Fingerprint, Identity, Pin, TlsError, TlsMode, host_name};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use super::{provider, roots_from_pem};

/// The TLS settings of a client: how it checks a server, and its own certificate, if any.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    mode: TlsMode,
    pins: Option<Pins>,
    own: Arc<Own>,
    servers: Servers,
}

/// The servers that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    Anyone,
    /// In a custom configuration, only its verifier knows them.
    Unknown,
    /// In a custom configuration, which authenticates them according to its author.
    Vouched,
    Pinned,
    Verified,
}

impl ClientTls {
    /// Accepts any certificate (mode 1), without a check of its chain, its names or its dates.
    ///
    /// **Anybody can be the server.** Add [`pinned`](Self::pinned): without it, an attacker who can
    /// redirect the connection passes this check with a certificate of their own, and reads and
    /// answers every request.
    ///
    /// The server still has to prove that it holds the certificate's key (CertificateVerify,
    /// RFC 8446, section 4.4.3), and for that the certificate has to be X.509 v3. No server name is
    /// sent.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`] if rustls refuses the configuration; no input is known to cause this.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn self_signed() -> Result<Self, TlsError> {
        Self::self_signed_with_provider(provider())
    }

    /// Like [`self_signed`](Self::self_signed), with this provider.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`] if the provider does not support TLS 1.3.
    pub fn self_signed_with_provider(provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let verifier = SelfSignedVerifier::new(provider.signature_verification_algorithms, None);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        // Mode 1 has no host name; rustls requires one, and nothing reads this placeholder.
        config.enable_sni = false;
        Ok(Self {
            config: Arc::new(config),
            server_name: host_name("localhost")?,
            mode: TlsMode::SelfSigned,
            pins: None,
            own: Arc::default(),
            servers: Servers::Anyone,
        })
    }

    /// Accepts only this certificate, or certificates with this public key (mode 1): takes a [`Pin`], a
    /// [`Fingerprint`] or a [`KeyFingerprint`](super::KeyFingerprint).
    ///
    /// Only the server's own (end-entity) certificate is compared, not its issuers. A later call
    /// replaces the pins of an earlier one.
    ///
    /// # Errors
    ///
    /// [`TlsError::PinsNeedSelfSigned`] outside of mode 1.
    pub fn pinned(self, pin: impl Into<Pin>) -> Result<Self, TlsError> {
        self.pinned_any([pin])
    }

    /// Accepts only servers with one of these pins (mode 1): the old and the new one while a server's
    /// certificate or key is being replaced, or those of several servers.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyPins`] without a pin, [`TlsError::PinsNeedSelfSigned`] outside of
    /// mode 1.
    pub fn pinned_any(
        mut self,
        pins: impl IntoIterator<Item = impl Into<Pin>>,
    ) -> Result<Self, TlsError> {
        if self.mode != TlsMode::SelfSigned {
            return Err(TlsError::PinsNeedSelfSigned { mode: self.mode });
        }
        let pins = Pins::new(pins)?;
        let config = Arc::make_mut(&mut self.config);
        let algorithms = config.crypto_provider().signature_verification_algorithms;
        let verifier = SelfSignedVerifier::new(algorithms, Some(pins.clone()));
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        self.pins = Some(pins);
        self.servers = Servers::Pinned;
        Ok(self)
    }

    /// Accepts only a certificate that one of `roots` has issued for `host`, and that is valid at
    /// the time of the handshake (mode 2).
    ///
    /// `host` is a DNS name or an IP address, without brackets or port. A DNS name is also sent to
    /// the server (RFC 6066, section 3), an IP address is not. Revocation is not checked.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyHost`], [`TlsError::InvalidHost`] and [`TlsError::EmptyRoots`].
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn verified(host: &str, roots: RootCertStore) -> Result<Self, TlsError> {
        Self::verified_with_provider(host, roots, provider())
    }

    /// Like [`verified`](Self::verified), with this provider.
    ///
    /// # Errors
    ///
    /// The errors of [`verified`](Self::verified), and [`TlsError::Config`] if the provider does not
    /// support TLS 1.3.
    pub fn verified_with_provider(
        host: &str,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let server_name = host_name(host)?;
        if roots.is_empty() {
            return Err(TlsError::EmptyRoots { purpose: "checks of the server's certificate" });
        }
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            server_name,
            mode: TlsMode::Verified,
            pins: None,
            own: Arc::default(),
            servers: Servers::Verified,
        })
    }

    /// Like [`verified`](Self::verified), with the roots as PEM text.
    ///
    /// # Errors
    ///
    /// The errors of [`verified`](Self::verified) and of [`roots_from_pem`].
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn verified_pem(host: &str, pem_bytes: &[u8]) -> Result<Self, TlsError> {
        // Report a bad host before bad PEM: it is the more common mistake, and easier to fix.
        host_name(host)?;
        Self::verified(host, roots_from_pem(pem_bytes)?)
    }

    /// Uses a configuration of the caller's own, unchanged.
    ///
    /// The [`mode`](Self::mode) is reported as [`TlsMode::Verified`], although only the author of the
    /// configuration knows its checks; [`assume_authenticated`](Self::assume_authenticated) states that
    /// it authenticates servers. This module's promises about versions and session tickets do not hold
    /// for it. Failures get the same remedies as with other settings. To name the certificate of this end
    /// in them, the resolver is asked once, here, for a certificate for a server without wishes.
    #[must_use]
    pub fn custom(config: Arc<ClientConfig>, server_name: ServerName<'static>) -> Self {
        let own =
            Own { certificate: certificate_of(&config), protocols: config.alpn_protocols.clone() };
        Self {
            config,
            server_name,
            mode: TlsMode::Verified,
            pins: None,
            own: Arc::new(own),
            servers: Servers::Unknown,
        }
    }

    /// States that a [`custom`](Self::custom) configuration accepts only certain servers, so that
    /// `require_authentication` of the builders lets it pass. Changes no check: an untrue statement makes
    /// that promise of the builder untrue, too.
    ///
    /// # Errors
    ///
    /// [`TlsError::NotCustom`] for settings of this module, which tell by themselves.
    pub fn assume_authenticated(mut self) -> Result<Self, TlsError> {
        match self.servers {
            Servers::Unknown | Servers::Vouched => self.servers = Servers::Vouched,
            Servers::Anyone | Servers::Pinned | Servers::Verified => {
                return Err(TlsError::NotCustom);
            }
        }
        Ok(self)
    }

    /// Offers these protocols by ALPN (RFC 7301), the preferred one first, in every mode; none, the
    /// default, leaves the extension out. A later call replaces the list.
    ///
    /// The server chooses: [`TlsFacts::alpn`](super::TlsFacts::alpn) of a stream has its choice. A server
    /// with a list that has none of these refuses the handshake. A server without a list chooses none,
    /// which is not an error: compare the facts where the protocol matters.
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

    /// Presents a certificate when the server asks for one (mutual TLS; RFC 8446, section 4.3.2), in
    /// every mode, with or without pins, and with a custom configuration. A later call replaces it.
    ///
    /// In TLS 1.3 a client completes its handshake before the server has checked the client's
    /// certificate. A refusal arrives as an alert at the first read: a client pool meets it when it
    /// reads the id, and reports a failed handshake that names this certificate.
    #[must_use]
    pub fn client_certificate(mut self, identity: Identity) -> Self {
        let resolver = SingleCertAndKey::from(identity.certified_key());
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = Arc::new(resolver);
        Arc::make_mut(&mut self.own).certificate = Some(identity.fingerprint());
        self
    }

    /// Returns the configuration for handshakes.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Returns the server name for handshakes. In mode 1 it is a placeholder, neither sent nor
    /// checked.
    #[must_use]
    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// Returns the fingerprint of the certificate that this end presents, for the server to pin; `None`
    /// without one. Of a [`custom`](Self::custom) configuration, that for a server without wishes.
    #[must_use]
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.own.certificate
    }

    pub(super) fn own(&self) -> &Arc<Own> {
        &self.own
    }

    /// Returns whether only certain servers pass: pinned ones, or those with a verified chain and name.
    /// `false` after [`custom`](Self::custom), because only the author of the configuration knows and may
    /// [state it](Self::assume_authenticated).
    #[must_use]
    pub fn authenticates_server(&self) -> bool {
        !matches!(self.servers, Servers::Anyone | Servers::Unknown)
    }

    /// Returns how the server is checked; never [`TlsMode::None`].
    #[must_use]
    pub fn mode(&self) -> TlsMode {
        self.mode
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("mode", &self.mode)
            .field("server_name", &self.server_name)
            .field("pins", &self.pins)
            .field("servers", &self.servers)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// The certificate that a configuration presents to a server that has no wishes.
fn certificate_of(config: &ClientConfig) -> Option<Fingerprint> {
    let resolver = &config.client_auth_cert_resolver;
    if !resolver.has_certs() {
        return None;
    }
    let schemes = config.crypto_provider().signature_verification_algorithms.supported_schemes();
    resolver.resolve(&[], &schemes)?.cert.first().map(Fingerprint::of)
}
