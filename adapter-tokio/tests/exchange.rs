//! The main job: either end takes any connection, the other takes the same one by its id.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic here is a failed test")]

mod common;

use adapter_tokio::PooledStream;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{IdExchange, IdFormat};
use common::{
    Fake, SOON, client_config, dial, ended, ends, eventually, expect, identity, pair, send, single,
    soon, tls_accept,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No byte like its neighbours, no period that a buffer could have.
fn payload(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Two streams that are the ends of one connection.
async fn ping_pong(mut ours: PooledStream, mut theirs: PooledStream) {
    assert_eq!(ours.id(), theirs.id());
    send(&mut ours, b"ping").await;
    expect(&mut theirs, b"ping").await;
    send(&mut theirs, b"pong").await;
    expect(&mut ours, b"pong").await;
}

macro_rules! on_each {
    ($($name:ident: $mode:expr, $format:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn the_client_finds_by_id_what_the_server_took() {
                let (server, client) = pair($mode, $format).await;
                let ours = server.acquire(SOON).await.unwrap();
                let theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
                ping_pong(ours, theirs).await;
            }

            #[tokio::test]
            async fn the_server_finds_by_id_what_the_client_took() {
                let (server, client) = pair($mode, $format).await;
                let ours = client.acquire(SOON).await.unwrap();
                let theirs = server.acquire_by_id(ours.id(), SOON).await.unwrap();
                ping_pong(ours, theirs).await;
            }

            #[tokio::test]
            async fn sixty_four_kibibytes_pass_both_ways_at_once() {
                let (server, client) = pair($mode, $format).await;
                let (ours, theirs) = ends(&server, &client).await;
                let data = payload(64 * 1024);
                let run = |stream, data: Vec<u8>| async move {
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    tokio::join!(send(&mut writer, &data), expect(&mut reader, &data));
                };
                tokio::join!(run(ours, data.clone()), run(theirs, data));
            }

            #[tokio::test]
            async fn after_a_half_close_the_response_still_comes() {
                let (server, client) = pair($mode, $format).await;
                let (mut ours, mut theirs) = ends(&server, &client).await;
                let mut read = Vec::new();
                send(&mut ours, b"request").await;
                ours.shutdown().await.unwrap();
                soon(theirs.read_to_end(&mut read)).await.unwrap();
                assert_eq!(read, b"request");
                send(&mut theirs, b"response").await;
                theirs.shutdown().await.unwrap();
                read.clear();
                soon(ours.read_to_end(&mut read)).await.unwrap();
                assert_eq!(read, b"response");
            }

            #[tokio::test]
            async fn a_request_and_half_close_before_the_take_by_id_are_delivered() {
                let (server, client) = pair($mode, $format).await;
                let mut ours = client.acquire(SOON).await.unwrap();
                send(&mut ours, b"request").await;
                ours.shutdown().await.unwrap();
                eventually(|| server.stats(), |stats| stats.claimed == 1).await;
                let mut theirs = server.acquire_by_id(ours.id(), SOON).await.unwrap();
                let mut read = Vec::new();
                soon(theirs.read_to_end(&mut read)).await.unwrap();
                assert_eq!(read, b"request");
                send(&mut theirs, b"response").await;
                theirs.shutdown().await.unwrap();
                read.clear();
                soon(ours.read_to_end(&mut read)).await.unwrap();
                assert_eq!(read, b"response");
            }
        }
    )*};
}

on_each! {
    plain_hex8: TlsMode::None, IdFormat::Hex8;
    plain_raw4: TlsMode::None, IdFormat::Raw4;
    self_signed_hex8: TlsMode::SelfSigned, IdFormat::Hex8;
    self_signed_raw4: TlsMode::SelfSigned, IdFormat::Raw4;
    verified_hex8: TlsMode::Verified, IdFormat::Hex8;
    verified_raw4: TlsMode::Verified, IdFormat::Raw4;
}

const BOTH: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

#[tokio::test]
async fn a_connection_that_the_peer_uses_is_kept_for_its_id() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let mut ours = client.acquire(SOON).await.unwrap();
        send(&mut ours, b"mine").await;
        eventually(|| server.stats(), |stats| stats.claimed == 1).await;
        server.wait_ready(4, SOON).await.unwrap();
        let others: Vec<_> = futures(4, || server.acquire(SOON)).await;
        assert!(others.iter().all(|other| other.id() != ours.id()));
        let mut theirs = server.acquire_by_id(ours.id(), SOON).await.unwrap();
        expect(&mut theirs, b"mine").await;
    }
}

async fn futures<F, T, E: std::fmt::Debug>(count: usize, make: impl Fn() -> F) -> Vec<T>
where
    F: Future<Output = Result<T, E>>,
{
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(make().await.unwrap());
    }
    all
}

