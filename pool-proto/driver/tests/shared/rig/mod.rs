//! A test rig: a shared machine with a manual clock, fake connections, and a driver that takes its
//! turns on demand.

mod book;
mod guard;
mod side;
mod task;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use pool_driver::Clock;
use pool_driver::shared::{Attempt, Command, SharedMachine, Turn};
use pool_proto::{Accepting, CloseReason, ConnId, Dialing, Event, Instant, Stats, Token};

pub(crate) use book::{Book, Fake};
pub(crate) use guard::Guard;
pub(crate) use side::{InFlight, Plan, Side};
pub(crate) use task::{Counter, Kind, Taken, Task};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn id(number: u32) -> ConnId {
    ConnId::from_bytes(number.to_be_bytes())
}

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct ManualClock {
    now: Arc<AtomicU64>,
    /// The tick of the coarse clock, in nanoseconds; 0 for none.
    tick: Arc<AtomicU64>,
}

impl ManualClock {
    pub(crate) fn pass(&self, duration: Duration) {
        self.set(self.now() + duration);
    }

    pub(crate) fn set(&self, now: Instant) {
        self.now.store(now.as_nanos(), Ordering::SeqCst);
    }

    /// From now on, the coarse clock lags by up to a tick.
    pub(crate) fn tick(&self, tick: Duration) {
        self.tick.store(u64::try_from(tick.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::SeqCst))
    }

    fn coarse(&self) -> Instant {
        let (now, tick) = (self.now(), self.tick.load(Ordering::SeqCst));
        let lag = now.as_nanos().checked_rem(tick).unwrap_or(0);
        Instant::from_nanos(now.as_nanos() - lag)
    }
}

/// A connection of the pool, as the tests refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conn {
    /// Its index in the [`Book`].
    pub(crate) number: usize,
    pub(crate) token: Token,
    pub(crate) id: ConnId,
}

/// A shared machine, the state of its driver, and the records of its connections.
pub(crate) struct Rig<R: Side> {
    pub(crate) shared: Arc<SharedMachine<Fake, R>>,
    pub(crate) clock: ManualClock,
    pub(crate) book: Arc<Book>,
    /// Attempts for dial commands that no test has taken yet.
    pub(crate) dials: VecDeque<Attempt<Fake, R>>,
    /// The abort commands, in order.
    pub(crate) aborted: Vec<(Token, CloseReason)>,
    /// The deadline of the driver's next turn.
    pub(crate) due: Option<Instant>,
    plan: Plan,
    next_id: u32,
}

pub(crate) fn client(plan: Plan) -> Rig<Dialing> {
    Rig::new(plan)
}

pub(crate) fn server(plan: Plan) -> Rig<Accepting> {
    Rig::new(plan)
}

/// Returns a client with as many idle connections as its capacity.
pub(crate) fn filled(plan: Plan) -> (Rig<Dialing>, Vec<Conn>) {
    let mut rig = client(plan);
    let connections = (0..plan.capacity).map(|_| rig.connect()).collect();
    rig.turn();
    (rig, connections)
}

