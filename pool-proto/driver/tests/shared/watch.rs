//! The waker that a connection leaves with its reactor.

use std::sync::Arc;
use std::task::Wake;

use pool_driver::shared::ReadinessWaker;
use pool_proto::{CheckResult, CloseReason};

use crate::rig::{Conn, Counter, Plan, Rig, Side, filled, server};

fn watch<R: Side>(rig: &Rig<R>, conn: Conn) -> Arc<ReadinessWaker> {
    ReadinessWaker::new(&rig.shared, conn.token)
}

#[test]
fn a_wake_has_the_next_turn_look_at_the_connection_once() {
    let (mut rig, conns) = filled(Plan::ONE);
    let checked = rig.book.checked(0);
    watch(&rig, conns[0]).wake();
    assert_eq!(rig.book.checked(0), checked, "it is not the reactor that looks");
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
    watch(&rig, conns[0]).wake_by_ref();
    watch(&rig, conns[1]).wake();
    assert_eq!((driver.wakes(), driver.wakers()), (1, 0));
}

#[test]
fn each_connection_that_woke_is_looked_at() {
    let (mut rig, conns) = filled(Plan::of(3));
    watch(&rig, conns[0]).wake();
    watch(&rig, conns[2]).wake();
    rig.turn();
    assert_eq!([0, 1, 2].map(|number| rig.book.checked(number)), [2, 1, 2]);
}

#[test]
fn what_wakes_during_a_turn_is_looked_at_in_the_next() {
    let (mut rig, conns) = filled(Plan::of(2));
    let second = watch(&rig, conns[1]);
    rig.book.during_next_look(0, move || second.wake());
    watch(&rig, conns[0]).wake();
    rig.turn();
    assert_eq!([0, 1].map(|number| rig.book.checked(number)), [2, 1]);
    let driver = Counter::new(rig.guard());
    assert!(crate::driver::poll_work(&rig, &driver).is_ready(), "there is another to look at");
    rig.turn();
    assert_eq!([0, 1].map(|number| rig.book.checked(number)), [2, 2]);
}

#[test]
fn a_look_that_finds_the_end_closes_the_connection() {
    let (mut rig, conns) = filled(Plan::ONE);
    rig.book.next_check(0, CheckResult::Closed);
    watch(&rig, conns[0]).wake();
    rig.turn();
    rig.turn();
    assert_eq!(rig.book.reason(0), Some(CloseReason::PeerClosed));
}

#[test]
fn a_look_that_finds_data_keeps_the_connection_for_who_asks_by_id() {
    let mut rig = server(Plan::ONE);
    let conn = rig.bring();
    rig.book.next_check(0, CheckResult::Data);
    watch(&rig, conn).wake();
    rig.turn();
    assert_eq!((rig.stats().idle, rig.stats().claimed), (0, 1));
    let any = rig.any();
    any.queue();
    assert_eq!(rig.by_id(conn.id).take().id(), conn.id);
}

#[test]
fn a_leased_connection_is_not_looked_at_until_it_is_back() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    let checked = rig.book.checked(0);
    watch(&rig, conns[0]).wake();
    rig.turn();
    assert_eq!(rig.book.checked(0), checked);
    leased.put(&rig.shared).unwrap();
    assert_eq!(rig.book.checked(0), checked + 1);
    assert_eq!(rig.stats().idle, 1);
}

#[test]
fn a_wake_for_a_connection_that_has_ended_is_only_stale() {
    let (mut rig, conns) = filled(Plan::ONE);
    rig.flush();
    rig.turn();
    let (checked, stale) = (rig.book.checked(0), rig.stats().totals.stale_events);
    watch(&rig, conns[0]).wake();
    rig.turn();
    assert_eq!((rig.book.checked(0), rig.stats().totals.stale_events), (checked, stale + 1));
}

#[test]
fn a_watch_does_not_keep_the_pool_and_does_nothing_after_it() {
    let (rig, conns) = filled(Plan::ONE);
    let watch = watch(&rig, conns[0]);
    watch.arm();
    rig.end("watched");
    watch.wake_by_ref();
    assert!(!watch.is_armed());
}

#[test]
fn it_is_armed_until_it_is_disarmed_or_woken() {
    let (rig, conns) = filled(Plan::ONE);
    let watch = watch(&rig, conns[0]);
    assert!(!watch.is_armed());
    watch.arm();
    assert!(watch.is_armed());
    watch.disarm();
    assert!(!watch.is_armed());
    watch.arm();
    watch.wake_by_ref();
    assert!(!watch.is_armed());
}
