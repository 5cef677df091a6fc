//! One end: a machine, whose every call is [accounted for](account) and [checked](audit).

mod account;
mod audit;

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use pool_proto::{
    Acquired, Action, Admission, CheckKind, CheckResult, Client, CloseReason, Collected, ConnId,
    Event, Instant, Lease, PutError, Rejected, Server, State, Stats, Stock, Token, WaitOutcome,
    WaiterId,
};

use crate::violation::{Verdict, ensure};
use crate::world::options::{Bounds, Side};
use crate::world::tally::{Reasons, Tally};
use crate::world::waiting::{Waiting, Want};

pub(crate) enum Machine {
    Client(Client<u32>),
    Server(Server<u32>),
}

/// The same call on either machine.
macro_rules! on {
    ($machine:expr, $pool:ident => $call:expr) => {
        match $machine {
            $crate::world::end::Machine::Client($pool) => $call,
            $crate::world::end::Machine::Server($pool) => $call,
        }
    };
}
use on;

/// What the driver knows of a live connection.
#[derive(Clone, Copy)]
struct Life {
    token: Token,
    state: State,
    /// When it entered its state, by the end's own clock.
    since: Instant,
    established: Option<Instant>,
    /// What it was last checked for.
    kind: Option<CheckKind>,
    id: Option<ConnId>,
    /// Server: the number of its source.
    source: Option<u16>,
}

/// Where a connection, which is a number here, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Driver,
    Machine,
    Ended,
}

/// A machine and the account kept of it.
pub(crate) struct End {
    side: Side,
    pub(crate) bounds: Bounds,
    machine: Machine,
    /// What this end's clock shows beyond the simulation's, in nanoseconds.
    pub(crate) skew: i64,
    /// The latest time that the machine was told.
    pub(crate) seen: Instant,
    /// By the token's slot.
    lives: Vec<Option<Life>>,
    live: u32,
    ids: HashMap<ConnId, Token, FixedState>,
    pub(crate) waiting: Waiting,
    /// What the machine wants done, accounted for and not yet carried out.
    pub(crate) did: VecDeque<Action<u32>>,
    closed: bool,
    /// Whether a dial was begun in this step.
    dialled: bool,
    /// The server's listener is gone.
    accept_ended: bool,
    /// Whether a connection that was promised to somebody ended in this step.
    bereft: bool,
    dials: u64,
    leases: u64,
    admitted: u64,
    ends: Reasons,
    pub(crate) before: Stats,
    /// Since when the client backs off, and for how long at the most.
    backing_off: Option<(Instant, Duration)>,
    steps: u64,
    /// Connections that the machine holds.
    inside: u32,
    /// Connections that are with the driver to be checked.
    checking: u32,
    /// With many connections, a full look at all of them comes only now and then.
    large: bool,
    places: HashMap<u32, Place, FixedState>,
}

impl End {
    pub(crate) fn new(
        side: Side,
        machine: Machine,
        bounds: Bounds,
        now: Instant,
        skew: i64,
    ) -> Self {
        Self {
            side,
            bounds,
            before: on!(&machine, pool => pool.stats()),
            machine,
            skew,
            seen: now,
            lives: Vec::new(),
            live: 0,
            ids: HashMap::default(),
            waiting: Waiting::default(),
            did: VecDeque::new(),
            closed: false,
            dialled: false,
            accept_ended: false,
            bereft: false,
            dials: 0,
            leases: 0,
            admitted: 0,
            ends: Reasons::default(),
            backing_off: None,
            steps: 0,
            inside: 0,
            checking: 0,
            large: bounds.capacity.1 > 256,
            places: HashMap::default(),
        }
    }

    // --- time -----------------------------------------------------------------------------------

    /// What this end's clock shows, which may go back. The machine has to cope.
    pub(crate) fn clock(&self, now: u64) -> Instant {
        Instant::from_nanos(now.saturating_add_signed(self.skew))
    }

    /// When the machine is due, in the simulation's time.
    pub(crate) fn due(&self) -> Option<u64> {
        let due = on!(&self.machine, pool => pool.poll_timeout())?;
        Some(due.as_nanos().saturating_add_signed(self.skew.saturating_neg()))
    }

    // --- the machine's calls, each of them accounted for ----------------------------------------

    pub(crate) fn start(&mut self, now: u64, tally: &mut Tally) -> Verdict {
        self.step(now);
        self.settle(tally)
    }

    pub(crate) fn timeout(&mut self, now: u64, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        // What is with the driver to be checked ends without an action.
        let (late, drain_timeout) = (self.seen, self.bounds.drain_timeout);
        self.end_checks(CloseReason::DrainTimeout, tally, |life| {
            life.since + drain_timeout <= late
        })?;
        on!(&mut self.machine, pool => pool.handle_timeout(clock));
        self.settle(tally)?;
        self.check_nothing_is_overdue()
    }

