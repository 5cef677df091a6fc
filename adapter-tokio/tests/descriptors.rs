//! Descriptors: as many as connections, and none for longer. A process of its own, one test at a time,
//! because all tests of a process share its descriptors.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{IdFormat, PutError};
use adapter_tokio::{ClientPool, ServerPool};
use common::{
    SOON, client_config, connect_from, descriptors, dial, ended, ends, eventually, identity, pair,
    serve, server_config, soon, tls_connect,
};
use tokio::runtime::Builder;

static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test alone, in a runtime that it finds running, and checks that it leaves nothing behind.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    identity();
    runtime.block_on(async {
        let before = descriptors();
        test().await;
        eventually(descriptors, |now| *now == before).await;
    });
}

async fn calm(server: &ServerPool, client: &ClientPool) {
    eventually(
        || (server.stats(), client.stats()),
        |(server, client)| {
            (client.idle, server.idle, server.leased, client.leased) == (4, 4, 0, 0)
                && client.handshaking + client.dialing + server.handshaking == 0
        },
    )
    .await;
}

#[test]
fn a_thousand_cycles_of_take_put_and_flush_leave_none_behind() {
    alone(|| async {
        for mode in [TlsMode::None, TlsMode::SelfSigned] {
            let (server, address) = serve(mode, server_config()).await;
            // A server that flushes soon after the handshake looks like a full one.
            let wait = Duration::from_millis(1);
            let config = client_config().capacity(4..=4).backoff(wait, wait);
            let client = dial(mode, config, address);
            calm(&server, &client).await;
            let before = descriptors();
            for cycle in 0..500 {
                let ours = server.acquire(SOON).await.unwrap();
                // In vain where the flush has ended the client's half of a handshake.
                let theirs = client.acquire_by_id(ours.id(), Duration::from_millis(50)).await;
                if cycle % 2 == 0 {
                    // Either end may have been flushed meanwhile.
                    let _ = (theirs.map(|theirs| client.put(theirs)), server.put(ours));
                }
                if cycle % 25 == 0 {
                    client.flush();
                } else if cycle % 25 == 12 {
                    server.flush();
                }
            }
            calm(&server, &client).await;
            eventually(descriptors, |now| *now == before).await;
        }
    });
}

#[test]
fn a_close_with_everything_under_way_leaves_none_behind() {
    alone(|| async {
        let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
        let client = dial(TlsMode::SelfSigned, client_config(), address);
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.push(connect_from("127.0.0.1", address).await);
        }
        let _leases = [ends(&server, &client).await, ends(&server, &client).await];
        let waiter = server.clone();
        let waits = tokio::spawn(async move { waiter.wait_ready(64, Duration::MAX).await });
        eventually(|| server.stats(), |stats| stats.waiters == 1 && stats.handshaking == 10).await;
        client.close();
        server.close();
        assert!(soon(waits).await.unwrap().is_err());
        soon(client.closed()).await;
        soon(server.closed()).await;
        for tcp in &mut silent {
            assert!(ended(tcp).await);
        }
    });
}

#[test]
fn when_a_pool_has_closed_only_its_leases_are_open() {
    alone(|| async {
        let before = descriptors();
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        client.wait_ready(4, SOON).await.unwrap();
        let (ours, theirs) = ends(&server, &client).await;
        client.close();
        server.close();
        soon(client.closed()).await;
        soon(server.closed()).await;
        assert_eq!(descriptors(), before + 2);
        drop(ours);
        assert_eq!(descriptors(), before + 1);
        // The pool has nobody left to close it, but is still there.
        assert_eq!(client.put(theirs), Err(PutError::PoolClosed));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn a_flushed_pool_is_rid_of_its_leases_when_their_holders_are() {
    alone(|| async {
        let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
        let (ours, theirs) = ends(&server, &client).await;
        client.flush();
        server.flush();
        drop((ours, theirs));
        drop((server, client));
    });
}

#[test]
fn silent_clients_cost_none_after_their_deadline() {
    alone(|| async {
        let config = server_config().handshake_timeout(Duration::from_millis(500));
        let (server, address) = serve(TlsMode::SelfSigned, config.max_handshakes(200)).await;
        let before = descriptors();
        let mut silent = Vec::new();
        for _ in 0..500 {
            silent.push(connect_from("127.0.0.1", address).await);
        }
        let honest = tls_connect(connect_from("127.0.0.2", address).await).await;
        drop(server.acquire(SOON).await.unwrap());
        drop(honest);
        eventually(|| server.stats(), |stats| stats.handshaking == 0).await;
        // Theirs, not ours.
        eventually(descriptors, |now| *now == before + 500).await;
    });
}

#[test]
fn evicted_handshakes_cost_none() {
    alone(|| async {
        let (server, address) = serve(TlsMode::SelfSigned, server_config().max_handshakes(8)).await;
        let before = descriptors();
        let mut silent = Vec::new();
        for source in 1..=20 {
            for _ in 0..5 {
                silent.push(connect_from(&format!("127.0.0.{source}"), address).await);
            }
        }
        let stats = eventually(
            || server.stats(),
            |stats| stats.totals.admitted + stats.totals.rejected_handshakes == 100,
        );
        assert!(stats.await.totals.evicted > 0);
        // The deadline is 10 s away: what is open is what is under way.
        eventually(descriptors, |now| *now <= before + 100 + 8).await;
    });
}

#[test]
fn a_pool_whose_peer_is_down_costs_none() {
    alone(|| async {
        let (server, address) = serve(TlsMode::None, server_config()).await;
        server.close();
        soon(server.closed()).await;
        let wait = Duration::from_millis(1);
        let before = descriptors();
        let client = dial(TlsMode::None, client_config().backoff(wait, wait), address);
        eventually(|| client.stats(), |stats| stats.totals.dial_failures > 300).await;
        client.close();
        soon(client.closed()).await;
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn dropped_pools_cost_none() {
    alone(|| async {
        for _ in 0..50 {
            let (server, client) = pair(TlsMode::None, IdFormat::Raw4).await;
            drop(client.acquire(SOON).await.unwrap());
            drop((server, client));
        }
    });
}
