//! The calls that end connections: clean, flush, close, and drop.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, client_config, each, server_config};
use crate::peers::connect;
use crate::prelude::*;
use crate::wait::{
    assert_ends, assert_revoked, expect, read_all, send, spawn, write_until_failure,
};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{CloseReason, ConnId, PutError, Refusal};

topic! {
    parallel the_next_read_after_a_flush_reports_it,
    parallel the_next_write_after_a_flush_reports_it,
    parallel once_a_pool_has_ended_its_leases_no_call_of_any_thread_succeeds,
    parallel a_blocked_read_ends_at_a_flush,
    parallel a_blocked_write_ends_at_a_flush,
    parallel a_flush_at_a_server_revokes_its_leases,
    parallel a_flushed_stream_cannot_be_put_back,
    parallel a_waiter_during_a_flush_is_served_by_new_connections,
    parallel a_flush_counts_the_connections_that_it_ends_and_the_pool_refills,
    parallel a_clean_closes_idle_connections_and_keeps_leases,
    parallel a_closed_pool_refuses_waiters_and_new_callers,
    parallel a_close_revokes_the_leases,
    parallel a_stream_keeps_the_reason_of_its_own_end,
    parallel a_blocked_read_ends_at_a_close,
    parallel an_idle_tls_connection_is_closed_with_close_notify,
    parallel a_closing_server_ends_its_handshakes,
    parallel a_close_ends_dials_handshakes_waiters_and_leases,
    parallel dropping_the_last_handle_closes_the_pool,
    parallel a_second_close_changes_nothing,
}

fn read_one(stream: &mut dyn Stream) -> io::Result<()> {
    stream.read_exact(&mut [0])
}

/// Hands `check` a stream right after the flush that revoked it, with its id. A flush revokes leases
/// before it returns, so nothing is awaited in between.
fn after_a_flush(ends: &Ends, check: impl Fn(&mut dyn Stream, ConnId)) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (_ours, mut theirs) = both_ends(&server, &client);
        client.flush();
        let id = theirs.id();
        check(&mut *theirs, id);
    });
}

fn the_next_read_after_a_flush_reports_it(ends: &Ends) {
    after_a_flush(ends, |stream, id| {
        assert_revoked(read_one(stream), id, CloseReason::Flushed);
    });
}

fn the_next_write_after_a_flush_reports_it(ends: &Ends) {
    after_a_flush(ends, |stream, id| {
        assert_revoked(stream.write_all(&[1]), id, CloseReason::Flushed);
        assert_revoked(stream.flush(), id, CloseReason::Flushed);
    });
}

/// Ends the leases of a pool.
type End = (&'static str, fn(Arc<dyn Pool>), CloseReason);

fn once_a_pool_has_ended_its_leases_no_call_of_any_thread_succeeds(ends: &Ends) {
    const ENDS: [End; 3] = [
        ("flush", |pool| _ = pool.flush(), CloseReason::Flushed),
        ("close", |pool| pool.close(), CloseReason::PoolClosed),
        ("drop", drop, CloseReason::PoolClosed),
    ];
    Modes::both(|mode| {
        for at_server in [true, false] {
            each(&ENDS, |(_, end, reason)| {
                let (server, client) = ends.hex_pair(mode);
                let (ours, theirs) = both_ends(&server, &client);
                let (pool, mut stream, mut peer) =
                    if at_server { (server, ours, theirs) } else { (client, theirs, ours) };
                // Data that has arrived is not read any more, either.
                send(&mut peer, b"unread");
                let id = stream.id();
                let (ended, begin) = mpsc::channel();
                let calls = spawn(move || {
                    begin.recv().unwrap();
                    [
                        stream.write(&[1]).map(drop),
                        stream.flush(),
                        read_one(&mut *stream),
                        stream.shutdown_write(),
                    ]
                });
                // Nothing is awaited between the end and the calls.
                end(pool);
                ended.send(()).unwrap();
                for result in calls.soon() {
                    assert_revoked(result, id, *reason);
                }
                let mut arrived = Vec::new();
                // Unread data makes the end a reset.
                let _ = peer.read_to_end(&mut arrived);
                assert_eq!(arrived, b"");
            });
        }
    });
}

/// Checks that a read that blocks at one end of a connection fails with `reason` once `end` is
/// called.
fn read_ends(ends: &Ends, at_server: bool, reason: CloseReason, end: impl Fn(&dyn Pool)) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (ours, theirs) = both_ends(&server, &client);
        let (pool, mut reading, _other) =
            if at_server { (server, ours, theirs) } else { (client, theirs, ours) };
        let id = reading.id();
        let read = spawn(move || read_one(&mut *reading));
        let read = read.still_runs_after(Duration::from_millis(50));
        end(&*pool);
        assert_revoked(read.soon(), id, reason);
    });
}

