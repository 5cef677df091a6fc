//! Accepting: one end acquires and writes, and the other accepts the connection without being told an id.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, server_config};
use crate::log::{self, Line};
use crate::peers::ping_pong;
use crate::prelude::*;
use crate::wait::{Running, assert_ends, expect, read_all, send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{Acquirer, OPENING_BYTE, Refusal, WaitReason};

topic! {
    parallel the_client_accepts_what_the_server_has_begun_to_use,
    parallel the_server_accepts_what_the_client_has_begun_to_use,
    parallel both_ends_acquire_and_accept_and_no_request_is_lost,
    parallel a_full_pool_loses_no_request_on_a_connection_that_is_used_again,
    parallel a_request_and_half_close_are_accepted,
    parallel an_accept_in_time_gets_its_connection_and_a_late_one_says_what_was_missing,
    parallel where_the_peer_acquires_nothing_an_accept_is_refused_at_once,
    parallel a_shutdown_hands_out_what_has_begun_and_refuses_the_next_accept,
    parallel an_accept_outlives_a_flush,
    parallel the_end_of_an_accepting_pool_does_not_look_like_an_answer,
    parallel a_service_that_speaks_first_is_accepted_with_an_opening_byte,
    parallel users_see_nothing_of_opening_bytes,
    parallel an_acquire_by_id_waits_for_the_opening_byte,
    parallel an_opening_byte_at_one_end_only_costs_the_connection_and_is_named,
}

/// A server and a client, and which of them acquires.
fn pair(ends: &Ends, mode: TlsMode, [server, client]: [Acquirer; 2]) -> [Arc<dyn Pool>; 2] {
    let server = ends.serve(mode, server_config().acquirer(server));
    let config = client_config().capacity(4..=4).acquirer(client);
    let client = ends.dial(mode, config, server.address());
    [server, client]
}

const SERVER: [Acquirer; 2] = [Acquirer::ThisEnd, Acquirer::Peer];
const CLIENT: [Acquirer; 2] = [Acquirer::Peer, Acquirer::ThisEnd];

fn accept_each(ours: &dyn Pool, theirs: &Arc<dyn Pool>) {
    // Twice as many as are ready, so that some wait for their connection to be dialled.
    for request in 0..8_u8 {
        let accepting = theirs.clone_handle();
        let accepted = spawn(move || accepting.accept(SOON).unwrap());
        let mut stream = ours.take();
        send(&mut stream, &[request]);
        let mut accepted = accepted.soon();
        assert_eq!(accepted.id(), stream.id());
        expect(&mut accepted, &[request]);
        ping_pong(&mut *stream, &mut *accepted);
    }
}

fn the_client_accepts_what_the_server_has_begun_to_use(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = pair(ends, mode, SERVER);
        accept_each(&*server, &client);
    });
}

fn the_server_accepts_what_the_client_has_begun_to_use(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = pair(ends, mode, CLIENT);
        accept_each(&*client, &server);
    });
}

/// Sends requests from several threads, each of which no other is like, and expects them back.
fn ask(pool: &Arc<dyn Pool>, name: &'static str) -> Vec<Running<()>> {
    let ask = |caller: usize| {
        let pool = pool.clone_handle();
        spawn(move || {
            for request in 0..20 {
                let text = format!("{name} {caller:02} {request:04};");
                let mut stream = pool.take();
                send(&mut stream, text.as_bytes());
                expect(&mut stream, text.as_bytes());
            }
        })
    };
    (0..4).map(ask).collect()
}

/// Answers each request with itself, until the pool shuts down.
fn answer(pool: &Arc<dyn Pool>) -> Vec<Running<usize>> {
    let answer = |_| {
        let pool = pool.clone_handle();
        spawn(move || {
            let mut answered = 0;
            while let Ok(mut stream) = pool.accept(SOON) {
                let mut request = [0; "server 00 0000;".len()];
                stream.read_exact(&mut request).unwrap();
                send(&mut stream, &request);
                answered += 1;
            }
            answered
        })
    };
    (0..4).map(answer).collect()
}

