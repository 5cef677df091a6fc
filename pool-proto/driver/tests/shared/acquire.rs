//! Acquires: the check before a connection is handed out, and the order of waiters.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pool_driver::shared::AcquireError;
use pool_proto::{CheckResult, CloseReason, Refusal};

use crate::rig::{Counter, Plan, Task, client, filled, id, secs, server};

#[test]
fn a_ready_connection_is_taken_at_the_first_poll() {
    let (rig, conns) = filled(Plan::of(2));
    let (first, second) = (rig.any(), rig.any());
    assert_eq!(first.take().id(), conns[0].id);
    assert_eq!(second.take().id(), conns[1].id);
    let stats = rig.stats();
    assert_eq!((stats.totals.served_at_once, stats.totals.cancelled), (2, 0));
    assert_eq!((first.wakes(), first.counter.wakers()), (0, 0));
}

#[test]
fn a_future_does_nothing_before_its_first_poll() {
    let rig = client(Plan::ONE);
    let _tasks = [rig.any(), rig.stock(), rig.by_id(id(1))];
    assert_eq!(rig.stats().waiters, 0);
}

/// As in a loop around `select!`.
#[test]
fn an_acquire_that_was_served_takes_no_second_connection() {
    let (rig, _) = filled(Plan::of(2));
    let task = rig.any();
    let _leased = task.take();
    task.queue();
    let stats = rig.stats();
    assert_eq!((stats.idle, stats.totals.leases, stats.waiters), (1, 1, 0));
}

#[test]
fn a_connection_is_checked_before_it_is_handed_out() {
    let (rig, _) = filled(Plan::ONE);
    let checked = rig.book.checked(0);
    let leased = rig.any().take();
    assert_eq!((rig.book.checked(0), rig.book.drained(0)), (checked + 1, 0));
    drop(leased);
}

#[test]
fn an_acquire_that_meets_dead_connections_is_one_acquire_to_the_law() {
    let capacity = |dead: &[usize]| {
        let (rig, conns) = filled(Plan::of(12));
        rig.shared.run(|machine, now| machine.set_capacity(now, 1..=12)).unwrap();
        for number in dead {
            rig.book.next_check(conns[*number].number, CheckResult::Closed);
        }
        let _leases: Vec<_> = (0..6).map(|_| rig.any().take()).collect();
        rig.stats().capacity
    };
    assert_eq!((capacity(&[0, 2, 4, 6, 8, 10]), capacity(&[])), (4, 4));
}

#[test]
fn a_connection_that_the_peer_has_closed_is_replaced_at_once_and_kept_for_its_id() {
    let (mut rig, conns) = filled(Plan::of(3));
    rig.book.next_check(0, CheckResult::Closed);
    rig.book.next_check(1, CheckResult::Closed);
    let task = rig.any();
    assert_eq!(task.take().id(), conns[2].id);
    rig.turn();
    assert_eq!((rig.stats().idle, rig.stats().finished, task.wakes()), (0, 2, 0));
    assert_eq!(rig.by_id(conns[0].id).take().id(), conns[0].id);
}

#[test]
fn without_ids_a_connection_that_the_peer_has_closed_is_replaced_and_ends() {
    let mut rig = client(Plan { ids: false, ..Plan::of(2) });
    let (live, closed) = (rig.connect(), rig.connect());
    rig.book.next_check(closed.number, CheckResult::Closed);
    assert_eq!(rig.any().take().get().number(), live.number);
    rig.turn();
    assert_eq!(rig.book.reason(closed.number), Some(CloseReason::PeerClosed));
}

/// A task whose executor is stuck, or whose future is kept and not polled.
#[test]
fn a_connection_that_its_task_does_not_take_goes_to_the_next_one() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    let (late, next) = (rig.any(), rig.any());
    late.queue();
    next.queue();
    leased.put(&rig.shared).unwrap();
    assert_eq!((late.wakes(), next.wakes()), (1, 0));
    rig.wait_until_due();
    while next.wakes() == 0 {
        rig.wait_until_due();
    }
    let leased = next.take();
    assert_eq!(leased.id(), conns[0].id);
    // It comes at last: first in its queue, and woken again.
    let younger = rig.any();
    younger.queue();
    late.queue();
    leased.put(&rig.shared).unwrap();
    assert_eq!((late.wakes(), younger.wakes()), (2, 0));
    drop(late.take());
}