fn a_blocked_read_ends_at_a_flush(ends: &Ends) {
    for at_server in [true, false] {
        read_ends(ends, at_server, CloseReason::Flushed, |pool| {
            pool.flush();
        });
    }
}

fn a_blocked_read_ends_at_a_close(ends: &Ends) {
    for at_server in [true, false] {
        read_ends(ends, at_server, CloseReason::PoolClosed, |pool| pool.close());
    }
}

fn a_blocked_write_ends_at_a_flush(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (_ours, mut theirs) = both_ends(&server, &client);
        let id = theirs.id();
        let write = spawn(move || write_until_failure(&mut theirs));
        let write = write.still_runs_after(Duration::from_millis(100));
        client.flush();
        assert_revoked(Err::<(), _>(write.soon()), id, CloseReason::Flushed);
    });
}

fn a_flush_at_a_server_revokes_its_leases(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        let id = ours.id();
        server.flush();
        assert_ends(&mut theirs);
        assert_revoked(read_one(&mut *ours), id, CloseReason::Flushed);
    });
}

fn a_flushed_stream_cannot_be_put_back(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (mut ours, theirs) = both_ends(&server, &client);
    client.flush();
    let error = client.put(theirs).unwrap_err();
    assert_eq!(error, PutError::NotLeased);
    assert!(error.to_string().contains("flushed"));
    assert_ends(&mut ours);
}

fn a_waiter_during_a_flush_is_served_by_new_connections(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(2..=2).max_connections(2);
    let client = ends.dial(TlsMode::None, config, server.address());
    // All connections that the limit allows: no waiter can be served before the flush.
    let leased = [client.take(), client.take()];
    let (any, stock) = (client.clone_handle(), client.clone_handle());
    let any = spawn(move || any.take());
    let stock = spawn(move || stock.wait_ready(1, SOON));
    eventually(|| client.stats(), |stats| stats.waiters == 2);
    client.flush();
    let taken = any.soon();
    assert!(leased.iter().all(|leased| leased.id() != taken.id()));
    stock.soon().unwrap();
}

fn a_flush_counts_the_connections_that_it_ends_and_the_pool_refills(ends: &Ends) {
    let (server, client) = ends.steady_pair(TlsMode::SelfSigned);
    let (_ours, _theirs) = both_ends(&server, &client);
    eventually(|| client.stats(), |stats| (stats.idle, stats.leased) == (4, 1));
    assert_eq!(client.flush(), 5);
    client.wait_ready(4, SOON).unwrap();
    assert_eq!(client.stats().totals.flushed, 5);
}

fn a_clean_closes_idle_connections_and_keeps_leases(ends: &Ends) {
    let (server, client) = ends.steady_pair(TlsMode::None);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    client.wait_ready(4, SOON).unwrap();
    assert_eq!(client.clean(), 4);
    send(&mut ours, b"still");
    expect(&mut theirs, b"still");
    client.wait_ready(4, SOON).unwrap();
    assert_eq!(client.stats().totals.cleaned, 4);
}

