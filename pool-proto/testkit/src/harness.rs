//! A driver with no I/O: it carries out actions by the book and answers as the test says. The
//! ledger keeps the account, and checks the invariants after every step.

use std::net::IpAddr;
use std::time::Duration;

use pool_proto::tape::Recorded;
use pool_proto::{
    Accepting, Acquired, Action, CheckKind, CheckResult, CloseReason, Collected, ConfigError,
    ConnId, Dialing, Event, HandshakeFailure, Instant, Lease, PutError, Rejected, Server,
    ServerConfig, State, Stats, Stock, Token, WaitOutcome, WaiterId,
};

pub use crate::call::Did;
use crate::call::{Answer, Call, TestRole, drain};
use crate::ledger::{Ledger, Place};
pub use crate::setup::Setup;
use crate::violation::hold;

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn id(number: u32) -> ConnId {
    ConnId::from_bytes(number.to_be_bytes())
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub struct Harness<R: TestRole> {
    pub machine: Recorded<u32, R>,
    pub now: Instant,
    /// All actions so far, in order.
    pub log: Vec<Did>,
    /// Answers every check at once.
    pub auto: Option<CheckResult>,
    pub checks: Vec<(Token, u32, CheckKind)>,
    ledger: Ledger,
    step_began: usize,
    connections: u32,
    next_id: u32,
}

pub type ClientHarness = Harness<Dialing>;
pub type ServerHarness = Harness<Accepting>;

/// A peer that has a place in the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    pub token: Token,
    pub id: ConnId,
}

/// A client with this many idle connections.
pub fn filled(count: u32, config: impl FnOnce(Setup) -> Setup) -> ClientHarness {
    let mut pool = ClientHarness::client(count, count, config);
    pool.fill();
    pool
}

impl ClientHarness {
    /// A client with a fixed seed, the default settings, and the changes of `config`.
    pub fn client(min: u32, max: u32, config: impl FnOnce(Setup) -> Setup) -> Self {
        Self::new(&config(Setup::DEFAULT.capacity(min, max)))
    }

