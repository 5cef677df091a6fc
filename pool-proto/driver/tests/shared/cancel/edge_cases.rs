//! Drops and panics beside the matrix: wakers that own other objects, and events during a check.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use pool_driver::shared::ReadinessWaker;
use pool_proto::{CheckResult, Dialing};

use crate::rig::{Counter, Guard, Plan, Rig, Side, Task, client, filled, id, secs};

/// A waker that counts its last drop, like the waker of a task without other references.
struct CountsDrops {
    guard: Guard,
    drops: Arc<AtomicU32>,
}

impl CountsDrops {
    fn waker(guard: Guard) -> (Waker, Arc<AtomicU32>) {
        let drops = Arc::new(AtomicU32::new(0));
        let waker = Waker::from(Arc::new(Self { guard, drops: Arc::clone(&drops) }));
        (waker, drops)
    }
}

impl Wake for CountsDrops {
    fn wake(self: Arc<Self>) {}
}

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.guard.assert_unlocked("a waker's drop");
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a task with a waker whose only reference is then in the shared machine.
fn queue_counting_drops<R: Side>(task: &Task<R>, guard: Guard) -> Arc<AtomicU32> {
    let (waker, drops) = CountsDrops::waker(guard);
    assert!(task.poll_with(&waker).is_pending());
    drop(waker);
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drops
}

