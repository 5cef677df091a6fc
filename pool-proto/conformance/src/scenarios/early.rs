//! Early data, which arrives before its connection is taken, and ids that arrive in pieces.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, each, server_config, single};
use crate::peers::{FakeServer, connect, hex_id, read_id, reset, tls_accept, until_end};
use crate::prelude::*;
use crate::wait::{assert_ends, expect, payload, send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::IdExchange;
use pool_proto::{CloseReason, ConnId, IdFormat, Refusal, WaitReason};

topic! {
    parallel a_connection_with_early_data_is_served_by_id_only,
    parallel early_data_in_fragments_stays_in_order,
    parallel early_data_beyond_the_pools_buffer_is_not_lost,
    parallel early_data_reaches_a_client_too,
    parallel an_id_may_arrive_byte_by_byte,
    parallel an_id_and_early_data_in_one_segment_are_separated,
    parallel a_claimed_connection_that_nobody_takes_ends_at_the_claim_timeout,
    parallel a_timeout_says_that_the_peer_has_claimed_all_connections,
    parallel a_claimed_connection_that_is_reset_gives_its_place_back_and_keeps_its_data,
}

fn a_connection_with_early_data_is_served_by_id_only(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut ours = client.take();
        send(&mut ours, b"mine");
        eventually(|| server.stats(), |stats| stats.claimed == 1);
        server.wait_ready(4, SOON).unwrap();
        let others: Vec<_> = (0..4).map(|_| server.take()).collect();
        assert!(others.iter().all(|other| other.id() != ours.id()));
        let mut theirs = server.take_id(ours.id());
        expect(&mut theirs, b"mine");
    });
}

fn early_data_in_fragments_stays_in_order(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut ours = client.take();
        let data = payload(300);
        for fragment in data.chunks(100) {
            send(&mut ours, fragment);
            // The pool keeps the first fragment; later ones wait in the kernel or in the pool.
            eventually(|| server.stats(), |stats| stats.claimed == 1);
        }
        let mut theirs = server.take_id(ours.id());
        send(&mut ours, b"late");
        expect(&mut theirs, &data);
        expect(&mut theirs, b"late");
    });
}

fn early_data_beyond_the_pools_buffer_is_not_lost(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut ours = client.take();
        let id = ours.id();
        let writes = spawn(move || {
            send(&mut ours, &payload(400_000));
            ours
        });
        eventually(|| server.stats(), |stats| stats.claimed == 1);
        let mut theirs = server.take_id(id);
        expect(&mut theirs, &payload(400_000));
        let mut ours = writes.soon();
        send(&mut theirs, b"done");
        expect(&mut ours, b"done");
    });
}

fn early_data_reaches_a_client_too(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut ours = server.take();
        send(&mut ours, b"early");
        eventually(|| client.stats(), |stats| stats.claimed == 1);
        let mut theirs = client.take_id(ours.id());
        send(&mut ours, b" and late");
        expect(&mut theirs, b"early and late");
    });
}

/// Sends each byte in its own segment, or in its own TLS record.
fn trickle(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        stream.flush()?;
    }
    Ok(())
}

fn an_id_may_arrive_byte_by_byte(ends: &Ends) {
    let formats: [(IdFormat, &[u8]); 2] =
        [(IdFormat::Hex8, b"0a1b2c3dhello"), (IdFormat::Raw4, b"\x0a\x1b\x2c\x3dhello")];
    each(&formats, |(format, bytes)| {
        let bytes = *bytes;
        let plain = FakeServer::start(move |mut tcp, _| {
            trickle(&mut tcp, bytes)?;
            until_end(&mut tcp)
        });
        let tls = FakeServer::start(move |tcp: TcpStream, _| {
            let mut tls = tls_accept(tcp)?;
            trickle(&mut tls, bytes)?;
            until_end(&mut tls)
        });
        for (mode, fake) in [(TlsMode::None, plain), (TlsMode::SelfSigned, tls)] {
            let config = single().ids(IdExchange::Wire(*format));
            let client = ends.dial(mode, config, fake.address);
            let id = ConnId::from_bytes([0x0a, 0x1b, 0x2c, 0x3d]);
            expect(&mut client.take_id(id), b"hello");
        }
    });
}

fn an_id_and_early_data_in_one_segment_are_separated(ends: &Ends) {
    let fake = FakeServer::greeting("hello");
    let client = ends.dial(TlsMode::None, single(), fake.address);
    let id = hex_id(0).parse().unwrap();
    expect(&mut client.take_id(id), b"hello");
}

fn a_claimed_connection_that_nobody_takes_ends_at_the_claim_timeout(ends: &Ends) {
    let config = server_config().claim_timeout(Duration::from_millis(200));
    let server = ends.serve(TlsMode::None, config);
    let mut peer = connect(server.address());
    let id = read_id(&mut peer);
    send(&mut peer, b"x");
    assert_ends(&mut peer);
    assert_eq!(server.stats().totals.unclaimed, 1);
    let gone = Refusal::Gone { id, reason: CloseReason::Unclaimed };
    let gone = Err(AcquireError::Refused(gone));
    assert_eq!(server.acquire_by_id(id, SOON).map(drop), gone);
}

fn a_timeout_says_that_the_peer_has_claimed_all_connections(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(1..=1).max_connections(1);
    let client = ends.dial(TlsMode::None, config, server.address());
    let mut ours = server.take();
    send(&mut ours, b"mine");
    eventually(|| client.stats(), |stats| stats.claimed == 1);
    let error = client.acquire(Duration::from_millis(20)).unwrap_err();
    let why = WaitReason::AllInUse { leased: 0, claimed: 1 };
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
    expect(&mut client.take_id(ours.id()), b"mine");
}

fn a_claimed_connection_that_is_reset_gives_its_place_back_and_keeps_its_data(ends: &Ends) {
    let (fake, connections) = FakeServer::by_hand();
    let client = ends.dial(TlsMode::None, single().max_connections(1), fake.address);
    let mut first = connections.recv_timeout(SOON).unwrap();
    send(&mut first, format!("{}early", hex_id(0)).as_bytes());
    eventually(|| client.stats(), |stats| stats.claimed == 1);
    reset(&first);
    drop(first);
    let mut second = connections.recv_timeout(SOON).unwrap();
    send(&mut second, hex_id(1).as_bytes());
    assert_eq!(client.take().id(), hex_id(1).parse().unwrap());
    let mut early = client.take_id(hex_id(0).parse().unwrap());
    expect(&mut early, b"early");
    let error = early.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
