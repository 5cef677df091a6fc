//! Random tests: a crowd of tasks joins, polls and is dropped, while connections are established and
//! end. No connection may be lost, and no task may sleep while it has a result.

use std::sync::Arc;
use std::task::{Poll, Waker};

use fastrand::Rng;
use pool_driver::shared::{Leased, ReadinessWaker};
use pool_proto::{Accepting, CheckResult, Dialing, Event, HandshakeFailure};

use crate::rig::{Conn, Fake, InFlight, Kind, Plan, Rig, Side, Task, id, ms};

const STEPS: u32 = 6000;
const RESULTS: [CheckResult; 4] =
    [CheckResult::Quiet, CheckResult::Quiet, CheckResult::Data, CheckResult::Closed];

struct Waiting<R: Side> {
    task: Task<R>,
    /// Its wakes at its last poll; `None` if it was never polled.
    asleep_since: Option<u32>,
}

struct Crowd<R: Side> {
    rig: Rig<R>,
    random: Rng,
    tasks: Vec<Waiting<R>>,
    leased: Vec<Leased<Fake>>,
    in_flight: Vec<InFlight<R>>,
    conns: Vec<Conn>,
    /// The numbers of dropped and of served tasks.
    outcomes: (u32, u32),
}

/// Removes a random element.
fn pick<T>(random: &mut Rng, from: &mut Vec<T>) -> Option<T> {
    let index = random.usize(0..from.len().max(1));
    (index < from.len()).then(|| from.swap_remove(index))
}

impl<R: Side> Crowd<R> {
    fn new(seed: u64) -> Self {
        let plan = Plan { max_connections: 8, max_lifetime: ms(20_000), ..Plan::of(5) };
        Self {
            rig: Rig::new(plan),
            random: Rng::with_seed(seed),
            tasks: Vec::new(),
            leased: Vec::new(),
            in_flight: Vec::new(),
            conns: Vec::new(),
            outcomes: (0, 0),
        }
    }

    fn some_conn(&self, random: &mut Rng) -> Option<Conn> {
        random.choice(&self.conns).copied()
    }

    fn join(&mut self, random: &mut Rng) {
        let kind = Kind::ALL[random.usize(0..3)];
        let id = self.some_conn(random).map_or(id(1), |conn| conn.id);
        let task = self.rig.task(kind, id);
        // Some are dropped without ever being polled.
        if random.u8(0..8) == 0 {
            self.tasks.push(Waiting { task, asleep_since: None });
        } else {
            self.look(Waiting { task, asleep_since: None });
        }
    }

    fn look(&mut self, waiting: Waiting<R>) {
        let Waiting { task, asleep_since } = waiting;
        match task.poll() {
            Poll::Pending => {
                let asleep_since = Some(task.wakes());
                self.tasks.push(Waiting { task, asleep_since });
            }
            Poll::Ready(taken) => {
                assert_ne!(
                    asleep_since,
                    Some(task.wakes()),
                    "the task had the result {taken:?}, and was not woken"
                );
                assert_eq!(task.counter.wakers(), 0, "wakers that were kept");
                self.outcomes.1 += 1;
                self.leased.extend(taken.ok().flatten());
            }
        }
    }

    fn step(&mut self) {
        let mut random = self.random.fork();
        match random.u8(0..20) {
            0..4 if self.tasks.len() < 24 => self.join(&mut random),
            4..6 => {
                if let Some(waiting) = pick(&mut random, &mut self.tasks) {
                    self.look(waiting);
                }
            }
            6..9 => {
                if let Some(Waiting { task, .. }) = pick(&mut random, &mut self.tasks) {
                    let wakes = task.wakes();
                    task.cancel();
                    assert_eq!((task.wakes(), task.counter.wakers()), (wakes, 0));
                    self.outcomes.0 += 1;
                }
            }
            9..12 => {
                if let Some(leased) = pick(&mut random, &mut self.leased) {
                    // Fails if the lease was flushed.
                    let _ = leased.put(&self.rig.shared);
                }
            }
            12 => drop(pick(&mut random, &mut self.leased)),
            13 | 14 => self.in_flight.extend(R::try_begin(&mut self.rig)),
            15 | 16 => self.arrive(&mut random),
            17 => self.make_readable(&mut random),
            18 => self.rig.pass(ms(random.u64(0..400))),
            _ => self.disturb(&mut random),
        }
    }

