//! Leases: put back, dropped, or revoked by the pool.

use std::sync::{Arc, OnceLock, Weak};

use pool_driver::shared::{Interrupt, Revocation, Revoker};
use pool_proto::{CheckResult, CloseReason, PutError};

use crate::rig::{Plan, filled, ms, server};

#[test]
fn a_connection_put_back_is_drained_once_and_taken_again() {
    let (rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    assert_eq!(leased.id(), conns[0].id);
    assert_eq!(rig.book.drained(0), 0);
    leased.put(&rig.shared).unwrap();
    assert_eq!(rig.book.drained(0), 1);
    assert_eq!(rig.any().take().id(), conns[0].id);
    let totals = rig.stats().totals;
    assert_eq!((totals.put, totals.leases, totals.reused), (1, 2, 1));
}

#[test]
fn with_a_reuse_delay_a_connection_is_drained_after_it() {
    let (mut rig, _) = filled(Plan { reuse_delay: ms(50), ..Plan::ONE });
    rig.any().take().put(&rig.shared).unwrap();
    assert_eq!((rig.book.drained(0), rig.stats().returning), (0, 1));
    rig.pass(ms(49));
    assert_eq!((rig.book.drained(0), rig.stats().returning), (0, 1));
    rig.pass(ms(1));
    assert_eq!((rig.book.drained(0), rig.stats().idle), (1, 1));
}

#[test]
fn the_result_of_the_drain_decides_about_a_put() {
    for (result, reason) in
        [(CheckResult::Data, CloseReason::Leftover), (CheckResult::Closed, CloseReason::PeerClosed)]
    {
        for reuse_delay in [ms(0), ms(50)] {
            let (mut rig, _) = filled(Plan { reuse_delay, ..Plan::ONE });
            rig.book.next_drain(0, result);
            rig.any().take().put(&rig.shared).unwrap();
            rig.pass(reuse_delay);
            assert_eq!(rig.book.reason(0), Some(reason), "after {reuse_delay:?}");
            assert_eq!(rig.book.drained(0), 1);
        }
    }
}

#[test]
fn a_dropped_lease_is_closed_and_released() {
    let (rig, _) = filled(Plan::ONE);
    let leased = rig.any().take();
    assert!(rig.book.is_open(0));
    drop(leased);
    let stats = rig.stats();
    assert_eq!((stats.leased, stats.totals.released), (0, 1));
    assert!(!rig.book.is_open(0));
    assert_eq!(rig.book.reason(0), None, "the driver is not involved");
}

/// Otherwise another connection could be dialled while this one still has its descriptor.
#[test]
fn a_dropped_connection_is_closed_before_its_lease_ends() {
    let (rig, _) = filled(Plan::ONE);
    let leased = rig.any().take();
    let (shared, seen) = (Arc::clone(&rig.shared), Arc::new(OnceLock::new()));
    let at_drop = Arc::clone(&seen);
    rig.book.during_drop(0, move || at_drop.set(shared.stats().leased).unwrap());
    drop(leased);
    assert_eq!(seen.get(), Some(&1));
    assert_eq!(rig.stats().leased, 0);
}

#[test]
fn a_lease_lends_its_connection() {
    let (rig, _) = filled(Plan::ONE);
    let mut leased = rig.any().take();
    assert_eq!(leased.get().number(), 0);
    assert_eq!(leased.get_mut().number(), 0);
}

#[test]
fn the_debug_text_shows_id_and_token() {
    let (rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    let (id, token) = (conns[0].id, conns[0].token);
    assert_eq!(format!("{leased:?}"), format!("Leased {{ id: {id:?}, token: {token:?} }}"));
}

#[test]
fn a_leased_connection_is_not_handed_out_again() {
    let (rig, conns) = filled(Plan::ONE);
    let leased = rig.by_id(conns[0].id).take();
    let (any, by_id) = (rig.any(), rig.by_id(conns[0].id));
    any.queue();
    by_id.queue();
    leased.put(&rig.shared).unwrap();
    assert_eq!((by_id.wakes(), any.wakes()), (1, 0));
    by_id.take().put(&rig.shared).unwrap();
    assert_eq!((by_id.wakes(), any.wakes()), (1, 1));
    drop(any.take());
}

#[test]
fn a_flush_revokes_the_lease_and_refuses_its_put() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    assert_eq!(rig.flush(), 1);
    assert_eq!(rig.book.revoked(conns[0].number), Some(CloseReason::Flushed));
    rig.turn();
    assert!(rig.book.is_open(0), "only its holder can drop it");
    assert_eq!(leased.put(&rig.shared), Err(PutError::NotLeased));
    rig.turn();
    assert_eq!(rig.book.reason(0), Some(CloseReason::Stale));
    assert_eq!(rig.stats().totals.put_unknown, 1);
}

#[test]
fn a_lease_keeps_the_reason_of_its_own_end() {
    let (mut rig, _) = filled(Plan::ONE);
    let _former = rig.any().take();
    rig.flush();
    rig.connect();
    let later = rig.any().take();
    let second = later.get().number();
    assert_eq!((rig.book.revoked(0), rig.book.revoked(second)), (Some(CloseReason::Flushed), None));
    rig.close();
    let reasons = (rig.book.revoked(0), rig.book.revoked(second));
    assert_eq!(reasons, (Some(CloseReason::Flushed), Some(CloseReason::PoolClosed)));
}

#[test]
fn dropping_a_flushed_lease_is_a_stale_event() {
    let (mut rig, _) = filled(Plan::ONE);
    let leased = rig.any().take();
    rig.flush();
    let before = rig.stats().totals;
    drop(leased);
    let totals = rig.stats().totals;
    assert_eq!((totals.released, totals.stale_events), (0, before.stale_events + 1));
    rig.turn();
    assert_eq!(rig.book.reason(0), None);
}

#[test]
fn a_closed_pool_refuses_a_put() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    rig.close();
    assert_eq!(leased.put(&rig.shared), Err(PutError::PoolClosed));
    rig.turn();
    assert_eq!(rig.book.revoked(conns[0].number), Some(CloseReason::PoolClosed));
    assert_eq!(rig.book.reason(0), Some(CloseReason::PoolClosed));
}

