//! Dialers that are futures: dropped at their end, and panicking before there is one.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adapter_tokio::ClientPool;
use adapter_tokio::pool_proto::tls::TlsMode;
use common::{SOON, client_config, eventually, serve, server_config, single, soon};
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

/// Counts the dials that were dropped before their end. What a dial leaves behind takes its time to be
/// tidied up.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_dialer_that_never_returns_is_dropped_at_its_deadline() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let config = client_config().dial_timeout(Duration::from_millis(100));
    let client = ClientPool::builder()
        .config(config.build().unwrap())
        .connect_with(move || {
            let guard = Dropped(Arc::clone(&count));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .unwrap();
    eventually(|| client.stats().totals.dial_timeouts, |timeouts| *timeouts > 0).await;
    eventually(|| dropped.load(Ordering::Relaxed), |dropped| *dropped >= 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_client_has_closed_its_dials_have_ended() {
    let (begun, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let client = ClientPool::builder()
        .connect_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let guard = Dropped(Arc::clone(&guard));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .unwrap();
    eventually(|| begun.load(Ordering::Relaxed), |begun| *begun == 4).await;
    client.close();
    soon(client.closed()).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_dialer_that_panics_before_its_future_is_a_failure_and_no_more() {
    let (_server, address) = serve(TlsMode::None, server_config()).await;
    let dials = AtomicUsize::new(0);
    let client = ClientPool::builder()
        .config(single().build().unwrap())
        .connect_with(move || {
            let dial = dials.fetch_add(1, Ordering::Relaxed);
            assert!(dial > 1, "a panic that this test is about");
            TcpStream::connect(address)
        })
        .unwrap();
    let _stream = client.acquire(SOON).await.unwrap();
    assert_eq!(client.stats().totals.dial_failures, 2);
}
