//! The faults that were found in the Go package `github.com/NodePassProject/pool`: a test for each
//! puts our pool into the situation, in which it must work. Where it is cheap, the test also shows
//! the Go package failing. `docs/interop.md` has the table of faults.

mod dead;
mod ending;
mod filling;
mod strangers;
mod taking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_proto::{ConnId, IdExchange, IdFormat};
use adapter_tokio::{ClientPool, ServerPool};
use tokio::net::TcpStream;

use crate::matrix::GoPool;
use crate::peer::Peer;
use crate::release::{Release, go};
use crate::rig::{client_config, dial, hex_id, send, serve, server_config};

/// The time after which something that has not happened is taken not to happen.
const A_WHILE: Duration = Duration::from_millis(300);

/// The release in which the newer faults were found.
const FAULTY: &str = "v1.0.50";

/// Starts a program on [`FAULTY`], if that is among the releases under test.
fn go_peer() -> Option<Arc<Peer>> {
    Some(Arc::new(faulty_release()?.start()))
}

fn faulty_release() -> Option<&'static Release> {
    go()?.releases.iter().find(|release| release.name == FAULTY)
}

/// Returns the older releases (those with `ServerGet`), if any are under test.
fn older_releases() -> impl Iterator<Item = &'static Release> {
    let releases = go().map(|go| go.releases.iter()).into_iter().flatten();
    releases.filter(|release| release.is_go_package() && release.function("any") == "ServerGet")
}

/// Starts a server pool of the Go package.
async fn go_server(peer: &Arc<Peer>, mode: TlsMode) -> (GoPool, SocketAddr) {
    let authority = &go().unwrap().authority;
    GoPool::server(peer, mode, "127.0.0.1:0", authority).await
}

/// Starts a server of ours in the id format of the newer releases.
async fn our_server(mode: TlsMode, capacity: u32) -> (ServerPool, SocketAddr) {
    serve(mode, server_config().capacity(capacity).id_format(IdFormat::Raw4)).await
}

/// Starts a client of ours in the id format of the newer releases.
fn our_client(mode: TlsMode, stock: u32, address: SocketAddr) -> ClientPool {
    let ms = Duration::from_millis(10);
    let config = client_config()
        .capacity(stock..=stock)
        .ids(IdExchange::Wire(IdFormat::Raw4))
        .backoff(ms, ms);
    dial(mode, config, address)
}

/// Sends id number `number` in the format of the newer releases.
async fn send_id(tcp: &mut TcpStream, number: usize) {
    let id: ConnId = hex_id(number).parse().unwrap();
    send(tcp, &id.to_bytes()).await;
}
