//! TLS session tickets: valid TLS records that carry no data.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConnection, StreamOwned,
};

use super::ends::server_tls;

use super::wait::send;
use pool_driver::tls::TlsMode;

/// Performs the handshake of a server with a self-signed certificate, sends the id `00000001`, and
/// returns `records` TLS records full of session tickets (RFC 8446, section 4.6.1), some 15 kB
/// each. Tickets give the reader no data, so a reader without a limit of its own would read them
/// for as long as they arrive. Public for adapters' own tests of the effect on their runtime.
///
/// # Panics
///
/// Panics if the handshake fails.
#[must_use]
pub fn handshake_and_make_tickets(tcp: &TcpStream, records: usize) -> Vec<u8> {
    let tls = server_tls(TlsMode::SelfSigned).unwrap();
    let mut config = (**tls.config()).clone();
    config.enable_secret_extraction = true;
    let session = ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = StreamOwned::new(session, tcp.try_clone().unwrap());
    send(&mut stream, b"00000001");

    let suite = stream.conn.negotiated_cipher_suite().unwrap();
    let (first, secrets) = stream.conn.dangerous_extract_secrets().unwrap().tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("the negotiated cipher suite is not known here"),
    };
    let mut encrypter = suite.tls13().unwrap().aead_alg.encrypter(key, iv);
    // Type, length, lifetime, age_add, nonce, ticket, no extensions.
    let ticket = [4u8, 0, 0, 15, 0, 0, 0, 9, 0, 0, 0, 1, 1, 7, 0, 1, 7, 0, 0];
    let payload = ticket.repeat(800);
    let mut bytes = Vec::new();
    // aws-lc-rs requires that the first record of a key has the sequence number 0.
    for sequence in 0..first + records as u64 {
        let plain = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(&payload),
        };
        let sealed = encrypter.encrypt(plain, sequence).unwrap();
        if sequence >= first {
            bytes.extend_from_slice(&sealed.encode());
        }
    }
    bytes
}
