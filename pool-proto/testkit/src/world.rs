//! The world: a client's and a server's machine with a ledger each, the network between them, users
//! at both ends, and a queue of events in virtual time.
//!
//! Its [options](Options) and all choices come from a seed, or from the bytes of a fuzzer. Then it is
//! small, and both machines are compared with the naive pool as well.

mod end;
mod faults;
mod handshake;
mod liveness;
mod network;
mod options;
mod phases;
mod source;
mod tally;
mod users;

pub use faults::Fault;
pub use options::Options;
pub use phases::{Outcome, live_bytes, live_seed};
pub use tally::Tally;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pool_proto::{Action, CheckKind, CheckResult, ConnId, Event, Token, TokenMap};

use self::end::End;
use self::network::{Endpoint, Segment, Stage, Transport, endpoint_of};
use self::source::Source;
use self::users::{Conversation, Message, Part};
use crate::setup::Side;
use crate::violation::Verdict;

/// An event of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A machine's timer; the number tells timers of former machines apart.
    Timer(Side, u32),
    /// A transport comes to the server's host.
    Knock(usize),
    Arrive(u32, Segment),
    /// Bytes that have arrived are read at last.
    Proceed(u32),
    ServerHello(usize),
    Trickle(usize),
    IdSent(usize),
    /// A check is answered.
    Checked(Side, Token, u32, CheckResult),
    /// The news that something has arrived, late.
    Announce(u32, Token),
    Users(Side),
    /// A part of a conversation looks at its waiter.
    Collect(u32),
    /// It loses patience.
    Deadline(u32),
    Control(Side, u32, Message),
    Strike(Fault),
    Open(Side),
    /// A machine that shuts down makes room for another one; the number tells former machines apart.
    Reopen(Side, u32),
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// By time, and then in the order in which they were entered.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) random: Source,
    /// Nanoseconds.
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    entered: u64,
    pub(crate) ends: [End; 2],
    /// How many machines each side has had.
    pub(crate) epoch: [u32; 2],
    /// When each side's timer was meant to fire, and when it will.
    armed: [(u64, u64); 2],
    pub(crate) tokens: [TokenMap<u32>; 2],
    pub(crate) transports: Vec<Transport>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Towards each side: nothing arrives before this.
    pub(crate) partition: [u64; 2],
    pub(crate) up: [bool; 2],
    pub(crate) listening: bool,
    /// Ids that the server has given lately.
    pub(crate) ids_sent: Vec<ConnId>,
    /// Connections that the server's driver will close as soon as they are established.
    pub(crate) closing_early: Vec<Token>,
    pub(crate) parts: Vec<Part>,
    /// By side and the waiter's slot: whose it is.
    pub(crate) by_waiter: [Vec<u32>; 2],
    pub(crate) conversations: Vec<Conversation>,
    /// Whether things go wrong.
    pub(crate) faulty: bool,
    pub(crate) tally: Tally,
    pub(crate) log: Option<String>,
}

impl World {
    pub(crate) fn new(options: Options, random: Source, log: bool) -> Verdict<Self> {
        let ends = Side::BOTH.map(|side| open(&options, side, 0, 0, 0));
        let [client, server] = ends;
        let ends = [client?, server?];
        Ok(Self {
            random,
            now: 0,
            queue: BinaryHeap::new(),
            entered: 0,
            ends,
            epoch: [0; 2],
            armed: [(u64::MAX, u64::MAX); 2],
            tokens: [TokenMap::new(), TokenMap::new()],
            transports: Vec::new(),
            endpoints: Vec::new(),
            partition: [0; 2],
            up: [true; 2],
            listening: true,
            ids_sent: Vec::new(),
            closing_early: Vec::new(),
            parts: Vec::new(),
            by_waiter: [Vec::new(), Vec::new()],
            conversations: Vec::new(),
            faulty: true,
            tally: Tally::default(),
            log: log.then(String::new),
            options,
        })
    }

