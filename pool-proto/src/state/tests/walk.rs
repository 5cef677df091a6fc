//! Random walks of both machines take every edge of the table.

use core::net::IpAddr;
use core::time::Duration;
use std::cell::RefCell;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CLOSED, NEW, name};
use crate::state::{EDGES, Edge, State};
use crate::{
    Accepting, Acquired, Acquirer, Action, CheckResult, Client, ClientConfig, Collected, ConnId,
    Event, HandshakeFailure, Instant, Lease, Machine, Role, Server, ServerConfig, TakeOrder, Token,
    WaiterId,
};

std::thread_local! {
    static TAKEN: RefCell<Vec<Edge>> = const { RefCell::new(Vec::new()) };
}

/// Records a step of a machine in this thread.
pub(crate) fn record(edge: Edge) {
    TAKEN.with_borrow_mut(|taken| {
        if !taken.contains(&edge) {
            taken.push(edge);
        }
    });
}

/// A machine, and everything that its driver and its callers hold.
struct Walk<R> {
    machine: Machine<(), R>,
    random: fastrand::Rng,
    now: Instant,
    leases: Vec<Lease<()>>,
    waiters: Vec<WaiterId>,
    tokens: Vec<Token>,
    ids: Vec<ConnId>,
    dials: u32,
}

impl<R: Role> Walk<R> {
    fn new(machine: Machine<(), R>, seed: u64) -> Self {
        Self {
            machine,
            random: fastrand::Rng::with_seed(seed),
            now: Instant::EPOCH,
            leases: Vec::new(),
            waiters: Vec::new(),
            tokens: Vec::new(),
            ids: std::vec![ConnId::ZERO],
            dials: 0,
        }
    }

    fn event(&mut self, event: Event<()>) {
        self.machine.handle_event(self.now, event);
    }

    fn result(&mut self) -> CheckResult {
        let results =
            [CheckResult::Quiet, CheckResult::Data, CheckResult::Finished, CheckResult::Closed];
        self.random.choice(results).unwrap()
    }

    /// Handshakes, with data that may come before the end.
    fn handshake(&mut self, token: Token, id: Option<ConnId>) {
        self.tokens.push(token);
        match self.random.u8(0..8) {
            0 => {
                let failure = HandshakeFailure::Tls;
                self.event(Event::HandshakeFailed { token, failure });
            }
            1 => {}
            early => {
                if early == 2 {
                    self.event(Event::Readable { token });
                }
                if early == 3 {
                    // The peer's user has acquired it already.
                    let id = self.ids.last().copied().unwrap_or(ConnId::ZERO);
                    let answer = self.machine.acquire_by_id(self.now, id);
                    self.acquired(answer);
                }
                self.event(Event::Established { token, connection: (), id });
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Dial { token } if self.random.u8(0..4) > 0 => {
                    self.event(Event::Dialed { token });
                    let id = ConnId::from_bytes(self.dials.to_le_bytes());
                    self.dials += 1;
                    self.ids.push(id);
                    self.handshake(token, Some(id));
                }
                Action::Dial { token } => self.event(Event::DialFailed { token }),
                Action::Check { token, connection, .. } => {
                    if self.random.bool() {
                        self.event(Event::Readable { token });
                    }
                    let result = self.result();
                    self.event(Event::Checked { token, connection, result });
                }
                Action::Close { .. } | Action::Abort { .. } | Action::Wake { .. } => {}
            }
        }
    }

    fn acquired(&mut self, answer: Acquired<()>) {
        match answer {
            Acquired::Ready(lease) => self.leases.push(lease),
            Acquired::Queued(waiter) => self.waiters.push(waiter),
            Acquired::Refused(_) => {}
        }
    }

    /// Accepts connections until a caller waits, which may then give up.
    fn accept_all(&mut self) {
        loop {
            match self.machine.acquire_claimed(self.now) {
                Acquired::Ready(lease) => self.leases.push(lease),
                Acquired::Queued(waiter) if self.random.bool() => {
                    self.machine.cancel(self.now, waiter);
                    return;
                }
                other => return self.acquired(other),
            }
        }
    }

    fn give_back(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let Lease { token, connection, .. } =
            self.leases.swap_remove(self.random.usize(0..self.leases.len()));
        if self.random.u8(0..4) == 0 {
            self.event(Event::Readable { token });
        }
        let result = self.result();
        // After a flush the lease is unknown, and putting it back fails.
        match self.random.u8(0..4) {
            0 => _ = self.machine.put(self.now, token, connection),
            1 => _ = self.machine.put_drained(self.now, token, connection, result),
            2 => self.machine.reject(self.now, token, connection, result),
            _ => self.event(Event::Closed { token }),
        }
    }

