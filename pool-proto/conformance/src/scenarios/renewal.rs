//! Renewal: TLS settings that are replaced while the pools run.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConnection;

use super::{fails, topic};
use crate::certificates::{Authority, Validity};
use crate::ends::{both_ends, client_config, each, server_config, single};
use crate::facade::Tls;
use crate::peers::{FakeServer, connect, hex_id, identity, ping_pong, tls_accept, tls_connect};
use crate::prelude::*;
use crate::wait::{assert_ends, send, spawn};
use pool_driver::tls::{ClientTls, Fingerprint, Identity, Pin, ServerTls};

topic! {
    parallel new_handshakes_see_the_new_identity_and_old_connections_live_on,
    parallel a_peer_that_has_said_nothing_yet_sees_the_new_identity,
    parallel a_client_presents_its_new_certificate,
    parallel a_handshake_under_way_ends_with_the_settings_of_its_beginning,
    parallel a_dial_under_way_ends_with_the_settings_of_its_beginning,
    parallel a_flush_ends_everything_of_a_client_that_was_withdrawn,
    parallel a_rollover_with_two_pins_fails_no_handshake,
    parallel a_renewed_certificate_with_the_same_key_needs_no_new_pin,
    parallel settings_change_on_any_thread_in_the_middle_of_handshakes,
    parallel an_expired_certificate_is_replaced_without_a_restart,
    parallel new_roots_and_pins_let_a_client_in_that_was_refused,
    parallel protocols_are_replaced_with_the_other_settings,
}

pub(super) fn fresh(name: &str) -> Identity {
    Identity::self_signed([name]).unwrap()
}

pub(super) fn serving(identity: &Identity) -> ServerTls {
    ServerTls::new(identity.clone()).unwrap()
}

pub(super) fn pinning(pins: impl IntoIterator<Item = impl Into<Pin>>) -> ClientTls {
    ClientTls::self_signed().unwrap().pinned_any(pins).unwrap()
}

/// A server and its client, which keeps four connections.
pub(super) fn pair(
    ends: &Ends,
    server: ServerTls,
    client: ClientTls,
) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
    let server = ends.serve_with(Some(server), server_config());
    let ms = Duration::from_millis(1);
    let config = client_config().capacity(4..=4).backoff(ms, ms);
    let client = ends.dial_with(Some(client), config, Dial::Address(server.address().to_string()));
    (server, client)
}

/// The certificate that the peer of a stream has presented.
pub(super) fn presented(stream: &dyn Stream) -> Option<Fingerprint> {
    stream.tls().unwrap().peer_certificate
}

/// Renews the idle connections of the client until they are all of this certificate, and takes one.
pub(super) fn renewed(client: &Arc<dyn Pool>, certificate: Fingerprint) -> Box<dyn Stream> {
    client.clean();
    let take = || {
        let stream = client.take();
        (presented(&*stream), stream)
    };
    eventually(take, |(found, _)| *found == Some(certificate)).1
}

pub(super) fn assert_no_failure(pool: &Arc<dyn Pool>) {
    let totals = pool.stats().totals;
    assert_eq!((totals.tls_failures, totals.transport_failures), (0, 0), "{pool:?}");
}

fn new_handshakes_see_the_new_identity_and_old_connections_live_on(ends: &Ends) {
    let (old, new) = (fresh("old.example"), fresh("new.example"));
    let client = pinning([old.fingerprint(), new.fingerprint()]);
    let (server, client) = pair(ends, serving(&old), client);
    client.wait_ready(4, SOON).unwrap();
    server.wait_ready(4, SOON).unwrap();
    let (mut ours, mut theirs) = both_ends(&server, &client);
    client.wait_ready(4, SOON).unwrap();

    server.set_tls(Tls::Server(serving(&new))).unwrap();
    // Idle connections have been renewed only once somebody has asked for it.
    let (_, idle) = both_ends(&server, &client);
    assert_eq!(presented(&*idle), Some(old.fingerprint()));
    renewed(&client, new.fingerprint());
    ping_pong(&mut *ours, &mut *theirs);
    assert_eq!(presented(&*theirs), Some(old.fingerprint()));
    assert_eq!(theirs.tls().unwrap().peer_chain, old.chain());
    assert_no_failure(&server);
    assert_no_failure(&client);
}

fn a_peer_that_has_said_nothing_yet_sees_the_new_identity(ends: &Ends) {
    let (old, new) = (fresh("old.example"), fresh("new.example"));
    let server = ends.serve_with(Some(serving(&old)), server_config());
    let silent = connect(server.address());
    eventually(|| server.stats(), |stats| stats.handshaking == 1);
    server.set_tls(Tls::Server(serving(&new))).unwrap();
    let stream = tls_connect(silent);
    assert_eq!(stream.conn.peer_certificates().unwrap(), new.chain());
}

