//! Faults of flush, close, put, and the end of the listener.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{IdExchange, IdFormat, Refusal};
use adapter_tokio::{AcquireError, ServerPool};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{A_WHILE, go_peer, go_server, older_releases, our_client, our_server, send_id};
use crate::matrix::GoPool;
use crate::rig::{
    FakeServer, SOON, client_config, dial, ended, ends, eventually, expect, send, serve,
    server_config, soon,
};

/// 11: flushes beside takes and refills crashed the process in 12 of 15 runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_flush_against_take_and_refill() {
    let (server, address) = our_server(TlsMode::None, 40).await;
    let client = our_client(TlsMode::None, 20, address);
    client.wait_ready(20, SOON).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut hammers = JoinSet::new();
    for _ in 0..4 {
        let (client, over) = (client.clone(), Arc::clone(&over));
        hammers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Fails if a flush is faster, which may happen every time.
                let _ = client.acquire(Duration::from_millis(5)).await;
            }
        });
    }
    let mut flushed = 0;
    for number in 0..500 {
        flushed += if number % 2 == 0 { client.flush() } else { server.flush() };
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    while let Some(hammer) = hammers.join_next().await {
        hammer.unwrap();
    }
    assert!(flushed > 0);
    client.wait_ready(20, SOON).await.unwrap();
    let (mut ours, mut theirs) = ends(&server, &client).await;
    send(&mut ours, b"alive").await;
    expect(&mut theirs, b"alive").await;
}

/// 12: after close, connections arrived and stayed, clients were admitted, and dials went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_12_close_is_not_final() {
    // A client closes while its connections are in their handshake.
    let (fake, mut arrivals) = FakeServer::by_hand().await;
    let client = our_client(TlsMode::None, 4, fake.address);
    let mut half_done = Vec::new();
    for _ in 0..4 {
        half_done.push(soon(arrivals.recv()).await.unwrap());
    }
    client.close();
    soon(client.closed()).await;
    for tcp in &mut half_done {
        assert!(ended(tcp).await);
    }
    let dials = client.stats().totals.dials;
    sleep(A_WHILE).await;
    assert_eq!((client.stats().totals.dials, fake.accepted()), (dials, 4));
    // A closed server.
    let (server, address) = our_server(TlsMode::None, 4).await;
    server.close();
    soon(server.closed()).await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is still open");

    let Some(peer) = go_peer() else { return };
    let (fake, mut arrivals) = FakeServer::by_hand().await;
    let theirs = GoPool::client(&peer, TlsMode::None, fake.address, 4).await;
    let mut half_done = Vec::new();
    for _ in 0..4 {
        half_done.push(soon(arrivals.recv()).await.unwrap());
    }
    theirs.ask("close_pool").await.unwrap();
    for (number, tcp) in half_done.iter_mut().enumerate() {
        send_id(tcp, number).await;
    }
    let open = timeout(A_WHILE, half_done[0].read_u8()).await.is_err();
    assert!(open, "the Go pool keeps connections that arrive after its close");
}

/// 15: in the older releases, a put blocked for the keep-alive period while the peer was silent, and
/// discarded the requests that the peer sent meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_15_put_with_a_silent_peer() {
    let (server, address) = our_server(TlsMode::None, 4).await;
    let config = client_config().capacity(1..=4).ids(IdExchange::Wire(IdFormat::Raw4));
    let client = dial(TlsMode::None, config, address);
    let (mut ours, theirs) = ends(&server, &client).await;
    let id = ours.id();
    let start = Instant::now();
    client.put(theirs).unwrap();
    assert!(start.elapsed() < A_WHILE);
    // The other end keeps its lease, and sends two requests at once.
    send(&mut ours, b"one, two").await;
    let mut theirs = client.acquire_by_id(id, SOON).await.unwrap();
    expect(&mut theirs, b"one, two").await;

    const PERIOD: u64 = 400;
    for release in older_releases().filter(|release| release.has("clean")) {
        let peer = Arc::new(release.start());
        let config = server_config().capacity(4).id_format(release.format);
        let (server, address) = serve(TlsMode::None, config).await;
        let made = peer.must(json!({
            "do": "client", "address": address.to_string(), "min": 1, "max": 2, "min_ms": 50,
            "max_ms": 50, "keep_alive_ms": PERIOD, "tls": "0",
        }));
        let made = made.await;
        let ours = server.acquire(SOON).await.unwrap();
        let id = ours.id().to_string();
        let theirs = GoPool { peer: Arc::clone(&peer), pool: made["pool"].clone() };
        let conn = theirs.by_id(&id, SOON).await.unwrap();
        let start = Instant::now();
        peer.must(json!({ "do": "put", "pool": theirs.pool, "id": id, "conn": conn })).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(PERIOD - 50), "{}: {took:?}", release.name);
    }
}

/// 20: after the listener had closed, the accept loop went on forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_20_the_listener_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let handle = listener.try_clone().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let config = server_config().id_format(IdFormat::Raw4).build().unwrap();
    let server = ServerPool::builder().config(config).listen(listener).unwrap();
    let waits = tokio::spawn({
        let server = server.clone();
        async move { server.acquire(SOON).await.map(|_| ()) }
    });
    eventually(|| server.stats().waiters, |waiters| *waiters == 1).await;
    socket2::SockRef::from(&handle).shutdown(Shutdown::Both).unwrap();
    // Our server stops accepting and refuses its waiters; it does not retry.
    let answer = soon(waits).await.unwrap();
    assert_eq!(answer, Err(AcquireError::Refused(Refusal::AcceptEnded)));

    let Some(peer) = go_peer() else { return };
    let (theirs, _) = go_server(&peer, TlsMode::None).await;
    theirs.ask("close_listener").await.unwrap();
    let accepts = async || theirs.ask("stats").await.unwrap()["stats"]["accepts"].as_u64().unwrap();
    let before = accepts().await;
    let goes_on = async {
        while accepts().await <= before + 5 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon(goes_on).await;
}
