//! Faults with peers that connect and stay silent.

use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::IdFormat;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{A_WHILE, go_peer, go_server, older_releases, our_client, our_server};
use crate::rig::{SOON, connect_from, ended, eventually, is_timeout, serve, server_config};

const OTHER_SOURCE: &str = "127.0.0.2";

async fn silent(address: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(connect_from(OTHER_SOURCE, address).await);
    }
    all
}

/// Returns whether the other end has kept the connection open for a while.
async fn stays_open(tcp: &mut TcpStream) -> bool {
    timeout(A_WHILE, tcp.read_u8()).await.is_err()
}

/// 5: 5,000 silent TLS clients were all kept, without a deadline, and even after the pool's close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_05_no_handshake_deadline_no_limit() {
    const LIMIT: u32 = 32;
    let config = server_config()
        .id_format(IdFormat::Raw4)
        .capacity(1000)
        .max_handshakes(LIMIT)
        .handshake_timeout(Duration::from_secs(2));
    let (server, address) = serve(TlsMode::SelfSigned, config).await;
    let mut strangers = silent(address, 200).await;
    // Beside them, an honest client is served.
    let client = our_client(TlsMode::SelfSigned, 4, address);
    client.wait_ready(4, SOON).await.unwrap();
    assert!(server.stats().handshaking <= LIMIT);
    for stranger in &mut strangers {
        assert!(ended(stranger).await);
    }
    eventually(|| server.stats().handshaking, |count| *count == 0).await;
    // Handshakes that are pending at the close end with it.
    let mut late = silent(address, 10).await;
    eventually(|| server.stats().handshaking, |count| *count == 10).await;
    server.close();
    for stranger in &mut late {
        assert!(ended(stranger).await);
    }

    let Some(peer) = go_peer() else { return };
    let (theirs, address) = go_server(&peer, TlsMode::SelfSigned).await;
    let mut strangers = silent(address, 100).await;
    theirs.ask("close_pool").await.unwrap();
    assert!(stays_open(&mut strangers[0]).await, "the Go pool keeps it open after its close");
}

/// 6: ten silent clients filled a plain server of capacity 10, and an honest client got nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_06_ten_silent_plain_clients_fill_a_server_of_capacity_10() {
    let (server, address) = our_server(TlsMode::None, 10).await;
    let strangers = silent(address, 10).await;
    eventually(|| server.idle(), |idle| *idle == 10).await;
    let honest = our_client(TlsMode::None, 4, address);
    honest.wait_ready(4, SOON).await.unwrap();
    drop(strangers);

    let Some(peer) = go_peer() else { return };
    let (theirs, address) = go_server(&peer, TlsMode::None).await;
    let capacity = crate::matrix::CAPACITY;
    let strangers = silent(address, capacity as usize).await;
    theirs.stocked(u64::from(capacity)).await;
    let honest = our_client(TlsMode::None, 4, address);
    let error = honest.acquire(A_WHILE).await.unwrap_err();
    assert!(is_timeout(&error), "the Go pool is full of silent clients");
    drop(strangers);
}

/// 7: in the older releases, one silent TLS client blocked the accept loop: 0 of 10 were admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_07_one_silent_tls_client_blocks_the_accept_loop() {
    let (server, address) = our_server(TlsMode::SelfSigned, 20).await;
    let stranger = silent(address, 1).await;
    eventually(|| server.stats().handshaking, |count| *count == 1).await;
    let honest = our_client(TlsMode::SelfSigned, 10, address);
    honest.wait_ready(10, SOON).await.unwrap();
    assert_eq!(
        server.stats().totals.handshake_timeouts,
        0,
        "the silent handshake is still pending"
    );
    drop(stranger);

    for release in older_releases() {
        let peer = std::sync::Arc::new(release.start());
        let (_theirs, address) = go_server(&peer, TlsMode::SelfSigned).await;
        let stranger = silent(address, 1).await;
        let honest = our_client(TlsMode::SelfSigned, 4, address);
        let error = honest.acquire(A_WHILE).await.unwrap_err();
        assert!(is_timeout(&error), "{} admits no client", release.name);
        drop(stranger);
    }
}