fn a_client_presents_its_new_certificate(ends: &Ends) {
    let (old, new) = (fresh("old.example"), fresh("new.example"));
    let known = serving(&identity()).pinned_clients([old.key_fingerprint(), new.key_fingerprint()]);
    let presenting = |agent: &Identity| {
        Tls::Client(pinning([identity().fingerprint()]).client_certificate(agent.clone()))
    };
    let Tls::Client(first) = presenting(&old) else { unreachable!("it is a client's") };
    let (server, client) = pair(ends, known.unwrap(), first);
    assert_eq!(presented(&*server.take()), Some(old.fingerprint()));
    client.set_tls(presenting(&new)).unwrap();
    renewed(&server, new.fingerprint());
    assert_no_failure(&server);
    assert_no_failure(&client);
}

/// A client by hand in the middle of its handshake: the server has answered its hello.
fn half_way(server: &Arc<dyn Pool>, tls: &ClientTls) -> (TcpStream, ClientConnection) {
    let mut tcp = connect(server.address());
    let mut session =
        ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone()).unwrap();
    session.write_tls(&mut tcp).unwrap();
    while session.is_handshaking() {
        session.read_tls(&mut tcp).unwrap();
        session.process_new_packets().unwrap();
    }
    (tcp, session)
}

/// Sends the rest of the handshake.
fn finish((tcp, session): &mut (TcpStream, ClientConnection)) {
    while session.wants_write() {
        session.write_tls(tcp).unwrap();
    }
    tcp.flush().unwrap();
}

fn a_handshake_under_way_ends_with_the_settings_of_its_beginning(ends: &Ends) {
    let (agent, other) = (fresh("agent.example"), fresh("other.example"));
    let admitting =
        |known: &Identity| serving(&identity()).pinned_clients([known.fingerprint()]).unwrap();
    let server = ends.serve_with(Some(admitting(&agent)), server_config());
    let client = ClientTls::self_signed().unwrap().client_certificate(agent);
    let mut under_way = half_way(&server, &client);
    server.set_tls(Tls::Server(admitting(&other))).unwrap();
    finish(&mut under_way);
    server.wait_ready(1, SOON).unwrap();

    // The next handshake of the same client is refused.
    let mut refused = half_way(&server, &client);
    finish(&mut refused);
    eventually(|| server.stats(), |stats| stats.totals.tls_failures == 1);
    assert_eq!(server.idle(), 1);
}

fn a_dial_under_way_ends_with_the_settings_of_its_beginning(ends: &Ends) {
    let (fake, dials) = FakeServer::by_hand();
    let dial = Dial::Address(fake.address.to_string());
    let client = ends.dial_with(Some(pinning([identity().fingerprint()])), single(), dial);
    let under_way = dials.recv_timeout(SOON).unwrap();
    // The hello is here, so the handshake has begun.
    assert_eq!(under_way.peek(&mut [0]).unwrap(), 1);
    client.set_tls(Tls::Client(pinning([Fingerprint::from([7; 32])]))).unwrap();
    let mut session = tls_accept(under_way).unwrap();
    send(&mut session, hex_id(0).as_bytes());
    client.wait_ready(1, SOON).unwrap();

    assert_eq!(client.clean(), 1);
    tls_accept(dials.recv_timeout(SOON).unwrap()).unwrap_err();
    eventually(|| client.stats(), |stats| stats.totals.tls_failures > 0);
    assert_eq!(client.idle(), 0);
}

fn a_flush_ends_everything_of_a_client_that_was_withdrawn(ends: &Ends) {
    let (agent, other) = (fresh("agent.example"), fresh("other.example"));
    let admitting =
        |known: &Identity| serving(&identity()).pinned_clients([known.fingerprint()]).unwrap();
    let server = ends.serve_with(Some(admitting(&agent)), server_config());
    let client = ClientTls::self_signed().unwrap().client_certificate(agent);
    let mut established = [half_way(&server, &client), half_way(&server, &client)];
    established.iter_mut().for_each(finish);
    server.wait_ready(2, SOON).unwrap();
    let leased = server.take();
    let mut under_way = half_way(&server, &client);

    server.set_tls(Tls::Server(admitting(&other))).unwrap();
    // An idle connection, a leased one, and one in its handshake.
    assert_eq!(server.flush(), 3);
    finish(&mut under_way);
    for (tcp, _) in established.iter_mut().chain([&mut under_way]) {
        assert_ends(tcp);
    }
    server.put(leased).unwrap_err();
    // Nor does it come back.
    let mut refused = half_way(&server, &client);
    finish(&mut refused);
    eventually(|| server.stats(), |stats| stats.totals.tls_failures == 1);
    assert_eq!(server.idle(), 0);
}

