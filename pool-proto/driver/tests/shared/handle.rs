//! What a user can do with a pool without waiting.

use std::sync::Arc;

use pool_driver::shared::Handle;
use pool_proto::Role;

use crate::rig::{Fake, Plan, Rig, Side, client, filled, ms, server};

fn handle<R: Side + Role>(rig: &Rig<R>) -> Handle<Fake, R> {
    Handle::new(Arc::clone(&rig.shared))
}

#[test]
fn it_tells_how_much_is_ready() {
    let mut rig = client(Plan::of(3));
    let pool = handle(&rig);
    assert_eq!((pool.is_ready(), pool.idle(), pool.capacity()), (false, 0, 3));
    for ready in 1..=3 {
        rig.bring();
        assert_eq!((pool.is_ready(), pool.idle()), (true, ready));
    }
    let _held = rig.any().take();
    assert_eq!((pool.is_ready(), pool.idle(), pool.stats().leased), (true, 2, 1));
    assert_eq!(pool.stats(), rig.stats());
}

#[test]
fn it_tells_its_pace() {
    assert_eq!(handle(&client(Plan::ONE)).interval(), ms(100));
    assert_eq!(handle(&server(Plan::of(7))).interval(), ms(0));
    assert_eq!(handle(&server(Plan::of(7))).capacity(), 7);
}

#[test]
fn cleaning_closes_what_is_idle_and_counts_it() {
    let (mut rig, _) = filled(Plan::of(3));
    let pool = handle(&rig);
    let leased = rig.any().take();
    assert_eq!(pool.clean(), 2);
    rig.turn();
    assert_eq!((rig.book.open_count(), rig.aborted.len()), (1, 0));
    leased.put(&rig.shared).unwrap();
    assert_eq!(rig.stats().totals.cleaned, 2);
}

#[test]
fn flushing_ends_everything_and_counts_it() {
    let (mut rig, _) = filled(Plan::of(3));
    let pool = handle(&rig);
    let leased = rig.any().take();
    assert_eq!(pool.flush(), 3);
    rig.turn();
    assert_eq!((rig.book.open_count(), rig.aborted.len()), (1, 1), "the held one is open yet");
    leased.put(&rig.shared).unwrap_err();
    assert!(!pool.is_closed());
}

#[test]
fn closing_ends_the_pool() {
    let (mut rig, _) = filled(Plan::of(2));
    let pool = handle(&rig);
    assert!(!pool.is_closed());
    pool.close();
    assert!(pool.is_closed());
    rig.turn();
    assert_eq!(rig.book.open_count(), 0);
    pool.close();
    assert!(pool.is_closed());
}

#[test]
fn it_tells_the_last_failure() {
    let rig = client(Plan::ONE);
    let pool = handle(&rig);
    assert_eq!(pool.last_failure(), None);
    rig.shared.note_failure(&"no route");
    assert_eq!(pool.last_failure().as_deref(), Some("no route"));
}

#[test]
fn it_keeps_the_users_count_of_errors() {
    let pool = handle(&server(Plan::ONE));
    assert_eq!(pool.error_count(), 0);
    for count in 1..=3 {
        pool.add_error();
        assert_eq!(pool.error_count(), count);
    }
    pool.reset_error();
    assert_eq!(pool.error_count(), 0);
}

#[test]
fn its_debug_text_shows_the_numbers() {
    let (rig, _) = filled(Plan::of(2));
    let text = format!("{:?}", handle(&rig));
    assert!(text.starts_with("Pool { stats: Stats {") && text.contains("idle: 2"), "{text}");
}