fn both_ends_acquire_and_accept_and_no_request_is_lost(ends: &Ends) {
    Modes::both(|mode| {
        let pools = pair(ends, mode, [Acquirer::Both; 2]);
        let answers = pools.each_ref().map(answer);
        let [server, client] = &pools;
        let asks = [ask(server, "server"), ask(client, "client")];
        asks.into_iter().flatten().for_each(Running::soon);
        pools.iter().for_each(|pool| pool.graceful_shutdown(SOON));
        for answered in answers {
            let answered: usize = answered.into_iter().map(Running::soon).sum();
            assert_eq!(answered, 80);
        }
    });
}

fn a_full_pool_loses_no_request_on_a_connection_that_is_used_again(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config().acquirer(Acquirer::ThisEnd));
        let config = client_config().capacity(2..=2).acquirer(Acquirer::Peer);
        let client = ends.dial(mode, config, server.address());
        let mut stream = server.take();
        for request in 0..20_u8 {
            send(&mut stream, &[request]);
            let mut accepted = client.accept(SOON).unwrap();
            expect(&mut accepted, &[request]);
            send(&mut accepted, &[request]);
            expect(&mut stream, &[request]);
            // The connection has been replaced at the client, and the server acquires it again before the
            // client's user puts it back.
            client.wait_ready(2, SOON).unwrap();
            let id = stream.id();
            server.put(stream).unwrap();
            stream = server.take_id(id);
            client.put(accepted).unwrap();
        }
        let stats = client.stats();
        assert_eq!((stats.totals.overflowed, stats.totals.reused), (0, 19), "{stats:?}");
        assert!(
            stats.idle + stats.returning <= 3,
            "more than what was leased and the capacity: {stats:?}"
        );
    });
}

fn a_request_and_half_close_are_accepted(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = pair(ends, mode, SERVER);
        let mut stream = server.take();
        send(&mut stream, b"request");
        stream.shutdown_write().unwrap();
        let mut accepted = client.accept(SOON).unwrap();
        assert_eq!(read_all(&mut accepted), b"request");
        send(&mut accepted, b"response");
        expect(&mut stream, b"response");
    });
}

fn an_accept_in_time_gets_its_connection_and_a_late_one_says_what_was_missing(ends: &Ends) {
    let [server, client] = pair(ends, TlsMode::None, SERVER);
    client.wait_ready(4, SOON).unwrap();
    match client.accept(Duration::ZERO) {
        Err(AcquireError::Timeout { why: WaitReason::NotClaimed { ready: 4 }, .. }) => {}
        other => panic!("{other:?}"),
    }
    let mut stream = server.take();
    send(&mut stream, b"?");
    expect(&mut client.accept(SOON).unwrap(), b"?");
}

fn where_the_peer_acquires_nothing_an_accept_is_refused_at_once(ends: &Ends) {
    let [server, _client] = pair(ends, TlsMode::None, SERVER);
    let refused = AcquireError::Refused(Refusal::PeerNeverAcquires);
    assert_eq!(server.accept(SOON).unwrap_err(), refused);
}

fn a_shutdown_hands_out_what_has_begun_and_refuses_the_next_accept(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = pair(ends, mode, SERVER);
        let mut stream = server.take();
        send(&mut stream, b"request");
        eventually(|| client.stats().claimed, |claimed| *claimed == 1);
        client.graceful_shutdown(SOON);
        let mut accepted = client.accept(SOON).unwrap();
        expect(&mut accepted, b"request");
        let refused = AcquireError::Refused(Refusal::ShuttingDown);
        assert_eq!(client.accept(SOON).unwrap_err(), refused);
    });
}

fn an_accept_outlives_a_flush(ends: &Ends) {
    let [server, client] = pair(ends, TlsMode::None, SERVER);
    client.wait_ready(4, SOON).unwrap();
    let accepting = client.clone_handle();
    let accepted = spawn(move || accepting.accept(SOON).unwrap());
    eventually(|| client.stats().waiters, |waiters| *waiters == 1);
    client.flush();
    // The server may still have connections whose end it has not noticed.
    eventually(|| client.stats().idle, |idle| *idle == 4);
    eventually(|| server.stats().idle, |idle| *idle == 4);
    let mut stream = server.take();
    stream.write_all(b"?").and_then(|()| stream.flush()).unwrap();
    expect(&mut accepted.soon(), b"?");
}

