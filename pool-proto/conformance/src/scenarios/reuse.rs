//! Reuse of connections that are put back.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::topic;
use crate::ends::{both_ends, client_config, client_tls, server_config};
use crate::prelude::*;
use crate::wait::{assert_ends, expect, is_late, send, spawn};
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{PutError, WaitReason};

topic! {
    parallel both_ends_reuse_a_connection,
    parallel unread_data_does_not_reach_the_next_holder,
    parallel unread_early_data_does_not_reach_the_next_holder,
    parallel data_sent_after_the_put_is_for_the_next_holder,
    parallel a_put_with_a_silent_peer_is_quick_and_loses_no_request,
    parallel a_put_serves_the_waiter_for_its_id,
    parallel a_put_with_too_much_unread_data_closes_the_connection,
    parallel a_connection_that_its_holder_half_closed_is_not_reused,
    parallel a_connection_that_the_peer_closed_is_not_reused,
    parallel a_full_pool_closes_a_connection_that_is_put_back,
    parallel a_connection_of_another_pool_is_refused_and_closed,
    parallel a_dropped_stream_is_closed_and_replaced,
    parallel an_acquire_by_id_times_out_during_the_reuse_delay,
    parallel data_that_arrives_during_the_reuse_delay_is_discarded,
    parallel unsent_tls_data_does_not_go_out_with_the_next_use,
}

/// Returns a server and a client with a full stock. If each take emptied the pool, its capacity
/// would grow, until a put overflowed it.
fn stocked_pair(ends: &Ends, mode: TlsMode) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
    let (server, client) = ends.hex_pair(mode);
    server.wait_ready(4, SOON).unwrap();
    client.wait_ready(4, SOON).unwrap();
    (server, client)
}

fn both_ends_reuse_a_connection(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = stocked_pair(ends, mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        for round in 0..20_u32 {
            let id = ours.id();
            send(&mut ours, &round.to_be_bytes());
            expect(&mut theirs, &round.to_be_bytes());
            client.put(theirs).unwrap();
            server.put(ours).unwrap();
            ours = server.take_id(id);
            theirs = client.take_id(id);
        }
        let (ours, theirs) = (server.stats().totals, client.stats().totals);
        assert_eq!((ours.put, ours.reused, theirs.put, theirs.reused), (20, 20, 20, 20));
    });
}

fn unread_data_does_not_reach_the_next_holder(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        send(&mut ours, b"left over");
        // The data is one segment: once its first byte is here, all of it is.
        expect(&mut theirs, b"l");
        client.put(theirs).unwrap();
        let mut theirs = client.take_id(ours.id());
        send(&mut ours, b"fresh");
        expect(&mut theirs, b"fresh");
    });
}

fn unread_early_data_does_not_reach_the_next_holder(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let mut ours = server.take();
        send(&mut ours, b"early");
        eventually(|| client.stats(), |stats| stats.claimed == 1);
        let theirs = client.take_id(ours.id());
        client.put(theirs).unwrap();
        let mut theirs = client.take_id(ours.id());
        send(&mut ours, b"fresh");
        expect(&mut theirs, b"fresh");
    });
}

fn data_sent_after_the_put_is_for_the_next_holder(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, theirs) = both_ends(&server, &client);
        client.put(theirs).unwrap();
        send(&mut ours, b"request");
        eventually(|| client.stats(), |stats| stats.claimed == 1);
        expect(&mut client.take_id(ours.id()), b"request");
    });
}

fn a_put_with_a_silent_peer_is_quick_and_loses_no_request(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = stocked_pair(ends, mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        for round in 0..200_u32 {
            let before = now();
            client.put(theirs).unwrap();
            assert!(before.elapsed() < Duration::from_secs(1));
            send(&mut ours, &round.to_be_bytes());
            theirs = client.take_id(ours.id());
            expect(&mut theirs, &round.to_be_bytes());
        }
        assert_eq!(client.stats().totals.put, 200);
    });
}

fn a_put_serves_the_waiter_for_its_id(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends(&server, &client);
    let (waiter, id) = (client.clone_handle(), ours.id());
    let wait = spawn(move || waiter.take_id(id).id());
    eventually(|| client.stats(), |stats| stats.waiters == 1);
    client.put(theirs).unwrap();
    assert_eq!(wait.soon(), id);
}

