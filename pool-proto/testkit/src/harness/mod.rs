//! A driver with no I/O: it carries out actions by the book, answers as the test says, keeps its
//! own account of every connection, and compares it with the machine's after every step.

mod account;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use pool_proto::{
    Accepting, Acquired, Action, Admission, CheckKind, CheckResult, Client, ClientConfig,
    ClientConfigBuilder, CloseReason, Collected, ConnId, Dialing, Event, HandshakeFailure, Instant,
    Lease, Machine, PutError, Rejected, Role, Server, ServerConfig, ServerConfigBuilder, Stats,
    Stock, Token, WaitOutcome, WaiterId,
};

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn id(number: u32) -> ConnId {
    ConnId::from_bytes(number.to_be_bytes())
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a machine whose connections are numbers does next.
pub type Did = Action<u32>;

/// Who has a connection, as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Dialing,
    Handshaking,
    /// With the machine: idle, claimed, granted or resting.
    Machine,
    /// With the driver, to be answered before this.
    Checking(Instant),
    Leased,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    token: Token,
    held: Held,
    id: Option<ConnId>,
    /// Its peer, where peers come to us.
    address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Driver,
    Machine,
    Ended,
}

pub struct Harness<R: Role> {
    pub machine: Machine<u32, R>,
    pub now: Instant,
    /// All actions so far, in order.
    pub log: Vec<Did>,
    /// Answers every check at once.
    pub auto: Option<CheckResult>,
    pub drain_timeout: Duration,
    pub max_dials: u32,
    pub max_per_source: Option<usize>,
    capacity: (u32, u32),
    server: bool,
    step_began: usize,
    clock: Instant,
    lives: Vec<Life>,
    dead: HashSet<Token>,
    /// By the connection's number.
    places: Vec<Place>,
    pub checks: Vec<(Token, u32, CheckKind)>,
    waiters: Vec<(WaiterId, bool)>,
    /// How many of them the machine has.
    inside: u32,
    ends: HashMap<CloseReason, u64>,
    dials: u64,
    leases: u64,
    next_id: u32,
}

pub type ClientHarness = Harness<Dialing>;
pub type ServerHarness = Harness<Accepting>;

/// A client with this many idle connections.
pub fn filled(
    count: u32,
    config: impl FnOnce(ClientConfigBuilder) -> ClientConfigBuilder,
) -> ClientHarness {
    let mut pool = ClientHarness::client(count, count, config);
    pool.fill();
    pool
}

impl ClientHarness {
    /// A client with a fixed seed, and whatever else `config` sets.
    pub fn client(
        min: u32,
        max: u32,
        config: impl FnOnce(ClientConfigBuilder) -> ClientConfigBuilder,
    ) -> Self {
        let builder = ClientConfig::builder().seed(1).capacity(min..=max);
        let config = config(builder).build().unwrap();
        let mut harness = Self::new(Client::new(&config, Instant::EPOCH), (min, max), false);
        harness.settle();
        harness
    }

    /// Connects whatever is being dialled, until nothing more is.
    pub fn fill(&mut self) {
        while let Some(token) = self.dialing().first().copied() {
            self.connect(token);
        }
    }

    /// A dial that succeeds, and its id, never used before.
    pub fn connect(&mut self, token: Token) -> ConnId {
        self.next_id += 1;
        let id = id(self.next_id);
        self.dialed(token);
        self.established(token, Some(id));
        id
    }
}

impl ServerHarness {
    /// A server with a fixed seed, and whatever else `config` sets.
    pub fn server(
        capacity: u32,
        config: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder,
    ) -> Self {
        let builder = ServerConfig::builder().seed(1).capacity(capacity);
        Self::of(&config(builder).build().unwrap(), capacity)
    }

    /// A server with this configuration, whose capacity is to be given again.
    pub fn of(config: &ServerConfig, capacity: u32) -> Self {
        let machine = Server::new(config, Instant::EPOCH);
        let mut harness = Self::new(machine, (capacity, capacity), true);
        harness.settle();
        harness
    }

    pub fn admit(&mut self, address: &str) -> Result<Admission, Rejected> {
        self.begin();
        let address = ip(address);
        let of_source = self.lives.iter().filter(|life| life.address == Some(address));
        let pooled = of_source.filter(|life| life.held != Held::Leased).count();
        let admission = self.machine.admit(self.now, address);
        if let Some(limit) = self.max_per_source {
            let full = matches!(admission, Err(Rejected::SourceFull { .. }));
            assert_eq!(full, pooled >= limit, "{address} has {pooled}");
        }
        if let Ok(Admission { token, id }) = admission {
            assert!(!self.dead.contains(&token), "{token:?} was used before");
            self.lives.push(Life {
                token,
                held: Held::Handshaking,
                id: Some(id),
                address: Some(address),
            });
        }
        self.settle();
        admission
    }

