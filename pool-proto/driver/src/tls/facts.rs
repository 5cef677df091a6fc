//! The negotiated parameters of a connection.

use std::vec::Vec;

use rustls::{CipherSuite, Connection, ProtocolVersion};

use super::Fingerprint;

/// The parameters that a TLS handshake has negotiated, and the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The protocol version; always 1.3 with the configurations of this project.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<CipherSuite>,
    /// The protocol that ALPN has chosen; only a custom configuration offers any.
    pub alpn: Option<Vec<u8>>,
    /// The fingerprint of the peer's certificate, if the peer has presented one.
    pub peer_certificate: Option<Fingerprint>,
}

impl TlsFacts {
    /// Reads them from a connection whose handshake is complete.
    #[must_use]
    pub fn of(connection: &Connection) -> Self {
        Self {
            version: connection.protocol_version(),
            cipher_suite: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificate: connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(Fingerprint::of),
        }
    }
}