fn a_put_with_too_much_unread_data_closes_the_connection(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, theirs) = both_ends(&server, &client);
        // Fill the kernel buffers of both ends: more than a drain may discard.
        ours.set_timeout(Duration::from_millis(300)).unwrap();
        let chunk = [7; 64 * 1024];
        let full = loop {
            if let Err(error) = ours.write(&chunk) {
                break error;
            }
        };
        assert!(is_late(&full), "{full}");
        client.put(theirs).unwrap();
        let stats = eventually(|| client.stats(), |stats| stats.returning == 0);
        assert_eq!(stats.totals.leftover, 1);
    });
}

fn a_connection_that_its_holder_half_closed_is_not_reused(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (mut ours, mut theirs) = both_ends(&server, &client);
        theirs.shutdown_write().unwrap();
        let id = theirs.id();
        client.put(theirs).unwrap();
        assert_ends(&mut ours);
        assert!(client.acquire_by_id(id, Duration::ZERO).is_err(), "a half-closed connection");
    });
}

fn a_connection_that_the_peer_closed_is_not_reused(ends: &Ends) {
    Modes::both(|mode| {
        let (server, client) = ends.hex_pair(mode);
        let (ours, mut theirs) = both_ends(&server, &client);
        let id = ours.id();
        drop(ours);
        assert_ends(&mut theirs);
        client.put(theirs).unwrap();
        assert!(client.acquire_by_id(id, Duration::ZERO).is_err());
        assert_eq!(client.stats().totals.peer_closed, 1);
    });
}

fn a_full_pool_closes_a_connection_that_is_put_back(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(2..=2);
    let client = ends.dial(TlsMode::None, config, server.address());
    let theirs = client.take();
    let mut ours = server.take_id(theirs.id());
    client.wait_ready(2, SOON).unwrap();
    client.put(theirs).unwrap();
    assert_ends(&mut ours);
    assert_eq!(client.stats().totals.overflowed, 1);
}

fn a_connection_of_another_pool_is_refused_and_closed(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (_server, other) = ends.hex_pair(TlsMode::None);
    let (mut ours, theirs) = both_ends(&server, &client);
    let error = other.put(theirs).unwrap_err();
    assert_eq!(error, PutError::Foreign);
    assert!(error.to_string().contains("another pool"));
    assert_ends(&mut ours);
    let stats = eventually(|| client.stats(), |stats| stats.leased == 0);
    assert_eq!(stats.totals.released, 1);
    assert_eq!(other.stats().totals.put, 0);
}

fn a_dropped_stream_is_closed_and_replaced(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::SelfSigned);
    let (mut ours, theirs) = both_ends(&server, &client);
    drop(theirs);
    assert_ends(&mut ours);
    client.wait_ready(4, SOON).unwrap();
    assert_eq!(client.stats().totals.released, 1);
}

fn an_acquire_by_id_times_out_during_the_reuse_delay(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().reuse_delay(Duration::from_secs(600));
    let client = ends.dial(TlsMode::None, config, server.address());
    let (ours, theirs) = both_ends(&server, &client);
    client.put(theirs).unwrap();
    let error = client.acquire_by_id(ours.id(), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { why: WaitReason::IdResting, .. }), "{error}");
}

fn data_that_arrives_during_the_reuse_delay_is_discarded(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config());
        // Long enough for a send on a busy machine.
        let config = client_config().reuse_delay(Duration::from_secs(1));
        let client = ends.dial(mode, config, server.address());
        let (mut ours, theirs) = both_ends(&server, &client);
        client.put(theirs).unwrap();
        send(&mut ours, b"late");
        let mut theirs = client.take_id(ours.id());
        send(&mut ours, b"fresh");
        expect(&mut theirs, b"fresh");
    });
}

fn unsent_tls_data_does_not_go_out_with_the_next_use(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let address = server.address();
    let dial = Dial::With(Arc::new(move || {
        let tcp = TcpStream::connect(address)?;
        // Smaller than the data that TLS buffers, so that the put cannot send all of it either.
        SockRef::from(&tcp).set_send_buffer_size(4096)?;
        Ok(tcp)
    }));
    let client = ends.dial_with(client_tls(TlsMode::SelfSigned), client_config(), dial);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    // The other end does not read, so the write cannot complete.
    theirs.set_timeout(Duration::from_millis(100)).unwrap();
    let error = theirs.write_all(&vec![0; 64 << 20]).unwrap_err();
    assert!(is_late(&error), "{error}");
    client.put(theirs).unwrap();
    eventually(|| client.stats().totals.leftover, |leftover| *leftover == 1);
    // The other end receives the data that was sent, and then the end.
    let end = loop {
        match ours.read(&mut [0; 64 * 1024]) {
            Ok(0) => break ErrorKind::UnexpectedEof,
            Ok(_) => {}
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{end}");
}
