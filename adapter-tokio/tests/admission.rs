//! A server and peers that are broken, hostile or too many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::net::Shutdown;
use std::time::Duration;

use adapter_tokio::pool_proto::shell::AcquireError;
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdFormat, Refusal};
use adapter_tokio::{ClientPool, ServerPool};
use common::{
    SOON, connect_from, dial, ended, ends, eventually, pair, send, serve, server_config, single,
    soon, tls_connect,
};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HERE: &str = "127.0.0.1";
const THERE: &str = "127.0.0.2";

async fn many_from(source: &str, address: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(connect_from(source, address).await);
    }
    streams
}

/// Reads the id that a plain server sends.
async fn read_id(tcp: &mut TcpStream) -> ConnId {
    let mut id = [0; 8];
    soon(tcp.read_exact(&mut id)).await.unwrap();
    std::str::from_utf8(&id).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_peer_that_is_not_on_the_allow_list_is_turned_away() {
    let config = server_config().allow(THERE.parse().unwrap());
    let (server, address) = serve(TlsMode::None, config).await;
    let mut stranger = connect_from(HERE, address).await;
    assert!(ended(&mut stranger).await);
    let mut friend = connect_from(THERE, address).await;
    let id = read_id(&mut friend).await;
    assert_eq!(server.acquire(SOON).await.unwrap().id(), id);
    let totals = server.stats().totals;
    assert_eq!((totals.rejected_address, totals.admitted), (1, 1));
}

#[tokio::test]
async fn one_source_holds_no_more_than_it_may() {
    let (server, address) = serve(TlsMode::None, server_config().max_per_source(2)).await;
    let mut kept = many_from(HERE, address, 2).await;
    for tcp in &mut kept {
        read_id(tcp).await;
    }
    let mut third = connect_from(HERE, address).await;
    assert!(ended(&mut third).await);
    read_id(&mut connect_from(THERE, address).await).await;
    assert_eq!(server.stats().totals.rejected_source, 1);
}

#[tokio::test]
async fn one_source_alone_fills_the_handshakes_and_no_more() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config().max_handshakes(4)).await;
    let mut peers = many_from(HERE, address, 4).await;
    eventually(|| server.stats(), |stats| stats.handshaking == 4).await;
    let mut fifth = connect_from(HERE, address).await;
    assert!(ended(&mut fifth).await);
    let stats = server.stats();
    assert_eq!((stats.totals.rejected_handshakes, stats.handshaking), (1, 4));
    drop(peers.pop());
    eventually(|| server.stats(), |stats| stats.handshaking == 3).await;
    let _honest = tls_connect(connect_from(HERE, address).await).await;
    eventually(|| server.stats(), |stats| stats.idle == 1).await;
}

#[tokio::test]
async fn a_handshake_that_is_evicted_is_closed() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config().max_handshakes(4)).await;
    let mut silent = many_from(HERE, address, 4).await;
    eventually(|| server.stats(), |stats| stats.handshaking == 4).await;
    let _honest = tls_connect(connect_from(THERE, address).await).await;
    assert_eq!(server.stats().totals.evicted, 1);
    // Its own deadline is 10 s; the end has to come with the eviction.
    let oldest = silent.first_mut().unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), oldest.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the evicted handshake goes on");
}

#[tokio::test]
async fn an_evicted_connection_is_closed() {
    let (server, address) = serve(TlsMode::None, server_config().capacity(4)).await;
    let mut mute = many_from(HERE, address, 4).await;
    eventually(|| server.stats(), |stats| stats.idle == 4).await;
    read_id(&mut connect_from(THERE, address).await).await;
    assert!(ended(mute.first_mut().unwrap()).await);
    assert_eq!(server.stats().totals.evicted, 1);
}

#[tokio::test]
async fn silent_tls_clients_end_at_the_deadline_and_lock_nobody_out() {
    let config = server_config().max_handshakes(64).handshake_timeout(Duration::from_secs(1));
    let (server, address) = serve(TlsMode::SelfSigned, config).await;
    let mut silent = many_from(HERE, address, 500).await;
    eventually(|| server.stats(), |stats| stats.totals.admitted >= 64).await;
    assert!(server.stats().handshaking <= 64);
    let _honest = tls_connect(connect_from(THERE, address).await).await;
    let stream = server.acquire(SOON).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap().ip().to_string(), THERE);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0).await;
    let totals = stats.totals;
    assert_eq!(totals.established, 1);
    assert_eq!(
        totals.handshake_timeouts + totals.rejected_handshakes + totals.evicted,
        500,
        "{totals:#?}"
    );
    for tcp in &mut silent {
        assert!(ended(tcp).await);
    }
}

#[tokio::test]
async fn ten_mute_clients_do_not_keep_an_honest_one_out() {
    let (server, address) = serve(TlsMode::None, server_config().capacity(10)).await;
    let _mute = many_from(THERE, address, 10).await;
    eventually(|| server.stats(), |stats| stats.idle == 10).await;
    let client = dial(TlsMode::None, single(), address);
    let ours = client.acquire(SOON).await.unwrap();
    let theirs = server.acquire_by_id(ours.id(), SOON).await.unwrap();
    assert_eq!(theirs.peer_addr().unwrap().ip().to_string(), HERE);
}

