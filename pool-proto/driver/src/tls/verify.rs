//! The check of a server in mode 1.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, SignatureScheme,
};

use super::Fingerprint;

/// The error of a server whose certificate is not pinned.
///
/// The handshake fails with a [`rustls::Error::InvalidCertificate`] that holds a
/// [`CertificateError::Other`], from which this type can be downcast.
#[derive(Clone, PartialEq, Eq)]
pub struct PinMismatch {
    expected: Arc<[Fingerprint]>,
    found: Fingerprint,
}

impl PinMismatch {
    /// Returns the pinned fingerprints, in ascending order.
    #[must_use]
    pub fn expected(&self) -> &[Fingerprint] {
        &self.expected
    }

    /// Returns the fingerprint of the certificate that the server has presented.
    #[must_use]
    pub fn found(&self) -> Fingerprint {
        self.found
    }
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's certificate is not pinned: expected SHA-256 fingerprint ")?;
        let mut separator = "";
        for pin in self.expected.iter() {
            write!(f, "{separator}{pin}")?;
            separator = " or ";
        }
        write!(
            f,
            ", found {}; if the server's certificate was renewed on purpose, pin the new one",
            self.found
        )
    }
}

// rustls formats the error inside `CertificateError::Other` with `Debug`, even for `Display`.
impl fmt::Debug for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for PinMismatch {}

/// Accepts any certificate, or any pinned one, from a server that proves to hold its key.
///
/// The proof is the CertificateVerify signature over the handshake (RFC 8446, section 4.4.3).
/// Without it, pins would be useless: certificates are public, and anyone could present one.
#[derive(Debug)]
pub(super) struct SelfSignedVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    pins: Option<Arc<[Fingerprint]>>,
}

impl SelfSignedVerifier {
    pub(super) fn new(
        algorithms: WebPkiSupportedAlgorithms,
        pins: Option<Arc<[Fingerprint]>>,
    ) -> Self {
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
        let Some(pins) = &self.pins else {
            return Ok(ServerCertVerified::assertion());
        };
        let found = Fingerprint::of(end_entity);
        if pins.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = PinMismatch { expected: Arc::clone(pins), found };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
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
