//! A pool as one would specify it: every question is answered by looking through everything.
//!
//! The two sides differ in [`client`] and [`server`].

pub mod calls;
pub mod choices;
pub mod client;
mod configure;
mod ending;
mod hints;
mod retire;
pub mod server;
pub mod state_key;
pub mod waiters;

use std::time::Duration;

use pool_proto::{
    Acquirer, Action, CheckKind, CloseReason, ConnId, HandshakeFailure, Instant, Lease, Refusal,
    State, Stats, TakeOrder, Token, Totals, WaiterId,
};

use pool_proto::State::*;

use crate::call::Did;
use crate::setup::Setup;
pub use choices::Choices;
use client::Dialer;
use server::Door;
use waiters::{Waiter, WaiterState, Want};

/// A live connection.
#[derive(Clone, Debug)]
pub struct Connection {
    token: Token,
    state: State,
    /// When it entered its state, and as which of all entries.
    since: Instant,
    entry: u64,
    /// Its number, while the pool holds it.
    held: Option<u32>,
    /// As far as it is known: a client that makes its ids does not tell them before a lease.
    id: Option<ConnId>,
    /// When its dial, or its handshake at the server, began.
    begun: Instant,
    established: Option<Instant>,
    /// Whether the end of its lifetime is still to come.
    ageing: bool,
    used: bool,
    /// Whether its holder has asked for any connection.
    acquired: bool,
    /// Since when the peer has used it, if it has.
    claimed: Option<Instant>,
    /// Whether it has ended after that.
    finished: bool,
    /// Whether that looked like a server that turns it away.
    doubted: bool,
    stirred: bool,
    kind: CheckKind,
    waiter: Option<WaiterId>,
    /// The part of its handshake that failed.
    failure: Option<HandshakeFailure>,
    /// Client: how many failures there had been when it was dialled.
    epoch: u32,
    /// Server: its source; its peer, once the identity is proven; and its number in the order of
    /// joining the pool.
    source: Option<std::net::IpAddr>,
    peer: Option<server::Peer>,
    joined: u64,
}

#[derive(Clone, Debug)]
pub enum Supply {
    Dialer(Box<Dialer>),
    Door(Door),
}

#[derive(Clone, Debug)]
pub struct Naive {
    setup: Setup,
    now: Instant,
    closed: bool,
    /// Whether a graceful shutdown has begun, and its deadline.
    shutting_down: bool,
    deadline: Option<Instant>,
    /// In the order in which they began.
    connections: Vec<Connection>,
    waiters: Vec<Waiter>,
    supply: Supply,
    totals: Totals,
    errors: u64,
    /// When the last of those that nobody had used for long was let go.
    retired: Instant,
    entries: u64,
    /// Where the next waiter that goes to the front, or to the back, of its queue stands.
    front: i64,
    back: i64,
    /// Ids whose connections have ended, the latest last.
    ended: Vec<(ConnId, CloseReason)>,
    choices: Choices,
    did: Vec<Did>,
}

/// How many ended ids a pool remembers.
const REMEMBERED: usize = 256;

impl Naive {
    /// Returns the pool at its start, and its first actions.
    pub fn new(setup: &Setup, dials: bool, now: Instant, choices: Choices) -> (Self, Vec<Did>) {
        let supply = match dials {
            true => Supply::Dialer(Box::new(Dialer::new(setup, now))),
            false => Supply::Door(Door::default()),
        };
        let mut naive = Self {
            setup: *setup,
            now,
            closed: false,
            shutting_down: false,
            deadline: None,
            connections: Vec::new(),
            waiters: Vec::new(),
            supply,
            totals: Totals::default(),
            errors: 0,
            retired: now,
            entries: 0,
            front: 0,
            back: 0,
            ended: Vec::new(),
            choices,
            did: Vec::new(),
        };
        naive.begin_round();
        naive.settle();
        let did = std::mem::take(&mut naive.did);
        (naive, did)
    }

    // --- telling --------------------------------------------------------------------------------

