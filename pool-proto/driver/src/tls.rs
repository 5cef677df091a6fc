//! TLS configurations for both ends: which certificates are presented and which are accepted.
//!
//! Nothing here does I/O or holds a connection. The result is a [`rustls::ClientConfig`] or a
//! [`rustls::ServerConfig`], which an adapter hands to its own TLS stream.
//!
//! Every configuration built here
//! - speaks TLS 1.3 (RFC 8446) and nothing older;
//! - names its cryptography provider (*ring*), so no process-wide default has to be installed;
//! - neither stores nor issues session tickets (RFC 8446, section 4.6.1): a pooled connection is
//!   handshaken once, long before it is needed, and never resumed, so a session store would only
//!   take memory.
//!
//! ```
//! use pool_driver::tls::{ClientTls, Identity, ServerTls};
//!
//! # fn main() -> Result<(), pool_driver::tls::TlsError> {
//! let identity = Identity::self_signed(["tunnel.example"])?;
//! let server = ServerTls::new(identity.clone())?;
//!
//! // The client either knows the certificate by its fingerprint …
//! let pinned = ClientTls::self_signed()?.pinned(identity.fingerprint())?;
//! // … or trusts it as a root and checks the name, too.
//! let pem = identity.certificate_pem();
//! let verified = ClientTls::verified_pem("tunnel.example", pem.as_bytes())?;
//! # let _ = (server, pinned, verified);
//! # Ok(())
//! # }
//! ```

use core::fmt;
use core::str::FromStr;
use std::borrow::ToOwned;
use std::collections::BTreeSet;
use std::string::{String, ToString};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

mod error;
mod facts;
mod fingerprint;
mod identity;
mod verify;

pub use error::{PemFault, TlsError};
pub use facts::TlsFacts;
pub use fingerprint::Fingerprint;
pub use identity::{Identity, roots_from_pem};
pub use verify::PinMismatch;

use verify::SelfSignedVerifier;

/// How connections are protected.
///
/// For configuration files: there is no default, so that a file has to say which, and an unknown
/// mode is an error. In code, giving a pool no TLS settings means plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `0`, `none`: plaintext.
    None,
    /// `1`, `self-signed`: TLS with any certificate, or with a pinned one.
    ///
    /// Without pins this keeps out listeners, not an attacker who can answer in the server's
    /// place.
    SelfSigned,
    /// `2`, `verified`: TLS with the certificate chain and the host name checked.
    Verified,
}

impl fmt::Display for TlsMode {
    /// Writes the name, which [`FromStr`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::SelfSigned => "self-signed",
            Self::Verified => "verified",
        })
    }
}

impl FromStr for TlsMode {
    type Err = TlsError;

    /// Reads a mode's number or its name, exactly as written in [`TlsMode`].
    ///
    /// # Errors
    ///
    /// [`TlsError::UnknownMode`] for anything else: a typing error must not mean plaintext.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" | "none" => Ok(Self::None),
            "1" | "self-signed" => Ok(Self::SelfSigned),
            "2" | "verified" => Ok(Self::Verified),
            _ => Err(TlsError::UnknownMode { value: text.to_owned() }),
        }
    }
}

impl TryFrom<u8> for TlsMode {
    type Error = TlsError;

    /// Takes a mode's number, 0 to 2.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnknownMode`] for anything else.
    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::SelfSigned),
            2 => Ok(Self::Verified),
            _ => Err(TlsError::UnknownMode { value: number.to_string() }),
        }
    }
}

/// What the dialling end needs for its handshakes.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    mode: TlsMode,
    pins: Option<Arc<[Fingerprint]>>,
    certificate: Option<Fingerprint>,
}

impl ClientTls {
    /// Mode 1: accepts any certificate. Neither its chain nor its names nor its dates are checked.
    ///
    /// The server still has to prove that it holds the certificate's key (CertificateVerify,
    /// RFC 8446, section 4.4.3), for which the certificate has to be X.509 v3. No server name is
    /// sent.
    ///
    /// An attacker who can redirect the connection passes this check with a certificate of his
    /// own; add [`pinned`](Self::pinned) to keep him out.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`] should rustls refuse the configuration; no input leads there.
    pub fn self_signed() -> Result<Self, TlsError> {
        let provider = provider();
        let verifier = SelfSignedVerifier::new(provider.signature_verification_algorithms, None);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        // There is no host name to tell; the one below is a placeholder nobody looks at.
        config.enable_sni = false;
        Ok(Self {
            config: Arc::new(config),
            server_name: host_name("localhost")?,
            mode: TlsMode::SelfSigned,
            pins: None,
            certificate: None,
        })
    }

    /// Mode 1 with one certificate only: the one with this fingerprint.
    ///
    /// Only the server's own (end-entity) certificate is compared, not its issuers. Replaces pins
    /// set before.
    ///
    /// # Errors
    ///
    /// [`TlsError::PinsNeedSelfSigned`] unless this is mode 1.
    pub fn pinned(self, pin: Fingerprint) -> Result<Self, TlsError> {
        self.pinned_any([pin])
    }

