//! Too many threads for every order: callers and a driver that block, in random orders. A wake-up that
//! is lost leaves a thread asleep for ever, which the checker finds: time does not pass, so no timeout
//! can hide it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pool_driver::shared::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};

use crate::world::{Answer, Machine, World};

const NO_END: Duration = Duration::MAX;
const CALLERS: usize = 3;
const ROUNDS: usize = 2;

/// The driver on a thread of its own, until the pool is closed. Each dial succeeds at once.
fn drive(world: &World, shared: &Arc<Machine>) {
    while !world.book().driver.has_ended {
        world.drive(shared, 1);
        while let Some(dialled) = world.dial() {
            world.establish(dialled);
        }
        let mut work = poll_fn(|cx| shared.poll_work(cx));
        let _ = block_on(&mut work, &world.clock, NO_END);
    }
}

/// A caller that acquires, and puts back, drops or gives up.
fn call(world: &World, shared: &Arc<Machine>, caller: usize) {
    for round in 0..ROUNDS {
        if (caller + round).is_multiple_of(3) {
            // Gives up after the first look.
            if let Answer::Leased(lease) = world.acquire(shared, None) {
                world.release(&lease);
                lease.put(shared).expect("the pool is open");
            }
            continue;
        }
        let mut acquire = shared.acquire();
        let Poll::Ready(Ok(lease)) = block_on(&mut acquire, &world.clock, NO_END) else {
            panic!("the pool is open")
        };
        world.enter(&lease);
        world.release(&lease);
        if (caller + round).is_multiple_of(2) {
            lease.put(shared).expect("the pool is open");
        }
    }
}

/// The action of a thread.
type Act = Box<dyn FnOnce(&World, &Arc<Machine>) + Send>;

fn play() {
    let world = World::new(2, Duration::ZERO, false);
    let shared = world.shared().unwrap();
    let start = |act: Act| {
        let (world, shared) = (Arc::clone(&world), Arc::clone(&shared));
        shuttle::thread::spawn(move || act(&world, &shared))
    };
    let driver = start(Box::new(drive));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| start(Box::new(move |world, shared| call(world, shared, caller))))
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let stats = shared.stats();
    assert_eq!((stats.leased, stats.waiters), (0, 0), "{stats:?}");
    shared.run(|machine, now| machine.close(now));
    driver.join().unwrap();
    drop(shared);
    world.drop_handle();
    world.book().dials.clear();
    assert!(world.machine.upgrade().is_none(), "something still refers to the pool");
    assert!(world.book().accounts.iter().all(|account| account.wire.drops() == 1));
}

fn run(scheduler: impl Scheduler + 'static) {
    shuttle::Runner::new(scheduler, crate::config()).run(play);
}

/// Orders are drawn from this seed, so that a failure comes again.
const SEED: u64 = 4711;

#[test]
fn crowd_in_random_orders() {
    run(RandomScheduler::new_from_seed(SEED, 5_000));
}

/// The scheduler of Burckhardt and others, 2010: priorities, which change at a few points.
#[test]
fn crowd_with_few_changes_of_priority() {
    for depth in 2..=4 {
        run(PctScheduler::new_from_seed(SEED, depth, 2_000));
    }
}
