//! Dialers that are futures: dropped at their end, and panicking before there is one.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adapter_smol::ClientPool;
use adapter_smol::pool_proto::tls::TlsMode;
use common::{SOON, client_config, eventually, serve, server_config, single, soon};
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
fn a_stream_of_the_standard_library_can_be_dialled() {
    block_on(async {
        let (_server, address) = serve(TlsMode::None, server_config()).await;
        let dial = move || async move { std::net::TcpStream::connect(address)?.try_into() };
        let client = ClientPool::builder().connect_with(dial).unwrap();
        client.wait_ready(1, SOON).await.unwrap();
    });
}

/// Counts the dials that were dropped before their end. What a dial leaves behind takes its time to be
/// tidied up.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_dialer_that_never_returns_is_dropped_at_its_deadline() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let config = client_config().dial_timeout(Duration::from_millis(100));
    let client = ClientPool::builder().config(config.build().unwrap()).connect_with(move || {
        let guard = Dropped(Arc::clone(&count));
        async move {
            let _guard = guard;
            std::future::pending::<io::Result<TcpStream>>().await
        }
    });
    let client = client.unwrap();
    block_on(async {
        eventually(|| client.stats().totals.dial_timeouts, |timeouts| *timeouts > 0).await;
        eventually(|| dropped.load(Ordering::Relaxed), |dropped| *dropped >= 4).await;
    });
}

#[test]
fn when_a_client_has_closed_its_dials_have_ended() {
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let client = ClientPool::builder().connect_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let guard = Dropped(Arc::clone(&guard));
        async move {
            let _guard = guard;
            std::future::pending::<io::Result<TcpStream>>().await
        }
    });
    let client = client.unwrap();
    block_on(async {
        eventually(|| begun.load(Ordering::Relaxed), |begun| *begun == 4).await;
        client.close();
        soon(client.closed()).await;
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
}

#[test]
fn a_dialer_that_panics_costs_its_own_dial_only() {
    block_on(async {
        let (server, address) = serve(TlsMode::None, server_config()).await;
        let dials = AtomicUsize::new(0);
        let client = ClientPool::builder().config(single().build().unwrap());
        let client = client.connect_with(move || {
            let dial = dials.fetch_add(1, Ordering::Relaxed);
            assert!(dial > 0, "a panic that this test is about, before there is a future");
            async move {
                assert!(dial > 1, "a panic that this test is about, in the future");
                TcpStream::connect(address).await
            }
        });
        let client = client.unwrap();
        let _stream = client.acquire(SOON).await.unwrap();
        assert_eq!(client.stats().totals.dial_failures, 2);
        // What runs the one pool runs the other, too.
        let _stream = server.acquire(SOON).await.unwrap();
    });
}

#[test]
fn a_dialer_that_panics_is_named_as_the_last_failure() {
    let client = ClientPool::builder().connect_with(|| async {
        panics();
        Err::<TcpStream, _>(io::ErrorKind::Other.into())
    });
    let client = client.unwrap();
    let seen = eventually(|| client.last_failure(), Option::is_some);
    assert_eq!(block_on(seen).as_deref(), Some("a dial or a handshake panicked"));
}

#[allow(clippy::panic, reason = "the panic that a test is about")]
fn panics() {
    panic!("a panic that this test is about");
}
