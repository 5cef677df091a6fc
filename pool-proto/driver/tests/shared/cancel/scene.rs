//! The scene of a cell: a subject, perhaps a rival, and one connection.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;

use pool_driver::shared::{AcquireError, Leased, ReadinessWaker};
use pool_proto::{CheckResult, CloseReason, ConnId, HandshakeFailure, Refusal};

use super::expected::{Aftermath, Outcome, When, expected};
use super::{Cell, DropMode};
use crate::rig::{
    Conn, Counter, Fake, InFlight, Kind, Plan, Rig, Side, Taken, Task, filled, id, secs,
};

pub(super) struct Scene<R: Side> {
    cell: Cell,
    name: String,
    pub(super) rig: Rig<R>,
    pub(super) subject: Task<R>,
    rival: Option<Task<R>>,
    /// The result of the rival, if it was ready at its first poll.
    served: Option<Taken>,
    /// The id for which the tasks wait.
    id: ConnId,
    /// The attempt in flight.
    in_flight: Option<InFlight<R>>,
    /// The connection for which the tasks wait, once it is established.
    conn: Option<Conn>,
    /// The subject's lease.
    pub(super) leased: Option<Leased<Fake>>,
    /// The number of connections established so far.
    established: u32,
}

impl<R: Side> Scene<R> {
    pub(super) fn run(cell: Cell) {
        let mut scene = Self::new(cell);
        cell.moment.play(&mut scene);
        if cell.mode != DropMode::InItsOwnWake {
            scene.rival_joins(false);
            scene.assert_rival_woken(&[When::Before]);
            scene.drop_subject();
        }
        scene.assert_dropped();
        scene.assert_rival_woken(&[When::Before, When::Drop]);
        scene.go_on();
        scene.serve_rival();
        scene.account();
    }

    fn new(cell: Cell) -> Self {
        let mut rig = Rig::<R>::new(Plan::ONE);
        // A server assigns an id when it admits a peer; a client's id arrives with the connection.
        let in_flight = (cell.server && cell.wants_id()).then(|| rig.begin());
        let id = in_flight.as_ref().map_or(id(77), |in_flight| in_flight.id);
        let subject = rig.task(cell.kind, id);
        Self {
            name: cell.name(),
            cell,
            rig,
            subject,
            rival: None,
            served: None,
            id,
            in_flight,
            conn: None,
            leased: None,
            established: 0,
        }
    }

    // --- up to the moment -----------------------------------------------------------------------

    /// Queues the subject, then an early rival.
    pub(super) fn queue(&mut self) {
        self.subject.queue();
        self.rival_joins_early();
    }

    pub(super) fn rival_joins_early(&mut self) {
        self.rival_joins(true);
    }

    fn rival_joins(&mut self, early: bool) {
        let Some(rival) = self.cell.rival.filter(|rival| rival.early == early) else {
            return;
        };
        let id = self.conn.map_or(self.id, |conn| conn.id);
        let task = self.rig.task(rival.kind, id);
        if let Poll::Ready(taken) = task.poll() {
            self.served = Some(taken);
        }
        self.rival = Some(task);
    }

    pub(super) fn begin(&mut self) -> &mut InFlight<R> {
        let Self { in_flight, rig, .. } = self;
        in_flight.get_or_insert_with(|| rig.begin())
    }

    pub(super) fn fail_attempt(&mut self) {
        let in_flight = self.in_flight.take().expect("an attempt");
        in_flight.attempt.failed(HandshakeFailure::Tls, &"intended failure");
    }

    /// Establishes the connection.
    pub(super) fn arrive(&mut self) {
        self.begin();
        let mut in_flight = self.in_flight.take().expect("an attempt");
        if self.established == 0 && R::SENDS_ID {
            in_flight.id = self.id;
        }
        self.established += 1;
        self.conn = Some(self.rig.establish(in_flight));
    }

    pub(super) fn grant(&mut self) -> Conn {
        self.queue();
        self.arrive();
        assert_eq!(self.subject.wakes(), 1, "{}", self.name);
        self.conn.expect("the established connection")
    }

    /// Lets the subject check its connection, with this result.
    pub(super) fn find(&mut self, result: CheckResult) {
        let conn = self.grant();
        self.rig.book.next_check(conn.number, result);
        match self.subject.poll() {
            Poll::Pending => assert_eq!(self.cell.kind, Kind::Any, "{}", self.name),
            Poll::Ready(taken) => {
                assert_eq!(self.cell.kind, Kind::ById, "{}", self.name);
                self.leased = taken.unwrap();
            }
        }
    }

    /// Waits until the claim on a connection that has ended is over.
    pub(super) fn lose(&mut self) {
        let conn = self.conn.take().expect("an ended connection");
        self.rig.pass(secs(30));
        assert!(!self.rig.book.is_open(conn.number), "{}", self.name);
    }

