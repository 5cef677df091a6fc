//! Handshakes that stall, meet another protocol, or are many; and good order at the end.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConnection, StreamOwned,
};

use super::{fails, topic};
use crate::conformance::ends::{client_config, listener, server_config, server_tls, single};
use crate::conformance::kit::{Fake, connect, tls_accept, tls_connect, until_end};
use crate::conformance::prelude::*;
use crate::conformance::wait::{assert_ends, send, spawn};
use crate::tls::TlsMode;

topic! {
    beside a_stalled_server_costs_one_handshake_timeout,
    beside a_tls_server_that_stalls_before_the_id_costs_one_handshake_timeout,
    beside a_tls_client_of_a_plain_server_says_so,
    beside a_plain_client_of_a_tls_server_ends_by_its_deadline,
    beside garbage_instead_of_tls_is_a_tls_failure,
    beside a_flood_of_session_tickets_is_cut_off_and_holds_nobody_up,
    beside every_idle_connection_of_a_large_pool_is_closed_in_good_order,
}

fn a_stalled_server_costs_one_handshake_timeout(ends: &Ends) {
    Modes::both(|mode| {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let fake = Fake::start(move |mut tcp, _| {
            let _ = until_end(&mut tcp);
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let config = client_config().handshake_timeout(Duration::from_millis(100));
        let client = ends.dial(mode, config, fake.address);
        fails(&*client, |totals| totals.handshake_timeouts, "in time");
        eventually(|| closed.load(Ordering::Relaxed), |closed| *closed > 0);
    });
}

fn a_tls_server_that_stalls_before_the_id_costs_one_handshake_timeout(ends: &Ends) {
    let fake = Fake::start(|tcp, _| until_end(&mut tls_accept(tcp)?));
    let config = client_config().handshake_timeout(Duration::from_millis(300));
    let client = ends.dial(TlsMode::SelfSigned, config, fake.address);
    fails(&*client, |totals| totals.handshake_timeouts, "in time");
}

fn a_tls_client_of_a_plain_server_says_so(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::SelfSigned, client_config(), server.address());
    fails(&*client, |totals| totals.tls_failures, "does not speak TLS");
}

fn a_plain_client_of_a_tls_server_ends_by_its_deadline(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let config = client_config().handshake_timeout(Duration::from_millis(200));
    let client = ends.dial(TlsMode::None, config, server.address());
    fails(&*client, |totals| totals.handshake_timeouts, "in time");
    let stats = eventually(|| server.stats(), |stats| stats.totals.transport_failures > 0);
    assert_eq!(stats.totals.established, 0);
}

fn garbage_instead_of_tls_is_a_tls_failure(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let mut peer = connect(server.address());
    send(&mut peer, b"GET / HTTP/1.1\r\n\r\n");
    assert_ends(&mut peer);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0);
    assert_eq!(stats.totals.tls_failures, 1);
}

/// Shakes hands, sends an id, and makes `records` records full of session tickets: valid TLS that
/// carries no data (RFC 8446, section 4.6.1).
fn shake_and_make_tickets(
    listener: &TcpListener,
    records: usize,
) -> (std::net::TcpStream, Vec<u8>) {
    let (tcp, _) = listener.accept().unwrap();
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
        _ => panic!("a cipher suite that this scenario does not know"),
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
    (tcp, bytes)
}

fn a_flood_of_session_tickets_is_cut_off_and_holds_nobody_up(ends: &Ends) {
    let (listener, address) = listener();
    let server = spawn(move || shake_and_make_tickets(&listener, 400));
    let pool = ends.dial(TlsMode::SelfSigned, single(), address);
    pool.wait_ready(1, SOON).unwrap();
    let (mut tcp, tickets) = server.soon();
    // It fails once the other end has had enough.
    let flood = spawn(move || drop(tcp.write_all(&tickets)));
    let mut longest = Duration::ZERO;
    let mut last: Instant = now();
    let look = || {
        longest = longest.max(last.elapsed());
        last = now();
        pool.stats().totals.peer_closed
    };
    eventually(look, |closed| *closed == 1);
    // One look reads half a megabyte at the most; the whole flood of 6 MB took seconds.
    assert!(longest < Duration::from_secs(1), "the pool was held up for {longest:?}");
    pool.close();
    flood.soon();
}

fn every_idle_connection_of_a_large_pool_is_closed_in_good_order(ends: &Ends) {
    const CROWD: u32 = 300;
    let config = server_config().capacity(CROWD).max_connections(CROWD);
    let server = ends.serve(TlsMode::SelfSigned, config);
    let mut peers = Vec::new();
    for _ in 0..CROWD {
        let mut peer = tls_connect(connect(server.address()));
        peer.read_exact(&mut [0; 8]).unwrap();
        peers.push(peer);
    }
    server.wait_ready(CROWD, SOON).unwrap();
    server.close();
    for mut peer in peers {
        // Without close_notify this is an error: UnexpectedEof.
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
