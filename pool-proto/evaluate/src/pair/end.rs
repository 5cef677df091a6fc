//! An end: a machine, and the state of its driver.

use pool_proto::{
    Acquired, Acquirer, Action, CheckResult, Client, Collected, ConnId, Event, Instant, Machine,
    Role, State, Token, TokenMap, WaitOutcome, WaiterId,
};

use crate::scenario::{Scenario, Taker};
use crate::time::Nanos;

/// An end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Client(usize),
    Server,
}

/// A machine with its driver's tables.
pub(super) struct Driven<M> {
    pub(super) machine: M,
    /// The links of its tokens.
    links: TokenMap<u32>,
    /// By the waiter's slot: the request that waits.
    waiting: Vec<u32>,
    /// When its timer fires.
    armed: Option<Nanos>,
    /// The last figures of its stock.
    stock: [u32; 3],
}

impl<M> Driven<M> {
    pub(super) fn new(machine: M) -> Self {
        let links = TokenMap::new();
        Self { machine, links, waiting: Vec::new(), armed: None, stock: [0; 3] }
    }

    pub(super) fn name(&mut self, token: Token, link: u32) {
        self.links.insert(token, link);
    }
}

impl Driven<Client<u32>> {
    /// Returns the idle stock, the capacity, and the dials under way: as they were before, and now.
    pub(super) fn stock_change(&mut self) -> [(u32, u32); 3] {
        let stats = self.machine.stats();
        let before = self.stock;
        self.stock = [stats.idle, stats.capacity, stats.dialing + stats.handshaking];
        [(before[0], self.stock[0]), (before[1], self.stock[1]), (before[2], self.stock[2])]
    }
}

/// Returns the [`Acquirer`] of the client and of the server.
pub(super) fn acquirers(scenario: &Scenario<'_>) -> (Acquirer, Acquirer) {
    match scenario.taker {
        _ if !scenario.assigned => (Acquirer::Either, Acquirer::Either),
        Taker::Client => (Acquirer::ThisEnd, Acquirer::Peer),
        Taker::Server => (Acquirer::Peer, Acquirer::ThisEnd),
    }
}

/// The calls that both machines have.
pub(super) trait End {
    fn poll_action(&mut self) -> Option<Action<u32>>;
    fn event(&mut self, now: Instant, event: Event<u32>);
    /// The timer has fired. Returns whether it was meant to.
    fn timer(&mut self, now: Instant) -> bool;
    /// Returns when the timer is to fire, if that is earlier than it is set to.
    fn arm(&mut self, now: Instant) -> Option<Nanos>;
    fn state_of(&self, token: Token) -> Option<State>;
    fn take_link(&mut self, token: Token) -> Option<u32>;
    fn acquire(&mut self, now: Instant) -> Acquired<u32>;
    fn acquire_by_id(&mut self, now: Instant, id: ConnId) -> Acquired<u32>;
    fn collect(&mut self, now: Instant, waiter: WaiterId) -> Collected<u32>;
    fn cancel(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome;
    fn put(&mut self, now: Instant, token: Token, link: u32, result: CheckResult);
    fn waiters(&self) -> u32;
    fn queue(&mut self, waiter: WaiterId, request: u32);
    fn request_of(&self, waiter: WaiterId) -> Option<u32>;
}

impl<R: Role> End for Driven<Machine<u32, R>> {
    fn poll_action(&mut self) -> Option<Action<u32>> {
        self.machine.poll_action()
    }

    fn event(&mut self, now: Instant, event: Event<u32>) {
        self.machine.handle_event(now, event);
    }

    fn timer(&mut self, now: Instant) -> bool {
        if self.armed != Some(now.as_nanos()) {
            return false;
        }
        self.armed = None;
        self.machine.handle_timeout(now);
        true
    }

    fn arm(&mut self, now: Instant) -> Option<Nanos> {
        let due = self.machine.poll_timeout()?.max(now).as_nanos();
        if self.armed.is_some_and(|armed| armed <= due) {
            return None;
        }
        self.armed = Some(due);
        self.armed
    }

    fn state_of(&self, token: Token) -> Option<State> {
        self.machine.state_of(token)
    }

    fn take_link(&mut self, token: Token) -> Option<u32> {
        self.links.remove(token)
    }

    fn acquire(&mut self, now: Instant) -> Acquired<u32> {
        self.machine.acquire(now)
    }

    fn acquire_by_id(&mut self, now: Instant, id: ConnId) -> Acquired<u32> {
        self.machine.acquire_by_id(now, id)
    }

    fn collect(&mut self, now: Instant, waiter: WaiterId) -> Collected<u32> {
        self.machine.collect(now, waiter)
    }

    fn cancel(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        self.machine.cancel(now, waiter)
    }

    fn put(&mut self, now: Instant, token: Token, link: u32, result: CheckResult) {
        // A lease that was revoked meanwhile goes out again to be closed, like any other connection.
        let _ = self.machine.put_drained(now, token, link, result);
    }

    fn waiters(&self) -> u32 {
        self.machine.stats().waiters
    }

    fn queue(&mut self, waiter: WaiterId, request: u32) {
        let slot = waiter.slot();
        if self.waiting.len() <= slot {
            self.waiting.resize(slot + 1, u32::MAX);
        }
        if let Some(entry) = self.waiting.get_mut(slot) {
            *entry = request;
        }
    }

    fn request_of(&self, waiter: WaiterId) -> Option<u32> {
        self.waiting.get(waiter.slot()).copied()
    }
}
