//! The faults that were found in the reference, one test each, in which our pool holds. Where it is
//! cheap, the reference is put into the same situation and fails in it, so that the comparison is no
//! hearsay. `docs/interop.md` has the table.

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

/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(300);

/// The release that is to show a fault.
const FAULTY: &str = "v1.0.50";

/// A program on the release in which the newer faults were found, if it is among those to test.
fn go_peer() -> Option<Arc<Peer>> {
    Some(Arc::new(faulty_release()?.start()))
}

fn faulty_release() -> Option<&'static Release> {
    go()?.releases.iter().find(|release| release.name == FAULTY)
}

/// Programs on the older releases, which take connections one after another, if there are any.
fn older_releases() -> impl Iterator<Item = &'static Release> {
    let releases = go().map(|go| go.releases.iter()).into_iter().flatten();
    releases.filter(|release| release.is_go_package() && release.function("any") == "ServerGet")
}

/// A plain server of the reference, in its format.
async fn go_server(peer: &Arc<Peer>, mode: TlsMode) -> (GoPool, SocketAddr) {
    let authority = &go().unwrap().authority;
    GoPool::server(peer, mode, "127.0.0.1:0", authority).await
}

/// Our ends, in the reference's format.
async fn our_server(mode: TlsMode, capacity: u32) -> (ServerPool, SocketAddr) {
    serve(mode, server_config().capacity(capacity).id_format(IdFormat::Raw4)).await
}

fn our_client(mode: TlsMode, stock: u32, address: SocketAddr) -> ClientPool {
    let ms = Duration::from_millis(10);
    let config = client_config()
        .capacity(stock..=stock)
        .ids(IdExchange::Wire(IdFormat::Raw4))
        .backoff(ms, ms);
    dial(mode, config, address)
}

/// The `number`-th id as a server writes it.
async fn send_id(tcp: &mut TcpStream, number: usize) {
    let id: ConnId = hex_id(number).parse().unwrap();
    send(tcp, &id.to_bytes()).await;
}
