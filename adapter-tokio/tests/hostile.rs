//! A peer that means harm to a runtime of one thread.

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
        // It fails once the other end has had enough.
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
            pool.stats().totals.peer_closed
        },
        |closed| *closed == 1,
    )
    .await;
    // One look reads half a megabyte at the most, in a quarter of a second; the whole flood of 24 MB
    // takes fifty times as long. In between there is room for a machine that is busy.
    assert!(longest < Duration::from_secs(4), "the runtime was held up for {longest:?}");
    pool.close();
    drop(tokio::task::spawn_blocking(|| server.join()).await.unwrap().unwrap());
}
