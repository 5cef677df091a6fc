//! The end of a scene: only waiters and a driver that were woken still act. Then everything must add up.

use std::sync::Arc;

use pool_driver::Clock as _;
use pool_driver::connection::Revoked;

use crate::ops::{REST, Scene, Stock};
use crate::wire::Now;
use crate::world::{Account, Answer, Lease, Machine, World};

/// More than any scene needs.
const ROUNDS: usize = 100;

/// Lets the woken ones act, until everybody sleeps.
fn settle(scene: &Scene, world: &World, shared: &Arc<Machine>) {
    for _ in 0..ROUNDS {
        let drives = world.driver_is_awake();
        if drives {
            world.drive(shared, ROUNDS);
        }
        let woken = {
            let mut book = world.book();
            let place = book.waiters.iter().position(|waiter| waiter.is_woken());
            place.and_then(|place| book.waiters.remove(place))
        };
        let is_over = !drives && woken.is_none();
        if let Some(waiter) = woken {
            let answer = world.poll(waiter);
            scene.keep(world, answer);
        }
        if is_over {
            return;
        }
    }
    panic!("driver and waiters keep each other awake");
}

/// Checks that the driver does not sleep while it has something to do.
fn assert_driver_sleeps_for_a_reason(world: &World, shared: &Arc<Machine>) {
    let calls = || world.book().accounts.iter().map(|account| account.wire.calls()).sum::<u32>();
    let (has_ended, due) = {
        let driver = &world.book().driver;
        (driver.has_ended, driver.due)
    };
    if !has_ended {
        let (before, mut commands) = (calls(), Vec::new());
        let turn = shared.turn(&mut commands);
        assert!(commands.is_empty(), "the driver sleeps, and misses {} commands", commands.len());
        assert!(!turn.is_full, "the driver sleeps, and there is more than one turn to do");
        assert_eq!(calls(), before, "the driver sleeps, and data wait to be noticed");
        let is_earlier = turn.due.is_some_and(|next| due.is_none_or(|due| next < due));
        assert!(!is_earlier, "the driver sleeps until {due:?}, and misses {:?}", turn.due);
    }
}

/// Checks that no waiter sleeps while a newcomer would be served in its place, and that the connections in
/// the pool can be acquired.
fn assert_waiters_sleep_for_a_reason(world: &World, shared: &Arc<Machine>) {
    let sleepers = world.book().waiters.len();
    for _ in 0..sleepers {
        let waiter = world.book().waiters.pop_front().expect("a waiter");
        let Answer::Waits(waiter) = world.poll(waiter) else {
            panic!("a waiter sleeps, and its outcome is there")
        };
        world.book().waiters.push_back(waiter);
    }
    let mut wishes: Vec<_> = world.book().waiters.iter().map(|waiter| waiter.id).collect();
    wishes.dedup();
    for id in wishes {
        let newcomer = world.acquire(shared, id);
        assert!(matches!(newcomer, Answer::Waits(_)), "a waiter sleeps while {id:?} can be had");
    }
    if shared.is_closed() || shared.is_shutting_down() {
        return;
    }
    let is_there = world.book().accounts.iter().any(|account| {
        let wire = &account.wire;
        account.is_established && account.lease.is_none() && wire.drops() == 0 && wire.is_unused()
    });
    if is_there {
        let Answer::Leased(lease) = world.acquire(shared, None) else {
            panic!("a connection is in the pool, and cannot be had: {:?}", shared.stats())
        };
        world.release(&lease);
        lease.put(shared).expect("a lease");
    }
}

/// Checks that a lease which was revoked cannot be read, and gives it back.
fn give_back(world: &World, shared: &Arc<Machine>, mut lease: Lease) {
    let is_revoked = {
        let mut book = world.book();
        let (serial, limit) = (book.account(&lease).lease, book.revoked_up_to);
        serial.is_some_and(|serial| serial <= limit)
    };
    if is_revoked {
        let is_cut = world.book().account(&lease).wire.is_cut();
        assert!(is_cut, "a call of the holder of a revoked lease would wait for ever");
        let error = lease.read(Now, &mut [0]).expect_err("the lease was revoked");
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Revoked>());
        assert!(cause.is_some(), "a revoked lease fails by {error}");
    }
    world.release(&lease);
    let put = lease.put(shared);
    assert!(!(is_revoked && put.is_ok()), "a revoked lease was put back");
}

