//! Several pools as one.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use std::time::Duration;

use adapter_tokio::pool_proto::tls::TlsMode;
use adapter_tokio::pool_proto::{Refusal, WaitReason};
use adapter_tokio::{AcquireError, Balancer, ClientPool, ServerPool};

use common::{SOON, client_config, dial, serve, server_config};

async fn ready_pair() -> (ServerPool, ClientPool) {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    let client = dial(TlsMode::None, client_config().capacity(2..=8), address);
    client.wait_ready(2, SOON).await.unwrap();
    (server, client)
}

#[tokio::test]
async fn ready_pools_serve_in_turn() {
    let (_server_a, a) = ready_pair().await;
    let (_server_b, b) = ready_pair().await;
    let balancer = Balancer::new(a.clone(), [b.clone()]);
    for _ in 0..10 {
        a.wait_ready(1, SOON).await.unwrap();
        b.wait_ready(1, SOON).await.unwrap();
        let (stream, pool) = balancer.acquire(SOON).await.unwrap();
        pool.put(stream).unwrap();
    }
    assert_eq!((a.stats().totals.leases, b.stats().totals.leases), (5, 5));
}

#[tokio::test]
async fn a_pool_without_a_ready_connection_is_passed_over() {
    let (server, address) = serve(TlsMode::None, server_config()).await;
    server.close();
    server.closed().await;
    let down = dial(TlsMode::None, client_config(), address);
    let (_server, up) = ready_pair().await;
    let balancer = Balancer::new(down, [up]);
    for _ in 0..10 {
        let (stream, pool) = balancer.acquire(SOON).await.unwrap();
        pool.put(stream).unwrap();
    }
}

#[tokio::test]
async fn a_caller_waits_at_all_pools_and_leaves_the_others_when_served() {
    let (a, address_a) = serve(TlsMode::None, server_config()).await;
    let (b, _) = serve(TlsMode::None, server_config()).await;
    let balancer = Balancer::new(a.clone(), [b.clone()]);
    let caller = tokio::spawn(async move {
        let (stream, pool) = balancer.acquire(SOON).await.unwrap();
        pool.put(stream).map(|()| pool.clone())
    });
    common::eventually(|| (a.stats().waiters, b.stats().waiters), |seen| *seen == (1, 1)).await;
    let _client = dial(TlsMode::None, client_config(), address_a);
    let served_by = caller.await.unwrap().unwrap();
    assert_eq!(served_by.stats().totals.leases, 1);
    assert_eq!((a.stats().totals.leases, b.stats().waiters), (1, 0));
}

#[tokio::test]
async fn the_error_is_that_of_the_pool_that_refused_last() {
    let (a, _) = serve(TlsMode::None, server_config()).await;
    let (b, _) = serve(TlsMode::None, server_config()).await;
    let balancer = Balancer::new(a.clone(), [b.clone()]);
    let timeout = balancer.acquire(Duration::ZERO).await.unwrap_err();
    assert!(matches!(timeout, AcquireError::Timeout { why: WaitReason::NoPeer, .. }), "{timeout}");

    a.close();
    b.close();
    let closed = balancer.acquire(SOON).await.unwrap_err();
    assert_eq!(closed, AcquireError::Refused(Refusal::PoolClosed));
}
