//! The main use: either end takes any connection, and the other end takes the same one by its id.

use super::topic;
use crate::ends::{both_ends, client_config, server_config, single};
use crate::peers::{FakeServer, echo, identity, ping_pong, tls_accept};
use crate::prelude::*;
use crate::wait::{expect, payload, read_all, send, spawn};
use pool_driver::tls::TlsMode;
use pool_proto::{ConnId, IdExchange};
use std::io::Write;

topic! {
    parallel the_client_takes_by_id_the_connection_that_the_server_took,
    parallel the_server_takes_by_id_the_connection_that_the_client_took,
    parallel sixty_four_kibibytes_pass_both_ways_at_once,
    parallel the_response_still_arrives_after_a_half_close,
    parallel a_request_and_half_close_before_the_take_by_id_are_delivered,
    parallel without_ids_a_plain_server_may_speak_first,
    parallel without_ids_a_tls_server_may_speak_first,
    parallel without_ids_on_the_wire_a_connection_gets_a_local_id,
    parallel a_stream_reports_what_tls_negotiated,
    parallel a_plain_stream_reports_no_tls,
    parallel the_stock_matches_the_configuration,
    parallel each_connection_has_a_new_id,
}

fn the_client_takes_by_id_the_connection_that_the_server_took(ends: &Ends) {
    Modes::all(|mode, format| {
        let (server, client) = ends.pair(mode, format);
        let mut ours = server.take();
        let mut theirs = client.take_id(ours.id());
        ping_pong(&mut *ours, &mut *theirs);
    });
}

fn the_server_takes_by_id_the_connection_that_the_client_took(ends: &Ends) {
    Modes::all(|mode, format| {
        let (server, client) = ends.pair(mode, format);
        let mut ours = client.take();
        let mut theirs = server.take_id(ours.id());
        ping_pong(&mut *ours, &mut *theirs);
    });
}

fn sixty_four_kibibytes_pass_both_ways_at_once(ends: &Ends) {
    Modes::all(|mode, format| {
        let (server, client) = ends.pair(mode, format);
        let (ours, theirs) = both_ends(&server, &client);
        let both_ways = |stream: Box<dyn Stream>| {
            let (mut reader, mut writer) = stream.split();
            let writes = spawn(move || {
                send(&mut writer, &payload(64 * 1024));
                writer
            });
            let reads = spawn(move || {
                expect(&mut reader, &payload(64 * 1024));
                reader
            });
            (reads, writes)
        };
        let (ours, theirs) = (both_ways(ours), both_ways(theirs));
        // Keep all halves until all are done: dropping both halves of a stream closes its
        // connection.
        let _halves = (ours.0.soon(), ours.1.soon(), theirs.0.soon(), theirs.1.soon());
    });
}

fn the_response_still_arrives_after_a_half_close(ends: &Ends) {
    Modes::all(|mode, format| {
        let (server, client) = ends.pair(mode, format);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        send(&mut ours, b"request");
        ours.shutdown_write().unwrap();
        assert_eq!(read_all(&mut theirs), b"request");
        send(&mut theirs, b"response");
        theirs.shutdown_write().unwrap();
        assert_eq!(read_all(&mut ours), b"response");
    });
}

fn a_request_and_half_close_before_the_take_by_id_are_delivered(ends: &Ends) {
    Modes::all(|mode, format| {
        let (server, client) = ends.pair(mode, format);
        let mut ours = client.take();
        send(&mut ours, b"request");
        ours.shutdown_write().unwrap();
        eventually(|| server.stats(), |stats| stats.finished == 1);
        let mut theirs = server.take_id(ours.id());
        assert_eq!(read_all(&mut theirs), b"request");
        send(&mut theirs, b"response");
        theirs.shutdown_write().unwrap();
        assert_eq!(read_all(&mut ours), b"response");
    });
}

/// Checks that a stream receives the greeting of a server that speaks first and then echoes.
fn assert_server_speaks_first(ends: &Ends, mode: TlsMode, fake: &FakeServer) {
    let config = single().ids(IdExchange::None);
    let client = ends.dial(mode, config, fake.address);
    for _ in 0..10 {
        let mut stream = client.take();
        expect(&mut stream, b"220 ready\r\n");
        send(&mut stream, b"echo");
        expect(&mut stream, b"echo");
    }
}

fn without_ids_a_plain_server_may_speak_first(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| {
        tcp.write_all(b"220 ")?;
        tcp.write_all(b"ready\r\n")?;
        echo(&mut tcp)
    });
    assert_server_speaks_first(ends, TlsMode::None, &fake);
}

fn without_ids_a_tls_server_may_speak_first(ends: &Ends) {
    let fake = FakeServer::start(|tcp, _| {
        let mut tls = tls_accept(tcp)?;
        tls.write_all(b"220 ")?;
        tls.flush()?;
        tls.write_all(b"ready\r\n")?;
        tls.flush()?;
        echo(&mut tls)
    });
    assert_server_speaks_first(ends, TlsMode::Verified, &fake);
}

fn without_ids_on_the_wire_a_connection_gets_a_local_id(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| echo(&mut tcp));
    let config = client_config().ids(IdExchange::None);
    let client = ends.dial(TlsMode::None, config, fake.address);
    let mut stream = client.take();
    let (id, port) = (stream.id(), stream.local_addr().unwrap());
    send(&mut stream, b"once");
    expect(&mut stream, b"once");
    client.put(stream).unwrap();
    let mut stream = client.take_id(id);
    send(&mut stream, b"again");
    expect(&mut stream, b"again");
    assert_eq!(stream.local_addr().unwrap(), port);
}

fn a_stream_reports_what_tls_negotiated(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::Verified);
    let (ours, theirs) = both_ends(&server, &client);
    let facts = theirs.tls().unwrap();
    assert_eq!(facts.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(facts.peer_certificate, Some(identity().fingerprint()));
    assert_eq!((facts.cipher_suite.is_some(), facts.alpn), (true, None));
    let facts = ours.tls().unwrap();
    assert_eq!(facts.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(facts.peer_certificate, None);
}

fn a_plain_stream_reports_no_tls(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends(&server, &client);
    assert_eq!((ours.tls(), theirs.tls()), (None, None));
    assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
    assert_eq!(theirs.peer_addr().unwrap(), ours.local_addr().unwrap());
}

fn the_stock_matches_the_configuration(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(7..=7);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(7, SOON).unwrap();
    server.wait_ready(7, SOON).unwrap();
    assert_eq!((client.idle(), client.capacity(), client.is_ready()), (7, 7, true));
    assert_eq!((server.idle(), server.capacity(), server.is_ready()), (7, 1024, true));
    assert_eq!(client.stats().totals.dials, 7);
}

fn each_connection_has_a_new_id(ends: &Ends) {
    let (_server, client) = ends.hex_pair(TlsMode::None);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let stream = client.take();
        assert!(seen.insert(stream.id()), "{} came twice", stream.id());
    }
    assert!(!seen.contains(&ConnId::ZERO));
}