#[test]
fn a_put_into_another_pool_closes_and_releases_the_lease() {
    let (rig, _) = filled(Plan::ONE);
    let (other, _) = filled(Plan::ONE);
    let leased = rig.any().take();
    assert_eq!(leased.put(&other.shared), Err(PutError::Foreign));
    assert_eq!((rig.book.drained(0), rig.book.is_open(0)), (0, false));
    let (home, there) = (rig.stats(), other.stats());
    assert_eq!((home.leased, home.totals.released, home.totals.put_unknown), (0, 1, 0));
    assert_eq!((there.idle, there.totals.put, there.totals.put_unknown), (1, 0, 1));
}

#[test]
fn a_put_into_a_pool_of_the_other_role_is_foreign() {
    let (rig, _) = filled(Plan::ONE);
    let mut other = server(Plan::ONE);
    other.connect();
    assert_eq!(rig.any().take().put(&other.shared), Err(PutError::Foreign));
    assert_eq!((rig.stats().leased, other.stats().idle), (0, 1));
}

#[test]
fn a_lease_may_outlive_all_handles_of_the_pool() {
    let (rig, _) = filled(Plan::ONE);
    let book = Arc::clone(&rig.book);
    let leased = rig.any().take();
    drop(rig);
    assert_eq!(book.open_count(), 1);
    drop(leased);
    assert_eq!(book.open_count(), 0);
    book.assert_sound("at the end");
}

#[test]
fn a_revoker_shows_whether_the_lease_is_revoked() {
    struct Holder;

    impl Interrupt for Holder {
        fn interrupt(&self) {}
    }

    let revoker = Revoker::new(Revocation::default(), Weak::<Holder>::new());
    assert_eq!(format!("{revoker:?}"), "Revoker(None)");
}