    fn step(&mut self) {
        match self.random.u8(0..24) {
            0..3 => {
                let answer = self.machine.acquire(self.now);
                self.acquired(answer);
            }
            3 => self.accept_all(),
            4..6 => {
                let recent = self.ids.len().saturating_sub(8);
                let id = self.random.choice(&self.ids[recent..]).copied();
                let id = id.filter(|_| self.random.u8(0..3) > 0).unwrap_or(ConnId::ZERO);
                let answer = self.machine.acquire_by_id(self.now, id);
                self.acquired(answer);
            }
            6..11 => self.give_back(),
            11..15 => {
                let recent = self.tokens.len().saturating_sub(8);
                if let Some(token) = self.random.choice(&self.tokens[recent..]).copied() {
                    let granted = self.machine.state_of(token) == Some(State::Granted);
                    let closed = granted || self.random.u8(0..4) == 0;
                    self.event(match closed {
                        true => Event::Closed { token },
                        false => Event::Readable { token },
                    });
                }
            }
            15..20 if !self.waiters.is_empty() => {
                let waiter = self.waiters.swap_remove(self.random.usize(0..self.waiters.len()));
                if self.random.bool() {
                    self.machine.cancel(self.now, waiter);
                } else if let Collected::Ready(lease) = self.machine.collect(self.now, waiter) {
                    self.leases.push(lease);
                }
            }
            20 => {
                self.now = self.now + Duration::from_millis(self.random.u64(0..3_000));
                self.machine.handle_timeout(self.now);
            }
            // A second acquire by the id of a connection that is leased already.
            22.. if !self.leases.is_empty() => {
                let id = self.leases[self.random.usize(0..self.leases.len())].id;
                let answer = self.machine.acquire_by_id(self.now, id);
                self.acquired(answer);
            }
            21 if self.random.u8(0..8) == 0 => _ = self.machine.flush(self.now),
            _ => {}
        }
        self.carry_out();
    }
}

impl Walk<Accepting> {
    /// A peer that may get through its handshake.
    fn peer(&mut self, address: IpAddr) {
        let Ok(token) = self.machine.accept(self.now, address) else { return };
        self.tokens.push(token);
        if self.random.u8(0..3) > 0 {
            self.event(Event::FirstByte { token });
        }
        if self.random.u8(0..8) == 0 {
            return;
        }
        if let Ok(id) = self.machine.admit(self.now, token, None) {
            self.ids.push(id);
            self.handshake(token, None);
        }
    }
}

fn edges_taken() -> BTreeSet<(String, String)> {
    TAKEN.with_borrow(|taken| named(taken))
}

fn named(edges: &[Edge]) -> BTreeSet<(String, String)> {
    edges.iter().map(|(from, to)| (name(*from, NEW), name(*to, CLOSED))).collect()
}

#[test]
fn random_walks_take_every_edge_of_the_table() {
    for seed in 0..160 {
        let acquirer = if seed % 3 == 2 { Acquirer::Both } else { Acquirer::Either };
        let delay = Duration::from_millis(if seed % 2 == 0 { 0 } else { 10 });
        let order = if seed % 4 < 2 { TakeOrder::OldestFirst } else { TakeOrder::NewestFirst };
        let client = ClientConfig::builder()
            .capacity(2..=6)
            .reuse_delay(delay)
            .take_order(order)
            .acquirer(acquirer)
            .control_connection(true)
            .backoff(Duration::from_millis(1), Duration::from_millis(1))
            .seed(seed);
        let mut client = Walk::new(Client::new(&client.build().unwrap(), Instant::EPOCH), seed);
        let server = ServerConfig::builder()
            .capacity(6)
            .reuse_delay(delay)
            .take_order(order)
            .acquirer(acquirer)
            .control_connection(true)
            .seed(seed);
        let mut server = Walk::new(Server::new(&server.build().unwrap(), Instant::EPOCH), seed);
        for _ in 0..2_000 {
            client.step();
            if server.random.u8(0..3) == 0 {
                let peer = IpAddr::from([10, 0, 0, server.random.u8(..)]);
                server.peer(peer);
            }
            server.step();
        }
    }
    let (taken, table) = (edges_taken(), named(EDGES));
    let difference: Vec<_> = taken.symmetric_difference(&table).collect();
    assert!(difference.is_empty(), "{difference:?}");
}
