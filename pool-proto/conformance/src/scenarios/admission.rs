//! Admission at a server: peers that are not allowed, silent or too many.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, client_config, client_tls, server_config, single};
use crate::peers::{connect, connect_from, identity, read_id, reset, tls_connect};
use crate::prelude::*;
use crate::wait::assert_ends;
use pool_driver::shared::AcquireError;
use pool_driver::tls::{Identity, ServerTls, TlsMode, roots_from_pem};

topic! {
    parallel a_peer_that_is_not_on_the_allow_list_is_rejected,
    parallel a_source_keeps_to_its_limit_of_connections,
    parallel a_handshake_makes_room_for_the_next_one,
    parallel an_evicted_connection_is_closed,
    parallel silent_tls_clients_end_at_the_deadline_and_lock_out_nobody,
    parallel ten_silent_clients_do_not_lock_out_an_honest_client,
    parallel equal_sources_share_the_capacity,
    parallel a_full_server_rejects_peers_before_the_handshake,
    parallel leased_connections_count_towards_max_connections,
    parallel a_full_server_is_not_down,
    parallel a_peer_that_leaves_during_its_handshake_is_forgotten,
    parallel a_half_open_peer_is_forgotten,
    parallel a_peer_that_has_spoken_has_the_time_of_a_handshake,
    parallel a_server_that_asks_for_certificates_knows_clients_by_them,
    parallel the_limit_of_a_source_is_that_of_each_certificate,
}

const HERE: &str = "127.0.0.1";
const THERE: &str = "127.0.0.2";

fn many_from(source: &str, address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| connect_from(source, address)).collect()
}

fn a_peer_that_is_not_on_the_allow_list_is_rejected(ends: &Ends) {
    let config = server_config().allow("10.0.0.0/8, 127.0.0.2, 2001:db8::/32".parse().unwrap());
    let server = ends.serve(TlsMode::None, config);
    let mut stranger = connect_from(HERE, server.address());
    assert_ends(&mut stranger);
    eventually(
        || server.last_failure(),
        |failure| failure.as_ref().is_some_and(|text| text.contains("allow list")),
    );
    let mut friend = connect_from(THERE, server.address());
    let id = read_id(&mut friend);
    assert_eq!(server.take().id(), id);
    let totals = server.stats().totals;
    assert_eq!((totals.rejected_address, totals.admitted), (1, 1));
}

fn a_source_keeps_to_its_limit_of_connections(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().max_per_source(2));
    let mut kept = many_from(HERE, server.address(), 2);
    for tcp in &mut kept {
        read_id(tcp);
    }
    let mut third = connect_from(HERE, server.address());
    assert_ends(&mut third);
    read_id(&mut connect_from(THERE, server.address()));
    assert_eq!(server.stats().totals.rejected_source, 1);
}

fn a_handshake_makes_room_for_the_next_one(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config().max_handshakes(4));
    let mut silent = many_from(HERE, server.address(), 4);
    eventually(|| server.stats(), |stats| stats.handshaking == 4);
    let _honest = tls_connect(connect_from(HERE, server.address()));
    eventually(|| server.stats(), |stats| stats.idle == 1);
    assert_eq!(server.stats().totals.handshakes_evicted, 1);
    // Its own deadline is 5 s away; the eviction itself must close it.
    let oldest = silent.first_mut().unwrap();
    oldest.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    assert_ends(oldest);
}

fn an_evicted_connection_is_closed(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(4));
    // In sequence: peers that are accepted at once are admitted in any order.
    let admitted = |_| {
        let mut tcp = connect_from(HERE, server.address());
        read_id(&mut tcp);
        tcp
    };
    let mut admitted: Vec<TcpStream> = (0..4).map(admitted).collect();
    eventually(|| server.stats(), |stats| stats.idle == 4);
    read_id(&mut connect_from(THERE, server.address()));
    assert_ends(admitted.first_mut().unwrap());
    assert_eq!(server.stats().totals.evicted, 1);
}

