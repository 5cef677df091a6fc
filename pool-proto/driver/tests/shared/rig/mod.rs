//! A shell with everything around it that an adapter would bring, moved by hand.

mod book;
mod guard;
mod side;
mod task;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use pool_driver::Clock;
use pool_driver::shared::{Attempt, Command, SharedMachine};
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
pub(crate) struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    pub(crate) fn pass(&self, duration: Duration) {
        self.set(self.now() + duration);
    }

    pub(crate) fn set(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// What the tests know of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conn {
    /// Its place in the [`Book`].
    pub(crate) number: usize,
    pub(crate) token: Token,
    pub(crate) id: ConnId,
}

/// A shell, its driver's state, and the account of its connections.
pub(crate) struct Rig<R: Side> {
    pub(crate) shared: Arc<SharedMachine<Fake, R>>,
    pub(crate) clock: ManualClock,
    pub(crate) book: Arc<Book>,
    /// Ordered dials that nobody has begun to report.
    pub(crate) dials: VecDeque<Attempt<Fake, R>>,
    /// What the driver was told to end, in order.
    pub(crate) aborted: Vec<(Token, CloseReason)>,
    /// When the driver's next turn is due.
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

/// A client with as many idle connections as it may have.
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

    /// One turn of the driver, which does what it is ordered to. Dials wait in [`dials`](Self::dials).
    pub(crate) fn turn(&mut self) {
        let mut commands = Vec::new();
        self.due = self.shared.turn(&mut commands);
        for command in commands {
            match command {
                Command::Dial { token } => self.dials.push_back(Attempt::dial(&self.shared, token)),
                Command::Close { connection, reason } => self.book.close(connection, reason),
                Command::Abort { token, reason } => {
                    self.aborted.push((token, reason));
                    self.dials.retain(|attempt| attempt.token() != token);
                }
            }
        }
    }

    /// Lets time pass up to the driver's next deadline, and lets the driver turn then.
    pub(crate) fn wait_until_due(&mut self) {
        self.turn();
        let due = self.due.expect("nothing is due");
        self.clock.set(due);
        self.turn();
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.clock.pass(duration);
        self.turn();
    }

    /// A connection begins to come, a dial or a peer, once the pool wants one.
    pub(crate) fn begin(&mut self) -> InFlight<R> {
        if let Some(in_flight) = R::try_begin(self) {
            return in_flight;
        }
        // It backs off.
        self.wait_until_due();
        R::try_begin(self).expect("no connection may come")
    }

    /// It gets through its handshake.
    pub(crate) fn establish(&self, in_flight: InFlight<R>) -> Conn {
        let InFlight { mut attempt, id } = in_flight;
        let connection = self.book.open();
        let conn = Conn { number: connection.number(), token: attempt.token(), id };
        attempt.dialed();
        attempt.established(connection, (R::SENDS_ID && self.plan.ids).then_some(id));
        conn
    }

    /// A new connection, from its dial or its arrival to its place in the pool.
    pub(crate) fn connect(&mut self) -> Conn {
        let in_flight = self.begin();
        self.establish(in_flight)
    }

    /// The peer closes a connection of the pool.
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

    /// A task that waits for any connection.
    pub(crate) fn any(&self) -> Task<R> {
        self.task(Kind::Any, ConnId::ZERO)
    }

    pub(crate) fn by_id(&self, id: ConnId) -> Task<R> {
        self.task(Kind::ById, id)
    }

    /// A task that waits until one connection is ready.
    pub(crate) fn stock(&self) -> Task<R> {
        self.task(Kind::Stock, ConnId::ZERO)
    }

    pub(crate) fn guard(&self) -> Guard {
        self.book.guard()
    }

    /// No connection is lost: as many are open as the machine knows of, and the tests hold as many
    /// as it has leased, or promised to `granted` tasks that have not looked yet.
    pub(crate) fn assert_accounted(&mut self, holding: u32, granted: u32, what: &str) {
        self.turn();
        let stats = self.stats();
        let known = stats.idle + stats.claimed + stats.leased + stats.returning;
        assert_eq!(self.book.open_count(), known, "{what}: open connections; {stats:?}");
        assert_eq!(stats.leased, holding + granted, "{what}: leases; {stats:?}");
        self.book.assert_sound(what);
    }

    /// Ends the rig: nothing may hold its shell any more, and every connection must have been dropped
    /// once.
    pub(crate) fn end(mut self, what: &str) {
        self.dials.clear();
        assert_eq!(Arc::strong_count(&self.shared), 1, "{what}: holds on the shell");
        let book = Arc::clone(&self.book);
        drop(self);
        assert_eq!(book.open_count(), 0, "{what}: connections that outlived the shell");
        book.assert_sound(what);
    }
}
