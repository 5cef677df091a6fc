//! Acquires that wait at several pools at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pool_driver::shared::{AcquireAny, AcquireError, Deadline, Leased, RoundRobin};
use pool_proto::{Acquirer, Dialing, Refusal};

use crate::rig::{Counter, Fake, Plan, Rig, Side, client, filled, id, server};

fn at_all<R: Side>(turns: &RoundRobin, rigs: &[Rig<R>]) -> AcquireAny<Fake, R> {
    turns.acquire(rigs.iter().map(|rig| &rig.shared))
}

fn poll<R: Side>(
    acquire: &mut AcquireAny<Fake, R>,
    counter: &Arc<Counter>,
) -> Poll<Result<(usize, Leased<Fake>), AcquireError>> {
    Pin::new(acquire).poll(&mut Context::from_waker(&counter.waker()))
}

/// Acquires a connection that must be ready.
fn now<R: Side>(turns: &RoundRobin, rigs: &[Rig<R>]) -> (usize, Leased<Fake>) {
    match poll(&mut at_all(turns, rigs), &Counter::new(rigs[0].guard())) {
        Poll::Ready(taken) => taken.unwrap(),
        Poll::Pending => panic!("the acquire waits"),
    }
}

/// Creates a client for each number, with as many ready connections.
fn ready<const N: usize>(ready: [u32; N]) -> [Rig<Dialing>; N] {
    ready.map(|ready| {
        let mut rig = client(Plan::of(ready.max(1)));
        (0..ready).for_each(|_| _ = rig.connect());
        rig.turn();
        rig
    })
}

#[test]
fn ready_pools_are_asked_in_turn() {
    let rigs = ready([3, 3, 3]);
    let turns = RoundRobin::default();
    let mut leased = Vec::new();
    for expected in [0, 1, 2, 0, 1, 2, 0, 1, 2] {
        let (index, taken) = now(&turns, &rigs);
        assert_eq!(index, expected);
        leased.push(taken);
    }
    assert_eq!(rigs.each_ref().map(|rig| rig.stats().idle), [0; 3]);
}

#[test]
fn a_waiter_queues_nowhere_while_a_pool_is_ready() {
    let rigs = ready([0, 4, 0]);
    let turns = RoundRobin::default();
    for _ in 0..4 {
        // The driver does not turn, so a released connection is not replaced.
        assert_eq!(now(&turns, &rigs).0, 1);
    }
    for at in [0, 2] {
        assert_eq!((rigs[at].stats().waiters, rigs[at].stats().totals.cancelled), (0, 0));
    }
}

#[test]
fn a_pool_whose_ready_connections_are_the_peers_is_not_ready() {
    let rigs = [(); 2].map(|()| {
        let mut rig = server(Plan { acquirer: Acquirer::Both, ..Plan::of(2) });
        (0..2).for_each(|_| _ = rig.connect());
        rig
    });
    // All that is left there is for the peer.
    let _ours = rigs[0].any().take();
    assert_eq!((rigs[0].stats().idle, rigs[0].stats().reserved), (1, 1));
    let (index, _leased) = now(&RoundRobin::default(), &rigs);
    assert_eq!(index, 1);
    assert_eq!((rigs[0].stats().waiters, rigs[0].stats().totals.cancelled), (0, 0));
}

#[test]
fn the_first_pool_to_become_ready_serves_and_the_others_are_left() {
    let mut rigs = ready([0, 0, 0]);
    let turns = RoundRobin::default();
    let counter = Counter::new(rigs[0].guard());
    let mut acquire = at_all(&turns, &rigs);
    assert!(poll(&mut acquire, &counter).is_pending());
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 1));
    rigs[2].connect();
    assert_eq!(counter.wakes(), 1);
    let Poll::Ready(Ok((2, leased))) = poll(&mut acquire, &counter) else {
        panic!("not served by the third pool")
    };
    assert_eq!(leased.id(), id(1));
    drop(acquire);
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
    assert_eq!(counter.wakers(), 0);
}

#[test]
fn a_dropped_future_waits_at_no_pool() {
    let rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut acquire = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut acquire, &counter).is_pending());
    drop(acquire);
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
    assert_eq!(counter.wakers(), 0);
}

#[test]
fn a_pool_that_refuses_is_left_out() {
    let mut rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut acquire = at_all(&RoundRobin::default(), &rigs);
    rigs[0].close();
    assert!(poll(&mut acquire, &counter).is_pending());
    let refused = rigs[0].stats().totals.refused;
    assert!(poll(&mut acquire, &counter).is_pending());
    assert_eq!(rigs[0].stats().totals.refused, refused, "the closed pool is not asked again");
    rigs[1].connect();
    assert!(matches!(poll(&mut acquire, &counter), Poll::Ready(Ok((1, _)))));
}

#[test]
fn the_last_refusal_is_the_error_when_all_pools_refuse() {
    let mut rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut acquire = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut acquire, &counter).is_pending());
    rigs.iter_mut().for_each(Rig::close);
    let Poll::Ready(Err(error)) = poll(&mut acquire, &counter) else { panic!("the acquire waits") };
    assert_eq!(error, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn of_errors_at_the_same_time_that_of_the_last_pool_in_turn_is_told() {
    let rigs = ready([0, 0]);
    for (rig, cause) in rigs.iter().zip(["the first is down", "the second is down"]) {
        rig.shared.note_failure(&cause);
    }
    let (turns, counter) = (RoundRobin::default(), Counter::new(rigs[0].guard()));
    for last in ["the second is down", "the first is down"] {
        let mut acquire = at_all(&turns, &rigs);
        acquire.expire();
        let polled = poll(&mut acquire, &counter);
        let Poll::Ready(Err(AcquireError::Timeout { last_failure, .. })) = polled else {
            panic!("{polled:?}")
        };
        assert_eq!(last_failure.as_deref(), Some(last));
    }
}

#[test]
fn an_acquire_from_no_pools_is_refused() {
    let (rig, _) = filled(Plan::ONE);
    let mut acquire = at_all::<Dialing>(&RoundRobin::default(), &[]);
    let Poll::Ready(Err(error)) = poll(&mut acquire, &Counter::new(rig.guard())) else {
        panic!("the acquire waits")
    };
    assert_eq!(error, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn a_timeout_ends_the_wait_at_all_pools() {
    let rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut acquire = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut acquire, &counter).is_pending());
    acquire.expire();
    let polled = poll(&mut acquire, &counter);
    assert!(matches!(polled, Poll::Ready(Err(AcquireError::Timeout { .. }))), "{polled:?}");
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
}
