//! Putting connections back.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_proto::shell::AcquireError;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{IdFormat, PutError, WaitReason};
use common::{
    SOON, client_config, client_tls, dial, ended, ends, eventually, expect, pair, send, serve,
    server_config, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

const BOTH: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

#[tokio::test]
async fn what_was_left_unread_does_not_reach_the_next_holder() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, mut theirs) = ends(&server, &client).await;
        send(&mut ours, b"left over").await;
        // One segment: with its first byte, all of it is here.
        expect(&mut theirs, b"l").await;
        client.put(theirs).unwrap();
        let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
        send(&mut ours, b"fresh").await;
        expect(&mut theirs, b"fresh").await;
    }
}

#[tokio::test]
async fn early_data_that_was_not_read_does_not_reach_the_next_holder() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let mut ours = server.acquire(SOON).await.unwrap();
        send(&mut ours, b"early").await;
        eventually(|| client.stats(), |stats| stats.claimed == 1).await;
        let theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
        client.put(theirs).unwrap();
        let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
        send(&mut ours, b"fresh").await;
        expect(&mut theirs, b"fresh").await;
    }
}

#[tokio::test]
async fn what_comes_after_the_put_is_for_the_next_holder() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, theirs) = ends(&server, &client).await;
        client.put(theirs).unwrap();
        send(&mut ours, b"request").await;
        eventually(|| client.stats(), |stats| stats.claimed == 1).await;
        let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
        expect(&mut theirs, b"request").await;
    }
}

#[tokio::test]
async fn a_put_with_a_silent_peer_takes_no_time_and_swallows_no_request() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, mut theirs) = ends(&server, &client).await;
        let id = ours.id();
        for round in 0..200_u32 {
            let before = tokio::time::Instant::now();
            client.put(theirs).unwrap();
            assert!(before.elapsed() < Duration::from_secs(1));
            send(&mut ours, &round.to_be_bytes()).await;
            theirs = client.acquire_by_id(id, SOON).await.unwrap();
            expect(&mut theirs, &round.to_be_bytes()).await;
        }
        assert_eq!(client.stats().totals.put, 200);
    }
}

#[tokio::test]
async fn a_put_serves_the_waiter_for_its_id() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (ours, theirs) = ends(&server, &client).await;
    let wait = client.acquire_by_id(ours.id(), SOON);
    let put = async {
        eventually(|| client.stats(), |stats| stats.waiters == 1).await;
        client.put(theirs).unwrap();
    };
    let (next, ()) = tokio::join!(wait, put);
    assert_eq!(next.unwrap().id(), ours.id());
}

#[tokio::test]
async fn a_put_with_far_too_much_unread_closes_the_connection() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, theirs) = ends(&server, &client).await;
        // Fills the buffers of both kernels: more than any drain may throw away.
        let full = async {
            let chunk = [7; 64 * 1024];
            while let Ok(written) =
                tokio::time::timeout(Duration::from_millis(300), ours.write(&chunk)).await
            {
                assert!(written.is_ok());
            }
        };
        full.await;
        client.put(theirs).unwrap();
        let stats = eventually(|| client.stats(), |stats| stats.returning == 0).await;
        assert_eq!(stats.totals.leftover, 1);
    }
}

#[tokio::test]
async fn a_connection_whose_holder_has_said_goodbye_is_not_used_again() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (mut ours, mut theirs) = ends(&server, &client).await;
        theirs.shutdown().await.unwrap();
        let id = theirs.id();
        client.put(theirs).unwrap();
        assert!(ended(&mut ours).await);
        let answer = client.acquire_by_id(id, Duration::ZERO).await;
        assert!(answer.is_err(), "a half-closed connection came back");
    }
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_not_used_again() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let (ours, mut theirs) = ends(&server, &client).await;
        let id = ours.id();
        drop(ours);
        let mut rest = Vec::new();
        // With TLS, a close without goodbye is an error.
        let _ = soon(theirs.read_to_end(&mut rest)).await;
        client.put(theirs).unwrap();
        assert!(client.acquire_by_id(id, Duration::ZERO).await.is_err());
        assert_eq!(client.stats().totals.peer_closed, 1);
    }
}

#[tokio::test]
async fn a_full_pool_closes_what_is_put_back() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::None, client_config().capacity(2..=2), address);
    let theirs = client.acquire(SOON).await.unwrap();
    let mut ours = server.acquire_by_id(theirs.id(), SOON).await.unwrap();
    client.wait_ready(2, SOON).await.unwrap();
    client.put(theirs).unwrap();
    assert!(ended(&mut ours).await);
    assert_eq!(client.stats().totals.overflowed, 1);
}

#[tokio::test]
async fn a_connection_of_another_pool_is_refused_and_closed() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (_, other) = pair(TlsMode::None, IdFormat::Hex8).await;
    let (mut ours, theirs) = ends(&server, &client).await;
    assert_eq!(other.put(theirs), Err(PutError::Foreign));
    assert!(ended(&mut ours).await);
    let stats = eventually(|| client.stats(), |stats| stats.leased == 0).await;
    assert_eq!(stats.totals.released, 1);
    assert_eq!(other.stats().totals.put, 0);
}

#[tokio::test]
async fn a_dropped_stream_is_closed_and_replaced() {
    let (server, client) = pair(TlsMode::SelfSigned, IdFormat::Hex8).await;
    let (mut ours, theirs) = ends(&server, &client).await;
    drop(theirs);
    assert!(ended(&mut ours).await);
    client.wait_ready(4, SOON).await.unwrap();
    assert_eq!(client.stats().totals.released, 1);
}

#[tokio::test]
async fn a_connection_at_rest_does_not_hold_up_who_asks_with_a_deadline() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let config = client_config().reuse_delay(Duration::from_secs(600));
    let client = dial(TlsMode::None, config, address);
    let (ours, theirs) = ends(&server, &client).await;
    client.put(theirs).unwrap();
    let answer = soon(client.acquire_by_id(ours.id(), Duration::from_millis(50))).await;
    let answer = answer.map(|_| ());
    assert!(
        matches!(answer, Err(AcquireError::Timeout { why: WaitReason::IdResting, .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_arrives_during_the_reuse_delay_is_thrown_away() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let config = client_config().reuse_delay(Duration::from_millis(300));
    let client = dial(TlsMode::None, config, address);
    let (mut ours, theirs) = ends(&server, &client).await;
    client.put(theirs).unwrap();
    send(&mut ours, b"late").await;
    let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
    send(&mut ours, b"fresh").await;
    expect(&mut theirs, b"fresh").await;
}

#[tokio::test]
async fn what_tls_could_not_send_before_the_put_does_not_go_out_with_the_next_use() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let builder = ClientPool::builder().tls(client_tls(TlsMode::SelfSigned));
    let client = builder.connect_with(move || async move {
        let socket = TcpSocket::new_v4()?;
        // Less than TLS holds back: what it could not send does not fit in here at the put, either.
        socket.set_send_buffer_size(4096)?;
        socket.connect(address).await
    });
    let client = client.unwrap();
    let (_ours, mut theirs) = ends(&server, &client).await;
    // Nobody reads at the other end, so this is never done.
    let much = vec![0; 64 << 20];
    let write = tokio::time::timeout(Duration::from_millis(100), theirs.write_all(&much)).await;
    assert!(write.is_err(), "64 MiB were sent to nobody");
    client.put(theirs).unwrap();
    eventually(|| client.stats().totals.leftover, |leftover| *leftover == 1).await;
}
