//! Futures of waiters: polled by hand, and dropped at any moment.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;
#[allow(dead_code, reason = "the other executors are for the scenarios")]
#[path = "conformance/executors.rs"]
mod executors;
#[path = "conformance/harness.rs"]
mod harness;

use std::task::{Context, Waker};

use adapter_smol::pool_driver::tls::TlsMode;
use common::{SOON, dial, eventually, serve, server_config, single, soon};
use executors::Global;
use harness::On;
use pool_conformance::polls;
use smol::block_on;
use smol::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_waiter_is_woken_once_when_served() {
    polls::a_waiter_is_woken_once_when_served::<On<Global>>();
}

#[test]
fn a_zero_timeout_needs_one_poll() {
    polls::a_zero_timeout_needs_one_poll::<On<Global>>();
}

#[test]
fn a_dropped_acquire_leaves_its_turn_to_the_next() {
    polls::a_dropped_acquire_leaves_its_turn_to_the_next::<On<Global>>();
}

#[test]
fn cancelled_acquires_lose_no_connection() {
    polls::cancelled_acquires_lose_no_connection::<On<Global>>();
}

#[test]
fn cancelled_acquires_at_a_server_lose_no_connection() {
    polls::cancelled_acquires_at_a_server_lose_no_connection::<On<Global>>();
}

#[test]
fn a_reset_is_not_taken_out_of_the_socket() {
    polls::a_reset_is_not_taken_out_of_the_socket::<On<Global>>();
}

/// The reactor keeps one waker per direction, so the reader's waker replaces the pool's. After the
/// cancelled read, the pool must register its own again.
#[test]
fn a_cancelled_read_leaves_the_connection_watched() {
    block_on(async {
        for mode in [TlsMode::None, TlsMode::SelfSigned] {
            let (server, address) = serve(mode, server_config()).await;
            let client = dial(mode, single().max_connections(1), address);
            for round in 0..20 {
                let mut theirs = client.acquire(SOON).await.unwrap();
                let ours = server.acquire_by_id(theirs.id(), SOON).await.unwrap();
                let mut context = Context::from_waker(Waker::noop());
                let mut buffer = [0];
                assert!(
                    Box::pin(theirs.read(&mut buffer)).as_mut().poll(&mut context).is_pending()
                );
                if round % 2 == 0 {
                    // An event between read and put, which wakes the reader's waker.
                    let mut ours = ours;
                    ours.write_all(b"x").await.unwrap();
                    ours.flush().await.unwrap();
                    soon(theirs.read(&mut buffer)).await.unwrap();
                    client.put(theirs).unwrap();
                    drop(ours);
                } else {
                    client.put(theirs).unwrap();
                    drop(ours);
                }
                // The pool notices the close without an acquire.
                let gone = |finished: &u32| *finished == round + 1;
                eventually(|| client.stats().finished, gone).await;
            }
        }
    });
}
