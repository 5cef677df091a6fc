//! Builders: what they accept, and what they refuse at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::task::Poll;

use adapter_tokio::pool_proto::Instant;
use adapter_tokio::pool_proto::shell::{Clock, block_on};
use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::{BuildError, ClientPool, ServerPool};
use common::{SOON, serve, server_config};
use tokio::net::TcpStream;

#[tokio::test]
async fn an_async_closure_can_be_the_dialer() {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    ADDRESS.set(address).unwrap();
    let dial = async || TcpStream::connect(ADDRESS.get().unwrap()).await;
    let client = ClientPool::builder().connect_with(dial).unwrap();
    client.wait_ready(1, SOON).await.unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_dialled_is_refused_at_once() {
    for nonsense in ["", "nonsense", "host:", ":9000", "host:port", "host:0", "host:99999"] {
        let error = ClientPool::builder().connect(nonsense).unwrap_err();
        assert!(matches!(error, BuildError::Address { .. }), "{nonsense:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_on_a_port_of_the_systems_choice_tells_which() {
    let server = ServerPool::builder().bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    let client = ClientPool::builder().connect(address.to_string()).unwrap();
    client.wait_ready(1, SOON).await.unwrap();
}

#[test]
fn binding_outside_a_runtime_is_an_error() {
    let clock = Ticks;
    let mut bound = Box::pin(ServerPool::builder().bind("127.0.0.1:0"));
    let Poll::Ready(bound) = block_on(&mut bound, &clock, SOON) else { panic!("it hangs") };
    assert!(matches!(bound, Err(BuildError::NoRuntime)));
}

/// Time stands still: what is waited for here does not take any.
struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::EPOCH
    }
}

#[tokio::test]
async fn ipv6_addresses_work_at_both_ends() {
    let server = match ServerPool::builder().bind("[::1]:0").await {
        Ok(server) => server,
        Err(error) => return println!("skipped: no IPv6 loopback here ({error:?})"),
    };
    let address = server.local_addr().unwrap();
    let client = ClientPool::builder().connect(address.to_string()).unwrap();
    let ours = server.acquire(SOON).await.unwrap();
    let theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
    assert_eq!(theirs.peer_addr().unwrap(), address);
}