    /// Like [`pinned`](Self::pinned), with several certificates allowed: the old and the new one
    /// while a server's certificate is being renewed, or those of several servers.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyPins`] without a fingerprint, [`TlsError::PinsNeedSelfSigned`] unless this
    /// is mode 1.
    pub fn pinned_any(
        mut self,
        pins: impl IntoIterator<Item = Fingerprint>,
    ) -> Result<Self, TlsError> {
        if self.mode != TlsMode::SelfSigned {
            return Err(TlsError::PinsNeedSelfSigned { mode: self.mode });
        }
        let pins: BTreeSet<_> = pins.into_iter().collect();
        if pins.is_empty() {
            return Err(TlsError::EmptyPins);
        }
        let pins: Arc<[_]> = pins.into_iter().collect();
        let config = Arc::make_mut(&mut self.config);
        let algorithms = config.crypto_provider().signature_verification_algorithms;
        let verifier = SelfSignedVerifier::new(algorithms, Some(Arc::clone(&pins)));
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        self.pins = Some(pins);
        Ok(self)
    }

    /// Mode 2: the server's certificate has to be issued, at the time of the handshake and for
    /// `host`, by one of `roots`.
    ///
    /// `host` is a DNS name or an IP address, without brackets or port. A DNS name is also sent to
    /// the server (RFC 6066, section 3), an IP address is not. Revocation is not checked.
    ///
    /// # Errors
    ///
    /// [`TlsError::EmptyHost`], [`TlsError::InvalidHost`] and [`TlsError::EmptyRoots`].
    pub fn verified(host: &str, roots: RootCertStore) -> Result<Self, TlsError> {
        let server_name = host_name(host)?;
        if roots.is_empty() {
            return Err(TlsError::EmptyRoots { purpose: "checks of the server's certificate" });
        }
        let mut config = ClientConfig::builder_with_provider(provider())
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
            certificate: None,
        })
    }

    /// Like [`verified`](Self::verified), with the roots as PEM text.
    ///
    /// # Errors
    ///
    /// Those of [`verified`](Self::verified) and of [`roots_from_pem`].
    pub fn verified_pem(host: &str, pem_bytes: &[u8]) -> Result<Self, TlsError> {
        // A missing host is the commoner mistake and the simpler one to mend: report it first.
        host_name(host)?;
        Self::verified(host, roots_from_pem(pem_bytes)?)
    }

    /// A configuration of the user's own, taken as it is.
    ///
    /// Its mode is reported as [`TlsMode::Verified`]: what it verifies is up to its author. None
    /// of what this module promises about versions and session tickets holds for it.
    #[must_use]
    pub fn custom(config: Arc<ClientConfig>, server_name: ServerName<'static>) -> Self {
        Self { config, server_name, mode: TlsMode::Verified, pins: None, certificate: None }
    }

    /// Presents a certificate when the server asks for one (mutual TLS; RFC 8446, section 4.3.2).
    ///
    /// In TLS 1.3 a client finishes its handshake before the server has judged its certificate: a
    /// refusal arrives as an alert at the first read.
    #[must_use]
    pub fn client_certificate(mut self, identity: Identity) -> Self {
        let resolver = SingleCertAndKey::from(identity.certified_key());
        Arc::make_mut(&mut self.config).client_auth_cert_resolver = Arc::new(resolver);
        self.certificate = Some(identity.fingerprint());
        self
    }

    /// The configuration to handshake with.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The server name to handshake with. In mode 1 it is a placeholder, neither sent nor checked.
    #[must_use]
    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// How the server is checked; never [`TlsMode::None`].
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
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// What the accepting end needs for its handshakes.
///
/// Clones share the configuration.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    // Absent in a custom configuration, whose certificates only its resolver knows.
    fingerprint: Option<Fingerprint>,
    client_certificates: bool,
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

    /// A certificate and key of the user's own, presented to every client.
    ///
    /// # Errors
    ///
    /// [`TlsError::Config`] should rustls refuse the configuration; no input leads there.
    pub fn new(identity: Identity) -> Result<Self, TlsError> {
        let resolver = SingleCertAndKey::from(identity.certified_key());
        let config =
            server_config(provider(), WebPkiClientVerifier::no_client_auth(), Arc::new(resolver))?;
        Ok(Self { config, fingerprint: Some(identity.fingerprint()), client_certificates: false })
    }

    /// A configuration of the user's own, taken as it is.
    ///
    /// None of what this module promises about versions and session tickets holds for it.
    #[must_use]
    pub fn custom(config: Arc<ServerConfig>) -> Self {
        Self { config, fingerprint: None, client_certificates: false }
    }

    /// Refuses clients without a certificate issued by one of `roots` (mutual TLS; RFC 8446,
    /// section 4.3.2). Revocation is not checked.
    ///
    /// The subjects of the roots are sent to every client as a hint (RFC 8446, section 4.2.4), so
    /// give the few that issue client certificates and not a system-wide collection.
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
            // Its other complaint is about revocation lists, and there are none.
            .map_err(|_| EMPTY)?;
        let config = server_config(provider, verifier, Arc::clone(&self.config.cert_resolver))?;
        Ok(Self { config, client_certificates: true, ..self })
    }

    /// The configuration to handshake with.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The fingerprint of the leaf certificate, for clients to pin; `None` after
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn host_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if host.is_empty() {
        return Err(TlsError::EmptyHost);
    }
    ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::InvalidHost { host: host.to_owned() })
}
