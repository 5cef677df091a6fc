//! A stress test: threads take, put, drop and cancel as fast as they can, with a driver on its own
//! thread. A lost wake lets a wait reach its deadline, which fails the test.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use pool_driver::shared::{Attempt, Command, SharedMachine, block_on};
use pool_proto::{Dialing, Token};

use crate::rig::{Book, Fake, ManualClock, Plan, client, id, ms, secs};

/// The deadline of a wait, which is reached only if a wake is lost.
const LONG: Duration = secs(15);
const USERS: usize = 3;
const ROUNDS: u32 = 700;

type PoolMachine = SharedMachine<Fake, Dialing>;

/// A driver on its own thread.
struct Driver {
    shared: Arc<PoolMachine>,
    book: Arc<Book>,
    ids: u32,
    aborted: HashSet<Token>,
}

impl Driver {
    /// Establishes every dial at once, until the pool is closed.
    fn run(mut self) {
        while !self.shared.is_closed() {
            self.turn();
            let mut work = poll_fn(|cx| self.shared.poll_work(cx));
            if block_on(&mut work, &ManualClock::default(), ms(1)).is_pending() {
                self.end_backoff();
            }
        }
        // Close the connections that were closed after the last turn.
        self.shared.end();
        self.turn();
    }

    fn turn(&mut self) {
        let mut commands = Vec::new();
        while self.shared.turn(&mut commands).is_full {}
        for command in commands {
            match command {
                Command::Dial { token } => self.dial(token),
                Command::Close { connection, reason } => self.book.close(connection, reason),
                Command::Abort { token, .. } => {
                    assert!(self.aborted.insert(token), "{token:?} was aborted twice");
                }
                Command::Interrupt { .. } => {}
            }
        }
    }

    /// Carries out a dial; every thirteenth fails.
    fn dial(&mut self, token: Token) {
        self.ids += 1;
        let mut attempt = Attempt::dial(&self.shared, token);
        if !self.ids.is_multiple_of(13) {
            attempt.dialed();
            attempt.established(self.book.open(), Some(id(self.ids)));
        }
    }

    /// Ends the backoff, whose deadline is never reached because the clock stands still.
    fn end_backoff(&self) {
        self.shared.run(|machine, _| {
            if let Some(due) = machine.poll_timeout()
                && machine.stats().failures_in_a_row > 0
            {
                machine.handle_timeout(due);
            }
        });
    }
}

/// Runs a user; returns the number of connections that it took.
fn run_user(shared: &Arc<PoolMachine>, user: usize) -> u64 {
    let clock = ManualClock::default();
    let mut random = fastrand::Rng::with_seed(user as u64);
    let mut taken = 0;
    for round in 0..ROUNDS {
        let mut acquire = shared.acquire();
        if random.u8(0..3) == 0 {
            // Poll once, then cancel.
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut acquire).poll(&mut cx) {
                Poll::Ready(leased) => {
                    taken += 1;
                    drop(leased.unwrap());
                }
                Poll::Pending => drop(acquire),
            }
            continue;
        }
        let Poll::Ready(leased) = block_on(&mut acquire, &clock, LONG) else {
            panic!("user {user} was not woken in round {round}: {:?}", shared.stats());
        };
        taken += 1;
        let leased = leased.unwrap();
        if random.u8(0..8) != 0 {
            leased.put(shared).unwrap();
        }
    }
    taken
}

#[test]
fn threads_that_take_put_and_cancel_lose_nothing() {
    let rig = client(Plan { max_connections: 3, ..Plan::of(2) });
    let (shared, book) = (Arc::clone(&rig.shared), Arc::clone(&rig.book));
    let driver = Driver { shared, book, ids: 0, aborted: HashSet::new() };
    let driver = thread::spawn(move || driver.run());
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let shared = Arc::clone(&rig.shared);
            thread::spawn(move || run_user(&shared, user))
        })
        .collect();
    let taken: u64 = users.into_iter().map(|user| user.join().unwrap()).sum();
    let stats = rig.stats();
    assert_eq!((stats.leased, stats.waiters), (0, 0), "{stats:?}");
    assert_eq!(stats.totals.leases, taken);
    rig.shared.run(|machine, now| machine.close(now));
    driver.join().unwrap();
    assert_eq!(rig.book.open_count(), 0);
    rig.end("after the threads");
}