fn silent_tls_clients_end_at_the_deadline_and_lock_out_nobody(ends: &Ends) {
    let config = server_config().max_handshakes(64).first_byte_timeout(Duration::from_secs(1));
    let server = ends.serve(TlsMode::SelfSigned, config);
    let mut silent = many_from(HERE, server.address(), 300);
    eventually(|| server.stats(), |stats| stats.totals.accepted >= 64);
    assert!(server.stats().handshaking <= 64);
    let _honest = tls_connect(connect_from(THERE, server.address()));
    let stream = server.take();
    assert_eq!(stream.peer_addr().unwrap().ip().to_string(), THERE);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0);
    let totals = stats.totals;
    let turned_away = totals.silent + totals.handshakes_evicted;
    assert_eq!((totals.established, turned_away), (1, 300), "{totals:#?}");
    for tcp in &mut silent {
        assert_ends(tcp);
    }
}

fn ten_silent_clients_do_not_lock_out_an_honest_client(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(10));
    let _silent = many_from(THERE, server.address(), 10);
    eventually(|| server.stats(), |stats| stats.idle == 10);
    let client = ends.dial(TlsMode::None, single(), server.address());
    let ours = client.take();
    let theirs = server.take_id(ours.id());
    assert_eq!(theirs.peer_addr().unwrap().ip().to_string(), HERE);
}

fn equal_sources_share_the_capacity(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(4));
    let _here = many_from(HERE, server.address(), 4);
    eventually(|| server.stats(), |stats| stats.idle == 4);
    let _there = many_from(THERE, server.address(), 8);
    let stats = eventually(
        || server.stats(),
        |stats| stats.totals.admitted + stats.totals.rejected_full == 12 && stats.handshaking == 0,
    );
    assert_eq!((stats.idle, stats.totals.evicted), (4, 2));
}

fn a_full_server_rejects_peers_before_the_handshake(ends: &Ends) {
    let rejects_the_third = |server: &dyn Pool| {
        eventually(|| server.stats(), |stats| stats.idle == 2);
        let mut third = connect_from("127.0.0.3", server.address());
        let mut read = Vec::new();
        // The server may close by FIN or by reset.
        let _ = third.read_to_end(&mut read);
        assert!(read.is_empty(), "a full server sent {read:?}");
        let totals = server.stats().totals;
        assert_eq!((totals.rejected_full, totals.silent, totals.handshake_timeouts), (1, 0, 0));
    };
    let config = || server_config().capacity(2);
    let server = ends.serve(TlsMode::None, config());
    let _held = [HERE, THERE].map(|source| connect_from(source, server.address()));
    rejects_the_third(&*server);
    // Without client certificates, peers are known by their addresses.
    let server = ends.serve(TlsMode::SelfSigned, config());
    let _held = [HERE, THERE].map(|source| tls_connect(connect_from(source, server.address())));
    rejects_the_third(&*server);
}

fn leased_connections_count_towards_max_connections(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(2).max_connections(2));
    let mut peers = many_from(HERE, server.address(), 2);
    let leases = [server.take(), server.take()];
    let mut third = connect(server.address());
    assert_ends(&mut third);
    let limit = |failure: &Option<_>| {
        failure.as_deref().is_some_and(|text: &str| text.contains("max_connections"))
    };
    eventually(|| server.last_failure(), limit);
    assert_eq!(server.stats().totals.rejected_full, 1);
    drop((leases, peers.pop()));
    eventually(|| server.stats(), |stats| stats.leased == 0);
    read_id(&mut connect(server.address()));
}

fn a_full_server_is_not_down(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config().capacity(2));
        let client = ends.dial(mode, client_config(), server.address());
        client.wait_ready(2, SOON).unwrap();
        let error = client.wait_ready(3, Duration::from_millis(600)).unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
        let rejected = server.stats().totals.rejected_full;
        assert!((1..40).contains(&rejected), "{rejected} dials");
        let stats = client.stats();
        assert_eq!((stats.idle, stats.failures_in_a_row, stats.ceiling), (2, 0, Some(2)));
        // Connections that are taken are replaced at once, whatever the client is waiting for.
        let mut pairs = Vec::new();
        for _ in 0..6 {
            let before = now();
            pairs.push(both_ends(&server, &client));
            let waited = before.elapsed();
            assert!(waited < Duration::from_secs(2), "{waited:?}");
        }
    });
}