fn a_rollover_with_two_pins_fails_no_handshake(ends: &Ends) {
    let (old, new) = (fresh("old.example"), fresh("new.example"));
    let (server, client) = pair(ends, serving(&old), pinning([old.fingerprint()]));
    let use_some = || {
        for _ in 0..8 {
            let (mut ours, mut theirs) = both_ends(&server, &client);
            ping_pong(&mut *ours, &mut *theirs);
        }
    };
    use_some();
    client.set_tls(Tls::Client(pinning([old.fingerprint(), new.fingerprint()]))).unwrap();
    // The dials that began with one pin are over.
    renewed(&client, old.fingerprint());
    client.wait_ready(4, SOON).unwrap();
    use_some();
    client.wait_ready(4, SOON).unwrap();
    server.set_tls(Tls::Server(serving(&new))).unwrap();
    use_some();
    renewed(&client, new.fingerprint());
    // So are the handshakes that began with the old identity.
    client.wait_ready(4, SOON).unwrap();
    client.set_tls(Tls::Client(pinning([new.fingerprint()]))).unwrap();
    use_some();
    renewed(&client, new.fingerprint());
    assert_no_failure(&server);
    assert_no_failure(&client);
}

fn a_renewed_certificate_with_the_same_key_needs_no_new_pin(ends: &Ends) {
    let [old, new] = Authority::new().issue_twice("tunnel.example");
    let (server, client) = pair(ends, serving(&old), pinning([old.key_fingerprint()]));
    assert_eq!(presented(&*client.take()), Some(old.fingerprint()));
    server.set_tls(Tls::Server(serving(&new))).unwrap();
    let stream = renewed(&client, new.fingerprint());
    assert_eq!(stream.tls().unwrap().peer_key(), Some(old.key_fingerprint()));
    assert_no_failure(&server);
    assert_no_failure(&client);
}

fn settings_change_on_any_thread_in_the_middle_of_handshakes(ends: &Ends) {
    let identities = [fresh("one.example"), fresh("two.example")];
    let pins = identities.each_ref().map(Identity::fingerprint);
    let (server, client) = pair(ends, serving(&identities[0]), pinning(pins));
    let over = Arc::new(AtomicBool::new(false));
    let changing = {
        let (server, client, over) = (server.clone_handle(), client.clone_handle(), over.clone());
        spawn(move || {
            let mut changes = 0_u32;
            while !over.load(Ordering::Relaxed) {
                for identity in &identities {
                    server.set_tls(Tls::Server(serving(identity))).unwrap();
                    client.set_tls(Tls::Client(pinning(pins))).unwrap();
                    changes += 1;
                }
            }
            changes
        })
    };
    for _ in 0..50 {
        let (mut ours, mut theirs) = both_ends(&server, &client);
        assert!(pins.contains(&presented(&*theirs).unwrap()));
        ping_pong(&mut *ours, &mut *theirs);
    }
    over.store(true, Ordering::Relaxed);
    assert!(changing.soon() > 1);
    assert_no_failure(&server);
    assert_no_failure(&client);
}

fn an_expired_certificate_is_replaced_without_a_restart(ends: &Ends) {
    let authority = Authority::new();
    let expired = serving(&authority.issue("localhost", Validity::Past));
    let client = ClientTls::verified("localhost", authority.roots()).unwrap();
    let (server, client) = pair(ends, expired, client);
    fails(&*client, |totals| totals.tls_failures, "the peer must renew its certificate");
    fails(&*server, |totals| totals.tls_failures, "it has expired, or is not valid yet");
    let renewed = authority.issue("localhost", Validity::Now);
    server.set_tls(Tls::Server(serving(&renewed))).unwrap();
    client.dial_now();
    assert_eq!(presented(&*client.take()), Some(renewed.fingerprint()));
}

fn new_roots_and_pins_let_a_client_in_that_was_refused(ends: &Ends) {
    let authority = Authority::new();
    let issued = authority.issue("localhost", Validity::Now);
    let other = ClientTls::verified("localhost", Authority::new().roots()).unwrap();
    let right = ClientTls::verified("localhost", authority.roots()).unwrap();
    each(&[right, pinning([issued.key_fingerprint()])], |right| {
        let (_server, client) = pair(ends, serving(&issued), other.clone());
        fails(&*client, |totals| totals.tls_failures, "TLS handshake failed");
        client.set_tls(Tls::Client(right.clone())).unwrap();
        client.dial_now();
        assert_eq!(presented(&*client.take()), Some(issued.fingerprint()));
    });
}

fn protocols_are_replaced_with_the_other_settings(ends: &Ends) {
    let (server, client) = (serving(&identity()), pinning([identity().fingerprint()]));
    let speaking = |names: &[&str]| server.clone().alpn(names.iter().copied()).unwrap();
    let offering = client.alpn(["pool/1", "pool/2"]).unwrap();
    let (pool, client) = pair(ends, speaking(&["pool/1"]), offering);
    let chosen = |stream: Box<dyn Stream>| stream.tls().unwrap().alpn;
    assert_eq!(chosen(client.take()).as_deref(), Some(&b"pool/1"[..]));
    pool.set_tls(Tls::Server(speaking(&["pool/2", "pool/1"]))).unwrap();
    client.clean();
    eventually(|| chosen(client.take()), |found| found.as_deref() == Some(&b"pool/2"[..]));
    assert_no_failure(&client);
}