    /// A peer that gets through its handshake.
    pub fn join(&mut self, address: &str) -> Admission {
        let admission = self.admit(address).unwrap();
        self.established(admission.token, None);
        admission
    }
}

impl<R: Role> Harness<R> {
    fn new(machine: Machine<u32, R>, capacity: (u32, u32), server: bool) -> Self {
        Self {
            machine,
            now: Instant::EPOCH,
            log: Vec::new(),
            auto: None,
            drain_timeout: ms(1000),
            max_dials: 32,
            max_per_source: None,
            capacity,
            server,
            step_began: 0,
            clock: Instant::EPOCH,
            lives: Vec::new(),
            dead: HashSet::new(),
            places: Vec::new(),
            checks: Vec::new(),
            waiters: Vec::new(),
            inside: 0,
            ends: HashMap::new(),
            dials: 0,
            leases: 0,
            next_id: 0,
        }
    }

    // --- time -----------------------------------------------------------------------------------

    pub fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn timeout(&mut self) {
        self.begin();
        let now = self.clock;
        for life in std::mem::take(&mut self.lives) {
            match life.held {
                Held::Checking(until) if until <= now => {
                    self.silent_end(life.token, CloseReason::DrainTimeout);
                }
                _ => self.lives.push(life),
            }
        }
        self.machine.handle_timeout(self.now);
        self.settle();
        let next = self.machine.poll_timeout();
        assert!(next.is_none_or(|at| at > now), "{next:?} is due at {now:?}");
    }