fn a_peer_that_leaves_during_its_handshake_is_forgotten(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let peer = connect(server.address());
    eventually(|| server.stats(), |stats| stats.handshaking == 1);
    reset(&peer);
    drop(peer);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0);
    assert_eq!(stats.totals.transport_failures, 1);
    let failure = server.last_failure().unwrap();
    assert!(failure.contains("the transport failed during the TLS handshake"), "{failure}");
}

fn a_half_open_peer_is_forgotten(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let mut peer = connect(server.address());
    peer.shutdown(Shutdown::Write).unwrap();
    assert_ends(&mut peer);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0);
    assert_eq!(stats.totals.transport_failures, 1);
}

/// A client that comes back, as after a restart, takes the place that it still holds, although every client
/// has the same address. By its address, a full server would turn it away before its handshake.
fn a_server_that_asks_for_certificates_knows_clients_by_them(ends: &Ends) {
    let agent = identity();
    let anyone = ServerTls::new(agent.clone()).unwrap();
    let pinned = anyone.clone().pinned_clients([agent.fingerprint()]).unwrap();
    let roots = roots_from_pem(agent.certificate_pem().as_bytes()).unwrap();
    let issued = anyone.require_client_certificates(roots).unwrap();
    let custom = ServerTls::custom(Arc::clone(pinned.config()));
    let vouched = custom.clone().assume_authenticated().unwrap();
    for tls in [pinned, issued, custom, vouched] {
        let server = ends.serve_with(Some(tls), server_config().capacity(1));
        let client = || {
            let tls = client_tls(TlsMode::SelfSigned).unwrap().client_certificate(agent.clone());
            ends.dial_with(Some(tls), single(), Dial::Address(server.address().to_string()))
        };
        let before = client();
        before.wait_ready(1, SOON).unwrap();
        let after = client();
        // Known by its address, it would be another client, and be turned away.
        eventually(|| server.stats(), |stats| stats.totals.replaced > 0);
        drop(before);
        after.wait_ready(1, SOON).unwrap();
    }
}

/// Clients of one address, each with a certificate of its own.
fn the_limit_of_a_source_is_that_of_each_certificate(ends: &Ends) {
    let agents =
        ["first.example", "second.example"].map(|name| Identity::self_signed([name]).unwrap());
    let known = agents.each_ref().map(Identity::fingerprint);
    let tls = ServerTls::new(identity()).unwrap().pinned_clients(known).unwrap();
    let server = ends.serve_with(Some(tls), server_config().max_per_source(1));
    let clients = agents.map(|agent| {
        let tls = client_tls(TlsMode::SelfSigned).unwrap().client_certificate(agent);
        ends.dial_with(Some(tls), single(), Dial::Address(server.address().to_string()))
    });
    for client in clients {
        client.wait_ready(1, SOON).unwrap();
    }
    assert_eq!(server.stats().totals.rejected_source, 0);
}

fn a_peer_that_has_spoken_has_the_time_of_a_handshake(ends: &Ends) {
    let minute = Duration::from_secs(60);
    let config = server_config().first_byte_timeout(Duration::from_secs(1));
    let server = ends.serve(TlsMode::SelfSigned, config.handshake_timeout(minute));
    let mut slow = connect(server.address());
    // The first byte of a record with a handshake.
    slow.write_all(&[0x16]).unwrap();
    // This peer connects later, but is closed first.
    let mut silent = connect(server.address());
    assert_ends(&mut silent);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 1);
    assert_eq!(stats.totals.silent, 1);
    server.end();
    assert_ends(&mut slow);
}
