//! A real machine, its ledger, and the naive pool at its side.

use pool_proto::tape::Recorded;
use pool_proto::{Action, CheckResult, CloseReason, Instant, Stats};

use super::driver::Driver;
use super::naive::Naive;
use super::op::Op;
use super::shadow::Shadow;
use crate::call::{Answer, Call, Did, TestRole, drain};
use crate::ledger::Ledger;
use crate::setup::Setup;
use crate::tape::Taping;
use crate::violation::hold;

/// A machine whose every step is checked.
#[derive(Clone)]
pub struct Checked<R: TestRole> {
    machine: Recorded<u32, R>,
    /// Gets the same inputs.
    twin: Option<Recorded<u32, R>>,
    /// Where there is a twin.
    tape: Option<Taping>,
    /// Where lifetimes are random, there is none.
    shadow: Option<Shadow>,
    driver: Driver,
}

/// A step with its answer and actions.
pub struct Outcome {
    pub call: Call,
    pub answer: Answer,
    pub actions: Vec<Did>,
}

impl<R: TestRole> Checked<R> {
    /// A machine at its start, in lockstep with a `twin` and with a tape, if so wanted.
    pub fn new(setup: &Setup, twin: bool) -> Self {
        let now = Instant::EPOCH + std::time::Duration::from_secs(100);
        let (mut machine, tape) = match twin {
            true => {
                let (machine, first) = R::taped(setup, now).unwrap();
                (machine, Some(Taping::new(first)))
            }
            false => (R::machine(setup, now).unwrap(), None),
        };
        let mut ledger = Ledger::new(R::SIDE, setup, now, &machine);
        let actions = drain(&mut machine);
        hold(ledger.start(&actions, &machine));
        let twin = twin.then(|| {
            let mut twin = R::machine(setup, now).unwrap();
            assert_eq!(drain(&mut twin), actions, "two machines with one seed");
            twin
        });
        let shadow = Shadow::new(setup, R::SIDE, now, &actions);
        let driver = Driver::new(ledger, now);
        let mut checked = Self { machine, twin, tape, shadow, driver };
        checked.compare();
        checked
    }

    pub const fn machine(&self) -> &Recorded<u32, R> {
        &self.machine
    }

    pub fn naive(&self) -> Option<&Naive> {
        self.shadow.as_ref().map(|shadow| &shadow.0)
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
        if let Some(tape) = &mut self.tape {
            tape.write(&mut self.machine);
        }
        if let Some(twin) = &mut self.twin {
            let (twins, did) = call.make(twin, now);
            assert_eq!((&twins, &did), (&answer, &actions), "two machines with one seed");
        }
        if let Some(shadow) = &mut self.shadow {
            shadow.follow(now, &call, &answer, &actions);
        }
        hold(self.driver.ledger.settle(&call, &answer, &actions, &self.machine));
        self.driver.receive(&answer, &actions);
        self.compare();
        Outcome { call, answer, actions }
    }

    /// Compares the machine's own account with the naive pool.
    fn compare(&mut self) {
        if let Some(shadow) = &mut self.shadow {
            shadow.compare(self.driver.ledger.stats(), &self.machine);
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
        if let Some(tape) = &mut self.tape {
            hold(tape.check(&mut self.machine));
        }
    }
}

/// Why connections ended, as a step says.
pub fn reasons(actions: &[Did]) -> impl Iterator<Item = CloseReason> {
    actions.iter().filter_map(|action| match action {
        Action::Close { reason, .. } | Action::Abort { reason, .. } => Some(*reason),
        _ => None,
    })
}
