//! The threads: each does one thing to the pool.

use std::sync::Arc;
use std::time::Duration;

use pool_driver::shared::AcquireError;
use pool_proto::Refusal;

use crate::scheduler::quietly;
use crate::world::{Answer, Machine, Waiter, World, id};

/// The act of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    /// Acquires any connection.
    Acquire,
    /// Acquires a connection by its id.
    ById,
    /// Polls a waiter again, with another waker.
    Repoll,
    /// Drops the future of a waiter.
    Cancel,
    /// Polls a waiter whose deadline has passed.
    Expire,
    Put,
    /// Drops a lease.
    Drop,
    /// Reports the success of a dial.
    Establish,
    /// The peer of a connection closes it, and the reactor reports that.
    PeerCloses,
    /// The reactor reports readiness in vain; then the peer sends.
    Readable,
    /// The driver takes its turns and sleeps.
    Drive,
    Flush,
    Close,
    ShutDown,
    /// Drops a handle of the pool, perhaps the last one.
    DropHandle,
}

impl Op {
    pub(crate) const ALL: [Self; 15] = [
        Self::Acquire,
        Self::ById,
        Self::Repoll,
        Self::Cancel,
        Self::Expire,
        Self::Put,
        Self::Drop,
        Self::Establish,
        Self::PeerCloses,
        Self::Readable,
        Self::Drive,
        Self::Flush,
        Self::Close,
        Self::ShutDown,
        Self::DropHandle,
    ];

    const fn needs_lease(self) -> bool {
        matches!(self, Self::Put | Self::Drop)
    }

    const fn needs_waiter(self) -> bool {
        matches!(self, Self::Repoll | Self::Cancel | Self::Expire)
    }

    const fn ends_the_pool(self) -> bool {
        matches!(self, Self::Close | Self::ShutDown)
    }
}

/// The pool at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stock {
    /// No connection is idle. Waiters want any.
    Empty,
    /// A connection is idle. Waiters want one that is in use.
    One,
    /// No connection is idle, and one that is put back rests: each put brings a deadline.
    Resting,
}

impl Stock {
    pub(crate) const ALL: [Self; 3] = [Self::Empty, Self::One, Self::Resting];
}

/// The time for which connections rest.
pub(crate) const REST: Duration = Duration::from_millis(50);

/// A pool, and threads that begin at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) stock: Stock,
    pub(crate) ops: Vec<Op>,
}

impl Scene {
    fn count(&self, is_meant: impl Fn(Op) -> bool) -> u32 {
        u32::try_from(self.ops.iter().filter(|op| is_meant(**op)).count()).unwrap()
    }

    pub(crate) fn ends_the_pool(&self) -> bool {
        self.ops.iter().any(|op| op.ends_the_pool())
    }

    /// A pool has one driver, a thread of the network needs a connection that is there at the start, and
    /// a connection rests after a put.
    pub(crate) fn can_be(&self) -> bool {
        if self.count(|op| op == Op::Drive) > 1 {
            return false;
        }
        if self.stock == Stock::Resting && !self.ops.contains(&Op::Put) {
            return false;
        }
        let network = self.count(|op| matches!(op, Op::PeerCloses | Op::Readable));
        network == 0 || self.leases() > 0 || self.stock == Stock::One
    }

    /// The leases at the start: one for each thread that ends one, and one that stays where leases are
    /// revoked.
    fn leases(&self) -> u32 {
        let stays = self.count(|op| matches!(op, Op::Flush | Op::Close)) > 0;
        self.count(Op::needs_lease) + u32::from(stays)
    }

    /// Prepares the pool. The leased connections come first, then the idle one, then those of dials.
    pub(crate) fn world(&self) -> Arc<World> {
        let leases = self.leases();
        let idle = u32::from(self.stock == Stock::One);
        let dials = self.count(|op| op == Op::Establish);
        let reuse_delay = if self.stock == Stock::Resting { REST } else { Duration::ZERO };
        let world = World::new((leases + idle + dials).max(1), reuse_delay, self.ops.len() < 3);
        let shared = world.shared().unwrap();
        world.drive(&shared, usize::MAX);
        for _ in 0..leases + idle {
            let dialled = world.dial().expect("the pool has begun to dial");
            world.establish(dialled);
        }
        for number in 0..leases {
            let Answer::Leased(lease) = world.acquire(&shared, Some(id(number))) else {
                panic!("the connection is idle")
            };
            world.book().leases.push_back(lease);
        }
        for _ in 0..dials {
            let dialled = world.dial().expect("the pool has begun to dial");
            world.book().dialled.push_back(dialled);
        }
        // The first leased connection, or else the first that is dialled.
        let wanted = (self.stock == Stock::One).then(|| id(if leases > 0 { 0 } else { idle }));
        for _ in 0..self.count(Op::needs_waiter) {
            match world.acquire(&shared, wanted) {
                Answer::Waits(waiter) => world.book().waiters.push_back(waiter),
                _ => panic!("there is nothing for it"),
            }
        }
        world.drive(&shared, usize::MAX);
        world
    }

