//! An end: a machine, whose every call is entered in the ledger and checked.

use std::collections::VecDeque;
use std::time::Duration;

use pool_proto::{
    Acquired, Action, CheckResult, Collected, ConnId, Event, Instant, Lease, Rejected, State,
    Stats, Stock, Token, WaitOutcome, WaiterId,
};

use crate::call::{Answer, AnyMachine, Call, Pool, drain};
use crate::ledger::Ledger;
use crate::oracle::Shadow;
use crate::setup::{Setup, Side};
use crate::tape::Taping;
use crate::violation::{Verdict, Violation, ensure};

/// A machine, the ledger that is kept of it, and its tape.
pub(crate) struct End {
    machine: AnyMachine,
    tape: Taping,
    pub(crate) ledger: Ledger,
    /// Where the options want it, the naive pool.
    shadow: Option<Shadow>,
    /// The machine's deadline after its last call.
    deadline: Option<Instant>,
    /// How far this end's clock is ahead of the world's, in nanoseconds.
    pub(crate) skew: i64,
    /// Actions that are entered in the ledger and not yet carried out.
    pub(crate) did: VecDeque<Action<u32>>,
}

impl End {
    /// A new machine.
    pub(crate) fn new(side: Side, setup: &Setup, now: u64, skew: i64) -> Verdict<Self> {
        let at = Instant::from_nanos(now.saturating_add_signed(skew));
        let (machine, first) = AnyMachine::new(side, setup, at).map_err(|error| Violation {
            invariant: "the simulation itself",
            seen: format!("{side:?}: {error}"),
        })?;
        let ledger = Ledger::new(side, setup, at, &machine);
        let (tape, did) = (Taping::new(first), VecDeque::new());
        Ok(Self { machine, tape, ledger, shadow: None, deadline: None, skew, did })
    }

    pub(crate) const fn setup(&self) -> &Setup {
        self.ledger.setup()
    }

    // --- time -----------------------------------------------------------------------------------

    /// Reads this end's clock, which may go back: the machine has to cope.
    pub(crate) fn clock(&self, now: u64) -> Instant {
        Instant::from_nanos(now.saturating_add_signed(self.skew))
    }

    /// Sets a clock that was set back forward again, to the latest time that the machine was told.
    pub(crate) fn catch_up(&mut self, now: u64) {
        // The clock may have been set back beyond zero, where it stands still.
        let clock = i128::from(now) + i128::from(self.skew);
        let behind = i128::from(self.ledger.seen().as_nanos()) - clock;
        self.skew = self.skew.saturating_add_unsigned(u64::try_from(behind).unwrap_or(0));
    }

    /// When the machine is due, in the world's time.
    pub(crate) fn due(&self) -> Option<u64> {
        let due = self.machine.poll_timeout()?;
        Some(due.as_nanos().saturating_add_signed(self.skew.saturating_neg()))
    }

    // --- calls ----------------------------------------------------------------------------------

    /// Enters what a new machine does first; from here on it is compared with the naive pool, if so
    /// wanted.
    pub(crate) fn start(&mut self, oracle: bool) -> Verdict {
        let actions = drain(&mut self.machine);
        self.ledger.start(&actions, &self.machine)?;
        if oracle {
            let (setup, began) = (self.ledger.setup(), self.ledger.seen());
            self.shadow = Shadow::new(setup, self.ledger.side(), began, &actions);
        }
        self.did.extend(actions);
        Ok(())
    }

    fn make(&mut self, now: u64, call: &Call) -> Verdict<Answer> {
        let clock = self.clock(now);
        self.ledger.begin(call, clock)?;
        let (answer, actions) = call.make(&mut self.machine, clock);
        self.tape.write(&mut self.machine);
        self.ledger.settle(call, &answer, &actions, &self.machine)?;
        if let Some(shadow) = &mut self.shadow {
            shadow.follow(clock, call, &answer, &actions);
            shadow.compare(self.ledger.stats(), &self.machine);
        }
        self.did.extend(actions);
        self.check_new_deadline(call)?;
        Ok(answer)
    }

    /// 6: a driver that sleeps until the last deadline learns of a nearer one.
    fn check_new_deadline(&mut self, call: &Call) -> Verdict {
        let (told, due) = (self.machine.take_new_deadline(), self.machine.poll_timeout());
        let before = core::mem::replace(&mut self.deadline, due);
        let no_later = |at: Option<Instant>| due.is_none_or(|due| at.is_some_and(|at| at <= due));
        ensure!(
            no_later(before) || no_later(told),
            "6: a nearer deadline is told",
            "{due:?} after {call:?}: {told:?} is told, and {before:?} was known"
        );
        Ok(())
    }

    pub(crate) fn timeout(&mut self, now: u64) -> Verdict {
        self.make(now, &Call::Timeout).map(drop)
    }

    pub(crate) fn event(&mut self, now: u64, event: Event<u32>) -> Verdict {
        self.make(now, &Call::Event(event)).map(drop)
    }

    pub(crate) fn acquire(&mut self, now: u64, again: bool) -> Verdict<Acquired<u32>> {
        let call = if again { Call::AcquireAgain } else { Call::Acquired };
        acquired(self.make(now, &call)?)
    }

    pub(crate) fn acquire_by_id(&mut self, now: u64, id: ConnId) -> Verdict<Acquired<u32>> {
        acquired(self.make(now, &Call::AcquireById(id))?)
    }

