//! Peers that speak TLS 1.2 and nothing newer. Their messages are written by hand (RFC 5246), because
//! the build contains no TLS 1.2.

use rustls::PeerIncompatible;

use super::*;

/// The only version that a ClientHello offers: `supported_versions` with one entry, TLS 1.3
/// (RFC 8446, section 4.2.1).
const ONLY_TLS13: [u8; 7] = [0x00, 0x2B, 0x00, 0x03, 0x02, 0x03, 0x04];

/// A fatal protocol_version alert (RFC 5246, section 7.2), as a record.
const PROTOCOL_VERSION_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

/// A handshake message in a record of its own.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 3, 0, length + 4, kind, 0, 0, length];
    record.extend_from_slice(body);
    record
}

/// The version TLS 1.2, a random of 32 bytes, an empty session id.
fn hello() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &[0]].concat()
}

/// A ClientHello that offers `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, the groups x25519 and
/// secp256r1, and signatures with ECDSA on P-256.
fn client_hello() -> Vec<u8> {
    let mut body = hello();
    body.extend([0, 2, 0xC0, 0x2B, 1, 0]);
    let groups = [0, 10, 0, 6, 0, 4, 0, 0x1D, 0, 0x17];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    body.extend([0, u8::try_from(groups.len() + signatures.len()).unwrap()]);
    body.extend(groups);
    body.extend(signatures);
    message(1, &body)
}

/// A ServerHello that takes TLS 1.2 with `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
fn server_hello() -> Vec<u8> {
    let mut body = hello();
    body.extend([0xC0, 0x2B, 0]);
    message(2, &body)
}

/// Delivers bytes, and returns the result and the answer.
fn deliver(connection: &mut Connection, mut bytes: &[u8]) -> (Result<(), Error>, Vec<u8>) {
    connection.read_tls(&mut bytes).unwrap();
    let result = connection.process_new_packets().map(|_| ());
    (result, sent_by(connection))
}

fn sent_by(connection: &mut Connection) -> Vec<u8> {
    let mut wire = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut wire).unwrap();
    }
    wire
}

#[test]
fn a_client_offers_tls_1_3_only_and_refuses_a_server_of_tls_1_2() {
    let verified = ClientTls::verified("localhost", Authority::new().roots()).unwrap();
    for client in [ClientTls::self_signed().unwrap(), verified] {
        let name = client.server_name().clone();
        let mut connection =
            Connection::Client(ClientConnection::new(Arc::clone(client.config()), name).unwrap());
        assert!(contains(&sent_by(&mut connection), &ONLY_TLS13));
        let (result, answer) = deliver(&mut connection, &server_hello());
        let reason = PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig;
        assert_eq!(result, Err(Error::PeerIncompatible(reason)));
        assert_eq!(answer, PROTOCOL_VERSION_ALERT);
    }
}

#[test]
fn a_server_refuses_a_client_of_tls_1_2() {
    let server = ServerTls::self_signed().unwrap();
    let demanding = server.clone().require_client_certificates(Authority::new().roots()).unwrap();
    for server in [server, demanding] {
        let mut connection =
            Connection::Server(ServerConnection::new(Arc::clone(server.config())).unwrap());
        let (result, answer) = deliver(&mut connection, &client_hello());
        let reason = PeerIncompatible::SupportedVersionsExtensionRequired;
        assert_eq!(result, Err(Error::PeerIncompatible(reason)));
        assert_eq!(answer, PROTOCOL_VERSION_ALERT);
    }
}