#[tokio::test]
async fn a_full_server_turns_away_before_the_handshake() {
    let (server, address) = serve(TlsMode::None, server_config().capacity(2)).await;
    let _held = many_from(HERE, address, 2).await;
    eventually(|| server.stats(), |stats| stats.idle == 2).await;
    let mut third = connect_from(HERE, address).await;
    let mut read = Vec::new();
    let _ = soon(third.read_to_end(&mut read)).await;
    assert!(read.is_empty(), "a full server sent an id: {read:?}");
    assert_eq!(server.stats().totals.rejected_full, 1);
}

#[tokio::test]
async fn a_client_of_a_full_server_backs_off() {
    let (server, address) = serve(TlsMode::None, server_config().capacity(2)).await;
    let client = dial(TlsMode::None, common::client_config(), address);
    client.wait_ready(2, SOON).await.unwrap();
    let error = client.wait_ready(3, Duration::from_millis(600)).await;
    assert!(common::is_timeout(&error.unwrap_err()));
    let rejected = server.stats().totals.rejected_full;
    assert!((1..40).contains(&rejected), "{rejected} dials");
    assert_eq!(client.idle(), 2);
}

#[tokio::test]
async fn garbage_instead_of_tls_is_a_tls_failure() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let mut peer = connect_from(HERE, address).await;
    send(&mut peer, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(ended(&mut peer).await);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0).await;
    assert_eq!(stats.totals.tls_failures, 1);
}

#[tokio::test]
async fn a_peer_that_leaves_during_its_handshake_is_forgotten() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let peer = connect_from(HERE, address).await;
    eventually(|| server.stats(), |stats| stats.handshaking == 1).await;
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0).await;
    assert_eq!(stats.totals.transport_failures, 1);
}

#[tokio::test]
async fn a_half_open_peer_is_forgotten() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let mut peer = connect_from(HERE, address).await;
    peer.shutdown().await.unwrap();
    assert!(ended(&mut peer).await);
    let stats = eventually(|| server.stats(), |stats| stats.handshaking == 0).await;
    assert_eq!(stats.totals.transport_failures, 1);
}

#[tokio::test]
async fn what_the_peer_uses_and_nobody_asks_for_ends_in_time() {
    let config = server_config().claim_timeout(Duration::from_millis(200));
    let (server, address) = serve(TlsMode::None, config).await;
    let mut peer = connect_from(HERE, address).await;
    read_id(&mut peer).await;
    send(&mut peer, b"x").await;
    assert!(ended(&mut peer).await);
    assert_eq!(server.stats().totals.unclaimed, 1);
}

/// A server on a listener that the test can shut down under it.
async fn mortal() -> (ServerPool, ClientPool, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let handle = listener.try_clone().unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let server = ServerPool::builder().listen(listener).unwrap();
    let client = dial(TlsMode::None, common::client_config(), address);
    (server, client, handle)
}

#[tokio::test]
async fn a_listener_that_dies_refuses_who_waits() {
    let (server, _client, listener) = mortal().await;
    server.wait_ready(4, SOON).await.unwrap();
    let waits = async { server.wait_ready(64, Duration::MAX).await };
    let dies = async {
        eventually(|| server.stats(), |stats| stats.waiters == 1).await;
        SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    };
    let (answer, ()) = soon(async { tokio::join!(waits, dies) }).await;
    assert_eq!(answer, Err(AcquireError::Refused(Refusal::AcceptEnded)));
    assert!(server.last_failure().unwrap().contains("listener"));
}

#[tokio::test]
async fn a_server_whose_listener_died_serves_what_it_has() {
    let (server, client, listener) = mortal().await;
    server.wait_ready(4, SOON).await.unwrap();
    SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    eventually(|| server.last_failure(), Option::is_some).await;
    for _ in 0..4 {
        let (mut ours, mut theirs) = ends(&server, &client).await;
        send(&mut ours, b"still here").await;
        common::expect(&mut theirs, b"still here").await;
    }
    let answer = soon(server.acquire(Duration::MAX)).await.map(|_| ());
    assert_eq!(answer, Err(AcquireError::Refused(Refusal::AcceptEnded)));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = ServerPool::builder().bind(&address).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn equal_sources_share_the_capacity() {
    let (server, address) = serve(TlsMode::None, server_config().capacity(4)).await;
    let _here = many_from(HERE, address, 4).await;
    eventually(|| server.stats(), |stats| stats.idle == 4).await;
    let _there = many_from(THERE, address, 8).await;
    let stats = eventually(
        || server.stats(),
        |stats| stats.totals.admitted + stats.totals.rejected_full == 12,
    )
    .await;
    assert_eq!((stats.idle, stats.totals.evicted), (4, 2));
}

#[tokio::test]
async fn ids_are_new_for_each_connection() {
    let (server, client) = pair(TlsMode::None, IdFormat::Hex8).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let stream = client.acquire(SOON).await.unwrap();
        assert!(seen.insert(stream.id()), "{} came twice", stream.id());
    }
    drop(server);
}