/// An accepting pool ends a connection that the peer may just have acquired.
fn the_end_of_an_accepting_pool_does_not_look_like_an_answer(ends: &Ends) {
    type End = fn(&dyn Pool);
    let endings: [End; 3] =
        [|pool| pool.graceful_shutdown(SOON), |pool| _ = pool.flush(), |pool| pool.close()];
    for end in endings {
        let [server, client] = pair(ends, TlsMode::SelfSigned, SERVER);
        client.wait_ready(4, SOON).unwrap();
        // The client cannot know of it.
        let mut stream = server.take();
        end(&*client);
        let read = stream.read(&mut [0]);
        assert!(read.is_err(), "the user read {read:?}, as if it were the whole answer");
    }
}

// --- opening bytes ------------------------------------------------------------------------------------

/// A server that acquires and a client that accepts, with opening bytes at these ends.
fn opening_pair(
    ends: &Ends,
    mode: TlsMode,
    [at_server, at_client]: [bool; 2],
) -> [Arc<dyn Pool>; 2] {
    let server = server_config().acquirer(Acquirer::ThisEnd).opening_byte(at_server);
    let server = ends.serve(mode, server);
    let client = client_config().capacity(4..=4).acquirer(Acquirer::Peer).opening_byte(at_client);
    let client = ends.dial(mode, client, server.address());
    [server, client]
}

fn a_service_that_speaks_first_is_accepted_with_an_opening_byte(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = opening_pair(ends, mode, [true; 2]);
        let mut stream = server.take();
        // Nobody has written anything.
        let mut accepted = client.accept(SOON).unwrap();
        assert_eq!(accepted.id(), stream.id());
        send(&mut accepted, b"220 ready");
        expect(&mut stream, b"220 ready");
        ping_pong(&mut *stream, &mut *accepted);
    });
}

fn users_see_nothing_of_opening_bytes(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = opening_pair(ends, mode, [true; 2]);
        for round in 0..8_u8 {
            let mut stream = server.take();
            send(&mut stream, &[round, OPENING_BYTE]);
            let mut accepted = client.accept(SOON).unwrap();
            expect(&mut accepted, &[round, OPENING_BYTE]);
            send(&mut accepted, &[OPENING_BYTE, round]);
            expect(&mut stream, &[OPENING_BYTE, round]);
        }
    });
}

fn an_acquire_by_id_waits_for_the_opening_byte(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = opening_pair(ends, mode, [true, true]);
        let mut stream = server.take();
        let mut taken = client.take_id(stream.id());
        ping_pong(&mut *stream, &mut *taken);
    });
    // The server sends none.
    let [server, client] = opening_pair(ends, TlsMode::None, [false, true]);
    let stream = server.take();
    eventually(|| client.stats().idle, |idle| *idle == 4);
    match client.acquire_by_id(stream.id(), Duration::from_millis(1)) {
        Err(AcquireError::Timeout { why: WaitReason::IdNotBegun, .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn an_opening_byte_at_one_end_only_costs_the_connection_and_is_named(ends: &Ends) {
    Modes::both(|mode| {
        let [server, client] = opening_pair(ends, mode, [false, true]);
        let mut stream = server.take();
        send(&mut stream, b"GET / HTTP/1.1");
        let failure = client.acquire_by_id(stream.id(), SOON).unwrap_err().to_string();
        let remedy = "began without the opening byte: set opening_byte at both ends";
        assert!(failure.contains(remedy), "{failure}");
        // The connection is closed: its data cannot be interpreted.
        assert_ends(&mut stream);
        // For the connections that the server begins to use from now on, the log reports it.
        let address = server.address();
        log::follow(address);
        send(&mut server.take(), b"GET / HTTP/1.1");
        let look = || {
            client.accept(Duration::ZERO).unwrap_err();
            log::of(address, "client")
        };
        let is_told = |line: &Line| line.message == "the peer began without the opening byte";
        eventually(look, |lines| lines.iter().any(is_told));
        // An accept goes on to the next one.
        send(&mut server.take(), b"GET / HTTP/1.1");
        let mut stream = server.take();
        send(&mut stream, &[OPENING_BYTE, b'?']);
        expect(&mut client.accept(SOON).unwrap(), b"?");
        eventually(|| client.stats(), |stats| stats.leased == 0);
    });
}
