//! Dialers that are futures: async closures, dropped at their deadline, and panicking.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;
#[allow(dead_code, reason = "the other executors are for the scenarios")]
#[path = "conformance/executors.rs"]
mod executors;
#[path = "conformance/harness.rs"]
mod harness;

use std::net::SocketAddr;
use std::sync::OnceLock;

use adapter_smol::ClientPool;
use adapter_smol::pool_driver::tls::TlsMode;
use common::{SOON, serve, server_config};
use executors::Global;
use harness::On;
use pool_conformance::dialers;
use smol::block_on;
use smol::net::TcpStream;

#[test]
fn an_async_closure_can_be_the_dialer() {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    block_on(async {
        let (_server, address) = serve(TlsMode::None, server_config()).await;
        ADDRESS.set(address).unwrap();
        let dial = async || TcpStream::connect(ADDRESS.get().unwrap()).await;
        let client = ClientPool::builder().connect_with(dial).unwrap();
        client.wait_ready(1, SOON).await.unwrap();
    });
}

#[test]
fn a_dialer_can_return_a_stream_of_the_standard_library() {
    block_on(async {
        let (_server, address) = serve(TlsMode::None, server_config()).await;
        let dial = move || async move { std::net::TcpStream::connect(address)?.try_into() };
        let client = ClientPool::builder().connect_with(dial).unwrap();
        client.wait_ready(1, SOON).await.unwrap();
    });
}

#[test]
fn a_dialer_that_never_returns_is_dropped_at_its_deadline() {
    dialers::a_dialer_that_never_returns_is_dropped_at_its_deadline::<On<Global>>();
}

#[test]
fn a_closed_client_has_dropped_its_dials() {
    dialers::a_closed_client_has_dropped_its_dials::<On<Global>>();
}

#[test]
fn a_panicking_dialer_fails_its_own_dial_only() {
    dialers::a_panicking_dialer_fails_its_own_dial_only::<On<Global>>();
}

#[test]
fn a_panicking_dialer_is_reported_as_the_last_failure() {
    dialers::a_panicking_dialer_is_reported_as_the_last_failure::<On<Global>>();
}

#[test]
fn a_dial_that_panics_when_dropped_fails_itself_only() {
    dialers::a_dial_that_panics_when_dropped_fails_itself_only::<On<Global>>();
}