    pub(crate) fn event(&mut self, now: u64, event: Event<u32>, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        let (mut named, mut checked) = (None, None);
        match &event {
            Event::Established { token, connection, id } => {
                self.give(*connection)?;
                let seen = self.seen;
                let expected = self.state(*token) == Some(State::Handshaking);
                if let Some(life) = self.life(*token).filter(|_| expected) {
                    life.established = Some(seen);
                    life.id = life.id.or(*id);
                    named = id.map(|id| (*token, id));
                }
            }
            Event::Checked { token, connection, result } => {
                self.give(*connection)?;
                self.checking -= 1;
                checked = Some((*token, *result));
            }
            Event::AcceptEnded => self.accept_ended = true,
            _ => {}
        }
        if let Some((token, reason)) = self.silent_end(&event) {
            self.ended(token, reason, tally)?;
        }
        on!(&mut self.machine, pool => pool.handle_event(clock, event));
        self.account(tally)?;
        if let Some((token, id)) = named.filter(|(token, _)| self.state(*token).is_some()) {
            self.name(token, id)?;
        }
        if let Some((token, result)) = checked {
            self.check_finding(token, result)?;
        }
        self.settle(tally)
    }

    /// Whom an event ends, of those that the driver has: no action will say so.
    fn silent_end(&self, event: &Event<u32>) -> Option<(Token, CloseReason)> {
        let (Event::DialFailed { token }
        | Event::HandshakeFailed { token, .. }
        | Event::Closed { token }) = *event
        else {
            return None;
        };
        let reason = match (event, self.state(token)?) {
            (Event::DialFailed { .. }, State::Dialing) => CloseReason::DialFailed,
            (Event::HandshakeFailed { .. }, State::Handshaking) => CloseReason::HandshakeFailed,
            (Event::Closed { .. }, State::Leased) => CloseReason::Released,
            // It comes back from its check as stale.
            (Event::Closed { .. }, State::Checking) => CloseReason::PeerClosed,
            _ => return None,
        };
        Some((token, reason))
    }

    /// An event that must change nothing but the counter of stale events.
    pub(crate) fn stale_event(
        &mut self,
        now: u64,
        event: Event<u32>,
        tally: &mut Tally,
    ) -> Verdict {
        let clock = self.step(now);
        let mut expected = self.stats();
        expected.totals.stale_events += 1;
        let text = format!("{event:?}");
        on!(&mut self.machine, pool => pool.handle_event(clock, event));
        ensure!(self.stats() == expected, "9: a stale event changes only a counter", "{text}");
        self.settle(tally)
    }

