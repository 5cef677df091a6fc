//! Waiters and their requests.

use pool_proto::State::{Checking, Claimed, Finished, Granted, Idle, Leased};
use pool_proto::{Action, CloseReason, ConnId, Refusal, Token, WaiterId};

use super::{Connection, Naive};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    Any,
    /// Any that the peer has begun to use.
    Claimed,
    Id(ConnId),
    Stock(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaiterState {
    Waiting,
    Granted(Token),
    /// Its connection was taken back.
    Lapsed,
    Stocked,
    Refused(Refusal),
}

/// A waiter that has not collected its outcome.
#[derive(Clone, Debug)]
pub struct Waiter {
    pub id: WaiterId,
    pub want: Want,
    pub standing: WaiterState,
    /// The smaller, the nearer to the front of its queue.
    pub place: i64,
}

impl Naive {
    fn waiting(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter().filter(|waiter| waiter.standing == WaiterState::Waiting)
    }

    pub fn waiter(&self, waiter: WaiterId) -> Option<&Waiter> {
        self.waiters.iter().find(|other| other.id == waiter)
    }

    pub fn waiter_mut(&mut self, waiter: WaiterId) -> &mut Waiter {
        self.waiters.iter_mut().find(|other| other.id == waiter).unwrap()
    }

    /// The first in the queue for any connection, or for this id.
    pub fn first_waiting(&self, want: Want) -> Option<WaiterId> {
        let queue = self.waiting().filter(|waiter| waiter.want == want);
        queue.min_by_key(|waiter| waiter.place).map(|waiter| waiter.id)
    }

    /// The first that waits for a stock of more than `most`.
    pub fn first_beyond(&self, most: u32) -> Option<(WaiterId, u32)> {
        let beyond = self.waiting().filter_map(|waiter| match waiter.want {
            Want::Stock(ready) if ready > most => Some((waiter, ready)),
            _ => None,
        });
        beyond.min_by_key(|(waiter, _)| waiter.place).map(|(waiter, ready)| (waiter.id, ready))
    }

    pub fn count_waiting(&self, want: Want) -> u32 {
        u32::try_from(self.waiting().filter(|waiter| waiter.want == want).count()).unwrap()
    }

    /// The first in the queue for stock that wants no more than `ready`.
    pub fn first_for_stock(&self, ready: u32) -> Option<WaiterId> {
        let queue = self.waiting().filter(|waiter| match waiter.want {
            Want::Stock(wanted) => wanted <= ready,
            _ => false,
        });
        queue.min_by_key(|waiter| waiter.place).map(|waiter| waiter.id)
    }

    /// The most ready connections that somebody waits for.
    pub fn most_stock(&self) -> Option<u32> {
        let wanted = self.waiting().filter_map(|waiter| match waiter.want {
            Want::Stock(wanted) => Some(wanted),
            _ => None,
        });
        wanted.max()
    }

    /// The waiter that a connection would serve: a waiter for its id comes before those of a `kind`.
    pub fn first_for(&self, id: Option<ConnId>, kind: Option<Want>) -> Option<WaiterId> {
        // An acquire by id is served after the opening byte only.
        let id = id.filter(|_| !(self.setup.opening_byte && kind == Some(Want::Any)));
        let by_id = id.and_then(|id| self.first_waiting(Want::Id(id)));
        by_id.or_else(|| self.first_waiting(kind?))
    }

    /// Whether an acquire by its id gets it.
    pub fn is_there_by_id(&self, token: Token) -> bool {
        match self.state(token) {
            Some(Claimed | Finished) => true,
            Some(Idle) => !self.setup.opening_byte,
            _ => false,
        }
    }

    /// A connection that the peer has begun to use and nobody here has: the one that was inspected
    /// first.
    pub fn next_request(&self) -> Option<Token> {
        let requests = self.connections.iter().filter(|connection| is_request(connection));
        requests.min_by_key(|connection| connection.entry).map(|connection| connection.token)
    }

    /// Why nobody need wait for such a connection.
    pub fn requests_ended(&self) -> Option<Refusal> {
        if self.closed {
            return self.ending();
        }
        let may_come = match self.shutting_down {
            true => self.connections.iter().any(|connection| connection.state == Checking),
            false => !self.listener_gone() || !self.connections.is_empty(),
        };
        let none = self.next_request().is_none() && !may_come;
        none.then(|| self.ending().unwrap_or(Refusal::AcceptEnded))
    }

    /// Serves those that wait for such a connection, or tells them that there will be none.
    pub fn serve_requests(&mut self) {
        while self.first_waiting(Want::Claimed).is_some()
            && let Some(token) = self.next_request()
        {
            self.offer(token, false);
        }
        if let Some(refusal) = self.requests_ended() {
            while let Some(waiter) = self.first_waiting(Want::Claimed) {
                self.refuse(waiter, refusal);
            }
        }
    }

    pub const fn place(&mut self, front: bool) -> i64 {
        if front {
            self.front -= 1;
            self.front
        } else {
            self.back += 1;
            self.back
        }
    }

    /// Queues somebody and settles.
    pub fn queue(&mut self, want: Want, again: bool) -> Result<WaiterId, Refusal> {
        let limit = self.setup.max_waiters;
        let full = self.waiters.len() >= limit as usize && !again;
        let queued = if full {
            self.totals.refused += 1;
            Err(Refusal::TooManyWaiters { limit })
        } else {
            let id = self.choices.queued.take().expect("the naive pool queues the caller");
            assert!(self.waiter(id).is_none(), "{id:?} names two waiters");
            let place = self.place(again);
            self.waiters.push(Waiter { id, want, standing: WaiterState::Waiting, place });
            Ok(id)
        };
        self.settle();
        queued
    }

    /// Gives a waiting waiter its outcome and wakes it.
    pub fn answer(&mut self, waiter: WaiterId, standing: WaiterState) {
        self.waiter_mut(waiter).standing = standing;
        self.did.push(Action::Wake { waiter });
    }

    pub fn refuse(&mut self, waiter: WaiterId, refusal: Refusal) {
        self.totals.refused += 1;
        self.answer(waiter, WaiterState::Refused(refusal));
    }

    pub fn remove(&mut self, waiter: WaiterId) {
        self.waiters.retain(|other| other.id != waiter);
    }

    /// The connection that a waiter was to collect has ended.
    pub fn connection_lost(&mut self, waiter: WaiterId, reason: CloseReason) {
        let Some(Waiter { want, .. }) = self.waiter(waiter) else {
            return;
        };
        let refusal = match *want {
            _ if self.closed => Refusal::PoolClosed,
            Want::Id(id) => Refusal::Gone { id, reason },
            _ if self.shutting_down => Refusal::ShuttingDown,
            _ => {
                let place = self.place(true);
                let waiter = self.waiter_mut(waiter);
                (waiter.standing, waiter.place) = (WaiterState::Waiting, place);
                return;
            }
        };
        self.totals.refused += 1;
        self.waiter_mut(waiter).standing = WaiterState::Refused(refusal);
    }

    /// The connection for a waiter that comes too late for its own. If there is none, the waiter is
    /// first in its queue, or is refused.
    pub fn ask_again(&mut self, late: &Waiter) -> Option<Token> {
        let known = match late.want {
            Want::Id(id) => self.with_id(id),
            Want::Claimed => self.next_request(),
            _ => self.next_idle(),
        };
        let by_id = matches!(late.want, Want::Id(_));
        let ready = known.filter(|token| !by_id || self.is_there_by_id(*token));
        if ready.is_some() {
            return ready;
        }
        let refusal = match late.want {
            Want::Id(id) => self.refusal_by_id(id),
            Want::Claimed => self.requests_ended(),
            _ => self.ending(),
        };
        let standing = match refusal {
            Some(refusal) => {
                self.totals.refused += 1;
                WaiterState::Refused(refusal)
            }
            None => WaiterState::Waiting,
        };
        let place = self.place(true);
        let waiter = self.waiter_mut(late.id);
        (waiter.standing, waiter.place) = (standing, place);
        self.settle();
        None
    }

    /// Why a caller cannot wait for the connection with this id, which is not ready.
    pub fn refusal_by_id(&self, id: ConnId) -> Option<Refusal> {
        if self.closed {
            return self.ending();
        }
        let Some(token) = self.with_id(id) else {
            let ended = self.ended.iter().rev().find(|(ended, _)| *ended == id);
            return match ended {
                Some((_, reason)) => Some(Refusal::Gone { id, reason: *reason }),
                None if !self.ids_received() => Some(Refusal::UnknownId { id }),
                None => self.ending(),
            };
        };
        // Its holder, or the waiter it is granted to, acquired any connection: both ends have acquired
        // this one.
        let taken = self.find(token).is_some_and(|c| match c.state {
            Leased => c.acquired,
            Granted => c.waiter.and_then(|waiter| self.want(waiter)) == Some(Want::Any),
            _ => false,
        });
        if taken && self.peer_claims() {
            return Some(Refusal::AcquiredHere { id });
        }
        // In a shutdown, only a connection that is being inspected may still become ready.
        self.ending().filter(|_| !self.is_inspected(token))
    }
}

/// Whether the peer has begun to use it, and nobody here has it.
pub fn is_request(connection: &Connection) -> bool {
    matches!(connection.state, Claimed | Finished) && connection.claimed.is_some()
}
