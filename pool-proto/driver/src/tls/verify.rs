//! The checks of certificates by pins: of a server in mode 1, and of pinned clients.

use core::fmt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible,
    SignatureScheme,
};

use super::pin::listed;
use super::{Fingerprint, KeyFingerprint, Pin, TlsError};

/// Pins that the text of a [`PinMismatch`] lists, at most: a server may have thousands, and a stranger
/// can cause the text.
const LISTED: usize = 4;

/// The role of the end that presents a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presenter {
    Server,
    Client,
}

/// The error of a peer whose certificate is not pinned.
///
/// The handshake fails with a [`rustls::Error::InvalidCertificate`] that holds a
/// [`CertificateError::Other`], from which this type can be downcast.
#[derive(Clone, PartialEq, Eq)]
pub struct PinMismatch {
    presenter: Presenter,
    expected: Arc<[Pin]>,
    found: Fingerprint,
    key: Option<KeyFingerprint>,
}

impl PinMismatch {
    /// Returns the pins: certificates first, in ascending order.
    #[must_use]
    pub fn expected(&self) -> &[Pin] {
        &self.expected
    }

    /// Returns the fingerprint of the certificate that the peer has presented.
    #[must_use]
    pub fn found(&self) -> Fingerprint {
        self.found
    }

    /// Returns the fingerprint of the public key in that certificate; `None` if it cannot be read.
    #[must_use]
    pub fn found_key(&self) -> Option<KeyFingerprint> {
        self.key
    }
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presenter = match self.presenter {
            Presenter::Server => "server",
            Presenter::Client => "client",
        };
        let expected = listed(&self.expected, LISTED);
        write!(
            f,
            "the {presenter}'s certificate is not pinned: expected SHA-256 fingerprint {expected}, \
             found {}",
            self.found
        )?;
        if let Some(key) = self.key {
            write!(f, " with the public key {key}")?;
        }
        f.write_str("; ")?;
        f.write_str(match self.presenter {
            Presenter::Server => {
                "if the server's certificate was renewed on purpose, pin the new one, or the key if that \
                 stays"
            }
            Presenter::Client => "to admit this client, pin the found one, too",
        })
    }
}

// rustls formats the error inside `CertificateError::Other` with `Debug`, even for `Display`.
impl fmt::Debug for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for PinMismatch {}

/// The certificates and keys that an end accepts, at least one: certificates first, in ascending order.
#[derive(Clone, Debug)]
pub(super) struct Pins(Arc<[Pin]>);

impl Pins {
    pub(super) fn new(pins: impl IntoIterator<Item = impl Into<Pin>>) -> Result<Self, TlsError> {
        let pins: BTreeSet<Pin> = pins.into_iter().map(Into::into).collect();
        if pins.is_empty() {
            return Err(TlsError::EmptyPins);
        }
        Ok(Self(pins.into_iter().collect()))
    }

    fn contains(&self, pin: impl Into<Pin>) -> bool {
        self.0.binary_search(&pin.into()).is_ok()
    }

    /// Accepts the certificate of a peer in the role `presenter`, if it or its key is pinned.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        presenter: Presenter,
    ) -> Result<(), rustls::Error> {
        let found = Fingerprint::of(end_entity);
        if self.contains(found) {
            return Ok(());
        }
        let key = KeyFingerprint::try_of(end_entity).ok();
        if key.is_some_and(|key| self.contains(key)) {
            return Ok(());
        }
        let mismatch = PinMismatch { presenter, expected: Arc::clone(&self.0), found, key };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }
}

/// Accepts any certificate, or any pinned one, from a server that proves to hold its key.
///
/// The proof is the CertificateVerify signature over the handshake (RFC 8446, section 4.4.3).
/// Without it, pins would be useless: certificates are public, and anyone could present one.
#[derive(Debug)]
pub(super) struct SelfSignedVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    pins: Option<Pins>,
}

impl SelfSignedVerifier {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms, pins: Option<Pins>) -> Self {
        Self { algorithms, pins }
    }
}

impl ServerCertVerifier for SelfSignedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(pins) = &self.pins {
            pins.check(end_entity, Presenter::Server)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Unreachable, because the configuration offers TLS 1.3 only. If that changes by mistake,
        // handshakes must fail.
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts any pinned certificate from a client that proves to hold its key, and requires one.
///
/// The proof is the same as that of a server: see [`SelfSignedVerifier`].
#[derive(Debug)]
pub(super) struct PinnedClientVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    pins: Pins,
}

impl PinnedClientVerifier {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms, pins: Pins) -> Self {
        Self { algorithms, pins }
    }
}

impl ClientCertVerifier for PinnedClientVerifier {
    /// Without hints, a client presents its certificate, whatever the issuer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.pins.check(end_entity, Presenter::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Unreachable, as in the check of a server.
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