    fn arrive(&mut self, random: &mut Rng) {
        match pick(random, &mut self.in_flight) {
            Some(in_flight) if random.u8(0..8) == 0 => {
                in_flight.attempt.failed(HandshakeFailure::Id, &"by chance");
            }
            Some(in_flight) => {
                let conn = self.rig.establish(in_flight);
                self.conns.push(conn);
            }
            None => {}
        }
    }

    /// Determines the next checks of a connection, and perhaps wakes its readiness waker.
    fn make_readable(&mut self, random: &mut Rng) {
        let Some(conn) = self.some_conn(random) else { return };
        self.rig.book.next_check(conn.number, RESULTS[random.usize(0..4)]);
        self.rig.book.next_drain(conn.number, RESULTS[random.usize(0..4)]);
        if random.bool() {
            Waker::from(ReadinessWaker::new(&self.rig.shared, conn.token)).wake();
        }
    }

    fn disturb(&mut self, random: &mut Rng) {
        match random.u8(0..8) {
            0 => {
                self.rig.flush();
            }
            1 => {
                self.rig.shared.run(|machine, now| machine.clean(now));
            }
            _ => {
                if let Some(conn) = self.some_conn(random)
                    && self.leased.iter().all(|leased| leased.id() != conn.id)
                {
                    self.rig.shared.event(Event::Closed { token: conn.token });
                }
            }
        }
    }

    fn run(seed: u64) {
        let mut crowd = Self::new(seed);
        for step in 0..STEPS {
            crowd.step();
            if step % 16 == 0 {
                crowd.rig.turn();
                let stats = crowd.rig.stats();
                let pooled = stats.idle + stats.claimed + stats.finished;
                let known = pooled + stats.leased + stats.returning;
                assert_eq!(crowd.rig.book.open_count(), known + crowd.aborted(), "{stats:?}");
            }
        }
        crowd.leave();
    }

    /// Returns the number of leases that the pool has revoked.
    fn aborted(&self) -> u32 {
        let given_up = |leased: &&Leased<Fake>| {
            let number = leased.get().number();
            self.rig.book.revoked(number).is_some()
        };
        u32::try_from(self.leased.iter().filter(given_up).count()).unwrap()
    }

    fn leave(mut self) {
        println!("{}: dropped and served: {:?}", R::NAME, self.outcomes);
        assert!(self.outcomes.0 > 250 && self.outcomes.1 > 250, "{:?}", self.outcomes);
        for Waiting { task, .. } in self.tasks.drain(..) {
            task.cancel();
            assert_eq!(task.counter.wakers(), 0);
        }
        assert_eq!(self.rig.stats().waiters, 0);
        let aborted = self.aborted();
        let holding = u32::try_from(self.leased.len()).unwrap() - aborted;
        self.rig.turn();
        assert_eq!(self.rig.stats().leased, holding, "{:?}", self.rig.stats());
        for leased in self.leased.drain(..) {
            let _ = leased.put(&self.rig.shared);
        }
        self.rig.assert_accounted(0, 0, R::NAME);
        self.in_flight.clear();
        let book = Arc::clone(&self.rig.book);
        self.rig.close();
        self.rig.turn();
        assert_eq!(book.open_count(), 0, "connections that a closed pool keeps");
        self.rig.end(R::NAME);
    }
}

#[test]
fn a_crowd_of_tasks_at_a_client_loses_nothing() {
    (1..=3).for_each(Crowd::<Dialing>::run);
}

#[test]
fn a_crowd_of_tasks_at_a_server_loses_nothing() {
    (1..=3).for_each(Crowd::<Accepting>::run);
}
