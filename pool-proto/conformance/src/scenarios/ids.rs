//! Ids that are malformed, late, duplicate, or never arrive.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{fails, topic};
use crate::ends::{both_ends_by_id, client_config, each, server_config};
use crate::peers::{FakeServer, connect, read_id, until_end};
use crate::prelude::*;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{IdExchange, IdFormat, Refusal, WaitReason};

topic! {
    parallel a_malformed_id_makes_no_connection,
    parallel a_peer_that_half_closes_before_its_id_makes_no_connection,
    parallel a_trickling_id_does_not_extend_the_deadline,
    parallel the_id_of_a_live_connection_is_refused,
    parallel a_client_waits_for_an_unknown_id,
    parallel an_acquire_waits_for_an_id_that_was_acquired_by_it,
    parallel ids_come_from_the_randomness_of_the_system,
}

/// Bytes that a server sends instead of an id, and whether it then closes.
const MALFORMED_IDS: [(&str, &[u8], bool, IdFormat); 6] = [
    ("a short id", b"0a1b2c", true, IdFormat::Hex8),
    ("a short raw id", b"abc", true, IdFormat::Raw4),
    ("another protocol's greeting", b"SSH-2.0-x", false, IdFormat::Hex8),
    ("an upper-case id", b"0A1B2C3D", false, IdFormat::Hex8),
    ("a binary id", b"\x00\xff\x80\x01\x02\x03\x04\x05", false, IdFormat::Hex8),
    ("a wrong first byte of an incomplete id", b"z", false, IdFormat::Hex8),
];

fn a_malformed_id_makes_no_connection(ends: &Ends) {
    each(&MALFORMED_IDS, |(_, bytes, close, format)| {
        let (bytes, close) = (*bytes, *close);
        let fake = FakeServer::start(move |mut tcp, _| {
            tcp.write_all(bytes)?;
            if close { Ok(()) } else { until_end(&mut tcp) }
        });
        let config = client_config().ids(IdExchange::Wire(*format));
        let client = ends.dial(TlsMode::None, config, fake.address);
        fails(&*client, |totals| totals.id_failures, "id");
    });
}

fn a_peer_that_half_closes_before_its_id_makes_no_connection(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| {
        tcp.shutdown(Shutdown::Write)?;
        until_end(&mut tcp)
    });
    let client = ends.dial(TlsMode::None, client_config(), fake.address);
    fails(&*client, |totals| totals.id_failures, "id");
}

fn a_trickling_id_does_not_extend_the_deadline(ends: &Ends) {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let fake = FakeServer::start(move |mut tcp, _| {
        for byte in b"0a1b2c3d" {
            // The pause is the subject of this scenario: each byte is in time, the id is not.
            thread::sleep(Duration::from_millis(100));
            if tcp.write_all(&[*byte]).is_err() {
                break;
            }
        }
        let _ = until_end(&mut tcp);
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let config = client_config().handshake_timeout(Duration::from_millis(250));
    let client = ends.dial(TlsMode::None, config, fake.address);
    fails(&*client, |totals| totals.handshake_timeouts, "in time");
    eventually(|| closed.load(Ordering::Relaxed), |closed| *closed > 0);
}

fn the_id_of_a_live_connection_is_refused(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, _| {
        tcp.write_all(b"0a1b2c3d")?;
        until_end(&mut tcp)
    });
    let client = ends.dial(TlsMode::None, client_config(), fake.address);
    let stats = eventually(|| client.stats(), |stats| stats.totals.duplicate_ids > 2);
    assert_eq!((stats.idle, stats.totals.established), (1, 1));
    let stream = client.acquire(Duration::ZERO).unwrap();
    assert_eq!(stream.id().to_string(), "0a1b2c3d");
    let again = client.acquire_by_id(stream.id(), Duration::ZERO).unwrap_err();
    let taken = Refusal::AcquiredHere { id: stream.id() };
    assert_eq!(again, AcquireError::Refused(taken));
    assert!(fake.accepted() < 60, "{} dials", fake.accepted());
}

fn a_client_waits_for_an_unknown_id(ends: &Ends) {
    let (_server, client) = ends.hex_pair(TlsMode::None);
    client.wait_ready(4, SOON).unwrap();
    let id = "00000000".parse().unwrap();
    let error = client.acquire_by_id(id, Duration::from_millis(20)).unwrap_err();
    let why = WaitReason::IdNotSeen;
    assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
}

fn an_acquire_waits_for_an_id_that_was_acquired_by_it(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends_by_id(&server, &client);
    for (pool, id) in [(&server, theirs.id()), (&client, ours.id())] {
        let error = pool.acquire_by_id(id, Duration::from_millis(20)).unwrap_err();
        let why = WaitReason::IdLeased;
        assert_eq!(error, AcquireError::Timeout { why, last_failure: None });
    }
}

/// A generator that guesses its seed from the time and the thread can be guessed, too. Here that of this
/// thread is set, as a peer that has guessed it would know it: the ids must not follow from it.
fn ids_come_from_the_randomness_of_the_system(ends: &Ends) {
    let ids = || -> Vec<_> {
        fastrand::seed(7);
        let server = ends.serve(TlsMode::None, server_config());
        (0..3).map(|_| read_id(&mut connect(server.address()))).collect()
    };
    assert_ne!(ids(), ids());
}
