//! Peers that mean harm, and crowds that keep tokio's budget busy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adapter_tokio::pool_proto::tls::TlsMode;
use common::{HEX8, SOON, dial, eventually, serve, server_config, server_tls, single, tls_connect};
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConnection, StreamOwned,
};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Shakes hands, sends an id, and returns `records` records full of session tickets: valid TLS that
/// carries no data (RFC 8446, section 4.6.1).
fn shake_and_make_tickets(tcp: &mut TcpStream, records: usize) -> Vec<u8> {
    let tls = server_tls(TlsMode::SelfSigned).unwrap();
    let mut config = (**tls.config()).clone();
    config.enable_secret_extraction = true;
    let session = ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = StreamOwned::new(session, tcp.try_clone().unwrap());
    stream.write_all(b"00000001").unwrap();
    stream.flush().unwrap();

    let suite = stream.conn.negotiated_cipher_suite().unwrap();
    let (first, secrets) = stream.conn.dangerous_extract_secrets().unwrap().tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("a cipher suite that this test does not know"),
    };
    let mut encrypter = suite.tls13().unwrap().aead_alg.encrypter(key, iv);
    // Type, length, lifetime, age_add, nonce, ticket, no extensions.
    let ticket = [4u8, 0, 0, 15, 0, 0, 0, 9, 0, 0, 0, 1, 1, 7, 0, 1, 7, 0, 0];
    let payload = ticket.repeat(800);
    let mut bytes = Vec::new();
    for record in 0..records {
        let plain = OutboundPlainMessage {
            typ: ContentType::Handshake,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(&payload),
        };
        let sealed = encrypter.encrypt(plain, first + record as u64).unwrap();
        bytes.extend_from_slice(&sealed.encode());
    }
    bytes
}

#[tokio::test]
async fn a_flood_of_session_tickets_is_cut_off_and_holds_nobody_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, go) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let tickets = shake_and_make_tickets(&mut tcp, 1600);
        go.recv().unwrap();
        // It fails once the other end has had enough.
        tcp.write_all(&tickets)
    });
    let pool = dial(TlsMode::SelfSigned, single().ids(HEX8), address);
    pool.wait_ready(1, SOON).await.unwrap();
    ready.send(()).unwrap();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    eventually(
        || {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            pool.stats().totals.peer_closed
        },
        |closed| *closed == 1,
    )
    .await;
    // One look reads half a megabyte at the most, in a quarter of a second; the whole flood of 24 MB
    // takes fifty times as long. In between there is room for a machine that is busy.
    assert!(longest < Duration::from_secs(4), "the runtime was held up for {longest:?}");
    pool.close();
    drop(tokio::task::spawn_blocking(|| server.join()).await.unwrap().unwrap());
}

#[tokio::test]
async fn every_idle_connection_of_a_large_pool_is_closed_in_good_order() {
    const CROWD: u32 = 300;
    let config = server_config().capacity(CROWD).max_connections(CROWD);
    let (server, address) = serve(TlsMode::SelfSigned, config).await;
    let mut peers = Vec::new();
    for _ in 0..CROWD {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut peer = tls_connect(tcp).await;
        peer.read_exact(&mut [0; 8]).await.unwrap();
        peers.push(peer);
    }
    server.wait_ready(CROWD, SOON).await.unwrap();
    server.close();
    for mut peer in peers {
        // Without close_notify this is an error: UnexpectedEof.
        assert_eq!(peer.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
