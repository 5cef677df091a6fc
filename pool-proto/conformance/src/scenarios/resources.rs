//! Use of descriptors, threads and processor time: nothing leaks, and waiting costs nothing.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::topic;
use crate::ends::{both_ends, client_config, listener, server_config, single, unused_address};
use crate::facade::Listen;
use crate::peers::{FakeServer, connect, connect_from, identity, read_id, tls_connect, until_end};
use crate::prelude::*;
use crate::process::{descriptors, processor_time, settled, threads};
use crate::skipped::skip;
use crate::starving::Starving;
use crate::wait::{assert_ends, send, spawn};
use pool_driver::tls::TlsMode;
use pool_proto::{IdExchange, IdFormat, PutError};

topic! {
    exclusive a_thousand_cycles_of_take_put_and_flush_leak_nothing,
    exclusive a_close_with_work_in_flight_leaks_nothing,
    exclusive a_closed_pool_leaves_only_its_leases_open,
    exclusive pools_and_streams_dropped_at_any_moment_leak_nothing,
    exclusive silent_clients_hold_no_descriptor_after_their_deadline,
    exclusive evicted_handshakes_hold_no_descriptor,
    exclusive failed_dials_leak_nothing,
    exclusive idle_connections_need_no_thread,
    exclusive waiting_takes_no_processor_time,
    exclusive a_server_out_of_descriptors_does_not_spin_and_recovers,
}

/// Checks that there are as many descriptors and threads after `act` as before it.
fn leaves_nothing(ends: &Ends, act: impl FnOnce()) {
    // Before counting, create everything that is created once per process.
    identity();
    let (server, client) = ends.steady_pair(TlsMode::SelfSigned);
    both_ends(&server, &client);
    for pool in [server, client] {
        pool.end();
    }
    let look = || (descriptors(), threads());
    let before = settled(look);
    act();
    // There may be fewer threads than before: a runtime ends threads that were idle for a while.
    eventually(look, |now| now.0 == before.0 && now.1 <= before.1);
}

fn calm(server: &dyn Pool, client: &dyn Pool) {
    eventually(
        || (server.stats(), client.stats()),
        |(server, client)| {
            (client.idle, server.idle, server.leased, client.leased) == (4, 4, 0, 0)
                && client.handshaking + client.dialing + server.handshaking == 0
        },
    );
}

fn a_thousand_cycles_of_take_put_and_flush_leak_nothing(ends: &Ends) {
    leaves_nothing(ends, || {
        Modes::both(|mode| {
            // Flushed connections are kept at the other end for an acquire by id, for a short while
            // here.
            let claim = Duration::from_millis(200);
            let server = ends.serve(mode, server_config().claim_timeout(claim));
            // A short backoff: a server that flushes soon after the handshake looks full to the
            // client.
            let wait = Duration::from_millis(1);
            let config = client_config().capacity(4..=4).backoff(wait, wait).claim_timeout(claim);
            let client = ends.dial(mode, config, server.address());
            calm(&*server, &*client);
            let look = || (descriptors(), threads());
            let before = settled(look);
            for cycle in 0..500 {
                let ours = server.take();
                // Fails if the flush has ended the client's side of the handshake.
                let theirs = client.acquire_by_id(ours.id(), Duration::from_millis(50));
                if cycle % 2 == 0 {
                    // Either put fails if its end was flushed meanwhile.
                    let _ = (theirs.map(|theirs| client.put(theirs)), server.put(ours));
                }
                if cycle % 25 == 0 {
                    client.flush();
                } else if cycle % 25 == 12 {
                    server.flush();
                }
            }
            calm(&*server, &*client);
            eventually(look, |now| now.0 == before.0 && now.1 <= before.1);
        });
    });
}

fn a_close_with_work_in_flight_leaks_nothing(ends: &Ends) {
    leaves_nothing(ends, || {
        let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
        let mut silent: Vec<_> =
            (0..10).map(|_| connect_from("127.0.0.1", server.address())).collect();
        let _leases = [both_ends(&server, &client), both_ends(&server, &client)];
        let waiter = server.clone_handle();
        let wait = spawn(move || waiter.wait_ready(64, Duration::MAX));
        eventually(|| server.stats(), |stats| stats.waiters == 1 && stats.handshaking >= 10);
        client.close();
        server.close();
        assert!(wait.soon().is_err());
        assert!(client.closed(SOON) && server.closed(SOON));
        for tcp in &mut silent {
            assert_ends(tcp);
        }
    });
}