    /// Announces the step that wakes the subject; in the mode `InItsOwnWake`, the wake drops it.
    pub(super) fn last_step(&mut self) {
        if self.cell.mode == DropMode::InItsOwnWake {
            let cancel = self.cancel();
            self.subject.counter.at_next_wake(cancel);
        }
    }

    // --- the drop -------------------------------------------------------------------------------

    fn cancel(&self) -> impl FnOnce() + Send + 'static {
        let future = Arc::clone(&self.subject.future);
        move || {
            let future = future.lock().unwrap().take();
            drop(future);
        }
    }

    fn drop_subject(&mut self) {
        let cancel = self.cancel();
        match self.cell.mode {
            DropMode::Plain | DropMode::InItsOwnWake => cancel(),
            DropMode::Unwinding => {
                let future = self.subject.future.lock().unwrap().take();
                let unwound = catch_unwind(AssertUnwindSafe(move || {
                    let _future = future;
                    resume_unwind(Box::new("intended panic of the task"));
                }));
                assert!(unwound.is_err());
            }
            DropMode::InAnotherWake => self.drop_in_a_wake(cancel),
            DropMode::OnAnotherThread => {
                let barrier = Arc::new(Barrier::new(2));
                let there = Arc::clone(&barrier);
                let dropper = thread::spawn(move || {
                    there.wait();
                    cancel();
                });
                barrier.wait();
                while !dropper.is_finished() {
                    self.rig.turn();
                }
                dropper.join().unwrap();
            }
        }
    }

    /// Drops the subject in the driver's waker.
    fn drop_in_a_wake(&mut self, cancel: impl FnOnce() + Send + 'static) {
        self.rig.turn();
        let driver = Counter::new(self.rig.guard());
        driver.at_next_wake(cancel);
        let waker = driver.waker();
        if self.rig.shared.poll_work(&mut Context::from_waker(&waker)).is_ready() {
            // The driver of a closed pool never sleeps.
            assert!(self.rig.shared.is_closed(), "{}", self.name);
            return waker.wake();
        }
        // A token of another pool gives the driver work, and has no other effect.
        let (_other, others) = filled(Plan::of(2));
        Waker::from(ReadinessWaker::new(&self.rig.shared, others[1].token)).wake();
        assert_eq!(driver.wakes(), 1, "{}: the driver's wakes", self.name);
    }

    fn assert_dropped(&self) {
        let (name, moment) = (&self.name, self.cell.moment);
        let Cell { kind, server, .. } = self.cell;
        assert!(
            self.subject.future.lock().unwrap().is_none(),
            "{name}: the subject was not dropped"
        );
        assert_eq!(self.subject.wakes(), moment.wakes(kind, server), "{name}: wakes");
        assert_eq!(self.subject.counter.wakers(), 0, "{name}: wakers that were kept");
        let stats = self.rig.stats();
        let cancelled = u64::from(moment.is_cancelled(kind, server));
        assert_eq!(stats.totals.cancelled, cancelled, "{name}: cancelled");
        let waits = self.expected().is_some_and(|(when, _)| when == When::Later);
        assert_eq!(stats.waiters, u32::from(waits), "{name}: waiters");
    }

    // --- the rival ------------------------------------------------------------------------------

    fn left(&self) -> Aftermath {
        self.cell.moment.left(self.cell.kind, self.cell.server)
    }

    fn expected(&self) -> Option<(When, Outcome)> {
        let id = self.conn.map_or(self.id, |conn| conn.id);
        let rival = self.cell.rival?;
        // The rival has been told an id that this end has acquired itself, or is about to.
        let taken = self.cell.kind == Kind::Any
            && matches!(self.left(), Aftermath::Freed | Aftermath::Leased | Aftermath::EndsNow(_));
        if taken && rival.kind == Kind::ById && !rival.early {
            return Some((When::AtOnce, Outcome::Refused(Refusal::AcquiredHere { id })));
        }
        Some(expected(self.left(), rival, id))
    }

    /// Checks that the rival was woken once if its time is one of these, and not at all otherwise.
    fn assert_rival_woken(&self, whens: &[When]) {
        let (Some((when, _)), Some(rival)) = (self.expected(), &self.rival) else {
            return;
        };
        assert_eq!(self.served.is_some(), when == When::AtOnce, "{}: at once", self.name);
        assert_eq!(rival.wakes(), u32::from(whens.contains(&when)), "{}: {whens:?}", self.name);
    }

    /// Continues without the subject until a connection is available.
    fn go_on(&mut self) {
        match self.left() {
            Aftermath::Freed | Aftermath::Pooled | Aftermath::PoolClosed => {}
            Aftermath::InFlight => {
                self.arrive();
            }
            Aftermath::Leased => {
                let leased = self.leased.take().expect("the subject's lease");
                leased.put(&self.rig.shared).unwrap();
            }
            Aftermath::Ended(_) | Aftermath::EndedInStock(_) | Aftermath::EndsNow(_) => {
                self.arrive_anew();
            }
            // The rival by id already has the connection.
            Aftermath::Kept(_)
                if self.expected().is_some_and(|(_, what)| what == Outcome::Same) => {}
            Aftermath::Kept(_) => {
                self.rig.pass(secs(30));
                self.arrive_anew();
            }
        }
    }

    /// The connection arrives, and somebody takes it by its id.
    pub(super) fn hold(&mut self) -> Leased<Fake> {
        self.arrive();
        let id = self.conn.map_or(self.id, |conn| conn.id);
        self.rig.by_id(id).take()
    }

    fn arrive_anew(&mut self) {
        let former = self.conn;
        self.established = 1;
        self.arrive();
        // The expected outcome of the rival refers to the former connection.
        self.conn = former;
    }

    fn serve_rival(&mut self) {
        self.assert_rival_woken(&[When::Before, When::Drop, When::Later]);
        let (Some((_, what)), Some(rival)) = (self.expected(), &self.rival) else {
            return;
        };
        let taken = self.served.take().unwrap_or_else(|| rival.finish());
        let name = &self.name;
        let id = self.conn.map_or(self.id, |conn| conn.id);
        match (what, &taken) {
            (Outcome::Same, Ok(Some(leased))) => assert_eq!(leased.id(), id, "{name}"),
            (Outcome::Next, Ok(Some(leased))) => assert_ne!(leased.id(), id, "{name}"),
            (Outcome::Stock, Ok(None)) => {}
            (Outcome::Refused(refusal), Err(AcquireError::Refused(was))) => {
                assert_eq!(*was, refusal, "{name}");
            }
            _ => panic!("{name}: the rival should get {what:?}, but got {taken:?}"),
        }
        assert_eq!(rival.counter.wakers(), 0, "{name}: wakers of the rival that were kept");
        rival.cancel();
        self.leased = taken.ok().flatten();
    }

    // --- the account ----------------------------------------------------------------------------

    /// Checks the final state: one connection, or the closed pool.
    fn account(mut self) {
        let holding = u32::from(self.leased.is_some());
        self.rig.assert_accounted(holding, 0, &self.name);
        let (name, stats) = (&self.name, self.rig.stats());
        let there = u32::from(self.left() != Aftermath::PoolClosed);
        assert_eq!(stats.idle + stats.leased, there, "{name}: {stats:?}");
        let kept = stats.claimed + stats.finished;
        assert_eq!((stats.waiters, kept, stats.returning), (0, 0, 0), "{name}: {stats:?}");
        assert_eq!(
            self.subject.wakes(),
            self.expected_wakes(),
            "{name}: woken after it was dropped"
        );
        if let Some(conn) = self.conn {
            let fate = (self.rig.book.is_open(conn.number), self.rig.book.reason(conn.number));
            let driver = self.cell.moment.has_driver();
            assert_eq!(fate, self.expected_fate(driver), "{name}: its connection");
        }
        if let Some(leased) = self.leased.take() {
            drop(leased);
            let stats = self.rig.stats();
            assert_eq!((stats.leased, stats.totals.released), (0, 1), "{name}: released");
        }
        self.in_flight = None;
        self.rig.end(name);
    }

    fn expected_wakes(&self) -> u32 {
        self.cell.moment.wakes(self.cell.kind, self.cell.server)
    }

    /// Returns whether the connection must be open, and the reason with which the driver must have
    /// closed it.
    fn expected_fate(&self, driver: bool) -> (bool, Option<CloseReason>) {
        match self.left() {
            Aftermath::InFlight | Aftermath::Freed | Aftermath::Pooled | Aftermath::Leased => {
                (true, None)
            }
            Aftermath::Ended(reason)
            | Aftermath::EndedInStock(reason)
            | Aftermath::EndsNow(reason) => (false, driver.then_some(reason)),
            Aftermath::PoolClosed => (false, Some(CloseReason::PoolClosed)),
            Aftermath::Kept(_)
                if self.expected().is_some_and(|(_, what)| what == Outcome::Same) =>
            {
                (true, None)
            }
            Aftermath::Kept(reason) => (false, Some(reason)),
        }
    }
}

impl Cell {
    /// Returns whether the subject or the rival acquires by id.
    fn wants_id(&self) -> bool {
        self.kind == Kind::ById || self.rival.is_some_and(|rival| rival.kind == Kind::ById)
    }
}
