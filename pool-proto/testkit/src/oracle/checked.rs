//! A real machine, its ledger, and the naive pool at its side.

use pool_proto::{Action, CheckResult, CloseReason, Event, Instant, Machine, Stats, Token};

use super::driver::Driver;
use super::naive::waiters::Want;
use super::naive::{Choices, Naive};
use super::op::Op;
use crate::call::{Answer, Call, Did, TestRole, drain};
use crate::ledger::Ledger;
use crate::setup::{Setup, Side};
use crate::violation::hold;

/// A machine whose every step is checked.
#[derive(Clone)]
pub struct Checked<R: TestRole> {
    machine: Machine<u32, R>,
    /// Gets the same inputs.
    twin: Option<Machine<u32, R>>,
    /// Where lifetimes are random, there is none.
    naive: Option<Naive>,
    driver: Driver,
}

/// What one step led to.
pub struct Outcome {
    pub call: Call,
    pub answer: Answer,
    pub actions: Vec<Did>,
}

impl<R: TestRole> Checked<R> {
    /// A machine at its start, in lockstep with a `twin` if so wanted.
    pub fn new(setup: &Setup, twin: bool) -> Self {
        let now = Instant::EPOCH + std::time::Duration::from_secs(100);
        let mut machine = R::machine(setup, now).unwrap();
        let mut ledger = Ledger::new(R::SIDE, setup, now, &machine);
        let actions = drain(&mut machine);
        hold(ledger.start(&actions, &machine));
        let twin = twin.then(|| {
            let mut twin = R::machine(setup, now).unwrap();
            assert_eq!(drain(&mut twin), actions, "two machines with one seed");
            twin
        });
        let choices = Choices::of(&Answer::Nothing, &actions);
        let naive = setup.is_exact().then(|| {
            let (naive, did) = Naive::new(setup, R::SIDE == Side::Client, now, choices);
            assert_same(&naive, &actions, &did);
            naive
        });
        let driver = Driver::new(ledger, now);
        let mut checked = Self { machine, twin, naive, driver };
        checked.compare();
        checked
    }

    pub const fn machine(&self) -> &Machine<u32, R> {
        &self.machine
    }

    pub const fn naive(&self) -> Option<&Naive> {
        self.naive.as_ref()
    }

    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    pub const fn ledger(&self) -> &Ledger {
        &self.driver.ledger
    }

    pub const fn stats(&self) -> &Stats {
        self.driver.ledger.stats()
    }

    pub const fn set_time(&mut self, now: Instant) {
        self.driver.now = now;
    }

    /// What is being checked under this token comes back.
    pub fn answer_check(&mut self, token: Token, result: CheckResult) {
        if let Some((token, connection)) = self.driver.take_check(token) {
            self.make(Call::Event(Event::Checked { token, connection, result }));
        }
    }

    /// The holder of a lease closes it.
    pub fn release(&mut self, token: Token) {
        self.driver.take_lease(token);
        self.make(Call::Event(Event::Closed { token }));
    }

    /// Takes one step and checks it; `None` where the step had no subject.
    pub fn apply(&mut self, op: &Op) -> Option<Outcome> {
        let due = self.machine.poll_timeout();
        let call = self.driver.resolve(op, due)?;
        Some(self.make(call))
    }

    /// Makes a call at the driver's time and checks it.
    pub fn make(&mut self, call: Call) -> Outcome {
        let now = self.driver.now;
        hold(self.driver.ledger.begin(&call, now));
        let (answer, actions) = call.make(&mut self.machine, now);
        if let Some(twin) = &mut self.twin {
            let (twins, did) = call.make(twin, now);
            assert_eq!((&twins, &did), (&answer, &actions), "two machines with one seed");
        }
        if let Some(naive) = &mut self.naive {
            let choices = Choices::of(&answer, &actions);
            let (naives, did) = naive.call(now, &call, choices);
            assert_eq!(answer, naives, "left the machine, right the naive pool, after {call:?}");
            assert_same(naive, &actions, &did);
        }
        hold(self.driver.ledger.settle(&call, &answer, &actions, &self.machine));
        self.driver.receive(&answer, &actions);
        self.compare();
        Outcome { call, answer, actions }
    }

    /// Compares what the machine tells of itself with the naive pool.
    fn compare(&mut self) {
        let due = self.machine.poll_timeout();
        let Some(naive) = &mut self.naive else { return };
        let stats = self.driver.ledger.stats();
        assert_eq!(*stats, naive.stats(), "left the machine, right the naive pool");
        assert_eq!(self.machine.error_count(), naive.errors());
        for (token, state) in naive.states() {
            assert_eq!(self.machine.state_of(token), Some(state), "left the machine's {token:?}");
        }
        if let Err(wrong) = naive.accepts_timeout(due) {
            panic!("{wrong}");
        }
    }

    /// Ends a life: closes the pool, lets every check come back, and finds nothing left.
    pub fn bury(mut self) {
        self.apply(&Op::Close);
        self.apply(&Op::Close);
        while self.apply(&Op::Checked(super::op::Whom::Nth(0), CheckResult::Quiet)).is_some() {}
        while self.apply(&Op::Put(super::op::Whom::Nth(0))).is_some() {}
        while self.apply(&Op::Collect(super::op::Who::Nth(0))).is_some() {}
        hold(self.driver.ledger.check_end(&self.machine));
    }
}

/// The same actions: the wakes of each queue in the same order, the rest in any.
fn assert_same(naive: &Naive, machine: &[Did], expected: &[Did]) {
    if machine == expected {
        return;
    }
    let mut missing = expected.to_vec();
    for action in machine {
        match missing.iter().position(|other| other == action) {
            Some(at) => drop(missing.remove(at)),
            None => {
                panic!("{action:?} is too much: {machine:#?}, but the naive pool: {expected:#?}")
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?} is missing of {expected:#?}");
    let queue = |waiter| match naive.want(waiter) {
        Some(Want::Stock(_)) => Some(Want::Stock(0)),
        other => other,
    };
    let wakes = |actions: &[Did]| {
        let mut wakes: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Wake { waiter } => Some((*waiter, queue(*waiter))),
                _ => None,
            })
            .collect();
        // Stable: within one queue the order stays.
        wakes.sort_by_key(|(_, queue)| format!("{queue:?}"));
        wakes
    };
    assert_eq!(wakes(machine), wakes(expected), "the order in which waiters are woken");
}

/// Why connections ended, as a step says.
pub fn reasons(actions: &[Did]) -> impl Iterator<Item = CloseReason> {
    actions.iter().filter_map(|action| match action {
        Action::Close { reason, .. } | Action::Abort { reason, .. } => Some(*reason),
        _ => None,
    })
}
