//! The balancer over several pools.

use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, server_config, unused_address};
use crate::prelude::*;
use crate::wait::spawn;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{Refusal, WaitReason};

topic! {
    parallel ready_pools_serve_in_turn,
    parallel a_pool_without_a_ready_connection_is_skipped,
    parallel a_waiter_queues_at_all_pools_and_leaves_the_others_when_served,
    parallel the_error_comes_from_the_pool_that_refused_last,
}

fn ready_pair(ends: &Ends) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(2..=8);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(2, SOON).unwrap();
    (server, client)
}

fn ready_pools_serve_in_turn(ends: &Ends) {
    let (_servers, pools): (Vec<_>, Vec<_>) = (0..2).map(|_| ready_pair(ends)).unzip();
    let balancer = ends.client.balancer(pools.clone());
    for _ in 0..10 {
        for pool in &pools {
            pool.wait_ready(1, SOON).unwrap();
        }
        let (stream, number) = balancer.acquire(SOON).unwrap();
        pools[number].put(stream).unwrap();
    }
    let leases: Vec<_> = pools.iter().map(|pool| pool.stats().totals.leases).collect();
    assert_eq!(leases, [5, 5]);
}

fn a_pool_without_a_ready_connection_is_skipped(ends: &Ends) {
    let down = ends.dial(TlsMode::None, client_config(), unused_address());
    let (_server, up) = ready_pair(ends);
    let balancer = ends.client.balancer(vec![down, up.clone_handle()]);
    for _ in 0..10 {
        let (stream, number) = balancer.acquire(SOON).unwrap();
        assert_eq!(number, 1);
        up.put(stream).unwrap();
    }
}

fn a_waiter_queues_at_all_pools_and_leaves_the_others_when_served(ends: &Ends) {
    let pools: Vec<_> = (0..2).map(|_| ends.serve(TlsMode::None, server_config())).collect();
    let balancer = ends.server.balancer(pools.clone());
    let caller = spawn(move || balancer.acquire(SOON).unwrap());
    eventually(|| (pools[0].stats().waiters, pools[1].stats().waiters), |seen| *seen == (1, 1));
    let _client = ends.dial(TlsMode::None, client_config(), pools[0].address());
    let (_stream, number) = caller.soon();
    assert_eq!(number, 0);
    assert_eq!((pools[0].stats().totals.leases, pools[1].stats().waiters), (1, 0));
}

fn the_error_comes_from_the_pool_that_refused_last(ends: &Ends) {
    let pools: Vec<_> = (0..2).map(|_| ends.serve(TlsMode::None, server_config())).collect();
    let balancer = ends.server.balancer(pools.clone());
    let timeout = balancer.acquire(Duration::ZERO).unwrap_err();
    assert!(matches!(timeout, AcquireError::Timeout { why: WaitReason::NoPeer, .. }), "{timeout}");
    for pool in &pools {
        pool.close();
    }
    let closed = balancer.acquire(SOON).unwrap_err();
    assert_eq!(closed, AcquireError::Refused(Refusal::PoolClosed));
}