/// Lets the network and all holders go on, until all waiters for any connection have had one.
fn serve_all(scene: &Scene, world: &World, shared: &Arc<Machine>) {
    for _ in 0..ROUNDS {
        let dialled = world.book().dialled.pop_front();
        if let Some(dialled) = dialled.or_else(|| world.dial()) {
            world.establish(dialled);
        } else if let Some(lease) = { world.book().leases.pop_front() } {
            give_back(world, shared, lease);
        } else if world.book().waiters.iter().any(|waiter| waiter.id.is_none()) {
            // A wait between dials, or a rest.
            let due = world.book().driver.due.expect("a waiter waits for nothing");
            world.clock.set(due);
        } else {
            return;
        }
        settle(scene, world, shared);
    }
    panic!("a waiter is never served: {:?}", shared.stats());
}

/// Waits for the deadline of a shutdown, as a connection that the peer has begun to use does.
fn end_claims(scene: &Scene, world: &World, shared: &Arc<Machine>) {
    for _ in 0..ROUNDS {
        if !shared.is_shutting_down() {
            return;
        }
        let due = world.book().driver.due.expect("the shutdown has a deadline");
        world.clock.set(due);
        settle(scene, world, shared);
    }
    panic!("the shutdown does not end");
}

/// All peers go away: the reactor wakes the driver, and each connection is noticed.
fn assert_readiness_is_noticed(scene: &Scene, world: &World, shared: &Arc<Machine>) {
    let wires: Vec<_> = {
        let book = world.book();
        let pooled = book.accounts.iter().filter(|account| account.wire.drops() == 0);
        pooled.map(|account| Arc::clone(&account.wire)).collect()
    };
    wires.iter().for_each(|wire| wire.end());
    settle(scene, world, shared);
    let idle = shared.stats().idle;
    assert_eq!(idle, 0, "connections whose peers are gone, and nobody has noticed");
}

pub(crate) fn finish(scene: &Scene, world: &World) {
    if let Some(shared) = world.shared() {
        settle(scene, world, &shared);
        assert_driver_sleeps_for_a_reason(world, &shared);
        if scene.stock == Stock::Resting {
            world.clock.set(world.clock.now() + REST);
            settle(scene, world, &shared);
        }
        assert_waiters_sleep_for_a_reason(world, &shared);
        settle(scene, world, &shared);
        serve_all(scene, world, &shared);
        end_claims(scene, world, &shared);
        if shared.is_closed() {
            assert!(world.book().driver.has_ended, "the driver outlives its pool");
        } else {
            assert!(!scene.ends_the_pool(), "the pool stays open");
            assert_readiness_is_noticed(scene, world, &shared);
        }
        expire_all(world);
        assert_eq!(shared.stats().waiters, 0, "waiters that nobody polls any more");
        if !world.book().driver.has_ended {
            shared.close_with_driver();
        }
        let book = world.book();
        let pooled = |account: &&Account| account.is_established && account.lease.is_none();
        let mut pooled = book.accounts.iter().filter(pooled);
        assert!(pooled.all(|account| account.wire.drops() == 1), "connections outlive the driver");
    }
    world.drop_handle();
    let (dials, dialled, leases, waiters) = {
        let mut book = world.book();
        let book = &mut *book;
        let (dials, dialled) = (std::mem::take(&mut book.dials), std::mem::take(&mut book.dialled));
        (dials, dialled, std::mem::take(&mut book.leases), std::mem::take(&mut book.waiters))
    };
    drop((dials, dialled, leases, waiters));
    assert!(world.machine.upgrade().is_none(), "something still refers to the pool");
    for account in &world.book().accounts {
        let (number, drops) = (account.wire.number, account.wire.drops());
        assert_eq!(drops, 1, "how often connection {number} was dropped");
    }
}

/// Waiters for an id that does not come get their answer at their deadline.
fn expire_all(world: &World) {
    loop {
        let Some(mut waiter) = ({ world.book().waiters.pop_front() }) else { return };
        waiter.expire();
        assert!(!matches!(world.poll(waiter), Answer::Waits(_)), "a waiter without an outcome");
    }
}
