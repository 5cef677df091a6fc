//! Faults with connections that are dead, or have the id of another connection.

use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::ServerPool;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{IdFormat, Stats};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::{A_WHILE, go_peer, our_client, our_server, send_id};
use crate::matrix::{GoPool, fresh_address};
use crate::rig::{
    FakeServer, SOON, ended, ends, eventually, expect, is_timeout, send, server_config, server_tls,
    soon,
};

const MODES: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

async fn close(server: ServerPool) {
    server.close();
    soon(server.closed()).await;
}

/// 1: 100 of 100 dead connections were handed out, plain and TLS, take any and by id. By id it may be a
/// connection that the peer has used and closed; there our pool hands out its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_01_dead_connections_are_handed_out() {
    for mode in MODES {
        let (server, address) = our_server(mode, 20).await;
        let client = our_client(mode, 10, address);
        client.wait_ready(10, SOON).await.unwrap();
        let known = server.acquire(SOON).await.unwrap().id();
        close(server).await;
        // At once, before the pool can have noticed.
        let error = client.acquire(Duration::ZERO).await.unwrap_err();
        assert!(is_timeout(&error), "{mode}: {error}");
        let mut used = client.acquire_by_id(known, SOON).await.unwrap();
        assert!(ended(&mut used).await, "{mode}");
    }

    let Some(peer) = go_peer() else { return };
    let (server, address) = our_server(TlsMode::None, 20).await;
    let theirs = GoPool::client(&peer, TlsMode::None, address, 4).await;
    eventually(|| server.idle(), |idle| *idle >= 4).await;
    close(server).await;
    let dead = theirs.ask("any").await.unwrap();
    let read = peer.must(json!({ "do": "read_to_end", "conn": dead["conn"] })).await;
    assert_eq!(read["bytes"], Value::Null, "the Go pool handed out a dead connection");
}

async fn serve_at(address: std::net::SocketAddr, mode: TlsMode) -> ServerPool {
    let config = server_config().capacity(40).id_format(IdFormat::Raw4).build().unwrap();
    let builder = ServerPool::builder().config(config).tls(server_tls(mode));
    builder.bind(&address.to_string()).await.unwrap()
}

/// 2: after a server restart the pool stayed full of dead connections for the rest of the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_02_dead_idle_connections_are_never_removed() {
    for mode in MODES {
        let server = serve_at(fresh_address().parse().unwrap(), mode).await;
        let address = server.local_addr().unwrap();
        let client = our_client(mode, 10, address);
        client.wait_ready(10, SOON).await.unwrap();
        close(server).await;
        eventually(|| client.idle(), |idle| *idle == 0).await;
        let server = serve_at(address, mode).await;
        client.wait_ready(10, SOON).await.unwrap();
        for _ in 0..50 {
            let (mut ours, mut theirs) = ends(&server, &client).await;
            send(&mut ours, b"alive").await;
            expect(&mut theirs, b"alive").await;
        }
    }

    let Some(peer) = go_peer() else { return };
    let server = serve_at(fresh_address().parse().unwrap(), TlsMode::None).await;
    let address = server.local_addr().unwrap();
    let theirs = GoPool::client(&peer, TlsMode::None, address, 4).await;
    eventually(|| server.idle(), |idle| *idle >= 4).await;
    close(server).await;
    let server = serve_at(address, TlsMode::None).await;
    sleep(A_WHILE).await;
    assert!(theirs.active().await >= 4, "the Go pool keeps its dead connections");
    // A single dial is possible: the capacity may have risen by one.
    assert!(server.stats().totals.admitted <= 1, "the Go pool does not replace them");
}

/// 13: of ten connections with the same id, ten were counted, one was stored, and nine were
/// orphaned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_13_a_duplicate_id_from_the_server_overwrites() {
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let fake = FakeServer::start(move |mut tcp, _| {
        let ended = ended.clone();
        async move {
            send_id(&mut tcp, 0).await;
            let mut rest = Vec::new();
            // The pool may close by FIN or by reset.
            let _ = tcp.read_to_end(&mut rest).await;
            let _ = ended.send(());
        }
    });
    let fake = fake.await;
    let client = our_client(TlsMode::None, 4, fake.address);
    let stats = eventually(|| client.stats(), |stats| stats.totals.duplicate_ids >= 5).await;
    assert!(stats.idle <= 1, "{stats:?}");
    for _ in 0..5 {
        soon(ends.recv()).await.unwrap();
    }
    drop(client.acquire(SOON).await.unwrap());

    let Some(peer) = go_peer() else { return };
    let fake = FakeServer::start(|mut tcp, _| async move {
        send_id(&mut tcp, 0).await;
        std::future::pending::<()>().await;
    });
    let fake = fake.await;
    // The interval keeps it from dialling again before the test is over.
    let made = peer.must(json!({
        "do": "client", "address": fake.address.to_string(), "min": 4, "max": 4, "tls": "0",
        "min_ms": 60_000, "max_ms": 60_000, "keep_alive_ms": 15_000,
    }));
    let theirs = GoPool { pool: made.await["pool"].clone(), peer };
    theirs.stocked(4).await;
    theirs.by_id("00000001", SOON).await.unwrap();
    let second = theirs.by_id("00000001", Duration::ZERO).await;
    assert!(second.is_err(), "the Go pool counts four connections, and has one");
}

/// 14: a full server sent an id and closed, so its client held 5 dead connections of 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_14_a_full_server_sends_an_id_then_closes() {
    // Our server rejects a peer before it sends anything.
    let (server, address) = our_server(TlsMode::None, 1).await;
    let first = our_client(TlsMode::None, 1, address);
    first.wait_ready(1, SOON).await.unwrap();
    let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut read = Vec::new();
    let _ = soon(second.read_to_end(&mut read)).await;
    assert!(read.is_empty(), "a full server sent {read:?}");
    drop(server);

    // Our client of a server that sends an id first.
    let full = || {
        FakeServer::start(|mut tcp, number| async move {
            send_id(&mut tcp, number).await;
        })
    };
    let fake = full().await;
    let client: ClientPool = our_client(TlsMode::None, 5, fake.address);
    // The close is noticed when the handshake ends, or a moment later, in the pool.
    let seen = |stats: &Stats| stats.finished >= 5;
    eventually(|| client.stats(), seen).await;
    assert!(is_timeout(&client.acquire(Duration::ZERO).await.unwrap_err()));

    let Some(peer) = go_peer() else { return };
    let fake = full().await;
    let theirs = GoPool::client(&peer, TlsMode::None, fake.address, 5).await;
    theirs.stocked(5).await;
    let dead = theirs.ask("any").await.unwrap();
    let read = peer.must(json!({ "do": "read_to_end", "conn": dead["conn"] })).await;
    assert_eq!(read["bytes"], Value::Null, "the Go pool handed out a dead connection");
}
