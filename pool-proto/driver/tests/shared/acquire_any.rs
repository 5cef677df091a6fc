//! Waiting at several pools at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pool_driver::shared::{AcquireAny, AcquireError, Deadline, Leased, RoundRobin};
use pool_proto::{Dialing, Refusal};

use crate::rig::{Counter, Fake, Plan, Rig, client, filled, id};

type Rigs = [Rig<Dialing>];

fn at_all(turns: &RoundRobin, rigs: &Rigs) -> AcquireAny<Fake, Dialing> {
    turns.acquire(rigs.iter().map(|rig| &rig.shared))
}

fn poll(
    first: &mut AcquireAny<Fake, Dialing>,
    counter: &Arc<Counter>,
) -> Poll<Result<(usize, Leased<Fake>), AcquireError>> {
    Pin::new(first).poll(&mut Context::from_waker(&counter.waker()))
}

/// What is there at once.
fn now(turns: &RoundRobin, rigs: &Rigs) -> (usize, Leased<Fake>) {
    match poll(&mut at_all(turns, rigs), &Counter::new(rigs[0].guard())) {
        Poll::Ready(taken) => taken.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

/// Pools with so many ready connections each, of as many as they may have.
fn ready<const N: usize>(ready: [u32; N]) -> [Rig<Dialing>; N] {
    ready.map(|ready| {
        let mut rig = client(Plan::of(ready.max(1)));
        (0..ready).for_each(|_| _ = rig.bring());
        rig.turn();
        rig
    })
}

#[test]
fn pools_that_are_ready_are_asked_in_turn() {
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
fn nobody_queues_where_another_pool_is_ready() {
    let rigs = ready([0, 4, 0]);
    let turns = RoundRobin::default();
    for _ in 0..4 {
        // What is released is not dialled again, so that nothing else is ready.
        assert_eq!(now(&turns, &rigs).0, 1);
    }
    for at in [0, 2] {
        assert_eq!((rigs[at].stats().waiters, rigs[at].stats().totals.cancelled), (0, 0));
    }
}

#[test]
fn where_none_is_ready_the_first_that_is_serves_and_the_others_are_left() {
    let mut rigs = ready([0, 0, 0]);
    let turns = RoundRobin::default();
    let counter = Counter::new(rigs[0].guard());
    let mut first = at_all(&turns, &rigs);
    assert!(poll(&mut first, &counter).is_pending());
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 1));
    rigs[2].bring();
    assert_eq!(counter.wakes(), 1);
    let Poll::Ready(Ok((2, leased))) = poll(&mut first, &counter) else {
        panic!("not of the third")
    };
    assert_eq!(leased.id(), id(1));
    drop(first);
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
    assert_eq!(counter.wakers(), 0);
}

#[test]
fn dropped_it_waits_nowhere() {
    let rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut first = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut first, &counter).is_pending());
    drop(first);
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
    assert_eq!(counter.wakers(), 0);
}

#[test]
fn a_pool_that_refuses_is_left_out() {
    let mut rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut first = at_all(&RoundRobin::default(), &rigs);
    rigs[0].close();
    assert!(poll(&mut first, &counter).is_pending());
    assert!(poll(&mut first, &counter).is_pending(), "it is not asked again");
    rigs[1].bring();
    assert!(matches!(poll(&mut first, &counter), Poll::Ready(Ok((1, _)))));
}

#[test]
fn when_all_refuse_it_fails_with_the_last_refusal() {
    let mut rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut first = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut first, &counter).is_pending());
    rigs.iter_mut().for_each(Rig::close);
    let Poll::Ready(Err(error)) = poll(&mut first, &counter) else { panic!("it waits") };
    assert_eq!(error, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn of_no_pools_there_is_nothing_to_wait_for() {
    let (rig, _) = filled(Plan::ONE);
    let mut first = at_all(&RoundRobin::default(), &[]);
    let Poll::Ready(Err(error)) = poll(&mut first, &Counter::new(rig.guard())) else {
        panic!("it waits")
    };
    assert_eq!(error, AcquireError::Refused(Refusal::PoolClosed));
}

#[test]
fn when_the_time_is_up_it_fails_at_all_of_them() {
    let rigs = ready([0, 0]);
    let counter = Counter::new(rigs[0].guard());
    let mut first = at_all(&RoundRobin::default(), &rigs);
    assert!(poll(&mut first, &counter).is_pending());
    first.expire();
    let polled = poll(&mut first, &counter);
    assert!(matches!(polled, Poll::Ready(Err(AcquireError::Timeout { .. }))), "{polled:?}");
    assert!(rigs.iter().all(|rig| rig.stats().waiters == 0));
}
