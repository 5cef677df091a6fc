//! Faults of taking connections: by id, while waiting, and before the pool runs.

use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::ConnId;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{A_WHILE, go_peer, go_server, our_client, our_server, send_id};
use crate::matrix::GoPool;
use crate::rig::{
    FakeServer, SOON, client_config, ends, eventually, expect, is_timeout, send, soon,
};

/// 8: a take by id removed another connection's token. With takes by id at both ends, connections
/// were stranded, and descriptors piled up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_08_take_by_id_pops_another_connections_token() {
    let (server, address) = our_server(TlsMode::None, 40).await;
    let client = our_client(TlsMode::None, 20, address);
    let mut uses = JoinSet::new();
    for _ in 0..1000 {
        // Either end takes any connection, and the other takes the same by its id; many are in use
        // at once.
        let (mut one, mut other) = if fastrand::bool() {
            ends(&server, &client).await
        } else {
            let one = client.acquire(SOON).await.unwrap();
            let other = server.acquire_by_id(one.id(), SOON).await.unwrap();
            (one, other)
        };
        uses.spawn(async move {
            send(&mut one, b"request").await;
            expect(&mut other, b"request").await;
        });
    }
    while let Some(used) = uses.join_next().await {
        used.unwrap();
    }
    // No connection is stranded: both ends have the same ones.
    let look = || (client.stats(), server.stats());
    let (client, server) = eventually(look, |(client, server)| {
        client.idle == 20 && server.idle == 20 && client.leased + server.leased == 0
    })
    .await;
    assert_eq!((client.claimed, server.claimed), (0, 0));

    let Some(peer) = go_peer() else { return };
    let (theirs, address) = go_server(&peer, TlsMode::None).await;
    let first = our_client(TlsMode::None, 1, address);
    theirs.stocked(1).await;
    let second = our_client(TlsMode::None, 1, address);
    theirs.stocked(2).await;
    let _first = first.acquire(SOON).await.unwrap();
    let second = second.acquire(SOON).await.unwrap();
    // Both clients redial, so the Go pool has four connections.
    theirs.stocked(4).await;
    // This take removes the token of the first connection.
    theirs.by_id(&second.id().to_string(), SOON).await.unwrap();
    for _ in 0..2 {
        theirs.ask("any").await.unwrap();
    }
    let short = json!({ "do": "any", "pool": theirs.pool, "ms": 300 });
    assert!(peer.call(short).await.is_err(), "the Go pool has one more, but its token is gone");
}

/// 9: an id was queued before its connection was stored, and a waiting taker lost both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_09_an_id_is_queued_before_its_connection_is_stored() {
    const TAKERS: u32 = 100;
    let (server, address) = our_server(TlsMode::None, TAKERS).await;
    // Each round keeps its connections until its end: a server that closes them at once looks full
    // to the client, which then dials less and less often.
    for round in 1..=5 {
        let mut takers = JoinSet::new();
        for _ in 0..TAKERS {
            let server = server.clone();
            takers.spawn(async move { server.acquire(SOON).await });
        }
        eventually(|| server.stats().waiters, |waiters| *waiters == TAKERS).await;
        let client = our_client(TlsMode::None, TAKERS, address);
        let mut taken = Vec::new();
        while let Some(stream) = takers.join_next().await {
            taken.push(stream.unwrap().unwrap());
        }
        assert_eq!(server.stats().totals.leases, u64::from(round * TAKERS));
        client.close();
        eventually(|| server.idle(), |idle| *idle == 0).await;
    }
}

/// 10: a taker that waited across a flush never saw the new connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_10_a_taker_waiting_across_flush_never_sees_new_connections() {
    let (server, address) = our_server(TlsMode::None, 20).await;
    let taker = tokio::spawn({
        let server = server.clone();
        async move { server.acquire(SOON).await }
    });
    eventually(|| server.stats().waiters, |waiters| *waiters == 1).await;
    server.flush();
    let _client = our_client(TlsMode::None, 4, address);
    drop(soon(taker).await.unwrap().unwrap());

    let Some(peer) = go_peer() else { return };
    let (theirs, address) = go_server(&peer, TlsMode::None).await;
    let waits = peer.call(json!({ "do": "any", "pool": theirs.pool, "ms": 1000 }));
    let flush = async {
        sleep(Duration::from_millis(50)).await;
        theirs.ask("flush").await.unwrap();
        let client = our_client(TlsMode::None, 4, address);
        theirs.stocked(4).await;
        client
    };
    let (waited, _client) = tokio::join!(waits, flush);
    assert!(waited.is_err(), "the Go pool's taker sees none of four new connections");
}

