//! A pool and its users: what happens in both roles.

use pool_proto::{Acquire, Collected, ConnId, Event, Finding, Lease, Role, Stock, Token, WaiterId};

use super::super::choices::Choices;
use super::harness::{Harness, id};

/// A pool and what its users hold and remember.
pub(super) struct Life<R: Role> {
    pub(super) pool: Harness<R>,
    leases: Vec<Lease<u32>>,
    /// Ids and tokens that were seen once; those that have ended are worth a try, too.
    ids: Vec<ConnId>,
    tokens: Vec<Token>,
}

impl<R: Role> Life<R> {
    pub(super) fn new(pool: Harness<R>) -> Self {
        Self { pool, leases: Vec::new(), ids: vec![id(0)], tokens: Vec::new() }
    }

    pub(super) fn known(&mut self, id: ConnId, token: Token) {
        self.ids.push(id);
        self.tokens.push(token);
    }

    pub(super) fn collect(&mut self, waiter: WaiterId) {
        if let Collected::Ready(lease) = self.pool.collect(waiter) {
            self.keep(lease);
        }
    }

    pub(super) fn release_all(&mut self) {
        while let Some(lease) = self.leases.pop() {
            self.pool.release(lease);
        }
    }

    fn keep(&mut self, lease: Lease<u32>) {
        self.known(lease.id, lease.token);
        self.leases.push(lease);
    }

    fn acquired(&mut self, answer: Acquire<u32>) {
        if let Acquire::Ready(lease) = answer {
            self.keep(lease);
        }
    }

    fn lease(&mut self, choices: &mut Choices<'_>) -> Option<Lease<u32>> {
        let count = self.leases.len();
        (count > 0).then(|| self.leases.swap_remove(choices.below(count)))
    }

    pub(super) fn step(&mut self, choices: &mut Choices<'_>) {
        let (waiters, pooled) = (self.pool.waiters(), self.pool.pooled());
        match choices.below(32) {
            0..4 => {
                let answer = self.pool.acquire();
                self.acquired(answer);
            }
            4..6 => {
                if let Some(id) = choices.pick(&self.ids) {
                    let answer = self.pool.acquire_by_id(id);
                    self.acquired(answer);
                }
            }
            6 => {
                let _: Stock = self.pool.wait_ready(choices.within(0, 7));
            }
            7..11 => {
                if let Some(waiter) = choices.pick(&waiters) {
                    self.collect(waiter);
                }
            }
            11 => {
                if let Some(waiter) = choices.pick(&waiters) {
                    self.pool.cancel(waiter);
                    assert_eq!(self.pool.collect(waiter), Collected::Unknown);
                }
            }
            12..19 => self.give_back(choices),
            19..21 => {
                if let Some(token) = choices.pick(&pooled) {
                    self.pool.readable(token);
                }
            }
            21 => {
                if let Some(token) = choices.pick(&pooled) {
                    self.pool.closed(token);
                }
            }
            22..25 => {
                if !self.pool.checks.is_empty() {
                    self.pool.checked(finding(choices));
                }
            }
            25..28 => self.pool.pass(choices.span()),
            // Late: things happen before the timeout does.
            28 => self.pool.wait(choices.span()),
            29 => self.pool.timeout(),
            30 => {
                let _: u32 = if choices.flag() { self.pool.flush() } else { self.pool.clean() };
            }
            _ => {
                // Something stale or unknown.
                if let Some(token) = choices.pick(&self.tokens) {
                    self.pool.established(token, None);
                    self.pool.event(Event::Dialed { token });
                }
            }
        }
    }

    fn give_back(&mut self, choices: &mut Choices<'_>) {
        let Some(lease) = self.lease(choices) else { return };
        match choices.below(8) {
            0..3 => drop(self.pool.put(lease)),
            3..5 => drop(self.pool.put_drained(lease, finding(choices))),
            5..7 => {
                self.pool.reject(lease, finding(choices));
                if choices.flag() {
                    let answer = self.pool.acquire_again();
                    self.acquired(answer);
                }
            }
            _ => self.pool.release(lease),
        }
    }
}

fn finding(choices: &mut Choices<'_>) -> Finding {
    choices.of([Finding::Quiet, Finding::Quiet, Finding::Quiet, Finding::Data, Finding::Closed])
}