fn a_closed_pool_refuses_waiters_and_new_callers(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let (any, stock) = (server.clone_handle(), server.clone_handle());
    let any = spawn(move || any.acquire(Duration::MAX).map(drop));
    let stock = spawn(move || stock.wait_ready(1, Duration::MAX));
    eventually(|| server.stats(), |stats| stats.waiters == 2);
    server.close();
    let closed = Err(AcquireError::Refused(Refusal::PoolClosed));
    assert_eq!(any.soon(), closed);
    assert_eq!(stock.soon(), closed);
    assert_eq!(server.acquire(SOON).map(drop), closed);
    assert_eq!(server.acquire_by_id(ConnId::ZERO, SOON).map(drop), closed);
    assert_eq!(server.wait_ready(1, SOON), closed);
}

fn a_close_revokes_the_leases(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        let id = theirs.id();
        client.end();
        assert_revoked(read_one(&mut *theirs), id, CloseReason::PoolClosed);
        assert_ends(&mut ours);
        let error = client.put(theirs).unwrap_err();
        assert_eq!(error, PutError::PoolClosed);
        assert!(error.to_string().contains("the pool is closed"));
    });
}

/// A stream that is acquired after a flush is not revoked by it. The end of that stream does not change the
/// reason that the flushed one reports.
fn a_stream_keeps_the_reason_of_its_own_end(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (_, mut former) = both_ends(&server, &client);
        client.flush();
        let mut later = client.take();
        let mut peer = server.take_id(later.id());
        send(&mut later, b"works");
        expect(&mut peer, b"works");
        let (former_id, later_id) = (former.id(), later.id());
        client.close();
        assert_revoked(later.write_all(&[1]), later_id, CloseReason::PoolClosed);
        assert_revoked(former.write_all(&[1]), former_id, CloseReason::Flushed);
    });
}

fn an_idle_tls_connection_is_closed_with_close_notify(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
    // A lease beside it is revoked.
    let _leased = both_ends(&server, &client);
    client.wait_ready(4, SOON).unwrap();
    let mut ours = server.take();
    client.close();
    // Without close_notify, the read fails.
    assert_eq!(read_all(&mut ours), b"");
}

fn a_closing_server_ends_its_handshakes(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let mut silent = connect(server.address());
    eventually(|| server.stats(), |stats| stats.handshaking == 1);
    server.end();
    assert_ends(&mut silent);
}

fn a_close_ends_dials_handshakes_waiters_and_leases(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config());
        // At the close, some connections are dialling, some are in their handshake, and some are
        // ready.
        let config = client_config().capacity(32..=32).max_dials(8);
        let client = ends.dial(mode, config, server.address());
        let (mut ours, mut theirs) = both_ends(&server, &client);
        let waits: Vec<_> = [&server, &client]
            .map(|pool| {
                let waiter = pool.clone_handle();
                spawn(move || waiter.wait_ready(64, Duration::MAX))
            })
            .into();
        client.close();
        server.close();
        let refused =
            [Refusal::PoolClosed, Refusal::StockBeyondCapacity { wanted: 64, capacity: 32 }];
        for wait in waits {
            let answer = wait.soon();
            assert!(refused.iter().any(|why| answer == Err((*why).into())), "{answer:?}");
        }
        assert!(server.closed(SOON) && client.closed(SOON));
        for pool in [&server, &client] {
            let stats = pool.stats();
            let left = stats.dialing + stats.handshaking + stats.idle + stats.leased;
            assert_eq!((left, stats.waiters), (0, 0), "{stats:#?}");
        }
        assert!(read_one(&mut *ours).is_err() && read_one(&mut *theirs).is_err());
    });
}

fn dropping_the_last_handle_closes_the_pool(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    let clone = client.clone_handle();
    drop(client);
    clone.wait_ready(1, SOON).unwrap();
    drop(clone);
    let id = theirs.id();
    assert_revoked(read_one(&mut *theirs), id, CloseReason::PoolClosed);
    assert_ends(&mut ours);
    eventually(|| server.stats(), |stats| stats.idle == 0);
}

fn a_second_close_changes_nothing(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    assert!(!client.is_closed() && !server.is_closed());
    assert!(!client.closed(Duration::from_millis(10)));
    for _ in 0..2 {
        client.end();
        server.end();
    }
    assert!(client.is_closed() && server.is_closed());
    assert_eq!((client.flush(), client.clean()), (0, 0));
}