#[test]
fn a_connection_with_early_data_is_replaced_and_kept_for_its_id() {
    let (rig, conns) = filled(Plan::of(2));
    rig.book.next_check(0, CheckResult::Data);
    assert_eq!(rig.any().take().id(), conns[1].id);
    assert_eq!(rig.stats().claimed, 1);
    rig.book.next_check(0, CheckResult::Data);
    assert_eq!(rig.by_id(conns[0].id).take().id(), conns[0].id);
}

#[test]
fn a_connection_that_the_peer_has_used_and_ended_is_replaced_and_kept_for_its_id() {
    let (rig, conns) = filled(Plan::of(2));
    rig.book.next_check(0, CheckResult::Finished);
    assert_eq!(rig.any().take().id(), conns[1].id);
    assert_eq!(rig.stats().finished, 1);
    rig.book.next_check(0, CheckResult::Finished);
    assert_eq!(rig.by_id(conns[0].id).take().id(), conns[0].id);
}

/// Nobody at the peer knows the id, so there is nothing to read but the end.
#[test]
fn without_ids_a_connection_that_the_peer_has_closed_is_refused_to_its_local_id() {
    let mut rig = client(Plan { ids: false, ..Plan::ONE });
    let conn = rig.connect();
    let leased = rig.any().take();
    let id = leased.id();
    leased.put(&rig.shared).unwrap();
    rig.book.next_check(conn.number, CheckResult::Closed);
    let refusal = Refusal::Gone { id, reason: CloseReason::PeerClosed };
    assert_eq!(rig.by_id(id).fail(), AcquireError::Refused(refusal));
    rig.turn();
    assert_eq!(rig.book.reason(conn.number), Some(CloseReason::PeerClosed));
}

#[test]
fn without_ids_a_connection_with_early_data_is_handed_out() {
    let mut rig = client(Plan { ids: false, ..Plan::ONE });
    let conn = rig.connect();
    rig.book.next_check(conn.number, CheckResult::Data);
    let leased = rig.any().take();
    assert_eq!(leased.get().number(), conn.number);
}

#[test]
fn a_waiter_that_finds_a_closed_connection_keeps_its_turn() {
    let mut rig = client(Plan::ONE);
    let (first, second) = (rig.any(), rig.any());
    first.queue();
    second.queue();
    let conn = rig.connect();
    rig.book.next_check(conn.number, CheckResult::Closed);
    first.queue();
    let next = rig.connect();
    assert_eq!((first.wakes(), second.wakes()), (2, 0));
    assert_eq!(first.take().id(), next.id);
    let stats = rig.stats();
    assert_eq!((stats.waiters, stats.totals.served_after_waiting), (1, 2));
}

#[test]
fn a_waiter_that_finds_a_closed_connection_keeps_its_turn_in_a_full_queue() {
    let mut rig = client(Plan { max_waiters: 2, ..Plan::ONE });
    let (first, second, third) = (rig.any(), rig.any(), rig.any());
    first.queue();
    second.queue();
    let conn = rig.connect();
    rig.book.next_check(conn.number, CheckResult::Closed);
    // During the check, its place in the queue is free, and another waiter takes it.
    let other = Arc::new(rig.any());
    let inside = Arc::clone(&other);
    rig.book.during_next_check(conn.number, move || inside.queue());
    first.queue();
    assert_eq!(rig.stats().waiters, 3);
    assert_eq!(third.fail(), Refusal::TooManyWaiters { limit: 2 }.into());
    let next = rig.connect();
    assert_eq!(first.take().id(), next.id);
}

