//! The order of work of a server in a crowd, on a runtime with one thread: nothing is accepted while a test
//! looks. On Unix, where a reactor knows of data as soon as it is asked.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use adapter_tokio::pool_driver::tls::ServerTls;
use adapter_tokio::pool_proto::ServerConfigBuilder;
use adapter_tokio::{KeepAlive, ServerPool};
use common::{eventually, server_config, soon};
use tokio::task::yield_now;

/// The peers that are accepted in a row before handshakes go on, and the handshakes that go on then.
const BURST: u32 = 32;
const TICKETS: u64 = 4;

/// A server with TLS at whose listener four bursts of peers wait. The first `speakers` of them have sent
/// something that is not TLS.
fn besieged(config: ServerConfigBuilder, speakers: u32) -> (ServerPool, Vec<TcpStream>) {
    let server = ServerPool::builder()
        .config(config.build().unwrap())
        .tls(ServerTls::self_signed().unwrap())
        .keep_alive(None::<KeepAlive>)
        .bind_addr("127.0.0.1:0".parse().unwrap())
        .unwrap();
    let address: SocketAddr = server.local_addr().unwrap();
    let peers = (0..4 * BURST).map(|number| {
        let mut peer = TcpStream::connect(address).unwrap();
        if number < speakers {
            peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        }
        peer
    });
    let peers = peers.collect();
    (server, peers)
}

#[tokio::test]
async fn in_a_crowd_a_few_handshakes_go_on_after_each_burst_of_accepts() {
    let all = u64::from(4 * BURST);
    let (server, peers) = besieged(server_config().max_handshakes(4 * BURST), 4 * BURST);
    let crowded = async {
        loop {
            let totals = server.stats().totals;
            if totals.accepted == all {
                break;
            }
            let bursts = totals.accepted / u64::from(BURST);
            assert!(totals.tls_failures <= TICKETS * bursts, "{totals:?}");
            yield_now().await;
        }
    };
    soon(crowded).await;
    eventually(|| server.stats().totals.tls_failures, |failures| *failures == all).await;
    drop(peers);
}

/// It is not silent, so those that are make room before it does.
#[tokio::test]
async fn a_peer_that_waits_for_its_turn_in_a_crowd_has_been_heard() {
    let (server, peers) = besieged(server_config().max_handshakes(3 * BURST), BURST);
    let over = eventually(
        || server.stats().totals,
        |totals| totals.tls_failures == u64::from(BURST) && totals.accepted == u64::from(4 * BURST),
    );
    let totals = over.await;
    assert!(totals.handshakes_evicted > 0, "{totals:?}");
    drop(peers);
}