impl<R: Side> Rig<R> {
    pub(crate) fn new(plan: Plan) -> Self {
        let clock = ManualClock::default();
        let shared = SharedMachine::new(R::machine(plan), clock.clone());
        let weak: Weak<SharedMachine<Fake, R>> = Arc::downgrade(&shared);
        let book = Book::new(Guard::new(weak));
        Self {
            shared,
            clock,
            book,
            dials: VecDeque::new(),
            aborted: Vec::new(),
            due: None,
            plan,
            next_id: 0,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.shared.stats()
    }

    pub(crate) fn new_id(&mut self) -> ConnId {
        self.next_id += 1;
        id(self.next_id)
    }

    /// Takes turns of the driver until nothing is left, and carries out their commands. Dials wait in
    /// [`dials`](Self::dials).
    pub(crate) fn turn(&mut self) {
        let mut commands = Vec::new();
        loop {
            let Turn { due, is_full } = self.shared.turn(&mut commands);
            self.due = due;
            if !is_full {
                break;
            }
        }
        for command in commands {
            match command {
                Command::Dial { token } => self.dials.push_back(Attempt::dial(&self.shared, token)),
                Command::Close { connection, reason } => self.book.close(connection, reason),
                Command::Abort { token, reason } => {
                    self.aborted.push((token, reason));
                    self.dials.retain(|attempt| attempt.token() != token);
                }
                Command::Interrupt { revoker, .. } => revoker.interrupt(),
            }
        }
    }

    /// Advances the clock to the driver's next deadline, and takes a turn.
    pub(crate) fn wait_until_due(&mut self) {
        self.turn();
        let due = self.due.expect("a deadline");
        self.clock.set(due);
        self.turn();
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.clock.pass(duration);
        self.turn();
    }

    /// Begins an attempt, a dial or an admitted peer; if the pool is backing off, waits until it
    /// dials.
    pub(crate) fn begin(&mut self) -> InFlight<R> {
        if let Some(in_flight) = R::try_begin(self) {
            return in_flight;
        }
        // The client is backing off.
        self.wait_until_due();
        R::try_begin(self).expect("an attempt")
    }

    /// Completes an attempt with a new connection.
    pub(crate) fn establish(&self, in_flight: InFlight<R>) -> Conn {
        let InFlight { mut attempt, id } = in_flight;
        let connection = self.book.open();
        let conn = Conn { number: connection.number(), token: attempt.token(), id };
        attempt.dialed();
        attempt.established(connection, (R::SENDS_ID && self.plan.ids).then_some(id));
        conn
    }

    /// Adds a new connection to the pool.
    pub(crate) fn connect(&mut self) -> Conn {
        let in_flight = self.begin();
        self.establish(in_flight)
    }

    /// Reports that the peer has closed a connection.
    pub(crate) fn peer_closes(&mut self, conn: Conn) {
        self.shared.event(Event::Closed { token: conn.token });
    }

    pub(crate) fn flush(&mut self) -> u32 {
        self.shared.run(|machine, now| machine.flush(now))
    }

    pub(crate) fn close(&mut self) {
        self.shared.run(|machine, now| machine.close(now));
    }

    pub(crate) fn task(&self, kind: Kind, id: ConnId) -> Task<R> {
        Task::new(self, kind, id)
    }

    /// Creates a task that acquires any connection.
    pub(crate) fn any(&self) -> Task<R> {
        self.task(Kind::Any, ConnId::ZERO)
    }

    pub(crate) fn by_id(&self, id: ConnId) -> Task<R> {
        self.task(Kind::ById, id)
    }

    /// Creates a task that waits until one connection is ready.
    pub(crate) fn stock(&self) -> Task<R> {
        self.task(Kind::Stock, ConnId::ZERO)
    }

    pub(crate) fn guard(&self) -> Guard {
        self.book.guard()
    }

    /// Checks that no connection is lost: as many are open as the machine knows, and it has leased
    /// as many as the tests hold, plus those assigned to `granted` tasks that have not been polled
    /// yet.
    pub(crate) fn assert_accounted(&mut self, holding: u32, granted: u32, what: &str) {
        self.turn();
        let stats = self.stats();
        let pooled = stats.idle + stats.claimed + stats.finished;
        let known = pooled + stats.leased + stats.returning;
        assert_eq!(self.book.open_count(), known, "{what}: open connections; {stats:?}");
        assert_eq!(stats.leased, holding + granted, "{what}: leases; {stats:?}");
        self.book.assert_sound(what);
    }

    /// Ends the rig, and checks that nothing else refers to its shared machine, and that every
    /// connection was dropped once.
    pub(crate) fn end(mut self, what: &str) {
        self.dials.clear();
        assert_eq!(Arc::strong_count(&self.shared), 1, "{what}: references to the machine");
        let book = Arc::clone(&self.book);
        drop(self);
        assert_eq!(book.open_count(), 0, "{what}: connections that outlived the machine");
        book.assert_sound(what);
    }
}