    /// Every live connection, and its state.
    pub fn states(&self) -> impl Iterator<Item = (Token, State)> + '_ {
        self.connections.iter().map(|connection| (connection.token, connection.state))
    }

    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.dialing = self.count(Dialing);
        stats.handshaking = self.count(Accepted) + self.count(Handshaking) + self.count(Admitted);
        stats.idle = self.count(Idle);
        stats.claimed = self.count(Claimed);
        stats.finished = self.count(Finished);
        stats.leased = self.count(Leased) + self.count(Granted);
        stats.returning = self.count(Resting) + self.count(Checking);
        let waiting = self.waiters.iter().filter(|waiter| waiter.standing == WaiterState::Waiting);
        let accepts = waiting.clone().filter(|waiter| waiter.want == Want::Claimed);
        stats.accept_waiters = u32::try_from(accepts.count()).unwrap();
        stats.waiters = u32::try_from(waiting.count()).unwrap();
        stats.totals = self.totals;
        match &self.supply {
            Supply::Dialer(dialer) => dialer.report(&mut stats),
            Supply::Door(_) => stats.capacity = self.setup.capacity.1,
        }
        stats
    }

    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Takes the machine's deadline, and says whether it can be right.
    pub fn accepts_timeout(&mut self, due: Option<Instant>) -> Result<(), String> {
        let known = self.connections.iter().flat_map(|c| [self.state_due(c), self.lifetime_due(c)]);
        let known = known.flatten().chain(self.law_due()).chain(self.retire_due());
        let known = known.chain(self.deadline.filter(|_| !self.closed)).min();
        self.accept_retry(known, due)
    }

    /// The request of a waiter, as long as it is not over.
    pub fn want(&self, waiter: WaiterId) -> Option<Want> {
        self.waiters.iter().find(|other| other.id == waiter).map(|waiter| waiter.want)
    }

    // --- looking --------------------------------------------------------------------------------

    fn all(&self, state: State) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(move |connection| connection.state == state)
    }

    fn count(&self, state: State) -> u32 {
        u32::try_from(self.all(state).count()).unwrap()
    }

    const fn dials(&self) -> bool {
        matches!(self.supply, Supply::Dialer(_))
    }

    /// Connections that limits count: a server's handshakes have a limit of their own.
    fn held(&self) -> u32 {
        let unproven = if self.dials() { 0 } else { self.unproven() };
        self.total() - self.count(Finished) - unproven
    }

    fn total(&self) -> u32 {
        u32::try_from(self.connections.len()).unwrap()
    }

    /// Connections that are ready, becoming so, or promised and not yet collected.
    fn stock(&self) -> u32 {
        self.held() - self.count(Leased) - self.count(Claimed)
    }

    fn find(&self, token: Token) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.token == token)
    }

    fn get(&mut self, token: Token) -> &mut Connection {
        self.connections.iter_mut().find(|connection| connection.token == token).unwrap()
    }

    fn state(&self, token: Token) -> Option<State> {
        self.find(token).map(|connection| connection.state)
    }

    /// The connection that entered `state` first.
    fn first(&self, state: State) -> Option<Token> {
        self.all(state).min_by_key(|c| c.entry).map(|c| c.token)
    }

    fn last(&self, state: State) -> Option<Token> {
        self.all(state).max_by_key(|c| c.entry).map(|c| c.token)
    }

    fn next_idle(&self) -> Option<Token> {
        // Opposite ends of the stock where the peer is a pool, and otherwise the connection heard
        // from last.
        let opposite =
            self.dials() && self.setup.ids_exchanged() && self.setup.acquirer == Acquirer::Either;
        match self.setup.take_order {
            Some(TakeOrder::OldestFirst) => self.first(Idle),
            None if opposite => self.first(Idle),
            Some(TakeOrder::NewestFirst) | None => self.last(Idle),
        }
    }

    /// How long a connection may be in its state.
    fn period(&self, state: State) -> Option<Duration> {
        match state {
            Dialing => Some(self.setup.dial_timeout),
            Accepted => Some(self.setup.first_byte_timeout),
            Handshaking | Admitted => Some(self.setup.handshake_timeout),
            Idle => self.setup.idle_timeout,
            Claimed | Finished => Some(self.setup.claim_timeout),
            Resting => Some(self.setup.rest()),
            Checking => Some(self.setup.drain_timeout),
            Granted => Some(Setup::GRANT_TIMEOUT),
            // Leased.
            _ => None,
        }
    }

    fn state_due(&self, connection: &Connection) -> Option<Instant> {
        self.period(connection.state).map(|timeout| connection.since + timeout)
    }

    fn lifetime_due(&self, connection: &Connection) -> Option<Instant> {
        connection
            .established
            .filter(|_| connection.ageing)
            .zip(self.setup.max_lifetime)
            .map(|(at, life)| at + life)
    }

    fn overdue(&self, state: State) -> Option<Token> {
        self.first(state).filter(|token| {
            let due = self.find(*token).and_then(|connection| self.state_due(connection));
            due.is_some_and(|due| due <= self.now)
        })
    }

    /// Why it must not be handed out any more, if so.
    fn expiry(&self, token: Token) -> Option<CloseReason> {
        let connection = self.find(token).unwrap();
        let life = connection.established.zip(self.setup.max_lifetime);
        if life.is_some_and(|(at, life)| at + life <= self.now) {
            return Some(CloseReason::Expired);
        }
        let idle = (connection.state == Idle).then(|| self.state_due(connection)).flatten();
        idle.is_some_and(|due| due <= self.now).then_some(CloseReason::IdleTimeout)
    }

    /// The most ready connections there may be.
    const fn limit(&self) -> u32 {
        self.setup.capacity.1
    }

    /// Whether data in the pool means that the peer has taken the connection.
    const fn peer_claims(&self) -> bool {
        matches!(self.supply, Supply::Door(_)) || self.setup.ids_exchanged()
    }

    /// Whether the peer makes the ids.
    const fn ids_received(&self) -> bool {
        matches!(self.supply, Supply::Dialer(_)) && self.setup.ids_exchanged()
    }

    // --- the steps ------------------------------------------------------------------------------

    fn begin(&mut self, token: Token, state: State) -> &mut Connection {
        assert!(self.find(token).is_none(), "{token:?} names two connections");
        let epoch = self.epoch();
        self.connections.push(Connection {
            token,
            state,
            since: self.now,
            entry: 0,
            held: None,
            id: None,
            begun: self.now,
            established: None,
            ageing: false,
            used: false,
            acquired: false,
            claimed: None,
            finished: false,
            doubted: false,
            stirred: false,
            kind: CheckKind::Inspect,
            waiter: None,
            failure: None,
            epoch,
            source: None,
            peer: None,
            joined: 0,
        });
        self.enter(token, state);
        self.get(token)
    }

    fn enter(&mut self, token: Token, state: State) {
        self.entries += 1;
        let (now, entry) = (self.now, self.entries);
        let connection = self.get(token);
        (connection.state, connection.since, connection.entry) = (state, now, entry);
    }

    /// It is in the pool from now on, as the latest of its source.
    fn join(&mut self, token: Token) {
        self.entries += 1;
        self.get(token).joined = self.entries;
    }

    /// Gives a connection to the first waiter that it suits, or keeps it; a `surplus` one is closed
    /// where there are more than the limit.
    fn offer(&mut self, token: Token, surplus: bool) {
        if let Some(reason) = self.expiry(token) {
            return self.close_one(token, reason);
        }
        if self.is_barred(token) && self.get(token).claimed.is_none() {
            return self.close_one(token, CloseReason::NotAllowed);
        }
        let connection = self.get(token);
        connection.waiter = None;
        let (id, claimed, stirred) = (connection.id, connection.claimed, connection.stirred);
        let finished = connection.finished;
        let given_up = claimed.is_some_and(|since| since + self.setup.claim_timeout <= self.now);
        let kind = match claimed {
            Some(_) => Some(Want::Claimed),
            None if finished => None,
            None => Some(Want::Any),
        };
        if let Some(waiter) = self.first_for(id, kind) {
            self.enter(token, Granted);
            self.get(token).waiter = Some(waiter);
            self.answer(waiter, WaiterState::Granted(token));
        } else if self.shutting_down && claimed.is_none() && (finished || !stirred) {
            self.close_one(token, CloseReason::ShutDown);
        } else if given_up {
            let ended = if finished { CloseReason::PeerClosed } else { CloseReason::Unclaimed };
            self.close_one(token, ended);
        } else if finished {
            self.enter(token, Finished);
            self.shed_claims(Finished);
        } else if claimed.is_some() && !stirred {
            self.enter(token, Claimed);
            self.shed_claims(Claimed);
        } else if claimed.is_none() && surplus && self.stock() > self.limit() {
            self.close_one(token, CloseReason::Overflow);
        } else if stirred {
            self.check(token, CheckKind::Inspect);
        } else {
            self.enter(token, Idle);
        }
    }

    fn check(&mut self, token: Token, kind: CheckKind) {
        self.enter(token, Checking);
        let connection = self.get(token);
        connection.kind = kind;
        connection.stirred = false;
        let held = connection.held.take().unwrap();
        self.did.push(Action::Check { token, connection: held, kind });
    }

    fn hand_over(&mut self, token: Token, want: Want) -> Lease<u32> {
        self.enter(token, Leased);
        self.get(token).acquired = want == Want::Any;
        if let Some((_, id)) = self.choices.leased.filter(|(leased, _)| *leased == token)
            && !self.ids_received()
        {
            let twins = self.connections.iter().filter(|c| c.id == Some(id) && c.token != token);
            assert_eq!(twins.count(), 0, "{id} of {token:?} is another live connection's");
            self.get(token).id.get_or_insert(id);
        }
        if std::mem::take(&mut self.get(token).doubted) {
            self.doubt_refuted();
        }
        if want != Want::Any {
            self.demanded_there(token);
        } else if self.setup.opening_byte
            && let Some(id) = self.get(token).id
        {
            while let Some(waiter) = self.first_waiting(Want::Id(id)) {
                self.refuse(waiter, Refusal::AcquiredHere { id });
            }
        }
        let connection = self.get(token);
        connection.waiter = None;
        let lease = Lease {
            token,
            id: connection.id.expect("a lease of which the machine tells no id"),
            connection: connection.held.take().unwrap(),
        };
        let used = connection.used;
        self.totals.leases += 1;
        self.totals.reused += u64::from(used);
        lease
    }

    /// Ends a connection, and has the driver close its transport.
    fn close_one(&mut self, token: Token, reason: CloseReason) {
        let connection = self.end(token, reason);
        match (connection.held, connection.state) {
            (Some(connection), _) => self.did.push(Action::Close { token, connection, reason }),
            (None, Checking) => {}
            (None, _) => self.did.push(Action::Abort { token, reason }),
        }
    }

    /// Ends a connection. Waiters for its id are refused; the waiter to which it was granted waits
    /// again, at the front.
    fn end(&mut self, token: Token, reason: CloseReason) -> Connection {
        let at = self.connections.iter().position(|c| c.token == token).unwrap();
        let connection = self.connections.remove(at);
        self.forget_peers();
        self.consequences(&connection, reason);
        self.count_end(reason);
        if let Some(id) = connection.id {
            self.ended.push((id, reason));
            let forgotten = self.ended.len().saturating_sub(REMEMBERED);
            self.ended.drain(..forgotten);
            while let Some(waiter) = self.first_waiting(Want::Id(id)) {
                self.refuse(waiter, Refusal::Gone { id, reason });
            }
        }
        if let Some(waiter) = connection.waiter {
            self.connection_lost(waiter, reason);
        }
        connection
    }

    fn count_end(&mut self, reason: CloseReason) {
        let totals = &mut self.totals;
        *match reason {
            CloseReason::DialFailed => &mut totals.dial_failures,
            CloseReason::DialTimeout => &mut totals.dial_timeouts,
            CloseReason::HandshakeTimeout => &mut totals.handshake_timeouts,
            CloseReason::DuplicateId => &mut totals.duplicate_ids,
            CloseReason::MissingId => &mut totals.id_failures,
            CloseReason::PeerClosed => &mut totals.peer_closed,
            CloseReason::IdleTimeout => &mut totals.idle_timeouts,
            CloseReason::Surplus => &mut totals.surplus,
            CloseReason::Expired => &mut totals.expired,
            CloseReason::Unclaimed => &mut totals.unclaimed,
            CloseReason::Overflow => &mut totals.overflowed,
            CloseReason::Leftover => &mut totals.leftover,
            CloseReason::DrainTimeout => &mut totals.drain_timeouts,
            CloseReason::Silent => &mut totals.silent,
            CloseReason::HandshakeEvicted => &mut totals.handshakes_evicted,
            CloseReason::Evicted => &mut totals.evicted,
            CloseReason::Replaced => &mut totals.replaced,
            CloseReason::Cleaned => &mut totals.cleaned,
            CloseReason::Flushed | CloseReason::PoolClosed | CloseReason::ShutDown => {
                &mut totals.flushed
            }
            CloseReason::Released => &mut totals.released,
            CloseReason::NotAllowed => &mut totals.disallowed,
            CloseReason::HandshakeFailed | CloseReason::Rejected | CloseReason::Stale => return,
            other => unreachable!("{other:?} is new"),
        } += 1;
    }

    /// Ends all connections in `state`, the last one first.
    fn close_all(&mut self, state: State, reason: CloseReason) -> u32 {
        let mut count = 0;
        while let Some(token) = self.last(state) {
            self.close_one(token, reason);
            count += 1;
        }
        count
    }

    fn close_everything(&mut self, reason: CloseReason) -> u32 {
        State::ALL.iter().map(|state| self.close_all(*state, reason)).sum()
    }

    /// After every call: serve or refuse those whose case has changed, and fill the pool.
    fn settle(&mut self) {
        if self.is_ending() {
            return self.settle_the_end();
        }
        while self.first_waiting(Want::Any).is_some()
            && let Some(token) = self.next_idle()
        {
            self.offer(token, false);
        }
        if self.listener_gone() {
            while let Some(waiter) =
                self.first_waiting(Want::Any).or_else(|| self.first_for_stock(u32::MAX))
            {
                self.refuse(waiter, Refusal::AcceptEnded);
            }
        }
        self.serve_requests();
        self.refill();
        self.note_limit();
        self.end_round();
        while let Some(waiter) = self.first_for_stock(self.count(Idle)) {
            self.answer(waiter, WaiterState::Stocked);
        }
    }
}
