//! Refusals, where waiting would be in vain: each refusal and its text.

use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, both_ends_by_id, client_config, server_config};
use crate::peers::FakeServer;
use crate::prelude::*;
use crate::wait::spawn;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{CloseReason, PutError, Refusal};

topic! {
    parallel a_closed_pool_refuses_an_acquire,
    parallel a_server_refuses_an_unknown_id_at_once,
    parallel the_id_of_a_connection_that_has_ended_is_refused_at_once,
    parallel a_waiter_by_id_is_refused_when_the_connection_ends,
    parallel a_server_refuses_an_id_of_another_pool,
    parallel a_put_of_a_revoked_lease_is_refused,
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, AcquireError>,
    refusal: Refusal,
    words: &[&str],
) {
    let error = answer.unwrap_err();
    assert_eq!(error, AcquireError::Refused(refusal));
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text:?} does not say {words:?}");
}

fn a_closed_pool_refuses_an_acquire(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    for pool in [server, client] {
        pool.close();
        let answer = pool.acquire(SOON);
        assert_refused(answer, Refusal::PoolClosed, &["closed", "build a new one"]);
    }
}

fn a_server_refuses_an_unknown_id_at_once(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (_ours, _theirs) = both_ends(&server, &client);
    let id = "00000000".parse().unwrap();
    let answer = server.acquire_by_id(id, SOON);
    assert_refused(answer, Refusal::UnknownId { id }, &["00000000", "no connection"]);
}

fn the_id_of_a_connection_that_has_ended_is_refused_at_once(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends(&server, &client);
    let id = ours.id();
    drop((ours, theirs));
    let gone = Refusal::Gone { id, reason: CloseReason::Released };
    for pool in [server, client] {
        eventually(|| pool.stats(), |stats| stats.totals.released == 1);
        let answer = pool.acquire_by_id(id, SOON);
        assert_refused(answer, gone, &[&id.to_string(), "its holder closed it"]);
    }
}

fn a_waiter_by_id_is_refused_when_the_connection_ends(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (ours, theirs) = both_ends_by_id(&server, &client);
    let id = ours.id();
    for (pool, leased) in [(server, ours), (client, theirs)] {
        let waiter = pool.clone_handle();
        let wait = spawn(move || waiter.acquire_by_id(id, Duration::MAX).map(drop));
        eventually(|| pool.stats(), |stats| stats.waiters == 1);
        drop(leased);
        let refusal = Refusal::Gone { id, reason: CloseReason::Released };
        assert_refused(wait.soon(), refusal, &["take another one"]);
    }
}

/// An id belongs to one server; without id exchange, it belongs to one client.
fn a_server_refuses_an_id_of_another_pool(ends: &Ends) {
    let (_server, client) = ends.hex_pair(TlsMode::None);
    let other = ends.serve(TlsMode::None, server_config());
    let id = client.take().id();
    let answer = other.acquire_by_id(id, SOON);
    assert_refused(answer, Refusal::UnknownId { id }, &["another pool"]);

    let fake = FakeServer::greeting("");
    let config = client_config().ids(pool_proto::IdExchange::None);
    let nameless = ends.dial(TlsMode::None, config, fake.address);
    let answer = nameless.acquire_by_id(id, SOON);
    assert_refused(answer, Refusal::UnknownId { id }, &["another pool"]);
}

fn a_put_of_a_revoked_lease_is_refused(ends: &Ends) {
    let (_server, client) = ends.steady_pair(TlsMode::None);
    let leased = client.take();
    client.flush();
    let error = client.put(leased).unwrap_err();
    assert_eq!(error, PutError::NotLeased);
    let text = error.to_string();
    assert!(text.contains("no such lease") && text.contains("closed"), "{text}");
    assert_eq!(client.stats().totals.put, 0);
}