#[test]
fn an_acquire_by_id_of_a_closed_connection_gets_it() {
    for result in [CheckResult::Closed, CheckResult::Finished] {
        let (rig, conns) = filled(Plan::of(2));
        rig.book.next_check(0, result);
        assert_eq!(rig.by_id(conns[0].id).take().id(), conns[0].id, "{result:?}");
        assert_eq!((rig.stats().idle, rig.stats().totals.peer_closed), (1, 0), "{result:?}");
    }
}

/// Between the lease and the answer of its check, a connection counts as acquired here: to tell the two
/// apart would cost each acquire a second lock.
#[test]
fn an_acquire_by_the_id_of_what_is_being_checked_for_another_is_refused() {
    let (rig, conns) = filled(Plan::ONE);
    let by_id = Arc::new(rig.by_id(conns[0].id));
    let inside = Arc::clone(&by_id);
    let id = conns[0].id;
    rig.book.during_next_check(0, move || {
        let refusal = Refusal::AcquiredHere { id };
        assert_eq!(inside.fail(), AcquireError::Refused(refusal));
    });
    rig.book.next_check(0, CheckResult::Closed);
    rig.any().queue();
    drop(by_id);
    rig.book.next_check(0, CheckResult::Closed);
    assert_eq!(rig.by_id(id).take().id(), id);
}

#[test]
fn a_closed_connection_that_nobody_asks_for_ends_with_the_claim_timeout() {
    let (mut rig, conns) = filled(Plan { claim_timeout: secs(5), ..Plan::ONE });
    rig.book.next_check(0, CheckResult::Closed);
    let any = rig.any();
    any.queue();
    rig.pass(secs(5));
    assert_eq!(rig.book.reason(0), Some(CloseReason::PeerClosed));
    let refusal = Refusal::Gone { id: conns[0].id, reason: CloseReason::PeerClosed };
    assert_eq!(rig.by_id(conns[0].id).fail(), AcquireError::Refused(refusal));
}

#[test]
fn an_acquire_by_id_takes_a_connection_with_early_data() {
    let mut rig = server(Plan::ONE);
    let conn = rig.connect();
    rig.book.next_check(conn.number, CheckResult::Data);
    assert_eq!(rig.by_id(conn.id).take().id(), conn.id);
    assert_eq!(rig.stats().totals.leases, 1);
}

#[test]
fn waiters_are_served_in_order() {
    let mut rig = client(Plan::of(3));
    let tasks = [rig.any(), rig.any(), rig.any()];
    tasks.iter().for_each(Task::queue);
    for (served, task) in tasks.iter().enumerate() {
        let conn = rig.connect();
        let wakes = tasks.each_ref().map(Task::wakes);
        assert_eq!(wakes.iter().sum::<u32>() as usize, served + 1);
        assert_eq!(task.wakes(), 1);
        // The connections are collected only after all waiters have been served.
        assert_eq!(conn.number, served);
    }
    let leased = tasks.each_ref().map(Task::take);
    assert_eq!(leased.map(|leased| leased.get().number()), [0, 1, 2]);
}

#[test]
fn wait_ready_ends_with_enough_stock_and_reserves_nothing() {
    let mut rig = client(Plan::of(2));
    let mut wait = rig.shared.wait_ready(2);
    let counter = Counter::new(rig.guard());
    let waker = counter.waker();
    let mut cx = Context::from_waker(&waker);
    let mut poll = || Pin::new(&mut wait).poll(&mut cx);
    assert!(poll().is_pending());
    rig.connect();
    assert!(poll().is_pending());
    assert_eq!(counter.wakes(), 0);
    rig.connect();
    assert_eq!(counter.wakes(), 1);
    drop(rig.any().take());
    assert_eq!(poll(), Poll::Ready(Ok(())));
}

#[test]
fn an_expired_connection_is_replaced_by_another() {
    let (mut rig, conns) = filled(Plan { max_lifetime: secs(10), ..Plan::of(2) });
    rig.peer_closes(conns[1]);
    rig.clock.pass(secs(5));
    let fresh = rig.connect();
    rig.clock.pass(secs(5));
    assert_eq!(rig.any().take().id(), fresh.id);
    rig.turn();
    assert_eq!(rig.book.reason(0), Some(CloseReason::Expired));
}