fn a_closed_pool_leaves_only_its_leases_open(ends: &Ends) {
    leaves_nothing(ends, || {
        let Some(before) = descriptors() else { return };
        let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
        client.wait_ready(4, SOON).unwrap();
        let (ours, theirs) = both_ends(&server, &client);
        client.end();
        server.end();
        assert_eq!(descriptors(), Some(before + 2));
        drop(ours);
        assert_eq!(descriptors(), Some(before + 1));
        // The driver has ended, so the put itself must close the connection.
        assert_eq!(client.put(theirs), Err(PutError::PoolClosed));
        assert_eq!(descriptors(), Some(before));
    });
}

fn pools_and_streams_dropped_at_any_moment_leak_nothing(ends: &Ends) {
    leaves_nothing(ends, || {
        for round in 0..60_u64 {
            let mode = if round % 2 == 0 { TlsMode::None } else { TlsMode::SelfSigned };
            let (server, client) = ends.pair(mode, IdFormat::Raw4);
            let moment = Duration::from_micros(round / 2 * 150);
            let taken = match round % 3 {
                // During dials and handshakes.
                0 => {
                    thread::sleep(moment);
                    None
                }
                // During an acquire, or just after it.
                1 => client.acquire_then_cancel(None, moment),
                _ => Some(server.take()),
            };
            if round % 4 < 2 {
                drop(taken);
                drop((server, client));
            } else {
                // A stream may outlive its pool.
                drop((server, client));
                drop(taken);
            }
        }
    });
}

fn silent_clients_hold_no_descriptor_after_their_deadline(ends: &Ends) {
    leaves_nothing(ends, || {
        let config = server_config().first_byte_timeout(Duration::from_millis(500));
        let server = ends.serve(TlsMode::SelfSigned, config.max_handshakes(200));
        let Some(before) = descriptors() else { return };
        let silent: Vec<_> =
            (0..300).map(|_| connect_from("127.0.0.1", server.address())).collect();
        let honest = tls_connect(connect_from("127.0.0.2", server.address()));
        drop(server.take());
        drop(honest);
        eventually(|| server.stats(), |stats| stats.handshaking == 0);
        // The remaining descriptors are the 300 of the clients; the server has closed its own.
        eventually(descriptors, |now| *now == Some(before + 300));
        drop(silent);
    });
}

fn evicted_handshakes_hold_no_descriptor(ends: &Ends) {
    leaves_nothing(ends, || {
        let server = ends.serve(TlsMode::SelfSigned, server_config().max_handshakes(8));
        let Some(before) = descriptors() else { return };
        let mut silent = Vec::new();
        for source in 1..=20 {
            for _ in 0..5 {
                silent.push(connect_from(&format!("127.0.0.{source}"), server.address()));
            }
        }
        let stats = eventually(|| server.stats(), |stats| stats.totals.accepted == 100);
        assert!(stats.totals.handshakes_evicted > 0);
        // The deadline is 5 s away: besides the clients' 100 descriptors, only 8 handshakes are
        // open.
        eventually(descriptors, |now| *now <= Some(before + 100 + 8));
    });
}

fn failed_dials_leak_nothing(ends: &Ends) {
    leaves_nothing(ends, || {
        let wait = Duration::from_millis(1);
        let address = unused_address();
        let before = (descriptors(), threads());
        let client = ends.dial(TlsMode::None, client_config().backoff(wait, wait), address);
        eventually(|| client.stats(), |stats| stats.totals.dial_failures > 300);
        client.end();
        let after = (descriptors(), threads());
        assert!(after.0 == before.0, "{before:?}, then {after:?}");
    });
}

