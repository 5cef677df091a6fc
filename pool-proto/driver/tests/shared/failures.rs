//! The errors of acquires that fail.

use std::error::Error;
use std::sync::Arc;

use pool_driver::shared::AcquireError;
use pool_proto::{HandshakeFailure, Refusal, WaitReason};

use crate::rig::{Plan, client, filled, id, server};

fn timeout(why: WaitReason, last_failure: Option<&str>) -> AcquireError {
    AcquireError::Timeout { why, last_failure: last_failure.map(Arc::from) }
}

#[test]
fn a_timeout_names_the_reason_of_the_wait() {
    let rig = client(Plan::of(2));
    for (task, why) in [
        (rig.any(), WaitReason::Dialing { in_flight: 2 }),
        (rig.by_id(id(9)), WaitReason::IdNotSeen),
        (rig.stock(), WaitReason::Stock { idle: 0, wanted: 1 }),
    ] {
        task.queue();
        task.expire();
        assert_eq!(task.fail(), timeout(why, None));
        assert_eq!((task.wakes(), task.counter.wakers()), (0, 0));
    }
    assert_eq!((rig.stats().waiters, rig.stats().totals.cancelled), (0, 3));
}

#[test]
fn a_zero_timeout_is_answered_at_the_first_poll() {
    let mut rig = server(Plan::ONE);
    let task = rig.any();
    task.expire();
    assert_eq!(task.fail(), timeout(WaitReason::NoPeer, None));
    assert_eq!((task.counter.wakers(), rig.stats().waiters), (0, 0));
    let stock = rig.stock();
    stock.expire();
    assert_eq!(stock.fail(), timeout(WaitReason::Stock { idle: 0, wanted: 1 }, None));

    rig.connect();
    let stock = rig.stock();
    stock.expire();
    assert!(stock.finish().is_ok());
    let task = rig.any();
    task.expire();
    drop(task.take());
}

#[test]
fn a_connection_granted_in_time_is_not_lost_to_a_late_poll() {
    let mut rig = client(Plan::ONE);
    let task = rig.any();
    task.queue();
    rig.connect();
    task.expire();
    drop(task.take());
    assert_eq!(rig.stats().totals.cancelled, 0);
}

#[test]
fn a_timeout_includes_the_last_failure() {
    let mut rig = client(Plan::ONE);
    rig.begin().attempt.failed(HandshakeFailure::Transport, &"no route");
    rig.shared.note_failure(&format_args!("no route for {}", 3));
    assert_eq!(rig.shared.last_failure().as_deref(), Some("no route for 3"));
    let task = rig.any();
    task.expire();
    let why = WaitReason::BackingOff { failures: 1 };
    assert_eq!(task.fail(), timeout(why, Some("no route for 3")));
    let stock = rig.stock();
    stock.expire();
    let why = WaitReason::Stock { idle: 0, wanted: 1 };
    assert_eq!(stock.fail(), timeout(why, Some("no route for 3")));
}

#[test]
fn only_a_success_clears_the_last_failure() {
    let mut rig = client(Plan::ONE);
    assert_eq!(rig.shared.last_failure(), None);
    rig.shared.note_failure(&"once");
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    assert!(rig.shared.last_failure().is_some(), "a connected transport is not a success yet");
    let conn = rig.establish(in_flight);
    assert_eq!(rig.shared.last_failure(), None);
    rig.shared.note_failure(&"again");
    drop(rig.any().take());
    rig.peer_closes(conn);
    rig.flush();
    assert_eq!(rig.shared.last_failure().as_deref(), Some("again"));
}

#[test]
fn the_errors_have_readable_texts() {
    let why = WaitReason::NoPeer;
    assert_eq!(timeout(why, None).to_string(), "no connection in time: no peer was connecting");
    assert_eq!(
        timeout(why, Some("TLS alert")).to_string(),
        "no connection in time: no peer was connecting; the last failure was: TLS alert"
    );
    let refused = AcquireError::from(Refusal::PoolClosed);
    assert_eq!(refused, AcquireError::Refused(Refusal::PoolClosed));
    assert_eq!(refused.to_string(), Refusal::PoolClosed.to_string());
    assert!(refused.source().is_none(), "the text is that of the refusal, so there is no source");
}

#[test]
fn refusals_reach_the_caller() {
    let rig = server(Plan { max_waiters: 1, ..Plan::ONE });
    let unknown = id(9);
    assert_eq!(rig.by_id(unknown).fail(), Refusal::UnknownId { id: unknown }.into());
    let first = rig.any();
    first.queue();
    assert_eq!(rig.any().fail(), Refusal::TooManyWaiters { limit: 1 }.into());
    assert_eq!(rig.stock().fail(), Refusal::TooManyWaiters { limit: 1 }.into());
    assert_eq!((first.wakes(), rig.stats().totals.refused), (0, 3));
}

#[test]
fn wait_ready_beyond_the_capacity_is_refused() {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    let (rig, _) = filled(Plan::ONE);
    let mut wait = rig.shared.wait_ready(2);
    let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()));
    let refusal = Refusal::StockBeyondCapacity { wanted: 2, capacity: 1 };
    assert_eq!(polled, Poll::Ready(Err(refusal.into())));
}
