//! Which end acquires: two ends that both do never get the same connection, and an end ends no
//! connection that its peer has just acquired.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, each, server_config};
use crate::prelude::*;
use crate::relay::relay;
use crate::wait::{Running, now, send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{Acquirer, ConnId, Refusal, Stats};

topic! {
    exclusive two_ends_that_acquire_never_get_the_same_connection,
    exclusive a_clean_ends_nothing_that_the_peer_has_just_acquired,
    parallel the_only_end_that_acquires_soon_has_nearly_all_of_the_stock,
    parallel where_only_the_peer_acquires_an_acquire_of_any_is_refused,
    parallel an_acquire_by_the_id_of_what_this_end_has_acquired_is_refused_at_once,
    parallel what_the_peer_may_acquire_is_ready_and_reserved,
}

/// The time that everything travels from one end to the other.
const TRIP: Duration = Duration::from_millis(10);

/// Callers at each end at a time, and the requests of each.
const CALLERS: usize = 8;
const REQUESTS: usize = 20;

/// A request as the control channel tells it: the connection, what will be read from it, and when that
/// word arrives.
type Word = (ConnId, String, std::time::Instant);

/// A server and a client that are a [`TRIP`] apart.
fn far_pair(
    ends: &Ends,
    mode: TlsMode,
    [server, client]: [Acquirer; 2],
) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
    let server = ends.serve(mode, server_config().acquirer(server));
    let address = relay(server.address(), TRIP);
    let config = client_config().capacity(16..=16).acquirer(client);
    let client = ends.dial(mode, config, address);
    server.wait_ready(16, SOON).unwrap();
    (server, client)
}

/// The callers of one end acquire any connection, send a unique request, tell the id, and read the
/// answer.
fn call(pool: &Arc<dyn Pool>, name: &'static str, words: &Sender<Word>) -> Vec<Running<()>> {
    let caller = |number: usize| {
        let (pool, words) = (Arc::clone(pool), words.clone());
        spawn(move || {
            for request in 0..REQUESTS {
                let text = format!("{name} {number:02} {request:04};");
                let mut stream = pool.take();
                send(&mut stream, text.as_bytes());
                words.send((stream.id(), text.clone(), now() + TRIP)).unwrap();
                let mut answer = vec![0; text.len()];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(String::from_utf8_lossy(&answer), text, "another one's answer");
            }
        })
    };
    (0..CALLERS).map(caller).collect()
}

/// The other end is told ids, acquires by them, and answers each request with itself.
fn answer(pool: &Arc<dyn Pool>, words: Receiver<Word>) -> Running<()> {
    let pool = Arc::clone(pool);
    spawn(move || {
        let mut answers = Vec::new();
        for (id, text, arrives) in words {
            thread::sleep(arrives.saturating_duration_since(now()));
            let pool = Arc::clone(&pool);
            answers.push(spawn(move || {
                let mut stream = pool.take_id(id);
                let mut request = vec![0; text.len()];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(String::from_utf8_lossy(&request), text, "another one's request");
                send(&mut stream, &request);
                // Until the caller has read the answer, and closes.
                let _ = stream.read(&mut [0]);
            }));
        }
        answers.into_iter().for_each(Running::soon);
    })
}

fn two_ends_that_acquire_never_get_the_same_connection(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = far_pair(ends, mode, [Acquirer::Both; 2]);
        let (to_client, at_client) = mpsc::channel();
        let (to_server, at_server) = mpsc::channel();
        let answering = [answer(&client, at_client), answer(&server, at_server)];
        let mut calls = call(&server, "server", &to_client);
        calls.extend(call(&client, "client", &to_server));
        drop((to_client, to_server));
        calls.into_iter().chain(answering).for_each(Running::soon);
        let refused = server.stats().totals.refused + client.stats().totals.refused;
        assert_eq!(refused, 0);
    });
}

/// Callers of one end acquire and are answered, while the other end, which acquires by id only, keeps
/// cleaning its pool.
fn a_clean_ends_nothing_that_the_peer_has_just_acquired(ends: &Ends) {
    let (server, client) = far_pair(ends, TlsMode::None, [Acquirer::ThisEnd, Acquirer::Peer]);
    let (to_client, at_client) = mpsc::channel();
    let answering = answer(&client, at_client);
    let (stop, stopped) = mpsc::channel::<()>();
    let cleaner = {
        let client = Arc::clone(&client);
        spawn(move || {
            let pause = Duration::from_millis(1);
            let mut closed = 0;
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                closed += client.clean();
            }
            closed
        })
    };
    let calls = call(&server, "server", &to_client);
    drop(to_client);
    calls.into_iter().chain([answering]).for_each(Running::soon);
    drop(stop);
    assert_eq!(cleaner.soon(), 0, "idle connections of the peer were closed");
}

fn the_only_end_that_acquires_soon_has_nearly_all_of_the_stock(ends: &Ends) {
    each(&[true, false], |server_acquires| {
        let server = ends.serve(TlsMode::None, server_config().acquirer(Acquirer::Both));
        let config = client_config().capacity(16..=16).acquirer(Acquirer::Both);
        let client = ends.dial(TlsMode::None, config, server.address());
        client.wait_ready(16, SOON).unwrap();
        let (taker, other) = if *server_acquires { (&server, &client) } else { (&client, &server) };
        let request = || {
            let mut ours = taker.take();
            send(&mut ours, b"x");
            drop(other.take_id(ours.id()));
            taker.stats()
        };
        // A server gives up none that is younger than two seconds.
        eventually(request, |stats: &Stats| stats.reserved <= 1);
    });
}

fn where_only_the_peer_acquires_an_acquire_of_any_is_refused(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().acquirer(Acquirer::Peer));
    let config = client_config().acquirer(Acquirer::ThisEnd);
    let client = ends.dial(TlsMode::None, config, server.address());
    let refused = server.acquire(SOON).unwrap_err();
    assert_eq!(refused, AcquireError::Refused(Refusal::PeerAcquires));
    let ours = client.take();
    let _theirs = server.take_id(ours.id());
}

fn an_acquire_by_the_id_of_what_this_end_has_acquired_is_refused_at_once(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let ours = server.take();
    let theirs = client.take_id(ours.id());
    let id = ours.id();
    let started = now();
    let refused = server.acquire_by_id(id, SOON).unwrap_err();
    assert_eq!(refused, AcquireError::Refused(Refusal::AcquiredHere { id }));
    assert!(started.elapsed() < SOON / 2, "not at once: after {:?}", started.elapsed());
    drop((ours, theirs));
}

fn what_the_peer_may_acquire_is_ready_and_reserved(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().acquirer(Acquirer::ThisEnd));
    let config = client_config().capacity(4..=4).acquirer(Acquirer::Peer);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(4, SOON).unwrap();
    assert_eq!((client.idle(), client.stats().reserved, client.is_ready()), (4, 4, true));
    // The client may read an id before the server has noticed that it was written.
    let at_server = || (server.stats().idle, server.stats().reserved);
    eventually(at_server, |counts| *counts == (4, 0));
}
