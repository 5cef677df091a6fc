//! The ledger: the account of a pool's life, kept outside of the machine.
//!
//! It is told each call before the machine is ([`Ledger::begin`]), and afterwards the answer and the
//! actions ([`Ledger::settle`]). From these alone it knows where each connection is, which ids are in
//! use, which waiter is next, and which deadlines there are; it compares all that with the machine's
//! own account, and checks the invariants:
//!
//! 1. Every connection is in one state, comes there by an edge of [`EDGES`](pool_proto::EDGES), and has
//!    one owner. It ends once, for a reason that holds, in a `Close`, an `Abort` or a report; no
//!    action names it afterwards. A connection that ends while it is being checked comes back once,
//!    and goes out as a stale `Close`. The machine's counters count.
//! 2. A client that dials does not aim beyond its capacity, nor begins more dials and handshakes than
//!    it may: one at a time while it recovers from failures. A server stays within its capacity and
//!    its limits of handshakes, connections, and connections of one peer; no peer locks out another,
//!    and no handshake costs anything but another handshake.
//! 3. Capacity and interval stay within their bounds, and under the law of the Go package they move
//!    by steps of one and of 100 ms.
//! 4. No two live connections have one id; an id is a connection's for life; a lease by id has that
//!    id.
//! 5. A lease is of a connection that was in the pool, was suitable, and had not expired. Waiters are
//!    woken in the order of their queue and have one outcome each, none after a cancel. There is
//!    never a waiter and a connection that suits it. A refusal gives a reason that holds.
//! 6. `poll_timeout` is not later than any deadline that is known here, it is `None` where nothing is
//!    waited for, and a timeout leaves no passed deadline.
//! 7. A client that may dial, and lacks connections, does; a failure begins a wait, which is short
//!    while somebody waits. A server that turns one away while it holds others is not a failure.
//! 8. A closed pool holds nothing, begins nothing, and has answered everybody. Closing and flushing
//!    end everything there was, once. A pool that shuts down begins nothing and hands nothing out, holds
//!    only connections in use, and is closed with the last of them or at its deadline.
//! 9. A call that does not fit changes one counter, and hands back the connection that came with it.
//! 10. Waiters are bounded. (The harnesses compare two runs with one seed themselves.)

mod account;
mod connections;
mod counts;
pub mod edges;
mod leases;
mod limits;
mod lives;
mod rules;
mod waiting;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use pool_proto::{ConnId, Instant, State, Stats, Token, WaiterId};

pub use counts::{Counts, Reasons};
pub use lives::{Life, Place, Source};
pub use waiting::Want;

use crate::call::{Answer, Call, Did, Pool};
use crate::setup::{Setup, Side};
use crate::violation::Verdict;
use lives::{Holder, Lives};
use waiting::Waiting;

/// The account of one machine.
#[derive(Clone)]
pub struct Ledger {
    side: Side,
    setup: Setup,
    /// The latest time that the machine was told.
    seen: Instant,
    lives: Lives,
    /// Connections that have ended, the latest last.
    ended: Vec<Token>,
    ended_ids: Vec<ConnId>,
    used: HashSet<Token, FixedState>,
    ids: HashMap<ConnId, Token, FixedState>,
    /// By the number that the driver gave the connection.
    holders: HashMap<u32, Holder, FixedState>,
    /// How many of them the machine holds.
    inside: u32,
    waiting: Waiting,
    closed: bool,
    /// Since a graceful shutdown has begun, its deadline, if it has one.
    shutdown: Option<Option<Instant>>,
    /// Server: the listener is gone.
    accept_ended: bool,
    /// The statistics after the last call.
    before: Stats,
    /// Since when a client backs off, and for how long at the most.
    backing_off: Option<(Instant, std::time::Duration)>,
    /// The most dials at a time since the last failure.
    window: u32,
    /// The most that may be ready or become so, as long as a lowered capacity allows less.
    ready: u32,
    /// The most that were in use at either end, or ended, at once: where the peer acquires, so many may
    /// come back beyond the capacity.
    out: u32,
    /// With many connections, their states are looked at now and then only.
    large: bool,
    counts: Counts,
    step: Step,
}

/// Notes on the call under way.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Whether its subject was where the call needs it.
    fitted: bool,
    was_closed: bool,
    /// How many connections lived before it.
    lived: u32,
    dialled: u32,
    /// Whether a connection has begun.
    began: bool,
    /// Whether it is about a peer whose handshake is over.
    admits: bool,
    /// Whether it changes the configuration.
    configures: bool,
    ended: bool,
    /// Whether a waiter was woken.
    woken: bool,
    /// Whether a connection that was promised to a waiter has ended.
    grant_lost: bool,
}

impl Ledger {
    /// The account of a machine that was just built.
    pub fn new(side: Side, setup: &Setup, now: Instant, pool: &impl Pool) -> Self {
        Self {
            side,
            setup: *setup,
            seen: now,
            lives: Lives::default(),
            ended: Vec::new(),
            ended_ids: Vec::new(),
            used: HashSet::default(),
            ids: HashMap::default(),
            holders: HashMap::default(),
            inside: 0,
            waiting: Waiting::default(),
            closed: false,
            shutdown: None,
            accept_ended: false,
            before: pool.stats(),
            backing_off: None,
            window: 256,
            ready: 0,
            out: 0,
            large: setup.capacity.1 > 256,
            counts: Counts::default(),
            step: Step::default(),
        }
    }

