//! What TLS has agreed on.

use std::vec::Vec;

use rustls::{CipherSuite, Connection, ProtocolVersion};

use super::Fingerprint;

/// What TLS has agreed on for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The protocol version; always 1.3 with the configurations of this project.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<CipherSuite>,
    /// The protocol chosen by ALPN, where a configuration of the user's offers any.
    pub alpn: Option<Vec<u8>>,
    /// SHA-256 of the peer's certificate, if it sent one.
    pub peer_certificate: Option<Fingerprint>,
}

impl TlsFacts {
    /// Those of a connection whose handshake is over.
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
