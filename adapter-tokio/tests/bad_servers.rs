//! A client and servers that are broken, hostile or not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_proto::shell::AcquireError;
use adapter_tokio::pool_proto::tls::{ClientTls, Fingerprint, Identity, TlsMode};
use adapter_tokio::pool_proto::{ConnId, IdExchange, IdFormat, Refusal, Stats, Totals, WaitReason};
use common::{
    Fake, HEX8, SOON, client_config, dial, ended, ends, eventually, hex_id, identity, is_timeout,
    pair, send, serve, server_config, single, tls_accept,
};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const MODES: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

/// Waits for a failure of the kind that `count` counts, and checks that nothing came of it.
async fn fails(client: &ClientPool, count: impl Fn(&Totals) -> u64, words: &str) -> Stats {
    let stats = eventually(|| client.stats(), |stats| count(&stats.totals) > 0).await;
    assert_eq!((stats.totals.established, stats.idle), (0, 0));
    eventually(
        || client.last_failure(),
        |failure| failure.as_ref().is_some_and(|text| text.contains(words)),
    )
    .await;
    let error = client.acquire(Duration::ZERO).await.map(|_| ());
    assert!(is_timeout(&error.unwrap_err()));
    stats
}

/// A server that sends `id` on every connection, and closes if that was not all, gives no client a
/// connection.
async fn makes_no_connection(id: &'static [u8], close: bool, ids: IdExchange) {
    let fake = Fake::start(move |mut tcp, _| async move {
        send(&mut tcp, id).await;
        if !close {
            ended(&mut tcp).await;
        }
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, client_config().ids(ids), fake.address);
    fails(&client, |totals| totals.id_failures, "id").await;
}

#[tokio::test]
async fn a_short_id_makes_no_connection() {
    makes_no_connection(b"0a1b2c", true, HEX8).await;
}

#[tokio::test]
async fn a_short_raw_id_makes_no_connection() {
    makes_no_connection(b"abc", true, IdExchange::Wire(IdFormat::Raw4)).await;
}

#[tokio::test]
async fn garbage_for_an_id_makes_no_connection() {
    makes_no_connection(b"SSH-2.0-x", false, HEX8).await;
}

#[tokio::test]
async fn an_upper_case_id_makes_no_connection() {
    makes_no_connection(b"0A1B2C3D", false, HEX8).await;
}

#[tokio::test]
async fn a_binary_id_makes_no_connection() {
    makes_no_connection(b"\x00\xff\x80\x01\x02\x03\x04\x05", false, HEX8).await;
}

#[tokio::test]
async fn a_wrong_first_byte_fails_before_the_id_is_whole() {
    makes_no_connection(b"z", false, HEX8).await;
}

#[tokio::test]
async fn a_half_open_peer_without_an_id_makes_no_connection() {
    let fake = Fake::start(|mut tcp, _| async move {
        tcp.shutdown().await.unwrap();
        ended(&mut tcp).await;
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, client_config(), fake.address);
    fails(&client, |totals| totals.id_failures, "id").await;
}

#[tokio::test]
async fn an_id_that_trickles_in_does_not_stretch_the_deadline() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let fake = Fake::start(move |mut tcp, _| {
        let closed = Arc::clone(&count);
        async move {
            let mut pause = tokio::time::interval(Duration::from_millis(100));
            for byte in b"0a1b2c3d" {
                pause.tick().await;
                if tcp.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            ended(&mut tcp).await;
            closed.fetch_add(1, Ordering::Relaxed);
        }
    });
    let fake = fake.await;
    let config = client_config().handshake_timeout(Duration::from_millis(250));
    let client = dial(TlsMode::None, config, fake.address);
    fails(&client, |totals| totals.handshake_timeouts, "in time").await;
    eventually(|| closed.load(Ordering::Relaxed), |closed| *closed > 0).await;
}

#[tokio::test]
async fn a_stalled_server_costs_one_handshake_timeout() {
    for mode in MODES {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let fake = Fake::start(move |mut tcp, _| {
            let closed = Arc::clone(&count);
            async move {
                ended(&mut tcp).await;
                closed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let fake = fake.await;
        let config = client_config().handshake_timeout(Duration::from_millis(100));
        let client = dial(mode, config, fake.address);
        fails(&client, |totals| totals.handshake_timeouts, "in time").await;
        eventually(|| closed.load(Ordering::Relaxed), |closed| *closed > 0).await;
    }
}

#[tokio::test]
async fn a_tls_server_that_stalls_before_the_id_costs_one_handshake_timeout() {
    let fake = Fake::start(|tcp, _| async move {
        if let Ok(mut tls) = tls_accept(tcp).await {
            ended(&mut tls).await;
        }
    });
    let fake = fake.await;
    let config = client_config().handshake_timeout(Duration::from_millis(300));
    let client = dial(TlsMode::SelfSigned, config, fake.address);
    fails(&client, |totals| totals.handshake_timeouts, "in time").await;
}

#[tokio::test]
async fn a_tls_client_of_a_plain_server_says_so() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::SelfSigned, client_config(), address);
    fails(&client, |totals| totals.tls_failures, "TLS").await;
}

#[tokio::test]
async fn a_plain_client_of_a_tls_server_ends_by_its_deadline() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let config = client_config().handshake_timeout(Duration::from_millis(200));
    let client = dial(TlsMode::None, config, address);
    fails(&client, |totals| totals.handshake_timeouts, "in time").await;
    let stats = eventually(|| server.stats(), |stats| stats.totals.transport_failures > 0).await;
    assert_eq!(stats.totals.established, 0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_fails_in_verified_mode() {
    let (_server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let other = Identity::self_signed(["localhost"]).unwrap();
    let tls = ClientTls::verified_pem("localhost", other.certificate_pem().as_bytes()).unwrap();
    let client = ClientPool::builder().tls(tls).connect(address.to_string()).unwrap();
    fails(&client, |totals| totals.tls_failures, "certificate").await;
}

#[tokio::test]
async fn a_wrong_host_name_fails_in_verified_mode() {
    let (server, address) = serve(TlsMode::Verified, server_config()).await;
    let pem = identity().certificate_pem();
    let tls = ClientTls::verified_pem("elsewhere.example", pem.as_bytes()).unwrap();
    let client = ClientPool::builder().tls(tls).connect(address.to_string()).unwrap();
    fails(&client, |totals| totals.tls_failures, "certificate").await;
    eventually(|| server.stats(), |stats| stats.totals.tls_failures > 0).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_the_pinned_one_fails() {
    let (_server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let tls = ClientTls::self_signed().unwrap();
    let tls = tls.pinned(Fingerprint::from([7; 32])).unwrap();
    let client = ClientPool::builder().tls(tls).connect(address.to_string()).unwrap();
    fails(&client, |totals| totals.tls_failures, "certificate").await;
}

#[tokio::test]
async fn a_refused_dial_is_repeated_within_the_backoff() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let wait = Duration::from_millis(100);
    let client = dial(TlsMode::None, client_config().backoff(wait, wait), address);
    let error = client.acquire(Duration::from_millis(600)).await.map(|_| ()).unwrap_err();
    let AcquireError::Timeout { last_failure, .. } = &error else {
        panic!("{error}");
    };
    assert!(last_failure.as_ref().unwrap().contains("refused"));
    let stats = client.stats();
    // Four at first, then one every 50 ms on average; a client that spins makes thousands.
    assert!((5..60).contains(&stats.totals.dials), "{stats:#?}");
    assert!(stats.failures_in_a_row > 1);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let wait = Duration::from_millis(20);
    let client = dial(TlsMode::None, client_config().backoff(wait, wait), address);
    eventually(|| client.stats(), |stats| stats.totals.dial_failures > 4).await;
    let _server = adapter_tokio::ServerPool::builder().bind(&address.to_string()).await.unwrap();
    client.wait_ready(4, SOON).await.unwrap();
    assert_eq!(client.last_failure(), None);
}

/// A full server of the reference: it sends an id and closes at once.
async fn full_server(mode: TlsMode, reset: bool) {
    let fake = Fake::start(move |tcp, number| async move {
        if reset {
            SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let id = hex_id(number);
        if mode == TlsMode::None {
            let mut tcp = tcp;
            send(&mut tcp, id.as_bytes()).await;
        } else if let Ok(mut tls) = tls_accept(tcp).await {
            send(&mut tls, id.as_bytes()).await;
        }
    });
    let fake = fake.await;
    let client = dial(mode, client_config(), fake.address);
    let answer = client.acquire(Duration::from_millis(800)).await;
    let error = answer.map(|stream| stream.id()).unwrap_err();
    assert!(is_timeout(&error), "{error}");
    assert!(fake.accepted() < 40, "{} dials", fake.accepted());
    assert_eq!(client.stats().totals.served_at_once, 0);
}

#[tokio::test]
async fn a_full_plain_server_is_not_pestered() {
    full_server(TlsMode::None, false).await;
}

#[tokio::test]
async fn a_full_tls_server_is_not_pestered() {
    full_server(TlsMode::SelfSigned, false).await;
}

#[tokio::test]
async fn a_server_that_resets_after_the_id_is_not_pestered() {
    full_server(TlsMode::None, true).await;
}

#[tokio::test]
async fn a_server_that_closes_soon_after_the_id_is_not_pestered() {
    let fake = Fake::start(|mut tcp, number| async move {
        send(&mut tcp, hex_id(number).as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, client_config().capacity(1..=1), fake.address);
    let never = client.acquire_by_id(ConnId::ZERO, Duration::from_secs(1)).await;
    assert!(never.is_err());
    // One after the other without a pause, it would be 200.
    assert!((2..50).contains(&fake.accepted()), "{} dials", fake.accepted());
}

#[tokio::test]
async fn an_id_that_a_live_connection_has_is_refused() {
    let fake = Fake::start(|mut tcp, _| async move {
        send(&mut tcp, b"0a1b2c3d").await;
        ended(&mut tcp).await;
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, client_config(), fake.address);
    let stats = eventually(|| client.stats(), |stats| stats.totals.duplicate_ids > 2).await;
    assert_eq!((stats.idle, stats.totals.established), (1, 1));
    let stream = client.acquire(Duration::ZERO).await.unwrap();
    assert_eq!(stream.id().to_string(), "0a1b2c3d");
    let again = client.acquire_by_id(stream.id(), Duration::ZERO).await;
    assert!(is_timeout(&again.map(|_| ()).unwrap_err()));
    assert!(fake.accepted() < 60, "{} dials", fake.accepted());
}

#[tokio::test]
async fn an_unknown_id_is_waited_for_by_a_client() {
    let (_server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    client.wait_ready(4, SOON).await.unwrap();
    let id = "00000000".parse().unwrap();
    let error = client.acquire_by_id(id, Duration::from_millis(20)).await;
    let AcquireError::Timeout { why, .. } = error.map(|_| ()).unwrap_err() else {
        panic!("not a timeout");
    };
    assert_eq!(why, WaitReason::IdNotSeen);
}

#[tokio::test]
async fn an_unknown_id_is_refused_by_a_server_at_once() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (_ours, _theirs) = ends(&server, &client).await;
    let id = "00000000".parse().unwrap();
    let error = server.acquire_by_id(id, Duration::MAX).await;
    let error = error.map(|_| ()).unwrap_err();
    assert_eq!(error, AcquireError::Refused(Refusal::UnknownId { id }));
}

#[tokio::test]
async fn the_error_of_a_dialer_is_told_to_who_waits() {
    let client = ClientPool::builder()
        .connect_with(|| async { Err(io::Error::other("the tunnel is down")) })
        .unwrap();
    fails(&client, |totals| totals.dial_failures, "the tunnel is down").await;
}

/// Counts the dials that were dropped before their end.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_dialer_that_never_returns_is_dropped_at_its_deadline() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let config = client_config().dial_timeout(Duration::from_millis(100));
    let client = ClientPool::builder()
        .config(config.build().unwrap())
        .connect_with(move || {
            let guard = Dropped(Arc::clone(&count));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .unwrap();
    fails(&client, |totals| totals.dial_timeouts, "in time").await;
    eventually(|| dropped.load(Ordering::Relaxed), |dropped| *dropped >= 4).await;
}

#[tokio::test]
async fn a_dial_that_panics_is_a_failure_and_no_more() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let dials = AtomicUsize::new(0);
    let client = ClientPool::builder()
        .config(single().build().unwrap())
        .connect_with(move || {
            let dial = dials.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(dial > 1, "a panic that this test is about");
                TcpStream::connect(address).await
            }
        })
        .unwrap();
    let _stream = client.acquire(SOON).await.unwrap();
    assert_eq!(client.stats().totals.dial_failures, 2);
}

#[tokio::test]
async fn a_dialer_that_panics_before_its_future_is_a_failure_and_no_more() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let dials = AtomicUsize::new(0);
    let client = ClientPool::builder()
        .config(single().build().unwrap())
        .connect_with(move || {
            let dial = dials.fetch_add(1, Ordering::Relaxed);
            assert!(dial > 1, "a panic that this test is about");
            TcpStream::connect(address)
        })
        .unwrap();
    let _stream = client.acquire(SOON).await.unwrap();
    assert_eq!(client.stats().totals.dial_failures, 2);
}

#[tokio::test]
async fn a_panic_of_a_dialer_is_told_to_who_waits() {
    let client = ClientPool::builder()
        .connect_with(|| async { panic!("a panic that this test is about") })
        .unwrap();
    fails(&client, |totals| totals.dial_failures, "panicked").await;
}

#[tokio::test]
async fn dead_dials_do_not_delay_who_asks_at_once() {
    let client = ClientPool::builder().connect_with(std::future::pending).unwrap();
    let before = Instant::now();
    let error = client.acquire(Duration::ZERO).await.map(|_| ());
    assert!(is_timeout(&error.unwrap_err()));
    assert!(before.elapsed() < Duration::from_secs(1));
}