    pub(crate) fn acquire(
        &mut self,
        now: u64,
        again: bool,
        tally: &mut Tally,
    ) -> Verdict<Acquired<u32>> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => if again {
            pool.acquire_again(clock)
        } else {
            pool.acquire(clock)
        });
        self.answered(&answer, Want::Any, again)?;
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn acquire_by_id(
        &mut self,
        now: u64,
        id: ConnId,
        tally: &mut Tally,
    ) -> Verdict<Acquired<u32>> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => pool.acquire_by_id(clock, id));
        self.answered(&answer, Want::Id(id), false)?;
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn wait_ready(&mut self, now: u64, ready: u32, tally: &mut Tally) -> Verdict<Stock> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => pool.wait_ready(clock, ready));
        match answer {
            Stock::Queued(waiter) => self.queued(waiter, Want::Stock(ready), false)?,
            Stock::Ready => {
                let idle = self.before.idle;
                ensure!(idle >= ready, "5: stock is there", "{idle} of {ready} are ready");
            }
            Stock::Refused(refusal) => self.check_refusal(refusal, Want::Stock(ready), false)?,
        }
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn collect(
        &mut self,
        now: u64,
        waiter: WaiterId,
        tally: &mut Tally,
    ) -> Verdict<Collected<u32>> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => pool.collect(clock, waiter));
        let want = self.waiting.collected(waiter, &answer)?;
        match &answer {
            Collected::Ready(lease) => self.leased(lease, want.unwrap_or(Want::Any))?,
            Collected::Refused(refusal) => {
                self.check_refusal(*refusal, want.unwrap_or(Want::Any), true)?;
            }
            _ => {}
        }
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn cancel(&mut self, now: u64, waiter: WaiterId, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        let outcome = on!(&mut self.machine, pool => pool.cancel(clock, waiter));
        let waited = self.waiting.forget(waiter);
        let known = outcome != WaitOutcome::Unknown;
        ensure!(waited == known, "5: one outcome for each waiter", "{waiter:?}: {outcome:?}");
        self.settle(tally)?;
        let after = on!(&mut self.machine, pool => pool.collect(clock, waiter));
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
        tally: &mut Tally,
    ) -> Verdict {
        let clock = self.step(now);
        self.give(connection)?;
        let leased = self.state(token) == Some(State::Leased);
        let result = on!(&mut self.machine, pool => match drained {
            Some(result) => pool.put_drained(clock, token, connection, result),
            None => pool.put(clock, token, connection),
        });
        let expected = match (leased, self.closed) {
            (true, _) => Ok(()),
            (false, true) => Err(PutError::PoolClosed),
            (false, false) => Err(PutError::NotLeased),
        };
        ensure!(result == expected, "5: only a lease is put back", "{token:?}: {result:?}");
        self.settle(tally)
    }

    pub(crate) fn reject(
        &mut self,
        now: u64,
        lease: Lease<u32>,
        result: CheckResult,
        tally: &mut Tally,
    ) -> Verdict {
        let clock = self.step(now);
        self.give(lease.connection)?;
        on!(&mut self.machine, pool => pool.reject(clock, lease.token, lease.connection, result));
        self.settle(tally)
    }

    pub(crate) fn clean(&mut self, now: u64, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        let idle = self.before.idle;
        let count = on!(&mut self.machine, pool => pool.clean(clock));
        ensure!(count == idle, "8: clean ends what is idle", "{count} of {idle}");
        self.settle(tally)
    }

    pub(crate) fn flush(&mut self, now: u64, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        let live = self.live;
        self.end_checks(CloseReason::Flushed, tally, |_| true)?;
        let older: Vec<Token> = self.lives.iter().flatten().map(|life| life.token).collect();
        let count = on!(&mut self.machine, pool => pool.flush(clock));
        ensure!(count == live, "8: flush ends everything", "{count} of {live}");
        self.settle(tally)?;
        for token in older {
            ensure!(self.life(token).is_none(), "8: flush ends everything", "not {token:?}");
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, now: u64, tally: &mut Tally) -> Verdict {
        let clock = self.step(now);
        self.closed = true;
        self.end_checks(CloseReason::PoolClosed, tally, |_| true)?;
        on!(&mut self.machine, pool => pool.close(clock));
        self.settle(tally)?;
        let waiting = self.before.waiters;
        ensure!(waiting == 0, "8: waiters are answered by close", "{waiting} wait");
        ensure!(self.live == 0, "8: close ends everything", "{} live", self.live);
        on!(&mut self.machine, pool => pool.close(clock));
        let quiet = !on!(&self.machine, pool => pool.has_actions());
        ensure!(quiet, "8: close is idempotent", "the second one has actions");
        Ok(())
    }

    /// A peer has connected; to a client nobody can.
    pub(crate) fn admit(
        &mut self,
        now: u64,
        source: u16,
        tally: &mut Tally,
    ) -> Verdict<Result<Admission, Rejected>> {
        let clock = self.step(now);
        let [high, low] = source.to_be_bytes();
        let address = std::net::IpAddr::from([10, 0, high, low]);
        let of_source = |life: &&Life| life.source == Some(source) && life.state != State::Leased;
        // Where there are many to be counted, they are not.
        let counted = !self.large;
        let held = if counted { self.lives.iter().flatten().filter(of_source).count() } else { 0 };
        let Machine::Server(server) = &mut self.machine else {
            return Ok(Err(Rejected::PoolClosed));
        };
        let admission = server.admit(clock, address);
        match admission {
            Ok(Admission { token, id }) => {
                ensure!(!self.closed, "8: nobody is admitted after close", "{token:?}");
                ensure!(
                    held < self.bounds.max_per_source as usize,
                    "2: no more than max_per_source of a source",
                    "the source of {token:?} holds {held} already"
                );
                self.admitted += 1;
                // Whom it evicts comes first: the id may be that of the evicted one's successor.
                self.account(tally)?;
                self.enter(token, State::Handshaking, Some(source), tally)?;
                self.name(token, id)?;
            }
            Err(Rejected::CapacityReached { .. }) if counted => {
                let evictable = [State::Handshaking, State::Idle, State::Resting];
                self.check_nobody_is_locked_out(source, held, &evictable)?;
            }
            Err(Rejected::ConnectionsReached { .. }) if counted => {
                let evictable = [State::Handshaking, State::Idle, State::Resting, State::Claimed];
                self.check_nobody_is_locked_out(source, held, &evictable)?;
            }
            Err(Rejected::HandshakesReached { .. }) if counted => {
                self.check_no_door_is_blocked(source)?;
            }
            Err(Rejected::SourceFull { .. }) => ensure!(
                held >= self.bounds.max_per_source as usize,
                "2: no more than max_per_source of a source",
                "turned away with {held}"
            ),
            Err(_) => {}
        }
        self.settle(tally)?;
        Ok(admission)
    }

    pub(crate) fn stats(&self) -> Stats {
        on!(&self.machine, pool => pool.stats())
    }
}