    /// Sets the bounds of the capacity.
    ///
    /// # Errors
    ///
    /// Those of the machine.
    pub fn set_capacity(&mut self, low: u32, high: u32) -> Result<(), ConfigError> {
        match self.make(Call::SetCapacity(low, high)) {
            Answer::Configured(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn dial_now(&mut self) {
        self.make(Call::DialNow);
    }

    /// Completes all dials, until no more begin.
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
    /// A server with a fixed seed, the default settings, and the changes of `config`.
    pub fn server(capacity: u32, config: impl FnOnce(Setup) -> Setup) -> Self {
        Self::new(&config(Setup::DEFAULT.capacity(capacity, capacity)))
    }

    /// A server with a configuration of its own; `setup` has the part that the ledger has to know.
    pub fn of(config: &ServerConfig, setup: &Setup) -> Self {
        Self::with(Server::new(config, Instant::EPOCH).into(), setup)
    }

    pub fn accept(&mut self, address: &str) -> Result<Token, Rejected> {
        match self.make(Call::Accept(ip(address))) {
            Answer::Accepted(accepted) => accepted,
            other => panic!("{other:?}"),
        }
    }

    pub fn first_byte(&mut self, token: Token) {
        self.event(Event::FirstByte { token });
    }

    /// The handshake of a peer is over, with certificate number n, if it has one.
    pub fn prove(&mut self, token: Token, certificate: Option<u8>) -> Result<ConnId, Rejected> {
        match self.make(Call::Admit(token, certificate.map(|number| [number; 32]))) {
            Answer::Admitted(admitted) => admitted,
            other => panic!("{other:?}"),
        }
    }

    /// A peer that gets through its handshake up to the id, without a certificate.
    pub fn admit(&mut self, address: &str) -> Result<Admission, Rejected> {
        let token = self.accept(address)?;
        Ok(Admission { token, id: self.prove(token, None)? })
    }

    /// A peer that gets through its handshake.
    pub fn join(&mut self, address: &str) -> Admission {
        let admission = self.admit(address).unwrap();
        self.established(admission.token, None);
        admission
    }
}

impl<R: TestRole> Harness<R> {
    pub fn new(setup: &Setup) -> Self {
        Self::with(R::machine(setup, Instant::EPOCH).unwrap(), setup)
    }

    fn with(machine: Recorded<u32, R>, setup: &Setup) -> Self {
        let ledger = Ledger::new(R::SIDE, setup, Instant::EPOCH, &machine);
        let mut harness = Self {
            machine,
            now: Instant::EPOCH,
            log: Vec::new(),
            auto: None,
            checks: Vec::new(),
            ledger,
            step_began: 0,
            connections: 0,
            next_id: 0,
        };
        let actions = drain(&mut harness.machine);
        hold(harness.ledger.start(&actions, &harness.machine));
        harness.receive(actions);
        harness
    }

    /// Makes a call, and has it checked.
    #[track_caller]
    pub fn make(&mut self, call: Call) -> Answer {
        self.step_began = self.log.len();
        hold(self.ledger.begin(&call, self.now));
        let (answer, actions) = call.make(&mut self.machine, self.now);
        hold(self.ledger.settle(&call, &answer, &actions, &self.machine));
        self.receive(actions);
        answer
    }

    fn receive(&mut self, actions: Vec<Did>) {
        for action in &actions {
            if let Action::Check { token, connection, kind } = *action {
                self.checks.push((token, connection, kind));
            }
        }
        self.log.extend(actions);
        if let Some(result) = self.auto
            && !self.checks.is_empty()
        {
            let began = self.step_began;
            self.checked(result);
            self.step_began = began;
        }
    }

    // --- time -----------------------------------------------------------------------------------

    pub fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn timeout(&mut self) {
        self.make(Call::Timeout);
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
        self.make(Call::Event(event));
    }

    pub fn dialed(&mut self, token: Token) {
        self.event(Event::Dialed { token });
    }

    pub fn dial_failed(&mut self, token: Token) {
        self.event(Event::DialFailed { token });
    }

    pub fn handshake_failed(&mut self, token: Token, failure: HandshakeFailure) {
        self.event(Event::HandshakeFailed { token, failure });
    }

    pub fn established(&mut self, token: Token, id: Option<ConnId>) -> u32 {
        let connection = self.new_connection();
        self.event(Event::Established { token, connection, id });
        connection
    }

    pub fn readable(&mut self, token: Token) {
        self.event(Event::Readable { token });
    }

    /// Takes the connection with this id, which is there.
    #[track_caller]
    pub fn take_by_id(&mut self, id: ConnId) -> Lease<u32> {
        match self.acquire_by_id(id) {
            Acquired::Ready(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    /// Answers the oldest check.
    pub fn checked(&mut self, result: CheckResult) -> Token {
        let (token, connection, _) = self.checks.remove(0);
        self.event(Event::Checked { token, connection, result });
        token
    }

    /// A pooled connection is known to be dead.
    pub fn closed(&mut self, token: Token) {
        self.event(Event::Closed { token });
    }

    pub fn release(&mut self, lease: Lease<u32>) {
        self.event(Event::Closed { token: lease.token });
    }

    // --- what the users say ---------------------------------------------------------------------

    pub fn acquire(&mut self) -> Acquired<u32> {
        self.acquired(Call::Acquired)
    }

    pub fn acquire_again(&mut self) -> Acquired<u32> {
        self.acquired(Call::AcquireAgain)
    }

    pub fn acquire_by_id(&mut self, id: ConnId) -> Acquired<u32> {
        self.acquired(Call::AcquireById(id))
    }

    pub fn acquire_claimed(&mut self) -> Acquired<u32> {
        self.acquired(Call::AcquireClaimed)
    }

    fn acquired(&mut self, call: Call) -> Acquired<u32> {
        match self.make(call) {
            Answer::Acquired(answer) => answer,
            other => panic!("{other:?}"),
        }
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
        match self.make(Call::WaitReady(ready)) {
            Answer::Stock(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn collect(&mut self, waiter: WaiterId) -> Collected<u32> {
        match self.make(Call::Collect(waiter)) {
            Answer::Collected(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// The lease of a waiter that must have been given one.
    pub fn collect_lease(&mut self, waiter: WaiterId) -> Lease<u32> {
        match self.collect(waiter) {
            Collected::Ready(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    pub fn cancel(&mut self, waiter: WaiterId) -> WaitOutcome {
        match self.make(Call::Cancel(waiter)) {
            Answer::Outcome(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn time_out(&mut self, waiter: WaiterId) -> WaitOutcome {
        match self.make(Call::TimeOut(waiter)) {
            Answer::Outcome(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn put(&mut self, lease: Lease<u32>) -> Result<(), PutError> {
        self.put_raw(lease.token, lease.connection)
    }

    pub fn put_raw(&mut self, token: Token, connection: u32) -> Result<(), PutError> {
        self.was_put(Call::Put(token, connection))
    }

    /// Puts back a connection that the driver has drained itself.
    pub fn put_drained(&mut self, lease: Lease<u32>, found: CheckResult) -> Result<(), PutError> {
        self.was_put(Call::PutDrained(lease.token, lease.connection, found))
    }

    fn was_put(&mut self, call: Call) -> Result<(), PutError> {
        match self.make(call) {
            Answer::Put(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn reject(&mut self, lease: Lease<u32>, result: CheckResult) {
        self.make(Call::Reject(lease.token, lease.connection, result));
    }

    pub fn clean(&mut self) -> u32 {
        self.counted(Call::Clean)
    }

    pub fn end_finished(&mut self) -> u32 {
        self.counted(Call::EndFinished)
    }

    pub fn flush(&mut self) -> u32 {
        self.counted(Call::Flush)
    }

    fn counted(&mut self, call: Call) -> u32 {
        match self.make(call) {
            Answer::Count(count) => count,
            other => panic!("{other:?}"),
        }
    }

    pub fn close(&mut self) {
        self.make(Call::Close);
    }

    /// A graceful shutdown, with a deadline after this time or without one.
    pub fn graceful_shutdown(&mut self, timeout: Option<Duration>) {
        self.make(Call::GracefulShutdown(timeout.map(|timeout| self.now + timeout)));
    }

    // --- what a test looks at -------------------------------------------------------------------

    /// A number that no connection has had.
    pub const fn new_connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections - 1
    }

    /// The actions of the last step.
    pub fn did(&self) -> &[Did] {
        &self.log[self.step_began..]
    }

    pub fn stats(&self) -> Stats {
        self.machine.stats()
    }

    pub fn dialing(&self) -> Vec<Token> {
        self.tokens(Place::Dialing)
    }

    pub fn handshaking(&self) -> Vec<Token> {
        let mut tokens = self.tokens(Place::Accepted);
        tokens.extend(self.tokens(Place::Handshaking));
        tokens.extend(self.tokens(Place::Admitted));
        tokens
    }

    /// Tokens of peers that have a place, and to which their ids are on the way.
    pub fn admitted(&self) -> Vec<Token> {
        self.tokens(Place::Admitted)
    }

    /// Tokens of connections that the machine holds.
    pub fn pooled(&self) -> Vec<Token> {
        self.tokens(Place::Pooled)
    }

    /// Tokens of the idle connections.
    pub fn idle(&self) -> Vec<Token> {
        let idle = |token: &Token| self.machine.state_of(*token) == Some(State::Idle);
        self.pooled().into_iter().filter(idle).collect()
    }

    /// The id of a live connection.
    pub fn id_of(&self, token: Token) -> ConnId {
        self.ledger.id(token).unwrap()
    }

    /// Tokens of all connections, oldest first.
    pub fn live(&self) -> Vec<Token> {
        self.ledger.lives().iter().map(|life| life.token).collect()
    }

    pub fn ended(&self, reason: CloseReason) -> u64 {
        self.ledger.counts().ends.of(reason)
    }

    /// Open waiters, in the order in which they came.
    pub fn waiters(&self) -> Vec<WaiterId> {
        self.ledger.waiters().iter().map(|(waiter, _)| *waiter).collect()
    }

    fn tokens(&self, place: Place) -> Vec<Token> {
        let lives = self.ledger.lives();
        lives.iter().filter(|life| life.place == place).map(|life| life.token).collect()
    }
}

/// At the end of a test everything must come out: a connection that does not has leaked.
impl<R: TestRole> Drop for Harness<R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.auto = None;
        self.close();
        self.close();
        while !self.checks.is_empty() {
            self.checked(CheckResult::Quiet);
        }
        for waiter in self.waiters() {
            drop(self.collect(waiter));
        }
        hold(self.ledger.check_end(&self.machine));
    }
}