fn idle_connections_need_no_thread(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config().capacity(200));
        let few = ends.dial(mode, client_config().capacity(2..=2), server.address());
        server.wait_ready(2, SOON).unwrap();
        few.wait_ready(2, SOON).unwrap();
        let before = settled(threads);
        let many = ends.dial(mode, client_config().capacity(150..=150), server.address());
        many.wait_ready(150, SOON).unwrap();
        server.wait_ready(152, SOON).unwrap();
        // Threads of the second client, and threads that its adapter keeps for a while after dials.
        let spare = 3;
        eventually(threads, |now| *now <= before.map(|before| before + spare));
    });
}

/// The time for which processor time is measured; a busy loop would use all of it.
const QUIET: Duration = Duration::from_millis(400);
/// The limit for a pool in this time.
const LITTLE: Duration = Duration::from_millis(60);

#[track_caller]
fn assert_quiet(what: &str) {
    assert_process_quiet(what, std::process::id());
}

#[track_caller]
fn assert_process_quiet(what: &str, process: u32) {
    let used = || {
        let before = processor_time(process)?;
        // A sleep, because nothing may happen in this time, so no event can be awaited.
        thread::sleep(QUIET);
        Some(processor_time(process).unwrap_or(before).saturating_sub(before))
    };
    // On a loaded machine, earlier work may end in the first of these times.
    let mut times = Vec::new();
    while let Some(took) = used() {
        if took < LITTLE {
            return;
        }
        times.push(took);
        assert!(times.len() < 5, "{what}: {times:?} of processor time, in {QUIET:?} each");
    }
}

fn waiting_takes_no_processor_time(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
    server.wait_ready(4, SOON).unwrap();
    client.wait_ready(4, SOON).unwrap();
    assert_quiet("idle pools");

    // More early data than the pool keeps, so that some of it stays in the kernel.
    let much = [7; 40_000];
    let _held: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = client.take();
            send(&mut stream, &much);
            stream
        })
        .collect();
    eventually(|| server.stats(), |stats| stats.claimed == 10);
    assert_quiet("claimed connections that nobody takes");

    let down = ends.dial(TlsMode::None, client_config(), unused_address());
    eventually(|| down.stats(), |stats| stats.totals.dial_failures > 0);
    assert_quiet("a pool whose peer is down");
    drop(down);

    let fake = FakeServer::start(move |mut tcp, _| {
        tcp.write_all(&much)?;
        until_end(&mut tcp)
    });
    let config = single().ids(IdExchange::None);
    let spoken_to = ends.dial(TlsMode::None, config, fake.address);
    spoken_to.wait_ready(1, SOON).unwrap();
    assert_quiet("a server that sends much data before it is taken");

    let lonely = ends.serve(TlsMode::None, server_config());
    let waits: Vec<_> = (0..200)
        .map(|_| {
            let waiter = lonely.clone_handle();
            spawn(move || waiter.acquire(Duration::MAX).map(drop))
        })
        .collect();
    eventually(|| lonely.stats(), |stats| stats.waiters == 200);
    assert_quiet("callers that wait");
    lonely.close();
    for wait in waits {
        assert!(wait.soon().is_err());
    }

    if cfg!(target_os = "linux") {
        let (listener, _) = listener();
        let handle = listener.try_clone().unwrap();
        let deaf: Arc<dyn Pool> = ends.serve_on(Listen::On(listener), None, server_config());
        SockRef::from(&handle).shutdown(Shutdown::Both).unwrap();
        eventually(|| deaf.last_failure(), Option::is_some);
        assert_quiet("a server whose listener died");
    }
}

fn a_server_out_of_descriptors_does_not_spin_and_recovers(ends: &Ends) {
    if !cfg!(target_os = "linux") {
        return skip("descriptors are limited with a Linux shell");
    }
    let mut server = Starving::start(ends, 40);
    let address = server.says("address").parse().unwrap();
    let peers: Vec<_> = (0..60).map(|_| connect(address)).collect();
    server.says("starving");
    assert_process_quiet("a server without descriptors", server.child.id());
    drop(peers);
    server.says("empty");
    let mut late = connect(address);
    read_id(&mut late);
    server.says("served");
    assert!(server.child.wait().unwrap().success());
}