    /// Enters the first actions of a new machine.
    pub fn start(&mut self, actions: &[Did], pool: &impl Pool) -> Verdict {
        self.step = Step { fitted: true, ..Step::default() };
        // A call that does nothing stands for the constructor.
        let call = Call::PutForeign;
        for action in actions {
            self.enter_action(&call, action)?;
        }
        self.audit(&call, &Answer::Nothing, actions, pool)
    }

    /// Enters the content of a call, before the machine is told.
    pub fn begin(&mut self, call: &Call, now: Instant) -> Verdict {
        /// The machine takes no later time for now.
        const LAST: Instant = Instant::from_nanos(u64::MAX - 1);
        if call.tells_time() {
            self.seen = self.seen.max(now).min(LAST);
        }
        self.step = Step {
            fitted: self.fits(call),
            was_closed: self.closed,
            lived: self.lives.len(),
            admits: matches!(call, Call::Admit(..)),
            configures: matches!(
                call,
                Call::SetConfig(setup) if setup.fixed(self.side, &self.setup).is_none()
            ),
            ..Step::default()
        };
        self.waiting.begin();
        self.enter_call(call)
    }

    /// Enters the machine's answer and actions, and checks the invariants.
    pub fn settle(
        &mut self,
        call: &Call,
        answer: &Answer,
        actions: &[Did],
        pool: &impl Pool,
    ) -> Verdict {
        self.enter_answer(call, answer, pool)?;
        for action in actions {
            self.enter_action(call, action)?;
        }
        self.enter_names(call, answer)?;
        self.check_consequence(call, pool)?;
        self.audit(call, answer, actions, pool)
    }

    fn audit(
        &mut self,
        call: &Call,
        answer: &Answer,
        actions: &[Did],
        pool: &impl Pool,
    ) -> Verdict {
        let stats = pool.stats();
        self.counts.steps += 1;
        self.counts.most = self.counts.most.max(self.lives.len());
        self.waiting.connection_lost(|waiter| pool.why(waiter).is_some());
        self.check_stale(call, &stats, actions)?;
        self.check_counts(&stats, pool)?;
        self.check_waiters(&stats, actions, pool)?;
        self.out = self.out.max(stats.leased + stats.claimed + stats.finished);
        self.check_limits(&stats)?;
        self.ready = self.ready.min(self.supply(&stats));
        self.follow_window(&stats);
        self.check_nothing_is_left_undone(&stats, pool)?;
        self.check_tuning(&stats)?;
        self.check_backoff(call, &stats, pool)?;
        if !self.large || self.counts.steps.is_multiple_of(u64::from(self.lives.len() / 4 + 1)) {
            self.check_states(&stats, pool)?;
        }
        self.check_deadlines(call, pool)?;
        self.check_closing(call, answer, actions, &stats, pool)?;
        self.before = stats;
        Ok(())
    }

    /// How many connections are ready, become so, or are promised.
    fn supply(&self, stats: &Stats) -> u32 {
        let handshakes = match self.side {
            Side::Client => stats.dialing + stats.handshaking,
            Side::Server => self.lives.count(Place::Admitted),
        };
        let granted = stats.leased.saturating_sub(self.lives.count(Place::Leased));
        stats.idle + stats.returning + granted + handshakes
    }

    // --- contents --------------------------------------------------------------------------

    pub const fn side(&self) -> Side {
        self.side
    }

    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The latest time that the machine was told.
    pub const fn seen(&self) -> Instant {
        self.seen
    }

    /// The statistics after the last call.
    pub const fn stats(&self) -> &Stats {
        &self.before
    }

    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A live connection.
    pub fn life(&self, token: Token) -> Option<&Life> {
        self.lives.get(token)
    }

    /// All live connections, the oldest first.
    pub fn lives(&self) -> Vec<&Life> {
        self.lives.oldest_first()
    }

    pub fn place(&self, token: Token) -> Option<Place> {
        self.life(token).map(|life| life.place)
    }

    /// The id of a live connection, as far as it is known.
    pub fn id(&self, token: Token) -> Option<ConnId> {
        self.life(token)?.id
    }

    /// Connections that have ended, the latest last.
    pub fn ended(&self) -> &[Token] {
        &self.ended
    }

    /// Ids of connections that have ended, the latest last.
    pub fn ended_ids(&self) -> &[ConnId] {
        &self.ended_ids
    }

    /// Waiters that have not collected their outcome, in the order in which they came.
    pub fn waiters(&self) -> &[(WaiterId, Want)] {
        self.waiting.open()
    }

    /// Waiters that are over, the latest last.
    pub fn past_waiters(&self) -> &[WaiterId] {
        self.waiting.past()
    }

    /// How many waiters were woken and have not collected.
    pub fn called(&self) -> usize {
        self.waiting.called()
    }
}

/// The state of a connection as the machine tells it, by its place.
const fn place_of(state: State) -> Place {
    match state {
        State::Dialing => Place::Dialing,
        State::Accepted => Place::Accepted,
        State::Handshaking => Place::Handshaking,
        State::Admitted => Place::Admitted,
        State::Checking => Place::Checking,
        State::Leased => Place::Leased,
        _ => Place::Pooled,
    }
}
