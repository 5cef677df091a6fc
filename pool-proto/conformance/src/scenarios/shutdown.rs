//! The graceful shutdown: only the connections in use go on.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{
    both_ends, both_ends_by_id, client_config, listener, server_config, server_tls, single,
    unused_address,
};
use crate::facade::{Listen, ServerSetup};
use crate::prelude::*;
use crate::wait::{
    assert_ends, assert_revoked, expect, payload, read_all, send, spawn, write_until_failure,
};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{CloseReason, IdFormat, PutError, Refusal};

topic! {
    parallel a_download_goes_on_while_the_next_server_has_the_port,
    parallel a_port_of_the_users_listener_is_free_soon,
    parallel idle_connections_end_in_good_order_and_the_peer_notices,
    parallel waiters_and_callers_are_refused_at_once,
    parallel a_pool_without_leases_is_closed_at_once,
    parallel the_pool_is_closed_after_the_last_lease,
    parallel a_stream_that_is_put_back_ends_in_good_order,
    parallel a_stream_at_rest_ends_in_good_order_at_the_deadline,
    parallel a_read_that_waits_ends_at_the_deadline,
    parallel a_stream_that_goes_on_is_cut_at_the_deadline,
    parallel what_the_peer_has_begun_to_use_can_be_acquired_by_id,
    parallel a_handshake_ends_with_the_listener,
    parallel a_drop_of_the_pool_does_not_cut_it_short,
    parallel a_close_cuts_it_short,
    parallel a_second_call_brings_its_deadline_nearer,
    parallel a_client_dials_no_more,
}

/// Short enough for a deadline to pass soon, and long enough for a loaded machine to act before it.
const BRIEF: Duration = Duration::from_millis(200);

fn shutting_down<T>() -> Result<T, AcquireError> {
    Err(AcquireError::Refused(Refusal::ShuttingDown))
}

/// Binds a server to an address, without a second try.
#[track_caller]
fn bind(ends: &Ends, mode: TlsMode, address: &str) -> Arc<dyn Pool> {
    let setup = ServerSetup {
        config: None,
        tls: server_tls(mode),
        keep_alive: None,
        demand: Demand::Nothing,
        listen: Listen::Address(address.to_owned()),
        tape: None,
    };
    ends.server.server(setup).unwrap()
}

fn a_download_goes_on_while_the_next_server_has_the_port(ends: &Ends) {
    Modes::both(|mode| {
        let address = unused_address();
        let server = bind(ends, mode, &address.to_string());
        let client = ends.dial(mode, client_config().capacity(4..=4), address);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        // More than the buffers of the system hold, so that most of it is sent after the shutdown.
        let data = payload(8 << 20);
        let sent = data.clone();
        let download = spawn(move || {
            send(&mut ours, &sent);
            ours.shutdown_write().unwrap();
            ours
        });
        let download = download.still_runs_after(Duration::from_millis(50));
        server.graceful_shutdown(Duration::MAX);
        let next = if cfg!(target_os = "linux") {
            bind(ends, mode, &address.to_string())
        } else {
            ends.serve(mode, server_config())
        };
        assert!(!server.is_closed() && !server.closed(Duration::ZERO));
        assert!(read_all(&mut theirs) == data, "the download is not whole");
        drop(download.soon());
        assert!(server.closed(SOON));
        if next.address() == address {
            let (mut ours, mut theirs) = both_ends(&next, &client);
            send(&mut ours, b"next");
            expect(&mut theirs, b"next");
        }
    });
}

fn a_port_of_the_users_listener_is_free_soon(ends: &Ends) {
    let (listener, address) = listener();
    let server = ends.serve_on(Listen::On(listener), None, server_config());
    let client = ends.dial(TlsMode::None, single(), address);
    let (_ours, _theirs) = both_ends(&server, &client);
    server.graceful_shutdown(Duration::MAX);
    let next = || std::net::TcpListener::bind(address).map(drop).map_err(|error| error.kind());
    eventually(next, Result::is_ok).unwrap();
    assert!(!server.is_closed());
}

