//! Handshakes that stall or meet another protocol, floods of TLS records, and TLS's close_notify.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{fails, topic};
use crate::ends::{client_config, listener, server_config, single};
use crate::peers::{FakeServer, connect, tls_accept, tls_connect, until_end};
use crate::prelude::*;
use crate::session_tickets::handshake_and_make_tickets;
use crate::wait::{assert_ends, send, spawn};
use pool_driver::tls::TlsMode;

topic! {
    parallel a_stalled_server_costs_one_handshake_timeout,
    parallel a_tls_server_that_stalls_before_the_id_costs_one_handshake_timeout,
    parallel a_tls_client_recognises_a_plain_server,
    parallel a_plain_client_of_a_tls_server_times_out,
    parallel garbage_instead_of_tls_is_a_tls_failure,
    parallel a_flood_of_session_tickets_is_cut_off,
    parallel a_large_pool_closes_every_idle_connection_with_close_notify,
}

fn a_stalled_server_costs_one_handshake_timeout(ends: &Ends) {
    Modes::both(|mode| {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let fake = FakeServer::start(move |mut tcp, _| {
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
    let fake = FakeServer::start(|tcp, _| until_end(&mut tls_accept(tcp)?));
    let config = client_config().handshake_timeout(Duration::from_millis(300));
    let client = ends.dial(TlsMode::SelfSigned, config, fake.address);
    fails(&*client, |totals| totals.handshake_timeouts, "in time");
}

fn a_tls_client_recognises_a_plain_server(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::SelfSigned, client_config(), server.address());
    fails(&*client, |totals| totals.tls_failures, "does not speak TLS");
}

fn a_plain_client_of_a_tls_server_times_out(ends: &Ends) {
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

fn a_flood_of_session_tickets_is_cut_off(ends: &Ends) {
    let (listener, address) = listener();
    let server = spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let tickets = handshake_and_make_tickets(&tcp, 400);
        (tcp, tickets)
    });
    let pool = ends.dial(TlsMode::SelfSigned, single(), address);
    pool.wait_ready(1, SOON).unwrap();
    let (mut tcp, tickets) = server.soon();
    // The write fails if the other end has closed; if it has not, the connection stays open.
    let flood = spawn(move || {
        let _ = tcp.write_all(&tickets);
        tcp
    });
    eventually(|| pool.stats(), |stats| (stats.idle, stats.finished) == (0, 1));
    pool.close();
    flood.soon();
}

fn a_large_pool_closes_every_idle_connection_with_close_notify(ends: &Ends) {
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
        // Without close_notify, the read fails with `UnexpectedEof`.
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
