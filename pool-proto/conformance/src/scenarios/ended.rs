//! Connections that the peer's user takes and closes at once, before it tells their id.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use super::topic;
use crate::ends::{each, server_config, single};
use crate::peers::{
    FakeServer, connect, half_close, hex_id, read_id, reset, tls_accept, tls_connect,
};
use crate::prelude::*;
use crate::wait::{expect, send, spawn};
use pool_driver::tls::TlsMode;
use pool_proto::ConnId;

topic! {
    parallel a_connection_closed_before_its_id_is_told_reads_its_end,
    parallel a_half_closed_connection_taken_by_its_id_reads_eof_and_still_writes,
    parallel a_server_gives_a_connection_that_was_reset_with_its_error,
    parallel a_server_gives_ended_connections_by_their_ids_only,
    parallel a_connection_that_ends_as_it_is_established_is_taken_by_its_id,
    parallel a_waiting_acquire_by_id_gets_a_connection_that_ends_as_it_is_established,
}

/// Both directions, plain and with TLS. The first pool is the one whose user takes any connection.
fn in_both_directions(ends: &Ends, act: impl Fn(TlsMode, &dyn Pool, &dyn Pool)) {
    const ROWS: [(TlsMode, bool); 4] = [
        (TlsMode::None, false),
        (TlsMode::None, true),
        (TlsMode::SelfSigned, false),
        (TlsMode::SelfSigned, true),
    ];
    each(&ROWS, |(mode, client_takes)| {
        let (server, client) = ends.steady_pair(*mode);
        if *client_takes { act(*mode, &*client, &*server) } else { act(*mode, &*server, &*client) }
    });
}

#[track_caller]
fn assert_eof(stream: &mut dyn Stream) {
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// Reads the end of a connection whose other end was dropped. With TLS, an attacker may have caused it:
/// a close_notify is missing.
#[track_caller]
fn assert_bare_end(mode: TlsMode, stream: &mut dyn Stream) {
    match stream.read(&mut [0]) {
        Ok(0) => assert_eq!(mode, TlsMode::None),
        Err(error) if mode != TlsMode::None => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
        }
        end => panic!("{mode:?}: {end:?}"),
    }
}

fn a_connection_closed_before_its_id_is_told_reads_its_end(ends: &Ends) {
    in_both_directions(ends, |mode, taker, other| {
        for round in 0..30 {
            let ours = taker.take();
            let id = ours.id();
            drop(ours);
            if round % 2 == 0 {
                // Or else the end arrives before, during or after the acquire.
                eventually(|| other.stats(), |stats| stats.finished == 1);
            }
            assert_bare_end(mode, &mut *other.take_id(id));
        }
        assert_eq!(other.stats().finished, 0);
    });
}

fn a_half_closed_connection_taken_by_its_id_reads_eof_and_still_writes(ends: &Ends) {
    in_both_directions(ends, |_, taker, other| {
        for round in 0..10 {
            let mut ours = taker.take();
            ours.shutdown_write().unwrap();
            if round % 2 == 0 {
                eventually(|| other.stats(), |stats| stats.finished == 1);
            }
            let mut theirs = other.take_id(ours.id());
            assert_eof(&mut *theirs);
            send(&mut *theirs, b"answer");
            expect(&mut *ours, b"answer");
        }
    });
}

/// A client that reads its id, and the transport below it.
fn join(server: &dyn Pool, mode: TlsMode) -> (ConnId, TcpStream) {
    let mut tcp = connect(server.address());
    if mode == TlsMode::None {
        return (read_id(&mut tcp), tcp);
    }
    let mut tls = tls_connect(tcp);
    (read_id(&mut tls), tls.sock)
}

fn a_server_gives_a_connection_that_was_reset_with_its_error(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config());
        for round in 0..100 {
            let (id, tcp) = join(&*server, mode);
            reset(&tcp);
            drop(tcp);
            if round % 2 == 0 {
                eventually(|| server.stats(), |stats| stats.finished == 1);
            }
            let error = server.take_id(id).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    });
}

fn a_server_gives_ended_connections_by_their_ids_only(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config());
        let peers: Vec<_> = (0..8).map(|_| join(&*server, mode)).collect();
        for (_, tcp) in &peers {
            half_close(tcp);
        }
        // Some of them are idle here, and checked when they are handed out.
        let any = server.acquire(Duration::from_millis(20));
        assert!(any.is_err(), "a connection that has ended: {any:?}");
        eventually(|| server.stats().finished, |finished| *finished == 8);
        let (live, _live) = join(&*server, mode);
        assert_eq!(server.take().id(), live);
        for (id, _) in &peers {
            drop(server.take_id(*id));
        }
    });
}

/// A server that closes each connection right after its id.
fn closing_server(mode: TlsMode) -> FakeServer {
    FakeServer::start(move |mut tcp, number| {
        let id = hex_id(number);
        if mode == TlsMode::None {
            send(&mut tcp, id.as_bytes());
        } else {
            let mut tls = tls_accept(tcp)?;
            send(&mut tls, id.as_bytes());
            tls.conn.send_close_notify();
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(())
    })
}

fn a_connection_that_ends_as_it_is_established_is_taken_by_its_id(ends: &Ends) {
    Modes::both(|mode| {
        let fake = closing_server(mode);
        let client = ends.dial(mode, single(), fake.address);
        for number in 0..5 {
            assert_eof(&mut *client.take_id(hex_id(number).parse().unwrap()));
        }
        let server = ends.serve(mode, server_config());
        for _ in 0..20 {
            let (id, tcp) = join(&*server, mode);
            drop(tcp);
            assert_bare_end(mode, &mut *server.take_id(id));
        }
    });
}

fn a_waiting_acquire_by_id_gets_a_connection_that_ends_as_it_is_established(ends: &Ends) {
    Modes::both(|mode| {
        let (fake, peers) = FakeServer::by_hand();
        let client = ends.dial(mode, single(), fake.address);
        let other = client.clone_handle();
        let waiting = spawn(move || other.take_id(hex_id(0).parse().unwrap()));
        eventually(|| client.stats().waiters, |waiters| *waiters == 1);
        let mut tcp = peers.recv_timeout(SOON).unwrap();
        if mode == TlsMode::None {
            send(&mut tcp, hex_id(0).as_bytes());
        } else {
            let mut tls = tls_accept(tcp).unwrap();
            send(&mut tls, hex_id(0).as_bytes());
            tls.conn.send_close_notify();
            tls.conn.complete_io(&mut tls.sock).unwrap();
            tcp = tls.sock;
        }
        drop(tcp);
        assert_eof(&mut *waiting.soon());
    });
}