    /// Writes a line of the log, if there is one.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            use std::fmt::Write;
            let (seconds, nanos) = (self.now / 1_000_000_000, self.now % 1_000_000_000);
            // Writing to a string does not fail.
            let _ = writeln!(log, "{seconds:4}.{nanos:09} {}", line());
        }
    }

    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.entered += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), number: self.entered, what }));
    }

    /// Whether a fault happens on this occasion; counted.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.faulty && self.options.strikes(fault, &mut self.random);
        if strikes {
            self.tally.fault(fault);
        }
        strikes
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// Lets everything happen until `until`, or until `done`; whether it was done.
    pub(crate) fn run(&mut self, until: u64, done: impl Fn(&Self) -> bool) -> Verdict<bool> {
        while !done(self) {
            let due = self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= until);
            let next = if due { self.queue.pop() } else { None };
            let Some(Reverse(entry)) = next else {
                self.now = self.now.max(until);
                return Ok(false);
            };
            self.now = entry.at;
            self.happen(entry.what)?;
        }
        Ok(true)
    }

    fn happen(&mut self, what: What) -> Verdict {
        self.note(|| format!("{what:?}"));
        match what {
            What::Timer(side, epoch) => self.timer(side, epoch),
            What::Knock(transport) => self.accept(transport),
            What::Arrive(at, segment) => self.arrive(at, segment),
            What::Proceed(at) => self.proceed(at),
            What::ServerHello(transport) => self.server_hello(transport),
            What::Trickle(transport) => self.trickle(transport),
            What::IdSent(transport) => self.id_sent(transport),
            What::Checked(side, token, connection, result) => {
                self.event(side, Event::Checked { token, connection, result })
            }
            What::Announce(at, token) => self.announce_late(at, token),
            What::Users(side) => self.users(side),
            What::Collect(part) => self.collect(part),
            What::Deadline(part) => self.give_up(part),
            What::Control(side, epoch, message) => self.hear(side, epoch, message),
            What::Strike(fault) => self.strike(fault),
            What::Open(side) => self.open(side),
            What::Reopen(side, epoch) => self.reopen(side, epoch),
        }
    }

    /// Takes the checks of a side that are not answered out of the queue.
    pub(crate) fn take_checks(&mut self, side: Side) -> Vec<(Token, u32)> {
        let mut checks = Vec::new();
        self.queue.retain(|Reverse(entry)| match entry.what {
            What::Checked(whose, token, connection, _) if whose == side => {
                checks.push((entry.number, token, connection));
                false
            }
            _ => true,
        });
        checks.sort_unstable_by_key(|(number, ..)| *number);
        checks.into_iter().map(|(_, token, connection)| (token, connection)).collect()
    }

    /// When everything on its way will have arrived.
    pub(crate) fn all_arrived(&self) -> u64 {
        let travels = |what: &What| {
            matches!(
                what,
                What::Knock(_)
                    | What::Arrive(..)
                    | What::Proceed(_)
                    | What::Checked(..)
                    | What::Announce(..)
                    | What::Collect(_)
                    | What::Control(..)
            )
        };
        let arrivals = self.queue.iter().filter(|Reverse(entry)| travels(&entry.what));
        arrivals.map(|Reverse(entry)| entry.at).max().unwrap_or(self.now)
    }

    // --- the drivers ----------------------------------------------------------------------------

    pub(crate) fn event(&mut self, side: Side, event: Event<u32>) -> Verdict {
        let now = self.now;
        self.note(|| format!("  {side:?} is told {event:?}"));
        self.ends[side as usize].event(now, event)?;
        self.carry_out(side)
    }

    fn timer(&mut self, side: Side, epoch: u32) -> Verdict {
        let set_again = self.armed[side as usize].1 != self.now;
        if epoch != self.epoch[side as usize] || !self.up[side as usize] || set_again {
            return Ok(());
        }
        self.armed[side as usize] = (u64::MAX, u64::MAX);
        let now = self.now;
        if self.end(side).due().is_some_and(|due| due <= now) {
            self.note(|| format!("{side:?} is due"));
            self.ends[side as usize].timeout(now)?;
        }
        self.carry_out(side)
    }

    /// Sets the timer of a side, if it is due earlier than its timer says.
    fn arm(&mut self, side: Side) {
        let Some(due) = self.ends[side as usize].due().map(|due| due.max(self.now)) else {
            return;
        };
        if due < self.armed[side as usize].0 {
            let late =
                if self.strikes(Fault::LateTimer) { self.random.u64(..80_000_000) } else { 0 };
            let epoch = self.epoch[side as usize];
            let fires = due.saturating_add(late);
            self.armed[side as usize] = (due, fires);
            self.at(fires, What::Timer(side, epoch));
        }
    }

    /// Carries out the actions of a machine.
    pub(crate) fn carry_out(&mut self, side: Side) -> Verdict {
        while let Some(action) = self.end(side).did.pop_front() {
            self.note(|| format!("  {side:?} wants {action:?}"));
            match action {
                Action::Dial { token } => self.dial(token),
                Action::Check { token, connection, kind } => {
                    self.check(side, token, connection, kind)?;
                }
                Action::Close { connection, .. } => self.close_endpoint(connection),
                Action::Abort { token, .. } => self.abort(side, token),
                Action::Wake { waiter } => self.wake(side, waiter),
            }
        }
        self.arm(side);
        Ok(())
    }

    fn abort(&mut self, side: Side, token: Token) {
        let Some(at) = self.tokens[side as usize].remove(token) else { return };
        if let Stage::Leased(part) = self.endpoint(at).stage {
            self.part_over(part, false);
        }
        self.close_endpoint(at);
    }

    fn check(&mut self, side: Side, token: Token, connection: u32, kind: CheckKind) -> Verdict {
        let result = match kind {
            CheckKind::Inspect => self.look(connection),
            CheckKind::Drain => self.drain(connection),
        };
        if self.strikes(Fault::LateCheck) {
            let most = 2 * network::nanos(self.end(side).setup().drain_timeout);
            let late = self.random.u64(..most);
            self.at(self.now + late, What::Checked(side, token, connection, result));
            return Ok(());
        }
        self.event(side, Event::Checked { token, connection, result })
    }

    /// Looks at a connection. The next arrival will be reported.
    pub(crate) fn look(&mut self, at: u32) -> CheckResult {
        let end = self.endpoint(at);
        end.watched = true;
        match (end.inbox.is_empty(), end.ended) {
            (false, false) => CheckResult::Data,
            (false, true) => CheckResult::Finished,
            (true, true) => CheckResult::Closed,
            (true, false) => CheckResult::Quiet,
        }
    }

    /// Throws away the bytes that have arrived, up to a limit.
    pub(crate) fn drain(&mut self, at: u32) -> CheckResult {
        /// Bytes.
        const DRAIN_LIMIT: usize = 24;
        let end = self.endpoint(at);
        end.watched = true;
        let len = end.inbox.len();
        end.inbox.clear();
        match (len > DRAIN_LIMIT, end.ended) {
            (true, _) => CheckResult::Data,
            (false, true) => CheckResult::Closed,
            (false, false) => CheckResult::Quiet,
        }
    }

    // --- machines come and go -------------------------------------------------------------------

    /// A new machine, after the last one was closed or has crashed.
    pub(crate) fn open(&mut self, side: Side) -> Verdict {
        if self.up[side as usize] {
            return Ok(());
        }
        self.epoch[side as usize] += 1;
        let epoch = self.epoch[side as usize];
        let skew = self.end(side).skew;
        self.tally.sides[side as usize].merge(self.ends[side as usize].ledger.counts());
        self.ends[side as usize] = open(&self.options, side, epoch, self.now, skew)?;
        self.tokens[side as usize] = TokenMap::new();
        self.armed[side as usize] = (u64::MAX, u64::MAX);
        self.up[side as usize] = true;
        if side == Side::Server {
            self.listening = true;
            self.ids_sent.clear();
            self.closing_early.clear();
        }
        self.ends[side as usize].start(self.options.oracle)?;
        self.carry_out(side)
    }

    /// All ends of one side's transports.
    pub(crate) fn endpoints_of(&self, side: Side) -> impl Iterator<Item = u32> + use<> {
        (0..self.transports.len()).map(move |transport| endpoint_of(transport, side))
    }

    /// A random transport that is in use or in the pool.
    pub(crate) fn some_transport(&mut self) -> Option<usize> {
        let open = |at: u32| {
            let stage = self.endpoints[at as usize].stage;
            !matches!(stage, Stage::Closed | Stage::Gone)
        };
        let all: Vec<usize> = (0..self.transports.len())
            .filter(|t| open(endpoint_of(*t, Side::Client)) || open(endpoint_of(*t, Side::Server)))
            .collect();
        self.random.choice(&all).copied()
    }
}

/// Opens a machine of one side.
fn open(options: &Options, side: Side, epoch: u32, now: u64, skew: i64) -> Verdict<End> {
    let seed = options.seed.wrapping_mul(31).wrapping_add(epoch.into());
    let setup = options.setups[side as usize].seed(seed).ids(options.ids);
    End::new(side, &setup, now, skew)
}
