//! The control connection of newer releases of the Go package: their server gives its first
//! connection the id `00000000`, and both ends take it by that id.

use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdExchange, IdFormat};

use crate::matrix::GoPool;
use crate::release::{go, newest};
use crate::rig::{SOON, client_config, dial, is_timeout, serve, server_config};
use crate::work::Ends;

const ZERO: &str = "00000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_client_finds_its_control_connection_at_our_server() {
    let Some(release) = newest() else { return };
    for mode in [TlsMode::None, TlsMode::SelfSigned] {
        let config = server_config().id_format(IdFormat::Raw4).control_connection(true);
        let (server, address) = serve(mode, config).await;
        // An acquire before the connection exists waits for it.
        let early = tokio::spawn({
            let server = server.clone();
            async move { server.acquire_by_id(ConnId::ZERO, SOON).await }
        });
        let client = GoPool::client(&Arc::new(release.start()), mode, address, 4).await;
        let theirs = client.by_id(ZERO, SOON).await.unwrap();
        let ours = early.await.unwrap().unwrap();
        assert_eq!(ours.id(), ConnId::ZERO);
        let peer = Arc::clone(&client.peer);
        let mut control = Ends { peer, ours, theirs };
        control.they_echo(1000).await;
        control.we_echo(1000).await;

        // All other connections have other ids, at both ends.
        for _ in 0..10 {
            let ours = server.acquire(SOON).await.unwrap();
            assert_ne!(ours.id(), ConnId::ZERO);
            client.by_id(&ours.id().to_string(), SOON).await.unwrap();
        }
        // There is one control connection at a time.
        let second = server.acquire_by_id(ConnId::ZERO, Duration::from_millis(20)).await;
        assert!(is_timeout(&second.unwrap_err()));
        control.we_half_close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_finds_the_control_connection_of_a_go_server() {
    let (Some(go), Some(release)) = (go(), newest()) else { return };
    let peer = Arc::new(release.start());
    let (server, address) =
        GoPool::server(&peer, TlsMode::None, "127.0.0.1:0", &go.authority).await;
    let config = client_config()
        .capacity(4..=4)
        .ids(IdExchange::Wire(IdFormat::Raw4))
        .control_connection(true);
    let client = dial(TlsMode::None, config, address);
    let ours = client.acquire_by_id(ConnId::ZERO, SOON).await.unwrap();
    let theirs = server.by_id(ZERO, SOON).await.unwrap();
    let mut control = Ends { peer, ours, theirs };
    control.they_echo(1000).await;
    control.we_echo(1000).await;
    for _ in 0..10 {
        assert_ne!(client.acquire(SOON).await.unwrap().id(), ConnId::ZERO);
    }
}

/// Our option `control_connection` differs from its model in two points, which this test shows: a Go
/// server assigns the zero id only once in its life, and hands that connection to any taker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_server_gives_the_zero_id_once_and_to_any_taker() {
    let (Some(go), Some(release)) = (go(), newest()) else { return };
    let peer = Arc::new(release.start());
    let (server, address) =
        GoPool::server(&peer, TlsMode::None, "127.0.0.1:0", &go.authority).await;
    let config = || client_config().capacity(1..=1).ids(IdExchange::Wire(IdFormat::Raw4));
    let first = dial(TlsMode::None, config(), address);
    first.wait_ready(1, SOON).await.unwrap();
    assert_eq!(server.ask("any").await.unwrap()["id"], ZERO);
    first.close();
    let second = dial(TlsMode::None, config(), address);
    assert_ne!(second.acquire(SOON).await.unwrap().id(), ConnId::ZERO);
}