/// Measures the time from the arrival of a connection until `take` has it. `take` begins 5 ms
/// before the arrival.
async fn delay(take: impl Future<Output = ()>, arrive: impl FnOnce() -> Instant) -> Duration {
    let arrives = async {
        sleep(Duration::from_millis(5)).await;
        arrive()
    };
    let taken = async {
        take.await;
        Instant::now()
    };
    let (taken, arrived) = tokio::join!(taken, arrives);
    taken.duration_since(arrived)
}

/// Starts a server that sends an id at each call of the returned closure, which returns the time.
async fn on_command() -> (FakeServer, impl Fn() -> Instant) {
    let commands = Arc::new(tokio::sync::Semaphore::new(0));
    let permits = Arc::clone(&commands);
    let fake = FakeServer::start(move |mut tcp, number| {
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            send_id(&mut tcp, number).await;
            std::future::pending::<()>().await;
        }
    });
    let command = move || {
        commands.add_permits(1);
        Instant::now()
    };
    (fake.await, command)
}

/// 16: a take by id polled every 50 ms; in the older releases, it searched all connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_16_a_take_by_id_polls() {
    const TRIES: usize = 9;
    /// The polling interval of the Go package.
    const POLL: Duration = Duration::from_millis(50);
    let first: ConnId = "00000001".parse().unwrap();
    let mut ours = Vec::new();
    for _ in 0..TRIES {
        let (fake, arrive) = on_command().await;
        let client = our_client(TlsMode::None, 1, fake.address);
        eventually(|| fake.accepted(), |accepted| *accepted == 1).await;
        let take = async { drop(client.acquire_by_id(first, SOON).await.unwrap()) };
        ours.push(delay(take, arrive).await);
    }
    // A busy machine may delay some of the tries, but not all of them.
    assert!(ours.iter().any(|delay| *delay < POLL / 2), "{ours:?}");

    let Some(peer) = go_peer() else { return };
    let mut theirs_took = Vec::new();
    for _ in 0..TRIES {
        let (fake, arrive) = on_command().await;
        let theirs = GoPool::client(&peer, TlsMode::None, fake.address, 1).await;
        eventually(|| fake.accepted(), |accepted| *accepted == 1).await;
        let take = async { drop(theirs.by_id("00000001", SOON).await.unwrap()) };
        theirs_took.push(delay(take, arrive).await);
    }
    let slow = theirs_took.iter().filter(|delay| **delay > POLL / 2);
    assert!(slow.count() > TRIES / 2, "the Go pool polls, but took {theirs_took:?}");
}

/// 18: a take that began before the manager failed when the manager started, or panicked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_18_a_take_begins_before_the_manager() {
    // Our pool has no manager to start: the earliest take is one before the server listens.
    let address = crate::matrix::fresh_address();
    let reserved = std::net::TcpListener::bind(&address).unwrap().local_addr().unwrap();
    let ms = Duration::from_millis(10);
    let config = client_config().capacity(1..=1).backoff(ms, ms).build().unwrap();
    let client = ClientPool::builder().config(config).connect(reserved.to_string()).unwrap();
    let early = tokio::spawn(async move { client.acquire(SOON).await });
    sleep(A_WHILE).await;
    assert!(!early.is_finished(), "the take does not wait");
    let server = adapter_tokio::ServerPool::builder().bind(&reserved.to_string()).await.unwrap();
    drop(early.await.unwrap().unwrap());
    drop(server);

    let Some(peer) = go_peer() else { return };
    let made = peer.must(json!({
        "do": "server", "address": "127.0.0.1:0", "max": 4, "keep_alive_ms": 15_000, "late": true,
    }));
    let made = made.await;
    let start = Instant::now();
    let take = peer.call(json!({ "do": "any", "pool": made["pool"], "ms": 5000 }));
    let manage = async {
        sleep(Duration::from_millis(50)).await;
        peer.must(json!({ "do": "manage", "pool": made["pool"] })).await;
    };
    let (taken, ()) = tokio::join!(take, manage);
    assert!(taken.is_err() && start.elapsed() < SOON / 3, "the Go pool fails long before 5 s");
    assert!(is_timeout(&our_client(TlsMode::None, 1, reserved).acquire(ms).await.unwrap_err()));
}