    pub(crate) fn acquire_claimed(&mut self, now: u64) -> Verdict<Acquired<u32>> {
        acquired(self.make(now, &Call::AcquireClaimed)?)
    }

    pub(crate) fn wait_ready(&mut self, now: u64, ready: u32) -> Verdict<Stock> {
        match self.make(now, &Call::WaitReady(ready))? {
            Answer::Stock(stock) => Ok(stock),
            other => unexpected(&other),
        }
    }

    pub(crate) fn collect(&mut self, now: u64, waiter: WaiterId) -> Verdict<Collected<u32>> {
        match self.make(now, &Call::Collect(waiter))? {
            Answer::Collected(collected) => Ok(collected),
            other => unexpected(&other),
        }
    }

    /// Ends a waiter that is known, after which there is nothing to collect.
    pub(crate) fn give_up(&mut self, now: u64, waiter: WaiterId, timed_out: bool) -> Verdict {
        let call = if timed_out { Call::TimeOut(waiter) } else { Call::Cancel(waiter) };
        let outcome = self.make(now, &call)?;
        let known = outcome != Answer::Outcome(WaitOutcome::Unknown);
        ensure!(known, "5: one outcome for each waiter", "{waiter:?}: {outcome:?}");
        let after = self.collect(now, waiter)?;
        let none = matches!(after, Collected::Unknown);
        ensure!(none, "5: nothing after a cancel", "{waiter:?}: {after:?}");
        Ok(())
    }

    pub(crate) fn put(
        &mut self,
        now: u64,
        token: Token,
        connection: u32,
        drained: Option<CheckResult>,
    ) -> Verdict {
        let call = match drained {
            Some(result) => Call::PutDrained(token, connection, result),
            None => Call::Put(token, connection),
        };
        self.make(now, &call).map(drop)
    }

    pub(crate) fn reject(&mut self, now: u64, lease: &Lease<u32>, result: CheckResult) -> Verdict {
        self.make(now, &Call::Reject(lease.token, lease.connection, result)).map(drop)
    }

    pub(crate) fn clean(&mut self, now: u64) -> Verdict {
        self.make(now, &Call::Clean).map(drop)
    }

    pub(crate) fn flush(&mut self, now: u64) -> Verdict {
        self.make(now, &Call::Flush).map(drop)
    }

    pub(crate) fn set_config(&mut self, now: u64, setup: &Setup) -> Verdict {
        // Each life has a seed of its own.
        let Setup { seed, ids, .. } = *self.ledger.setup();
        let setup = setup.seed(seed).ids(ids);
        match self.make(now, &Call::SetConfig(Box::new(setup)))? {
            Answer::Configured(Ok(())) => Ok(()),
            other => unexpected(&other),
        }
    }

    /// Closes twice: the second time does nothing.
    pub(crate) fn close(&mut self, now: u64) -> Verdict {
        self.make(now, &Call::Close)?;
        self.make(now, &Call::Close).map(drop)
    }

    /// Begins a graceful shutdown, with a deadline after this time or without one.
    pub(crate) fn graceful_shutdown(&mut self, now: u64, timeout: Option<u64>) -> Verdict {
        let deadline = timeout.map(|timeout| self.clock(now) + Duration::from_nanos(timeout));
        self.make(now, &Call::GracefulShutdown(deadline)).map(drop)
    }

    /// A peer of this source connects; a client does not accept any.
    pub(crate) fn accept(&mut self, now: u64, source: u16) -> Verdict<Result<Token, Rejected>> {
        let [high, low] = source.to_be_bytes();
        match self.make(now, &Call::Accept([10, 0, high, low].into()))? {
            Answer::Accepted(accepted) => Ok(accepted),
            other => unexpected(&other),
        }
    }

    /// The handshake of a peer of this source is over. Where there are certificates, each source has
    /// its own.
    pub(crate) fn admit(
        &mut self,
        now: u64,
        token: Token,
        source: u16,
    ) -> Verdict<Result<ConnId, Rejected>> {
        let number = source.to_be_bytes()[1];
        let certificate = self.setup().certificates.then_some([number; 32]);
        match self.make(now, &Call::Admit(token, certificate))? {
            Answer::Admitted(admission) => Ok(admission),
            other => unexpected(&other),
        }
    }

    // --- questions --------------------------------------------------------------------------

    pub(crate) fn stats(&self) -> Stats {
        self.machine.stats()
    }

    /// The state of a connection; `None` if it has ended.
    pub(crate) fn state(&self, token: Token) -> Option<State> {
        self.machine.state_of(token)
    }

    /// Whether the machine is closed, or shuts down.
    pub(crate) fn is_ending(&self) -> bool {
        self.machine.is_closed() || self.machine.is_shutting_down()
    }

    /// 1, 8 and 10: everything has come out, and the tape replays.
    pub(crate) fn check_end(&mut self) -> Verdict {
        self.ledger.check_end(&self.machine)?;
        self.tape.check(&mut self.machine)
    }
}

fn acquired(answer: Answer) -> Verdict<Acquired<u32>> {
    match answer {
        Answer::Acquired(acquired) => Ok(acquired),
        other => unexpected(&other),
    }
}

fn unexpected<T>(answer: &Answer) -> Verdict<T> {
    Err(Violation { invariant: "the simulation itself", seen: format!("{answer:?}") })
}
