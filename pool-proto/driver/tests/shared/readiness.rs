//! The waker that a connection registers with its reactor.

use std::sync::Arc;
use std::task::Wake;

use pool_driver::shared::ReadinessWaker;
use pool_proto::{CheckResult, CloseReason};

use crate::rig::{Conn, Counter, Plan, Rig, Side, client, filled, server};

fn readiness_waker<R: Side>(rig: &Rig<R>, conn: Conn) -> Arc<ReadinessWaker> {
    ReadinessWaker::new(&rig.shared, conn.token)
}

#[test]
fn the_next_turn_checks_a_readable_connection_once() {
    let (mut rig, conns) = filled(Plan::ONE);
    let checked = rig.book.checked(0);
    readiness_waker(&rig, conns[0]).wake();
    assert_eq!(rig.book.checked(0), checked, "the wake itself does not check");
    rig.turn();
    assert_eq!(rig.book.checked(0), checked + 1);
    rig.turn();
    assert_eq!(rig.book.checked(0), checked + 1);
    assert_eq!(rig.stats().idle, 1);
}

#[test]
fn two_wakes_wake_the_driver_once() {
    let (rig, conns) = filled(Plan::of(2));
    let driver = Counter::new(rig.guard());
    assert!(crate::driver::poll_work(&rig, &driver).is_pending());
    readiness_waker(&rig, conns[0]).wake_by_ref();
    readiness_waker(&rig, conns[1]).wake();
    assert_eq!((driver.wakes(), driver.wakers()), (1, 0));
}

#[test]
fn each_readable_connection_is_checked() {
    let (mut rig, conns) = filled(Plan::of(3));
    readiness_waker(&rig, conns[0]).wake();
    readiness_waker(&rig, conns[2]).wake();
    rig.turn();
    assert_eq!([0, 1, 2].map(|number| rig.book.checked(number)), [2, 1, 2]);
}

#[test]
fn a_wake_during_a_turn_is_handled_in_the_next() {
    let (mut rig, conns) = filled(Plan::of(2));
    let second = readiness_waker(&rig, conns[1]);
    rig.book.during_next_check(0, move || second.wake());
    readiness_waker(&rig, conns[0]).wake();
    rig.shared.turn(&mut Vec::new());
    assert_eq!([0, 1].map(|number| rig.book.checked(number)), [2, 1]);
    let driver = Counter::new(rig.guard());
    assert!(crate::driver::poll_work(&rig, &driver).is_ready(), "there is another one to check");
    rig.turn();
    assert_eq!([0, 1].map(|number| rig.book.checked(number)), [2, 2]);
}

#[test]
fn a_check_that_finds_eof_keeps_the_connection_for_its_id() {
    let (mut rig, conns) = filled(Plan::ONE);
    rig.book.next_check(0, CheckResult::Closed);
    readiness_waker(&rig, conns[0]).wake();
    rig.turn();
    rig.turn();
    assert_eq!((rig.stats().idle, rig.stats().finished), (0, 1));
    assert_eq!(rig.by_id(conns[0].id).take().id(), conns[0].id);
}

#[test]
fn without_ids_a_check_that_finds_eof_closes_the_connection() {
    let mut rig = client(Plan { ids: false, ..Plan::ONE });
    let conn = rig.connect();
    rig.book.next_check(0, CheckResult::Closed);
    readiness_waker(&rig, conn).wake();
    rig.turn();
    rig.turn();
    assert_eq!(rig.book.reason(0), Some(CloseReason::PeerClosed));
}

#[test]
fn a_check_that_finds_data_keeps_the_connection_for_its_id() {
    let mut rig = server(Plan::ONE);
    let conn = rig.connect();
    rig.book.next_check(0, CheckResult::Data);
    readiness_waker(&rig, conn).wake();
    rig.turn();
    assert_eq!((rig.stats().idle, rig.stats().claimed), (0, 1));
    let any = rig.any();
    any.queue();
    assert_eq!(rig.by_id(conn.id).take().id(), conn.id);
}

#[test]
fn a_leased_connection_is_not_checked_before_its_put() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    let checked = rig.book.checked(0);
    readiness_waker(&rig, conns[0]).wake();
    rig.turn();
    assert_eq!(rig.book.checked(0), checked);
    leased.put(&rig.shared).unwrap();
    assert_eq!(rig.book.checked(0), checked + 1);
    assert_eq!(rig.stats().idle, 1);
}

#[test]
fn a_wake_for_an_ended_connection_is_a_stale_event() {
    let (mut rig, conns) = filled(Plan::ONE);
    rig.flush();
    rig.turn();
    let (checked, stale) = (rig.book.checked(0), rig.stats().totals.stale_events);
    readiness_waker(&rig, conns[0]).wake();
    rig.turn();
    assert_eq!((rig.book.checked(0), rig.stats().totals.stale_events), (checked, stale + 1));
}

#[test]
fn a_readiness_waker_does_not_keep_the_pool_alive() {
    let (rig, conns) = filled(Plan::ONE);
    let readiness_waker = readiness_waker(&rig, conns[0]);
    readiness_waker.arm();
    rig.end("watched");
    readiness_waker.wake_by_ref();
    assert!(!readiness_waker.is_armed());
}

#[test]
fn a_readiness_waker_is_armed_until_it_is_disarmed_or_woken() {
    let (rig, conns) = filled(Plan::ONE);
    let readiness_waker = readiness_waker(&rig, conns[0]);
    assert!(!readiness_waker.is_armed());
    readiness_waker.arm();
    assert!(readiness_waker.is_armed());
    readiness_waker.disarm();
    assert!(!readiness_waker.is_armed());
    readiness_waker.arm();
    readiness_waker.wake_by_ref();
    assert!(!readiness_waker.is_armed());
}