fn idle_connections_end_in_good_order_and_the_peer_notices(ends: &Ends) {
    Modes::both(|mode| {
        for at_server in [true, false] {
            let (server, client) = ends.hex_pair(mode);
            client.wait_ready(4, SOON).unwrap();
            server.wait_ready(4, SOON).unwrap();
            let (ends, peer) = if at_server { (&server, &client) } else { (&client, &server) };
            let mut theirs = peer.take();
            ends.graceful_shutdown(Duration::MAX);
            // Without close_notify, the read fails.
            assert_eq!(read_all(&mut theirs), b"");
            eventually(|| peer.stats(), |stats| stats.idle == 0);
        }
    });
}

fn waiters_and_callers_are_refused_at_once(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, single(), server.address());
    let (ours, _theirs) = both_ends_by_id(&server, &client);
    // The connection that the client has dialled meanwhile must not serve the waiters.
    server.wait_ready(1, SOON).unwrap();
    client.close();
    eventually(|| server.idle(), |idle| *idle == 0);
    let id = ours.id();
    let waiters = [0, 1, 2].map(|kind| {
        let server = server.clone_handle();
        spawn(move || match kind {
            0 => server.acquire(Duration::MAX).map(drop),
            1 => server.acquire_by_id(id, Duration::MAX).map(drop),
            _ => server.wait_ready(1, Duration::MAX),
        })
    });
    eventually(|| server.stats(), |stats| stats.waiters == 3);
    server.graceful_shutdown(Duration::MAX);
    for waiter in waiters {
        assert_eq!(waiter.soon(), shutting_down());
    }
    assert_eq!(server.acquire(SOON).map(drop), shutting_down());
    assert_eq!(server.acquire_by_id(id, SOON).map(drop), shutting_down());
    assert_eq!(server.wait_ready(1, SOON), shutting_down());
    let text = server.acquire(SOON).unwrap_err().to_string();
    assert!(text.contains("the pool is shutting down"), "{text}");
    drop(ours);
    assert!(server.closed(SOON));
    let closed = Err(AcquireError::Refused(Refusal::PoolClosed));
    assert_eq!(server.acquire(SOON).map(drop), closed);
}

fn a_pool_without_leases_is_closed_at_once(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
    client.wait_ready(4, SOON).unwrap();
    for pool in [&client, &server] {
        pool.graceful_shutdown(Duration::MAX);
    }
    assert!(server.closed(SOON) && client.closed(SOON));
}

fn the_pool_is_closed_after_the_last_lease(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut pairs = [both_ends(&server, &client), both_ends(&server, &client)];
        client.graceful_shutdown(Duration::MAX);
        for (ours, theirs) in &mut pairs {
            send(theirs, b"goes on");
            expect(ours, b"goes on");
        }
        let [(_, first), (mut ours, mut last)] = pairs;
        drop(first);
        assert!(!client.closed(Duration::from_millis(20)));
        assert_eq!((client.is_closed(), client.stats().leased), (false, 1));
        send(&mut ours, b"still");
        expect(&mut last, b"still");
        drop(last);
        assert!(client.closed(SOON) && client.is_closed());
    });
}

fn a_stream_that_is_put_back_ends_in_good_order(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        send(&mut theirs, b"done");
        client.graceful_shutdown(Duration::MAX);
        client.put(theirs).unwrap();
        assert_eq!(read_all(&mut ours), b"done");
        assert!(client.closed(SOON));
    });
}

/// Runs `act` with a pool that is about to shut down, its stream, and the peer's stream: once with each
/// role.
fn either_end(
    ends: &Ends,
    mode: TlsMode,
    act: impl Fn(&dyn Pool, Box<dyn Stream>, Box<dyn Stream>),
) {
    for at_server in [true, false] {
        let (server, client) = ends.hex_pair(mode);
        let (ours, theirs) = both_ends(&server, &client);
        match at_server {
            true => act(&*server, ours, theirs),
            false => act(&*client, theirs, ours),
        }
    }
}

fn a_stream_at_rest_ends_in_good_order_at_the_deadline(ends: &Ends) {
    Modes::both(|mode| {
        either_end(ends, mode, |pool, mut here, mut there| {
            send(&mut here, b"all of it");
            pool.graceful_shutdown(BRIEF);
            // Without close_notify, the read fails.
            assert_eq!(read_all(&mut there), b"all of it");
            assert!(pool.closed(SOON));
            let id = here.id();
            assert_revoked(here.write_all(b"late"), id, CloseReason::ShutDown);
            assert_eq!(pool.put(here), Err(PutError::PoolClosed));
        });
    });
}