    /// The connection that the network acts on, and an acquire by id wants: the idle one, or else the first.
    fn subject(&self) -> u32 {
        if self.stock == Stock::One { self.leases() } else { 0 }
    }

    pub(crate) fn run(&self, op: Op, world: &World, shared: Arc<Machine>) {
        let subject = self.subject();
        let wire = || Arc::clone(&world.book().accounts[subject as usize].wire);
        match op {
            Op::Acquire => self.keep(world, world.acquire(&shared, None)),
            Op::ById => {
                let answer = world.acquire(&shared, Some(id(subject)));
                self.keep(world, answer);
            }
            Op::Repoll => {
                let waiter = take_waiter(world);
                self.keep(world, world.poll(waiter));
            }
            Op::Cancel => drop(take_waiter(world)),
            Op::Expire => {
                let mut waiter = take_waiter(world);
                waiter.expire();
                let answer = world.poll(waiter);
                assert!(!matches!(answer, Answer::Waits(_)), "it waits beyond its deadline");
                self.keep(world, answer);
            }
            Op::Put | Op::Drop => {
                let lease = world.book().leases.pop_front().expect("a lease");
                world.release(&lease);
                if op == Op::Drop {
                    drop(lease);
                } else if let Err(error) = lease.put(&shared) {
                    let may_fail = self.ends_the_pool() || self.ops.contains(&Op::Flush);
                    assert!(may_fail, "a put failed: {error}");
                }
            }
            Op::Establish => {
                let dialled = world.book().dialled.pop_front().expect("a dial");
                world.establish(dialled);
            }
            Op::PeerCloses => wire().end(),
            Op::Readable => {
                let wire = wire();
                wire.report();
                wire.send();
            }
            Op::Drive => world.drive(&shared, 3),
            Op::Flush => revoke(world, || {
                shared.run(|machine, now| machine.flush(now));
            }),
            Op::Close => revoke(world, || shared.run(|machine, now| machine.close(now))),
            Op::ShutDown => {
                let deadline = Duration::from_secs(1);
                shared.run(|machine, now| machine.graceful_shutdown(now, Some(now + deadline)));
            }
            Op::DropHandle => {
                drop(shared);
                world.drop_handle();
            }
        }
    }

    /// Keeps what an acquire has led to. An error needs a cause.
    pub(crate) fn keep(&self, world: &World, answer: Answer) {
        match answer {
            Answer::Waits(waiter) => world.book().waiters.push_back(waiter),
            Answer::Leased(lease) => world.book().leases.push_back(lease),
            Answer::Failed { error, by_id, is_expired } => match &error {
                AcquireError::Timeout { .. } => assert!(is_expired, "too early: {error}"),
                AcquireError::Refused(Refusal::PoolClosed | Refusal::ShuttingDown) => {
                    assert!(self.ends_the_pool(), "the pool is open, and yet: {error}");
                }
                _ => assert!(by_id, "there is a peer, and yet: {error}"),
            },
        }
    }
}

fn take_waiter(world: &World) -> Waiter {
    world.book().waiters.pop_front().expect("a waiter")
}

/// Runs a call that ends all leases. From its return on, older leases cannot be used.
fn revoke(world: &World, act: impl FnOnce()) {
    let held = world.book().held();
    act();
    let mut book = world.book();
    for (number, lease) in held {
        book.revoked_up_to = book.revoked_up_to.max(lease);
        let account = &book.accounts[number];
        // Unless its holder has given it back meanwhile.
        if account.lease == Some(lease)
            && let Some(socket) = account.socket.upgrade()
        {
            let reason = quietly(|| socket.revoked());
            assert!(reason.is_some(), "connection {number} is in use after its lease was ended");
        }
    }
}