#[test]
fn the_waker_of_a_dropped_acquire_is_dropped_outside_the_mutex() {
    let rig = client(Plan::ONE);
    for task in [rig.any(), rig.by_id(id(5)), rig.stock()] {
        let drops = queue_counting_drops(&task, rig.guard());
        task.cancel();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_replaced_waker_is_dropped_outside_the_mutex_and_not_woken() {
    let mut rig = client(Plan::ONE);
    for task in [rig.any(), rig.stock()] {
        let drops = queue_counting_drops(&task, rig.guard());
        task.queue();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        task.cancel();
    }
    let task = rig.any();
    let former = Counter::new(rig.guard());
    assert!(task.poll_as(&former).is_pending());
    task.queue();
    rig.connect();
    assert_eq!((former.wakes(), task.wakes()), (0, 1));
}

#[test]
fn the_waker_of_an_expired_acquire_is_dropped_outside_the_mutex() {
    let rig = client(Plan::ONE);
    for task in [rig.any(), rig.stock()] {
        let drops = queue_counting_drops(&task, rig.guard());
        task.expire();
        task.fail();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_wakers_of_a_closed_pool_are_dropped_outside_the_mutex() {
    let mut rig = client(Plan::ONE);
    let tasks = [rig.any(), rig.stock(), rig.any()];
    let drops = tasks.each_ref().map(|task| queue_counting_drops(task, rig.guard()));
    rig.close();
    assert_eq!(drops.map(|drops| drops.load(Ordering::SeqCst)), [1; 3]);
}

#[test]
fn the_drivers_former_waker_is_dropped_outside_the_mutex() {
    let (rig, _) = filled(Plan::ONE);
    let (waker, drops) = CountsDrops::waker(rig.guard());
    assert!(rig.shared.poll_work(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert!(rig.shared.poll_work(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_waker_that_owns_another_acquire_drops_it_without_a_deadlock() {
    struct Owner(Mutex<Option<Task<Dialing>>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            // Like a task that ends when it is woken.
            let task = self.0.lock().unwrap().take();
            drop(task);
        }
    }
    let mut rig = client(Plan::ONE);
    let (outer, owned, rival) = (rig.any(), rig.any(), rig.any());
    outer.queue();
    owned.queue();
    rival.queue();
    let counter = Arc::clone(&rival.counter);
    let waker = Waker::from(Arc::new(Owner(Mutex::new(Some(owned)))));
    assert!(outer.poll_with(&waker).is_pending());
    drop(waker);
    rig.connect();
    assert_eq!(rig.stats().waiters, 1, "the owned acquire was dropped");
    outer.cancel();
    assert_eq!(counter.wakes(), 1);
    drop(rival.take());
}

#[test]
fn a_second_poll_keeps_one_waker_and_one_place_in_the_queue() {
    let rig = client(Plan::ONE);
    let task = rig.any();
    task.queue();
    task.queue();
    assert_eq!((task.counter.wakers(), rig.stats().waiters), (1, 1));
}

/// Makes the next check of a connection panic.
fn panic_at_next_check(rig: &Rig<Dialing>, number: usize) {
    rig.book.during_next_check(number, || resume_unwind(Box::new("intended panic in a check")));
}

#[test]
fn a_panic_in_the_check_of_an_acquire_ends_that_connection_only() {
    let (mut rig, conns) = filled(Plan::ONE);
    panic_at_next_check(&rig, conns[0].number);
    let task = rig.any();
    assert!(catch_unwind(AssertUnwindSafe(|| task.poll())).is_err());
    let stats = rig.stats();
    assert_eq!((stats.leased, stats.totals.released), (0, 1));
    rig.assert_accounted(0, 0, "after the panic");
    rig.connect();
    assert_eq!(rig.stats().idle, 1);
}

#[test]
fn a_panic_in_a_check_drops_the_connection_before_its_lease_ends() {
    let (rig, conns) = filled(Plan::ONE);
    let (shared, leased) = (Arc::clone(&rig.shared), Arc::new(AtomicU32::new(0)));
    let seen = Arc::clone(&leased);
    rig.book.during_drop(conns[0].number, move || {
        seen.store(shared.stats().leased, Ordering::SeqCst);
    });
    panic_at_next_check(&rig, conns[0].number);
    let task = rig.any();
    assert!(catch_unwind(AssertUnwindSafe(|| task.poll())).is_err());
    assert_eq!(leased.load(Ordering::SeqCst), 1, "still leased at the drop");
    assert_eq!(rig.stats().leased, 0);
}

#[test]
fn a_panic_in_the_drain_of_a_put_ends_that_connection_only() {
    let (mut rig, conns) = filled(Plan::ONE);
    let leased = rig.any().take();
    panic_at_next_check(&rig, conns[0].number);
    assert!(catch_unwind(AssertUnwindSafe(|| leased.put(&rig.shared))).is_err());
    let stats = rig.stats();
    assert_eq!((stats.leased, stats.totals.released), (0, 1));
    rig.assert_accounted(0, 0, "after the panic");
    rig.connect();
}

#[test]
fn a_panic_in_the_check_after_a_wake_is_cleaned_up_by_the_drain_timeout() {
    let (mut rig, conns) = filled(Plan::ONE);
    panic_at_next_check(&rig, conns[0].number);
    Waker::from(ReadinessWaker::new(&rig.shared, conns[0].token)).wake();
    assert!(catch_unwind(AssertUnwindSafe(|| rig.turn())).is_err());
    assert_eq!(rig.stats().returning, 1);
    rig.pass(secs(1));
    let stats = rig.stats();
    assert_eq!((stats.returning, stats.totals.drain_timeouts), (0, 1));
    rig.assert_accounted(0, 0, "after the panic");
}

#[test]
fn a_panic_under_the_mutex_leaves_the_pool_usable() {
    let (rig, conns) = filled(Plan::ONE);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        rig.shared.run(|_, _| resume_unwind(Box::new("intended panic of the user")));
    }));
    assert!(panicked.is_err());
    let leased = rig.any().take();
    assert_eq!(leased.id(), conns[0].id);
    leased.put(&rig.shared).unwrap();
    assert_eq!(rig.stats().idle, 1);
}

/// Runs `act` while the driver checks the only connection of a pool.
fn during_a_check(
    result: CheckResult,
    act: impl FnOnce(&Task<Dialing>) + Send + 'static,
) -> (Rig<Dialing>, Arc<Task<Dialing>>) {
    let (mut rig, conns) = filled(Plan::ONE);
    let task = Arc::new(rig.by_id(conns[0].id));
    let inside = Arc::clone(&task);
    rig.book.during_next_check(conns[0].number, move || act(&inside));
    rig.book.next_check(conns[0].number, result);
    Waker::from(ReadinessWaker::new(&rig.shared, conns[0].token)).wake();
    rig.turn();
    (rig, task)
}

#[test]
fn an_expired_acquire_by_id_waits_for_the_check_in_progress() {
    let (rig, task) = during_a_check(CheckResult::Quiet, |task| {
        task.expire();
        task.queue();
    });
    assert_eq!(task.wakes(), 1);
    drop(task.take());
    assert_eq!(rig.stats().totals.cancelled, 0);
}

#[test]
fn an_expired_acquire_by_id_gets_the_connection_that_the_check_finds_closed() {
    let (rig, task) = during_a_check(CheckResult::Closed, |task| {
        task.expire();
        task.queue();
    });
    assert_eq!(task.wakes(), 1);
    drop(task.take());
    assert_eq!(rig.stats().totals.cancelled, 0);
}

#[test]
fn an_acquire_dropped_during_a_check_leaves_the_connection_in_the_pool() {
    let (mut rig, task) = during_a_check(CheckResult::Quiet, |task| {
        task.queue();
        task.cancel();
    });
    assert_eq!((task.wakes(), task.counter.wakers()), (0, 0));
    assert_eq!((rig.stats().idle, rig.stats().totals.cancelled), (1, 1));
    rig.assert_accounted(0, 0, "after the check");
}

#[test]
fn a_waker_belongs_to_its_waiter_and_not_to_a_reused_slot() {
    let mut rig = client(Plan::ONE);
    let first = rig.any();
    first.queue();
    first.cancel();
    let second = rig.any();
    second.queue();
    rig.connect();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    drop(second.take());
}
