//! The negotiated parameters of a connection.

use std::vec::Vec;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, ProtocolVersion};

use super::{Fingerprint, KeyFingerprint};

/// The parameters that a TLS handshake has negotiated, and the peer's certificates.
///
/// They are read from the session when they are asked for: a pooled connection keeps no copy of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The protocol version; always 1.3 with the configurations of this project.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<CipherSuite>,
    /// The protocol that ALPN has chosen; `None` if one of the ends offers none
    /// ([`ClientTls::alpn`](super::ClientTls::alpn), [`ServerTls::alpn`](super::ServerTls::alpn)).
    pub alpn: Option<Vec<u8>>,
    /// The fingerprint of the peer's certificate, if the peer has presented one.
    pub peer_certificate: Option<Fingerprint>,
    /// The certificates that the peer has presented, its own first, in DER; empty if it has presented
    /// none. Only the first one is always checked: with pins, the others may be anything.
    pub peer_chain: Vec<CertificateDer<'static>>,
}

impl TlsFacts {
    /// Reads them from a connection whose handshake is complete.
    #[must_use]
    pub fn of(connection: &CommonState) -> Self {
        let peer_chain = connection.peer_certificates().unwrap_or_default().to_vec();
        Self {
            version: connection.protocol_version(),
            cipher_suite: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificate: peer_chain.first().map(Fingerprint::of),
            peer_chain,
        }
    }

    /// Returns the fingerprint of the public key in the peer's certificate, if the peer has presented one.
    #[must_use]
    pub fn peer_key(&self) -> Option<KeyFingerprint> {
        self.peer_chain.first().and_then(|certificate| KeyFingerprint::of(certificate).ok())
    }
}
