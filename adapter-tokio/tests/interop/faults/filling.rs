//! Faults of filling the pool: stalls, dials without backoff, and bad dialers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::Stats;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{A_WHILE, faulty_release, go_peer, our_client, send_id};
use crate::matrix::GoPool;
use crate::peer::Peer;
use crate::rig::{FakeServer, SOON, client_config, eventually, send, tls_accept};

/// Starts a server that never answers its first connection, and serves all others.
async fn first_is_silent(tls: bool) -> FakeServer {
    let serve = move |mut tcp: TcpStream, number: usize| async move {
        if number == 0 {
            // Stays open and silent.
        } else if tls {
            let mut stream = tls_accept(tcp).await.unwrap();
            send(&mut stream, &u32::try_from(number).unwrap().to_be_bytes()).await;
            return std::future::pending::<()>().await;
        } else {
            send_id(&mut tcp, number).await;
        }
        std::future::pending::<()>().await;
        drop(tcp);
    };
    FakeServer::start(serve).await
}

/// 3: one silent handshake stopped all refill, for 60 s in plaintext and forever under TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_03_one_silent_handshake_stops_all_refill() {
    for (mode, tls) in [(TlsMode::None, false), (TlsMode::SelfSigned, true)] {
        let fake = first_is_silent(tls).await;
        let client = our_client(mode, 4, fake.address);
        // Many more connections than the initial stock.
        for _ in 0..20 {
            drop(client.acquire(SOON).await.unwrap());
        }
        let refilled = |stats: &Stats| (stats.idle, stats.handshaking) == (3, 1);
        let stats = eventually(|| client.stats(), refilled).await;
        assert_eq!(stats.totals.handshake_timeouts, 0, "the silent handshake is still pending");
    }

    let Some(peer) = go_peer() else { return };
    let fake = first_is_silent(false).await;
    let theirs = GoPool::client(&peer, TlsMode::None, fake.address, 4).await;
    theirs.stocked(3).await;
    for _ in 0..3 {
        theirs.ask("any").await.unwrap();
    }
    // The Go pool's interval is 50 ms: it has had six rounds.
    sleep(A_WHILE).await;
    assert_eq!(theirs.active().await, 0, "the Go pool has not refilled");
}

/// 4: without a backoff, there were 50 dials a second to a server that was down, in older releases
/// 20,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_04_no_dial_backoff() {
    const ONE_SECOND: Duration = Duration::from_secs(1);
    let dials = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dials);
    let config = client_config().capacity(5..=5).build().unwrap();
    let client = ClientPool::builder().config(config).connect_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) }
    });
    let client = client.unwrap();
    sleep(ONE_SECOND).await;
    // Five dials at once; then one at a time, after random waits of up to 0.2, 0.4, 0.8 s. The
    // probability of more than 15 of these in a second is below one in a billion.
    let dials = dials.load(Ordering::Relaxed);
    assert!(dials <= 20, "{dials} dials in a second");
    assert!(client.stats().failures_in_a_row > 0);

    let Some(peer) = go_peer() else { return };
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let theirs = GoPool::client(&peer, TlsMode::None, unused, 5).await;
    sleep(ONE_SECOND).await;
    let stats = theirs.ask("stats").await.unwrap();
    let dials = stats["stats"]["dials"].as_u64().unwrap();
    assert!(dials > 40, "the Go pool dials only {dials} times a second");
}

/// 19: a dialer that returned something other than a TCP connection caused a panic that ended the
/// program. Here, such a dialer does not compile, and a dialer that panics fails only its own dial.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_19_a_dialer_that_returns_no_tcp_connection() {
    let fake = FakeServer::start(|mut tcp, number| async move {
        send(&mut tcp, crate::rig::hex_id(number).as_bytes()).await;
        std::future::pending::<()>().await;
    });
    let fake = fake.await;
    let (target, calls) = (fake.address, AtomicUsize::new(0));
    let ms = Duration::from_millis(1);
    let config = client_config().capacity(2..=2).backoff(ms, ms).build().unwrap();
    let client = ClientPool::builder().config(config).connect_with(move || {
        assert!(calls.fetch_add(1, Ordering::Relaxed) != 0, "intended panic of the first dial");
        TcpStream::connect(target)
    });
    let client = client.unwrap();
    client.wait_ready(2, SOON).await.unwrap();
    assert_eq!(client.stats().totals.dial_failures, 1);

    let Some(release) = faulty_release() else { return };
    let peer = Peer::start_quietly(&release.program);
    let odd = peer.call(json!({
        "do": "client", "min": 1, "max": 1, "min_ms": 50, "max_ms": 50, "tls": "0", "odd": true,
    }));
    // The program ends before or after it has answered.
    let _ = odd.await;
    eventually(|| peer.has_ended(), |ended| *ended).await;
}

/// 17: an unknown TLS mode, such as "7", meant plaintext.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_17_an_unknown_tls_mode_means_plaintext() {
    for unknown in ["7", "", "tls", "Verified"] {
        let error = unknown.parse::<TlsMode>().unwrap_err();
        assert!(error.to_string().contains(&format!("{unknown:?}")), "{error}");
    }

    let Some(peer) = go_peer() else { return };
    let fake = FakeServer::start(|mut tcp, number| async move {
        send_id(&mut tcp, number).await;
        std::future::pending::<()>().await;
    });
    let fake = fake.await;
    let made = peer.must(json!({
        "do": "client", "address": fake.address.to_string(), "min": 1, "max": 1, "min_ms": 50,
        "max_ms": 50, "keep_alive_ms": 15_000, "tls": "7",
    }));
    let theirs = GoPool { pool: made.await["pool"].clone(), peer };
    // The fake server is plain, so a filled pool is a plain one.
    theirs.stocked(1).await;
}