fn a_read_that_waits_ends_at_the_deadline(ends: &Ends) {
    Modes::both(|mode| {
        either_end(ends, mode, |pool, mut here, mut there| {
            let id = here.id();
            let read = spawn(move || here.read_exact(&mut [0]));
            let read = read.still_runs_after(Duration::from_millis(20));
            pool.graceful_shutdown(BRIEF);
            assert_revoked(read.soon(), id, CloseReason::ShutDown);
            assert_eq!(read_all(&mut there), b"");
        });
    });
}

fn a_stream_that_goes_on_is_cut_at_the_deadline(ends: &Ends) {
    Modes::both(|mode| {
        either_end(ends, mode, |pool, mut here, mut there| {
            let id = here.id();
            let write = spawn(move || write_until_failure(&mut here));
            // On a loaded machine it may not have begun yet. Soon after, it waits for room.
            there.read_exact(&mut [0]).unwrap();
            let write = write.still_runs_after(Duration::from_millis(100));
            pool.graceful_shutdown(BRIEF);
            assert_revoked(Err::<(), _>(write.soon()), id, CloseReason::ShutDown);
            assert!(pool.closed(SOON));
            let mut rest = Vec::new();
            let end = there.read_to_end(&mut rest);
            // The peer must not take a part for the whole.
            let whole = mode == TlsMode::None;
            assert_eq!(end.is_ok(), whole, "{end:?} after {} bytes", rest.len());
        });
    });
}

fn what_the_peer_has_begun_to_use_can_be_acquired_by_id(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut theirs = client.take();
        send(&mut theirs, b"request");
        eventually(|| server.stats(), |stats| stats.claimed == 1);
        server.graceful_shutdown(Duration::MAX);
        let mut ours = server.take_id(theirs.id());
        expect(&mut ours, b"request");
        send(&mut ours, b"answer");
        expect(&mut theirs, b"answer");
        drop(ours);
        assert!(server.closed(SOON));
    });
}

fn a_handshake_ends_with_the_listener(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let client = ends.dial(TlsMode::SelfSigned, single(), server.address());
    let (_ours, _theirs) = both_ends(&server, &client);
    client.graceful_shutdown(Duration::MAX);
    let mut silent = crate::peers::connect(server.address());
    eventually(|| server.stats(), |stats| stats.handshaking == 1);
    server.graceful_shutdown(Duration::MAX);
    assert_ends(&mut silent);
    assert!(!server.is_closed());
    eventually(
        || std::net::TcpStream::connect(server.address()).map(drop).map_err(|error| error.kind()),
        Result::is_err,
    )
    .unwrap_err();
}

fn a_drop_of_the_pool_does_not_cut_it_short(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.pair(mode, IdFormat::Hex8);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        server.graceful_shutdown(Duration::MAX);
        drop(server);
        send(&mut ours, b"goes on");
        expect(&mut theirs, b"goes on");
        drop(ours);
        assert_ends(&mut theirs);
    });
}

fn a_close_cuts_it_short(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (_ours, mut theirs) = both_ends(&server, &client);
    client.graceful_shutdown(Duration::MAX);
    client.close();
    let id = theirs.id();
    assert_revoked(theirs.read_exact(&mut [0]), id, CloseReason::PoolClosed);
    assert!(client.closed(SOON));
}

/// As after a second Ctrl-C.
fn a_second_call_brings_its_deadline_nearer(ends: &Ends) {
    Modes::both(|mode| {
        either_end(ends, mode, |pool, mut here, mut there| {
            send(&mut here, b"all of it");
            pool.graceful_shutdown(Duration::MAX);
            assert!(!pool.is_closed());
            pool.graceful_shutdown(BRIEF);
            // A later deadline changes nothing.
            pool.graceful_shutdown(Duration::MAX);
            assert_eq!(read_all(&mut there), b"all of it");
            assert!(pool.closed(SOON));
            let id = here.id();
            assert_revoked(here.write_all(b"late"), id, CloseReason::ShutDown);
        });
    });
}

fn a_client_dials_no_more(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (_ours, _theirs) = both_ends(&server, &client);
    client.graceful_shutdown(Duration::MAX);
    let dials = client.stats().totals.dials;
    client.dial_now();
    assert!(!client.closed(Duration::from_millis(50)));
    let stats = client.stats();
    assert_eq!((stats.totals.dials, stats.dialing, stats.handshaking), (dials, 0, 0));
}