    /// Lets time pass as a driver does: from deadline to deadline.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.timeout();
        }
        self.now = end;
    }

    // --- what the driver says -------------------------------------------------------------------

    pub fn event(&mut self, event: Event<u32>) {
        self.begin();
        self.machine.handle_event(self.now, event);
        self.settle();
    }

    pub fn dialed(&mut self, token: Token) {
        if let Some(life) = self.life(token).filter(|life| life.held == Held::Dialing) {
            life.held = Held::Handshaking;
        }
        self.event(Event::Dialed { token });
    }

    pub fn dial_failed(&mut self, token: Token) {
        if self.held(token) == Some(Held::Dialing) {
            self.silent_end(token, CloseReason::DialFailed);
        }
        self.event(Event::DialFailed { token });
    }

    pub fn handshake_failed(&mut self, token: Token, failure: HandshakeFailure) {
        if self.held(token) == Some(Held::Handshaking) {
            self.silent_end(token, CloseReason::HandshakeFailed);
        }
        self.event(Event::HandshakeFailed { token, failure });
    }

    pub fn established(&mut self, token: Token, id: Option<ConnId>) -> u32 {
        let connection = self.new_connection();
        self.give(connection);
        if let Some(life) = self.life(token).filter(|life| life.held == Held::Handshaking) {
            life.held = Held::Machine;
            life.id = life.id.or(id);
        }
        self.event(Event::Established { token, connection, id });
        connection
    }

    pub fn readable(&mut self, token: Token) {
        self.event(Event::Readable { token });
    }

    /// Answers the oldest check.
    pub fn checked(&mut self, result: CheckResult) -> Token {
        let (token, connection, _) = self.checks.remove(0);
        self.give(connection);
        if let Some(life) = self.life(token) {
            life.held = Held::Machine;
        }
        self.event(Event::Checked { token, connection, result });
        token
    }

    /// A pooled connection is known to be dead.
    pub fn closed(&mut self, token: Token) {
        if matches!(self.held(token), Some(Held::Checking(_))) {
            self.silent_end(token, CloseReason::PeerClosed);
        }
        self.event(Event::Closed { token });
    }

    pub fn release(&mut self, lease: Lease<u32>) {
        self.moved(lease.connection, Place::Driver, Place::Ended);
        if self.held(lease.token) == Some(Held::Leased) {
            self.silent_end(lease.token, CloseReason::Released);
        }
        self.event(Event::Closed { token: lease.token });
    }

    // --- what the users say ---------------------------------------------------------------------

    pub fn acquire(&mut self) -> Acquired<u32> {
        self.begin();
        let answer = self.machine.acquire(self.now);
        self.acquired(answer, true)
    }

    pub fn acquire_again(&mut self) -> Acquired<u32> {
        self.begin();
        let answer = self.machine.acquire_again(self.now);
        self.acquired(answer, true)
    }

    pub fn acquire_by_id(&mut self, id: ConnId) -> Acquired<u32> {
        self.begin();
        let answer = self.machine.acquire_by_id(self.now, id);
        self.acquired(answer, false)
    }

    /// A lease that must be there.
    pub fn take(&mut self) -> Lease<u32> {
        match self.acquire() {
            Acquired::Ready(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    /// A waiter for any connection, where none is ready.
    pub fn queue(&mut self) -> WaiterId {
        match self.acquire() {
            Acquired::Queued(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    pub fn queue_by_id(&mut self, id: ConnId) -> WaiterId {
        match self.acquire_by_id(id) {
            Acquired::Queued(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    pub fn wait_ready(&mut self, ready: u32) -> Stock {
        self.begin();
        let answer = self.machine.wait_ready(self.now, ready);
        if let Stock::Queued(waiter) = answer {
            self.waiters.push((waiter, false));
        }
        self.settle();
        answer
    }

    pub fn collect(&mut self, waiter: WaiterId) -> Collected<u32> {
        self.begin();
        let collected = self.machine.collect(self.now, waiter);
        if let Collected::Ready(lease) = &collected {
            self.leased(lease);
        }
        if collected != Collected::Waiting {
            self.waiters.retain(|(other, _)| *other != waiter);
        }
        self.settle();
        collected
    }

    /// The lease of a waiter that must have been given one.
    pub fn collect_lease(&mut self, waiter: WaiterId) -> Lease<u32> {
        match self.collect(waiter) {
            Collected::Ready(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    pub fn cancel(&mut self, waiter: WaiterId) -> WaitOutcome {
        self.begin();
        let outcome = self.machine.cancel(self.now, waiter);
        self.waiters.retain(|(other, _)| *other != waiter);
        self.settle();
        outcome
    }

    pub fn put(&mut self, lease: Lease<u32>) -> Result<(), PutError> {
        self.put_raw(lease.token, lease.connection)
    }

    pub fn put_raw(&mut self, token: Token, connection: u32) -> Result<(), PutError> {
        self.begin();
        self.give(connection);
        let result = self.machine.put(self.now, token, connection);
        if result.is_ok() {
            self.life(token).unwrap().held = Held::Machine;
        }
        self.settle();
        result
    }

    /// Puts back what the driver has drained itself.
    pub fn put_drained(&mut self, lease: Lease<u32>, found: CheckResult) -> Result<(), PutError> {
        self.begin();
        self.give(lease.connection);
        let result = self.machine.put_drained(self.now, lease.token, lease.connection, found);
        if let Some(life) = self.life(lease.token) {
            life.held = Held::Machine;
        }
        self.settle();
        result
    }

    pub fn reject(&mut self, lease: Lease<u32>, result: CheckResult) {
        self.begin();
        self.give(lease.connection);
        if let Some(life) = self.life(lease.token) {
            assert_eq!(life.held, Held::Leased);
            life.held = Held::Machine;
        }
        self.machine.reject(self.now, lease.token, lease.connection, result);
        self.settle();
    }

    pub fn clean(&mut self) -> u32 {
        self.begin();
        let count = self.machine.clean(self.now);
        self.settle();
        count
    }

    pub fn flush(&mut self) -> u32 {
        self.begin();
        self.end_checks(CloseReason::Flushed);
        let count = self.machine.flush(self.now);
        self.settle();
        count
    }

    pub fn close(&mut self) {
        self.begin();
        self.end_checks(CloseReason::PoolClosed);
        self.machine.close(self.now);
        self.settle();
    }

    // --- what a test looks at -------------------------------------------------------------------

    /// The actions of the last step.
    pub fn did(&self) -> &[Did] {
        &self.log[self.step_began..]
    }

    pub fn stats(&self) -> Stats {
        self.machine.stats()
    }

    pub fn dialing(&self) -> Vec<Token> {
        self.tokens(Held::Dialing)
    }

    pub fn handshaking(&self) -> Vec<Token> {
        self.tokens(Held::Handshaking)
    }

    /// Tokens of connections that the machine holds.
    pub fn pooled(&self) -> Vec<Token> {
        self.tokens(Held::Machine)
    }

    /// Tokens of all connections, oldest first.
    pub fn live(&self) -> Vec<Token> {
        self.lives.iter().map(|life| life.token).collect()
    }

    pub fn ended(&self, reason: CloseReason) -> u64 {
        self.ends.get(&reason).copied().unwrap_or(0)
    }

    /// Open waiters, in the order in which they came.
    pub fn waiters(&self) -> Vec<WaiterId> {
        self.waiters.iter().map(|(waiter, _)| *waiter).collect()
    }

    fn tokens(&self, held: Held) -> Vec<Token> {
        let lives = self.lives.iter().filter(|life| life.held == held);
        lives.map(|life| life.token).collect()
    }
}
