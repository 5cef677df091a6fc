//! Ends that are configured unlike each other: each names the cause, and the peer.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, server_config, single};
use crate::peers::{FakeServer, hex_id, until_end};
use crate::prelude::*;
use crate::wait::send;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::WaitReason;

topic! {
    parallel a_plain_server_names_a_tls_client,
    parallel a_tls_server_and_a_plain_client_name_each_other_before_their_deadlines,
    parallel a_server_that_has_spoken_is_not_called_silent,
    parallel a_handshake_given_up_names_its_peer_and_the_remedy,
    parallel a_duplicate_id_is_named_with_its_peer,
    parallel a_failed_handshake_names_its_peer,
    parallel a_failed_dial_names_what_was_dialled,
    parallel a_peer_that_closes_at_once_is_no_failure_of_a_stocked_pool,
}

/// Long before the deadline of a handshake, 10 s, by which the cause was named at the latest.
const EARLY: Duration = Duration::from_secs(4);

/// Waits until the last failure of `pool` contains all of `words`.
#[track_caller]
fn names(pool: &dyn Pool, words: &[&str]) {
    let says = |failure: &Option<std::sync::Arc<str>>| {
        failure.as_deref().is_some_and(|text| words.iter().all(|word| text.contains(word)))
    };
    let before = now();
    eventually(|| pool.last_failure(), says);
    assert!(before.elapsed() < EARLY, "named only after {:?}", before.elapsed());
}

/// The address of `server`, as its client knows it.
fn peer(server: &dyn Pool) -> String {
    server.address().to_string()
}

/// The host of a client on loopback, as its server knows it. Its port is the system's choice.
fn host(address: SocketAddr) -> String {
    format!("{}:", address.ip())
}

fn a_plain_server_names_a_tls_client(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::SelfSigned, client_config(), server.address());
    names(&*client, &[&peer(&*server), "does not speak TLS"]);
    names(&*server, &[&host(server.address()), "TLS ClientHello", "configure TLS on both ends"]);
    // The client goes on dialling: each success hides the cause for a moment. A caller that waits would
    // get each new connection before its ClientHello has come.
    let error = || server.acquire(Duration::ZERO).map(drop).err();
    eventually(error, |error| {
        let claimed = |error: &AcquireError| {
            let why =
                matches!(error, AcquireError::Timeout { why: WaitReason::Claimed { .. }, .. });
            why && error.to_string().contains("TLS ClientHello")
        };
        error.as_ref().is_some_and(claimed)
    });
}

fn a_tls_server_and_a_plain_client_name_each_other_before_their_deadlines(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    names(&*client, &[&peer(&*server), "has sent nothing", "configure TLS on both ends"]);
    names(&*server, &[&host(server.address()), "has sent nothing", "configure TLS on both ends"]);
    let (of_client, of_server) = (client.stats(), server.stats());
    assert_eq!((of_client.totals.handshake_timeouts, of_server.totals.handshake_timeouts), (0, 0));
}

/// It is slow, and its client waits for the rest of its words.
fn a_server_that_has_spoken_is_not_called_silent(ends: &Ends) {
    // Longer than the silence after which a peer is named.
    const LATE: Duration = Duration::from_millis(1_100);
    let (fake, peers) = FakeServer::by_hand();
    let client = ends.dial(TlsMode::None, single(), fake.address);
    let mut peer = peers.recv_timeout(SOON).unwrap();
    let connected = now();
    send(&mut peer, &hex_id(0).as_bytes()[..4]);
    // The client may read it late, on a busy machine.
    let look = || (connected.elapsed() > LATE, client.last_failure());
    eventually(look, |(is_late, failure)| *is_late && failure.is_none());
    assert_eq!(client.stats().handshaking, 1);
}

fn a_handshake_given_up_names_its_peer_and_the_remedy(ends: &Ends) {
    let short = Duration::from_millis(200);
    let server = ends.serve(TlsMode::SelfSigned, server_config().first_byte_timeout(short));
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    names(&*server, &[&host(server.address()), "in time", "configure TLS on both ends"]);
    client.end();
    let silent = FakeServer::start(|mut tcp, _| until_end(&mut tcp));
    let config = client_config().handshake_timeout(short);
    let client = ends.dial(TlsMode::None, config, silent.address);
    names(&*client, &[&silent.address.to_string(), "in time", "configure TLS on both ends"]);
}

fn a_duplicate_id_is_named_with_its_peer(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| {
        tcp.write_all(b"0a1b2c3d")?;
        until_end(&mut tcp)
    });
    let client = ends.dial(TlsMode::None, client_config(), fake.address);
    eventually(|| client.stats(), |stats| stats.totals.duplicate_ids > 2);
    names(&*client, &[&fake.address.to_string(), "the id of another live connection"]);
}

fn a_failed_handshake_names_its_peer(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| {
        tcp.write_all(b"~\xff\x00\x01")?;
        until_end(&mut tcp)
    });
    let peer = fake.address.to_string();
    let client = ends.dial(TlsMode::None, client_config(), fake.address);
    names(&*client, &[&peer, "0x7e ('~')", "configure IdFormat::Raw4"]);
    assert!(!client.last_failure().unwrap().contains("the peer sends text"));
    let client = ends.dial(TlsMode::SelfSigned, client_config(), fake.address);
    names(&*client, &[&peer, "does not speak TLS"]);
}

/// An address that the user gave is told once; of a name, the addresses are told as well.
fn a_failed_dial_names_what_was_dialled(ends: &Ends) {
    // Bound, so that no other test can listen there, but not listening.
    let refusing =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    refusing.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = refusing.local_addr().unwrap().as_socket().unwrap();
    let client = ends.dial(TlsMode::None, client_config(), address);
    names(&*client, &[&format!("{address}: ")]);
    let failure = client.last_failure().unwrap();
    assert_eq!(failure.matches(&address.to_string()).count(), 1, "{failure}");
    let name = format!("localhost:{}", address.port());
    let client = ends.dial_with(None, client_config(), Dial::Address(name.clone()));
    names(&*client, &[&name, &address.to_string()]);
}

/// The server takes one connection after the other and closes it: that is not a failure of a client
/// with others in stock.
fn a_peer_that_closes_at_once_is_no_failure_of_a_stocked_pool(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, number| {
        tcp.write_all(hex_id(number).as_bytes())?;
        if number < 4 { until_end(&mut tcp) } else { Ok(()) }
    });
    let wait = Duration::from_millis(1);
    let config = client_config().capacity(8..=8).backoff(wait, wait);
    let client = ends.dial(TlsMode::None, config, fake.address);
    client.wait_ready(4, SOON).unwrap();
    eventually(|| client.stats(), |stats| stats.finished > 4);
    assert_eq!(client.last_failure(), None);
}
