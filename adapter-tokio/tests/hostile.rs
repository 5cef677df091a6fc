//! A hostile peer of a pool on a runtime with one thread.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::io::Write;
use std::thread;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::TlsMode;
use common::{SOON, dial, eventually, single};
use pool_conformance::handshake_and_make_tickets;
use tokio::time::Instant;

#[tokio::test]
async fn a_flood_of_session_tickets_does_not_block_the_runtime() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, go) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let tickets = handshake_and_make_tickets(&tcp, 1600);
        go.recv().unwrap();
        // Fails once the other end has closed the connection.
        tcp.write_all(&tickets)
    });
    let pool = dial(TlsMode::SelfSigned, single(), address);
    pool.wait_ready(1, SOON).await.unwrap();
    ready.send(()).unwrap();
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    eventually(
        || {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            pool.stats().finished
        },
        |closed| *closed == 1,
    )
    .await;
    // A check of the connection reads at most half a megabyte, in a quarter of a second. Reading the
    // whole flood of 24 MB would take fifty times as long; the limit leaves room for a busy machine.
    assert!(longest < Duration::from_secs(4), "the runtime was blocked for {longest:?}");
    pool.close();
    drop(tokio::task::spawn_blocking(|| server.join()).await.unwrap().unwrap());
}