#[tokio::test]
async fn early_data_in_fragments_stays_in_order() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let mut ours = client.acquire(SOON).await.unwrap();
        let data = payload(300);
        for (round, fragment) in data.chunks(100).enumerate() {
            send(&mut ours, fragment).await;
            // The first is kept by the pool; what follows waits in the kernel or the pool.
            eventually(|| server.stats(), |stats| stats.claimed == 1).await;
            assert!(round < 3);
        }
        let mut theirs = server.acquire_by_id(ours.id(), SOON).await.unwrap();
        send(&mut ours, b"late").await;
        expect(&mut theirs, &data).await;
        expect(&mut theirs, b"late").await;
    }
}

#[tokio::test]
async fn early_data_beyond_what_the_pool_keeps_is_not_lost() {
    for mode in BOTH {
        let (server, client) = pair(mode, IdFormat::Hex8).await;
        let mut ours = client.acquire(SOON).await.unwrap();
        let id = ours.id();
        let data = payload(400_000);
        let copy = data.clone();
        let writer = tokio::spawn(async move {
            send(&mut ours, &copy).await;
            ours
        });
        eventually(|| server.stats(), |stats| stats.claimed == 1).await;
        let mut theirs = server.acquire_by_id(id, SOON).await.unwrap();
        expect(&mut theirs, &data).await;
        let mut ours = soon(writer).await.unwrap();
        send(&mut theirs, b"done").await;
        expect(&mut ours, b"done").await;
    }
}

#[tokio::test]
async fn without_ids_a_plain_server_may_speak_first() {
    let fake = Fake::start(|mut tcp, _| async move {
        send(&mut tcp, b"220 ").await;
        send(&mut tcp, b"ready\r\n").await;
        let (mut reader, mut writer) = tcp.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, single().ids(IdExchange::None), fake.address);
    for _ in 0..10 {
        let mut stream = client.acquire(SOON).await.unwrap();
        expect(&mut stream, b"220 ready\r\n").await;
        send(&mut stream, b"echo").await;
        expect(&mut stream, b"echo").await;
    }
}

#[tokio::test]
async fn without_ids_a_tls_server_may_speak_first() {
    let fake = Fake::start(|tcp, _| async move {
        let Ok(mut tls) = tls_accept(tcp).await else {
            return;
        };
        send(&mut tls, b"220 ").await;
        send(&mut tls, b"ready\r\n").await;
        let (mut reader, mut writer) = tokio::io::split(tls);
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let fake = fake.await;
    let config = single().ids(IdExchange::None);
    let client = dial(TlsMode::Verified, config, fake.address);
    for _ in 0..10 {
        let mut stream = client.acquire(SOON).await.unwrap();
        expect(&mut stream, b"220 ready\r\n").await;
        send(&mut stream, b"echo").await;
        expect(&mut stream, b"echo").await;
    }
}

#[tokio::test]
async fn an_id_and_early_data_in_one_segment_are_told_apart() {
    let fake = Fake::start(|mut tcp, number| async move {
        let id = common::hex_id(number);
        send(&mut tcp, format!("{id}hello {number}").as_bytes()).await;
        ended(&mut tcp).await;
    });
    let fake = fake.await;
    let client = dial(TlsMode::None, single(), fake.address);
    let id = common::hex_id(0).parse().unwrap();
    let mut stream = client.acquire_by_id(id, SOON).await.unwrap();
    expect(&mut stream, b"hello 0").await;
}

#[tokio::test]
async fn a_stream_tells_what_tls_agreed_on() {
    let (server, client) = pair(TlsMode::Verified, IdFormat::Hex8).await;
    let (ours, theirs) = ends(&server, &client).await;
    let facts = theirs.tls().unwrap();
    assert_eq!(facts.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(facts.peer_certificate, Some(identity().fingerprint()));
    assert_eq!(ours.tls().unwrap().peer_certificate, None);
    assert_eq!(ours.peer_addr().unwrap(), theirs.local_addr().unwrap());
}

#[tokio::test]
async fn a_plain_stream_tells_of_no_tls() {
    let (server, _client) = pair(TlsMode::None, IdFormat::Hex8).await;
    assert_eq!(server.acquire(SOON).await.unwrap().tls(), None);
}

#[tokio::test]
async fn the_stock_is_what_was_configured() {
    let (server, address) = common::serve(TlsMode::None, common::server_config()).await;
    let client = dial(TlsMode::None, client_config().capacity(7..=7), address);
    client.wait_ready(7, SOON).await.unwrap();
    server.wait_ready(7, SOON).await.unwrap();
    assert_eq!((client.idle(), client.capacity()), (7, 7));
    assert_eq!(client.stats().totals.dials, 7);
}
