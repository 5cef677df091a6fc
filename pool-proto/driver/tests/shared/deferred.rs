//! Deferred work of a call: wakes, checks and closes happen after the call, outside the mutex.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::Wake;

use pool_driver::shared::{Attempt, Leased, ReadinessWaker};
use pool_proto::{CheckResult, CloseReason, Event, Refusal, Rejected};

use crate::rig::{Counter, Plan, Task, client, filled, ms, server};

#[test]
fn a_close_wakes_every_waiter_once() {
    for count in [0, 1, 2, 3, 9] {
        let mut rig = client(Plan::ONE);
        let tasks: Vec<_> = (0..count).map(|_| rig.any()).collect();
        tasks.iter().for_each(Task::queue);
        rig.close();
        for task in tasks {
            assert_eq!((task.wakes(), task.counter.wakers()), (1, 0), "of {count}");
            assert_eq!(task.fail(), Refusal::PoolClosed.into());
        }
    }
}

#[test]
fn a_flush_revokes_every_lease_and_wakes_no_waiter() {
    for count in [1, 2, 3, 9] {
        let (mut rig, _) = filled(Plan::of(count));
        let leased: Vec<_> = (0..count).map(|_| rig.any().take()).collect();
        let waiting = rig.any();
        waiting.queue();
        assert_eq!(rig.flush(), count);
        // Another thread that flushes after this call has ended the leases may return before it: by
        // then, all of them must be revoked.
        assert_eq!(rig.book.interrupted(), vec![count; count as usize]);
        drop(leased);
        rig.turn();
        assert_eq!((rig.book.open_count(), waiting.wakes()), (0, 0));
        rig.connect();
        assert_eq!(waiting.wakes(), 1);
    }
}

#[test]
fn a_clean_closes_idle_connections() {
    for count in [1, 2, 3, 9] {
        let (mut rig, conns) = filled(Plan::of(count));
        let _held = rig.any().take();
        assert_eq!(rig.shared.run(|machine, now| machine.clean(now)), count - 1);
        rig.turn();
        assert_eq!(rig.book.open_count(), 1);
        for conn in &conns[1..] {
            assert_eq!(rig.book.reason(conn.number), Some(CloseReason::Cleaned));
        }
    }
}

#[test]
fn connections_without_a_driver_are_dropped() {
    for count in [1, 2, 3, 9] {
        let (mut rig, _) = filled(Plan::of(count));
        rig.shared.end();
        rig.close();
        assert_eq!(rig.book.open_count(), 0);
        rig.book.assert_sound("orphans");
    }
}

#[test]
fn readable_connections_are_checked_in_order() {
    for count in [1, 2, 3, 9] {
        let (mut rig, conns) = filled(Plan::of(count));
        for conn in &conns {
            ReadinessWaker::new(&rig.shared, conn.token).wake();
        }
        rig.turn();
        for conn in &conns {
            assert_eq!(rig.book.checked(conn.number), 2, "of {count}");
        }
        // They return to the pool in the order of the checks.
        let leased: Vec<_> = conns.iter().map(|_| rig.any().take()).collect();
        let ids = leased.iter().map(Leased::id);
        assert!(ids.eq(conns.iter().map(|conn| conn.id)), "of {count}");
    }
}

#[test]
fn all_checks_and_wakes_of_a_call_are_done() {
    let (mut rig, conns) = filled(Plan::of(2));
    let waiting = rig.by_id(conns[1].id);
    let leased = rig.by_id(conns[1].id).take();
    waiting.queue();
    rig.book.next_check(0, CheckResult::Closed);
    ReadinessWaker::new(&rig.shared, conns[0].token).wake();
    leased.put(&rig.shared).unwrap();
    rig.turn();
    assert_eq!((waiting.wakes(), rig.stats().finished), (1, 1));
}

#[test]
fn a_check_drains_only_after_a_put() {
    let (mut rig, conns) = filled(Plan { reuse_delay: ms(5), ..Plan::ONE });
    assert_eq!((rig.book.checked(0), rig.book.drained(0)), (1, 0));
    rig.shared.event(Event::Readable { token: conns[0].token });
    assert_eq!((rig.book.checked(0), rig.book.drained(0)), (2, 0));
    rig.any().take().put(&rig.shared).unwrap();
    rig.pass(ms(5));
    assert_eq!((rig.book.checked(0), rig.book.drained(0)), (3, 1));
}

#[test]
fn a_check_may_cause_further_deferred_work() {
    // The check finds data, so the waiter by id must be woken.
    let (rig, conns) = filled(Plan::ONE);
    let waiting = Arc::new(rig.by_id(conns[0].id));
    let inside = Arc::clone(&waiting);
    rig.book.next_check(0, CheckResult::Data);
    rig.book.during_next_check(0, move || inside.queue());
    rig.shared.event(Event::Readable { token: conns[0].token });
    assert_eq!(waiting.wakes(), 1);
    drop(waiting.take());
}

#[test]
fn run_returns_the_result_of_its_closure() {
    let rig = client(Plan::ONE);
    rig.shared.run(|machine, _| {
        machine.add_error();
        machine.add_error();
    });
    assert_eq!(rig.shared.run(|machine, _| machine.error_count()), 2);
    rig.shared.run(|machine, _| machine.reset_error());
    assert_eq!(rig.shared.run(|machine, _| machine.error_count()), 0);
}

#[test]
fn peers_are_admitted_through_the_shared_machine() {
    let mut rig = server(Plan::ONE);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let driver = Counter::new(rig.guard());
    rig.turn();
    assert!(crate::driver::poll_work(&rig, &driver).is_pending());
    let token = rig.shared.run(|machine, now| machine.accept(now, address)).unwrap();
    assert_eq!((rig.stats().handshaking, driver.wakes()), (1, 1));
    let mut attempt = Attempt::handshake(&rig.shared, token);
    let id = attempt.admit(None).unwrap();
    assert_eq!(
        rig.shared.run(|machine, now| machine.accept(now, address)),
        Err(Rejected::CapacityReached { limit: 1 })
    );
    attempt.established(rig.book.open(), None);
    assert_eq!(rig.by_id(id).take().id(), id);
    rig.close();
    assert_eq!(
        rig.shared.run(|machine, now| machine.accept(now, address)),
        Err(Rejected::PoolClosed)
    );
}

#[test]
fn waiters_are_refused_when_the_listener_ends() {
    let rig = server(Plan::ONE);
    let (any, stock) = (rig.any(), rig.stock());
    any.queue();
    stock.queue();
    rig.shared.event(Event::AcceptEnded);
    assert_eq!((any.wakes(), stock.wakes()), (1, 1));
    assert_eq!(any.fail(), Refusal::AcceptEnded.into());
    assert_eq!(stock.fail(), Refusal::AcceptEnded.into());
}
