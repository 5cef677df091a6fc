//! TLS mode 2 (verified) with another root or host name than the server's: both ends refuse.

use std::sync::Arc;

use adapter_tokio::pool_driver::tls::{ClientTls, Identity, ServerTls, TlsMode};
use adapter_tokio::pool_proto::{IdExchange, Stats};
use adapter_tokio::{ClientPool, ServerPool};

use crate::matrix::GoPool;
use crate::peer::Peer;
use crate::release::go;
use crate::rig::{client_config, eventually, identity, server_config};

/// The number of connections when neither end trusts the other.
const NONE: u64 = 0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_go_client_without_our_root_is_not_served() {
    let Some(go) = go() else { return };
    for release in &go.releases {
        let identity =
            Identity::from_pem(go.authority.certificate.as_bytes(), go.authority.key.as_bytes());
        let config = server_config().id_format(release.format).build().unwrap();
        let server = ServerPool::builder()
            .config(config)
            .tls(ServerTls::new(identity.unwrap()).unwrap())
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        // A program that trusts the system's roots only.
        let peer = Arc::new(Peer::start(&release.program, None));
        let address = server.local_addr().unwrap();
        let client = GoPool::client(&peer, TlsMode::Verified, address, 2).await;
        let refused = |stats: &Stats| stats.totals.tls_failures + stats.totals.peer_closed >= 4;
        eventually(|| server.stats(), refused).await;
        assert_eq!(client.active().await, NONE, "{}", release.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_refuses_a_go_server_of_another_root_or_name() {
    let Some(go) = go() else { return };
    let other_root = identity().certificate_pem();
    for release in &go.releases {
        let peer = Arc::new(release.start());
        let (_server, address) =
            GoPool::server(&peer, TlsMode::Verified, "127.0.0.1:0", &go.authority).await;
        for (host, root) in [("localhost", &other_root), ("other.example", &go.authority.root)] {
            let config = client_config().ids(IdExchange::Wire(release.format)).build().unwrap();
            let client = ClientPool::builder()
                .config(config)
                .tls(ClientTls::verified_pem(host, root.as_bytes()).unwrap())
                .connect(address.to_string())
                .unwrap();
            let failed = |stats: &Stats| stats.totals.tls_failures > 0;
            let stats = eventually(|| client.stats(), failed).await;
            assert_eq!(stats.totals.established, NONE);
            let failure = client.last_failure().unwrap();
            assert!(failure.contains("certificate"), "{failure}");
        }
    }
}
