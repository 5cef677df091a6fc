//! One end: a machine, the driver's account of what it holds, and the checks after every step.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use pool_proto::{
    Acquire, Action, Admission, Client, CloseReason, Collected, ConnId, Event, Finding, Instant,
    Lease, Purpose, PutError, Rejected, Server, State, Stats, Stock, Token, WaitOutcome, WaiterId,
};

use crate::options::{Bounds, Side};
use crate::tally::Tally;
use crate::violation::{Checked, ensure};
use crate::waiting::{Waiting, Want};

pub(crate) enum Machine {
    Client(Client<u32>),
    Server(Server<u32>),
}

/// The same call on either machine.
macro_rules! on {
    ($machine:expr, $pool:ident => $call:expr) => {
        match $machine {
            Machine::Client($pool) => $call,
            Machine::Server($pool) => $call,
        }
    };
}
pub(crate) use on;

/// What the driver knows of a live connection.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) token: Token,
    pub(crate) state: State,
    /// When it entered its state, by the end's own clock.
    pub(crate) since: Instant,
    pub(crate) established: Option<Instant>,
    /// What it was last checked for.
    pub(crate) purpose: Option<Purpose>,
    pub(crate) id: Option<ConnId>,
    /// Server: the number of its source.
    pub(crate) source: Option<u16>,
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
    pub(crate) side: Side,
    pub(crate) bounds: Bounds,
    pub(crate) machine: Machine,
    /// What this end's clock shows beyond the simulation's, in nanoseconds.
    pub(crate) skew: i64,
    /// The latest time that the machine was told.
    pub(crate) seen: Instant,
    /// By the token's slot.
    pub(crate) lives: Vec<Option<Life>>,
    pub(crate) live: u32,
    pub(crate) ids: HashMap<ConnId, Token, FixedState>,
    pub(crate) waiting: Waiting,
    /// What the machine wants done, accounted for and not yet carried out.
    pub(crate) did: VecDeque<Action<u32>>,
    pub(crate) closed: bool,
    /// Whether a dial was begun in this step.
    pub(crate) dialled: bool,
    /// The server's listener is gone.
    pub(crate) accept_ended: bool,
    /// Whether a connection that was promised to somebody ended in this step.
    bereft: bool,
    pub(crate) dials: u64,
    pub(crate) leases: u64,
    pub(crate) admitted: u64,
    pub(crate) ends: Vec<(CloseReason, u64)>,
    pub(crate) before: Stats,
    /// Since when the client backs off, and for how long at the most.
    pub(crate) backing_off: Option<(Instant, Duration)>,
    pub(crate) steps: u64,
    /// Connections that the machine holds.
    pub(crate) inside: u32,
    /// Connections that are with the driver to be checked.
    checking: u32,
    /// With many connections, a full look at all of them comes only now and then.
    pub(crate) large: bool,
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
            ends: Vec::new(),
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

    pub(crate) fn start(&mut self, now: u64, tally: &mut Tally) -> Checked {
        self.step(now);
        self.settle(tally)
    }

    pub(crate) fn timeout(&mut self, now: u64, tally: &mut Tally) -> Checked {
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

    pub(crate) fn event(&mut self, now: u64, event: Event<u32>, tally: &mut Tally) -> Checked {
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
            Event::Checked { token, connection, finding } => {
                self.give(*connection)?;
                self.checking -= 1;
                checked = Some((*token, *finding));
            }
            Event::AcceptEnded => self.accept_ended = true,
            Event::DialFailed { token } | Event::HandshakeFailed { token, .. } => {
                let failing = match event {
                    Event::DialFailed { .. } => State::Dialing,
                    _ => State::Handshaking,
                };
                if self.state(*token) == Some(failing) {
                    let reason = match event {
                        Event::DialFailed { .. } => CloseReason::DialFailed,
                        _ => CloseReason::HandshakeFailed,
                    };
                    self.ended(*token, reason, tally)?;
                }
            }
            Event::Closed { token } => match self.state(*token) {
                Some(State::Leased) => {
                    self.ended(*token, CloseReason::Released, tally)?;
                }
                // It comes back from its check as stale.
                Some(State::Checking) => {
                    self.ended(*token, CloseReason::PeerClosed, tally)?;
                }
                _ => {}
            },
            _ => {}
        }
        on!(&mut self.machine, pool => pool.handle_event(clock, event));
        self.account(tally)?;
        if let Some((token, id)) = named.filter(|(token, _)| self.state(*token).is_some()) {
            self.name(token, id)?;
        }
        if let Some((token, finding)) = checked {
            self.check_finding(token, finding)?;
        }
        self.settle(tally)
    }

    /// An event that must change nothing but the counter of stale events.
    pub(crate) fn stale_event(
        &mut self,
        now: u64,
        event: Event<u32>,
        tally: &mut Tally,
    ) -> Checked {
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
    ) -> Checked<Acquire<u32>> {
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
    ) -> Checked<Acquire<u32>> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => pool.acquire_by_id(clock, id));
        self.answered(&answer, Want::Id(id), false)?;
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn wait_ready(&mut self, now: u64, ready: u32, tally: &mut Tally) -> Checked<Stock> {
        let clock = self.step(now);
        let answer = on!(&mut self.machine, pool => pool.wait_ready(clock, ready));
        match answer {
            Stock::Queued(waiter) => self.waiting.queue(waiter, Want::Stock, false),
            Stock::Ready => {
                let idle = self.before.idle;
                ensure!(idle >= ready, "5: stock is there", "{idle} of {ready} are ready");
            }
            Stock::Refused(refusal) => self.check_refusal(refusal, Want::Stock, false)?,
        }
        self.settle(tally)?;
        Ok(answer)
    }

    pub(crate) fn collect(
        &mut self,
        now: u64,
        waiter: WaiterId,
        tally: &mut Tally,
    ) -> Checked<Collected<u32>> {
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

    pub(crate) fn cancel(&mut self, now: u64, waiter: WaiterId, tally: &mut Tally) -> Checked {
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
        drained: Option<Finding>,
        tally: &mut Tally,
    ) -> Checked {
        let clock = self.step(now);
        self.give(connection)?;
        let leased = self.state(token) == Some(State::Leased);
        let result = on!(&mut self.machine, pool => match drained {
            Some(finding) => pool.put_drained(clock, token, connection, finding),
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
        finding: Finding,
        tally: &mut Tally,
    ) -> Checked {
        let clock = self.step(now);
        self.give(lease.connection)?;
        on!(&mut self.machine, pool => pool.reject(clock, lease.token, lease.connection, finding));
        self.settle(tally)
    }

    pub(crate) fn clean(&mut self, now: u64, tally: &mut Tally) -> Checked {
        let clock = self.step(now);
        let idle = self.before.idle;
        let count = on!(&mut self.machine, pool => pool.clean(clock));
        ensure!(count == idle, "8: clean ends what is idle", "{count} of {idle}");
        self.settle(tally)
    }

    pub(crate) fn flush(&mut self, now: u64, tally: &mut Tally) -> Checked {
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

    pub(crate) fn close(&mut self, now: u64, tally: &mut Tally) -> Checked {
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
    ) -> Checked<Result<Admission, Rejected>> {
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
                self.check_nobody_is_locked_out(source, held)?;
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

    // --- the account ----------------------------------------------------------------------------

    /// The id of a live connection, as far as it is known.
    pub(crate) fn id(&self, token: Token) -> Option<ConnId> {
        self.lives.get(token.slot())?.as_ref().filter(|life| life.token == token)?.id
    }

    fn step(&mut self, now: u64) -> Instant {
        let clock = self.clock(now);
        self.seen = self.seen.max(clock);
        self.steps += 1;
        (self.dialled, self.bereft) = (false, false);
        clock
    }

    pub(crate) fn life(&mut self, token: Token) -> Option<&mut Life> {
        let life = self.lives.get_mut(token.slot())?.as_mut()?;
        (life.token == token).then_some(life)
    }

    /// The state of a connection; `None` if it has ended.
    pub(crate) fn state(&self, token: Token) -> Option<State> {
        on!(&self.machine, pool => pool.state_of(token))
    }

    pub(crate) fn enter(
        &mut self,
        token: Token,
        state: State,
        source: Option<u16>,
        tally: &mut Tally,
    ) -> Checked {
        if self.lives.len() <= token.slot() {
            self.lives.resize(token.slot() + 1, None);
        }
        let since = self.seen;
        let (established, purpose, id) = (None, None, None);
        let life = Life { token, state, since, established, purpose, id, source };
        let former = self.lives[token.slot()].replace(life);
        ensure!(former.is_none(), "1: a token is not used twice", "{token:?}");
        self.live += 1;
        tally.most = tally.most.max(self.live);
        tally.edge(self.side, None, Some(state))
    }

    /// A live connection has this id from now on.
    pub(crate) fn name(&mut self, token: Token, id: ConnId) -> Checked {
        if let Some(life) = self.life(token) {
            life.id = Some(id);
        }
        let former = self.ids.insert(id, token);
        ensure!(former.is_none(), "4: ids are unique", "{former:?} and {token:?} have {id}");
        Ok(())
    }

    /// The driver passes a connection to the machine.
    fn give(&mut self, connection: u32) -> Checked {
        let place = self.places.entry(connection).or_insert(Place::Driver);
        ensure!(*place == Place::Driver, "1: one owner", "{connection} was not the driver's");
        *place = Place::Machine;
        self.inside += 1;
        Ok(())
    }

    fn take(&mut self, connection: u32, to: Place) -> Checked {
        let Some(place) = self.places.get_mut(&connection) else {
            return Ok(());
        };
        ensure!(*place == Place::Machine, "1: one owner", "{connection} came out twice");
        *place = to;
        self.inside -= 1;
        Ok(())
    }

    fn answered(&mut self, answer: &Acquire<u32>, want: Want, again: bool) -> Checked {
        match answer {
            Acquire::Ready(lease) => self.leased(lease, want),
            Acquire::Queued(waiter) => {
                self.waiting.queue(*waiter, want, again);
                Ok(())
            }
            Acquire::Refused(refusal) => self.check_refusal(*refusal, want, false),
        }
    }

    fn leased(&mut self, lease: &Lease<u32>, want: Want) -> Checked {
        self.take(lease.connection, Place::Driver)?;
        self.leases += 1;
        self.check_lease(lease, want)
    }

    /// Carries the machine's actions into the account, and checks it.
    fn settle(&mut self, tally: &mut Tally) -> Checked {
        self.account(tally)?;
        tally.steps += 1;
        self.audit(tally)
    }

    fn account(&mut self, tally: &mut Tally) -> Checked {
        while let Some(action) = on!(&mut self.machine, pool => pool.poll_action()) {
            self.account_for(&action, tally)?;
            self.did.push_back(action);
        }
        Ok(())
    }

    fn account_for(&mut self, action: &Action<u32>, tally: &mut Tally) -> Checked {
        match *action {
            Action::Dial { token } => {
                ensure!(!self.closed, "8: no dial after close", "{action:?}");
                self.dials += 1;
                self.dialled = true;
                self.enter(token, State::Dialing, None, tally)
            }
            Action::Check { token, connection, purpose } => {
                ensure!(!self.closed, "8: no check after close", "{action:?}");
                self.take(connection, Place::Driver)?;
                self.checking += 1;
                let seen = self.seen;
                let Some(life) = self.life(token) else {
                    ensure!(false, "1: no action names what has ended", "{action:?}");
                    return Ok(());
                };
                // Checked again, it enters its state again.
                (life.since, life.purpose) = (seen, Some(purpose));
                Ok(())
            }
            Action::Close { token, connection, reason } => {
                self.take(connection, Place::Ended)?;
                if self.life(token).is_some() {
                    return self.ended(token, reason, tally);
                }
                let late = matches!(reason, CloseReason::Stale | CloseReason::PoolClosed);
                ensure!(late, "1: a transport ends once", "{action:?}");
                Ok(())
            }
            Action::Abort { token, reason } => {
                let state = self.life(token).map(|life| life.state);
                let with_driver =
                    matches!(state, Some(State::Dialing | State::Handshaking | State::Leased));
                ensure!(
                    with_driver || self.large,
                    "1: only what the driver has is aborted",
                    "{state:?}"
                );
                self.ended(token, reason, tally)
            }
            Action::Wake { waiter } => self.waiting.woken(waiter, self.bereft),
        }
    }

    pub(crate) fn ended(
        &mut self,
        token: Token,
        reason: CloseReason,
        tally: &mut Tally,
    ) -> Checked {
        let life = self.lives.get_mut(token.slot()).and_then(Option::take);
        let Some(life) = life.filter(|life| life.token == token) else {
            ensure!(false, "1: a transport ends once", "{token:?}: {reason}");
            return Ok(());
        };
        self.check_reason(&life, reason)?;
        self.live -= 1;
        self.bereft |= life.state == State::Granted;
        if let Some(id) = life.id
            && self.ids.get(&id) == Some(&token)
        {
            self.ids.remove(&id);
        }
        match self.ends.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.ends.push((reason, 1)),
        }
        tally.end(self.side, reason);
        // With many connections, states are looked at now and then only.
        if self.large { Ok(()) } else { tally.edge(self.side, Some(life.state), None) }
    }

    /// What is being checked ends without an action, and comes back as stale.
    fn end_checks(
        &mut self,
        reason: CloseReason,
        tally: &mut Tally,
        which: impl Fn(&Life) -> bool,
    ) -> Checked {
        if self.checking == 0 {
            return Ok(());
        }
        let checking =
            |life: &&Life| self.state(life.token) == Some(State::Checking) && which(life);
        let tokens = self.lives.iter().flatten().filter(checking).map(|life| life.token);
        for token in tokens.collect::<Vec<_>>() {
            self.ended(token, reason, tally)?;
        }
        Ok(())
    }
}
