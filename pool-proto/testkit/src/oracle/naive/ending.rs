//! The end of a pool: at once, or as a graceful shutdown.

use pool_proto::State::{Checking, Granted, Leased};
use pool_proto::{CheckKind, CloseReason, Instant, Refusal, Token};

use super::waiters::{Waiter, WaiterState, Want, is_request};
use super::{Connection, Naive};
use crate::call::Answer;

impl Naive {
    /// Whether the pool is closed, or shuts down.
    pub(super) const fn is_ending(&self) -> bool {
        self.closed || self.shutting_down
    }

    /// The answer to callers of such a pool.
    pub(super) fn ending(&self) -> Option<Refusal> {
        let refusal = if self.closed { Refusal::PoolClosed } else { Refusal::ShuttingDown };
        self.is_ending().then_some(refusal)
    }

    /// Ends everything, unless it has.
    pub(super) fn end_pool(&mut self, reason: CloseReason) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.refuse_waiting(Refusal::PoolClosed, |_, _| true);
        self.close_everything(reason);
    }

    /// With its last connection, a shutdown is over.
    pub(super) fn settle_the_end(&mut self) {
        if self.closed {
            return;
        }
        self.serve_requests();
        if self.connections.is_empty() {
            self.end_pool(CloseReason::ShutDown);
        }
    }

    /// Ends what nobody uses, and lets the rest run out, until the deadline.
    pub(super) fn graceful_shutdown(&mut self, deadline: Option<Instant>) -> Answer {
        if self.closed {
            return Answer::Nothing;
        }
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        if !self.shutting_down {
            self.shutting_down = true;
            self.refuse_waiting(Refusal::ShuttingDown, |naive, waiter| {
                let id = match waiter.want {
                    Want::Claimed => return false,
                    Want::Id(id) => id,
                    Want::Any | Want::Stock(_) => return true,
                };
                !naive.with_id(id).is_some_and(|token| naive.is_inspected(token))
            });
            let unused = self.connections.iter().filter(|c| !is_in_use(c));
            let unused: Vec<Token> = unused.map(|connection| connection.token).collect();
            for token in unused {
                self.close_one(token, CloseReason::ShutDown);
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.end_pool(CloseReason::ShutDown);
        }
        self.settle();
        Answer::Nothing
    }

    /// Refuses the waiters that this is true of, in their order.
    fn refuse_waiting(&mut self, refusal: Refusal, of: impl Fn(&Self, &Waiter) -> bool) {
        let waiting = self.waiters.iter().filter(|waiter| waiter.standing == WaiterState::Waiting);
        let mut waiting: Vec<_> = waiting
            .filter(|waiter| of(self, waiter))
            .map(|waiter| (waiter.place, waiter.id))
            .collect();
        waiting.sort_by_key(|(place, _)| *place);
        for (_, waiter) in waiting {
            self.refuse(waiter, refusal);
        }
    }

    /// Whether it is being looked into, and the peer may have begun to use it.
    pub(super) fn is_inspected(&self, token: Token) -> bool {
        self.find(token).is_some_and(is_inspected)
    }
}

fn is_inspected(connection: &Connection) -> bool {
    connection.state == Checking && connection.kind == CheckKind::Inspect
}

/// Whether somebody uses it, here or at the peer.
fn is_in_use(connection: &Connection) -> bool {
    is_inspected(connection)
        || is_request(connection)
        || matches!(connection.state, Granted | Leased)
}
