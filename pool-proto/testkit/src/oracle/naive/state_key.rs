//! The part of the naive pool's state that its future depends on, and the order that gives connections
//! their names.

use std::hash::{Hash, Hasher};

use pool_proto::State::{self, Checking};
use pool_proto::{CanonicalNames, CloseReason, Instant, Refusal, Token, WaiterId};

use super::super::state_key::Naming;
use super::waiters::{Waiter, WaiterState, Want, is_request};
use super::{Connection, Naive, Supply};

impl Naive {
    /// Connections and waiters in an order that is the same whatever they are called.
    pub fn ranks(&self) -> (Vec<Token>, Vec<WaiterId>) {
        let mut connections: Vec<_> =
            self.connections.iter().map(|c| (c.state as u8, c.entry, c.token)).collect();
        connections.sort_unstable_by_key(|(state, entry, _)| (*state, *entry));
        let mut waiters: Vec<_> = self
            .waiters
            .iter()
            .map(|waiter| {
                let rank = match waiter.standing {
                    WaiterState::Waiting => (0, waiter.place),
                    WaiterState::Granted(token) => {
                        let at = connections.iter().position(|(_, _, other)| *other == token);
                        (1, i64::try_from(at.unwrap()).unwrap())
                    }
                    WaiterState::Stocked => (2, 0),
                    WaiterState::Refused(Refusal::Gone { reason, .. }) => (3, reason as i64),
                    WaiterState::Refused(Refusal::ShuttingDown) => (4, 0),
                    WaiterState::Refused(Refusal::PoolClosed) => (5, 0),
                    WaiterState::Refused(_) => (6, 0),
                    WaiterState::Lapsed => (7, 0),
                };
                let want = match waiter.want {
                    Want::Any => 0,
                    Want::Id(_) => 1,
                    Want::Claimed => 2,
                    Want::Stock(ready) => 3 + ready,
                };
                (rank, want, waiter.id)
            })
            .collect();
        waiters.sort_by_key(|(rank, want, _)| (*rank, *want));
        let connections = connections.into_iter().map(|(_, _, token)| token);
        (connections.collect(), waiters.into_iter().map(|(_, _, waiter)| waiter).collect())
    }

    /// All but names and counters. Of the orders of entry in one state, the naming says all.
    pub fn hash_state(&self, naming: &Naming, hasher: &mut impl Hasher) {
        let distance = |at: Instant| at.as_nanos().wrapping_sub(self.now.as_nanos());
        self.closed.hash(hasher);
        let deadline = self.deadline.filter(|_| !self.closed).map(distance);
        (self.is_ending(), deadline).hash(hasher);
        let half = self.setup.idle_timeout.filter(|_| !self.is_ending()).map(|whole| whole / 2);
        half.map(|half| self.now.since(self.retired).min(half)).hash(hasher);
        for named in &naming.connections {
            let Some(c) = self.find(named.token) else { continue };
            (c.state, c.held.is_some(), c.ageing, c.used, c.finished, c.doubted, c.stirred)
                .hash(hasher);
            (c.state == State::Leased && c.acquired).hash(hasher);
            c.claimed.map(distance).hash(hasher);
            (c.id.map(|id| naming.id(id)), c.waiter.map(|waiter| naming.waiter(waiter)))
                .hash(hasher);
            self.period(c.state).map(|_| distance(c.since)).hash(hasher);
            let age = c.established.filter(|_| self.setup.max_lifetime.is_some());
            age.map(distance).hash(hasher);
            (c.state == Checking).then_some(c.kind).hash(hasher);
            self.hash_supply_of(c, hasher);
            // A leased connection joins anew when it comes back.
            let before = |other: &&Connection| {
                other.peer == c.peer
                    && !matches!(other.state, State::Leased | State::Finished)
                    && other.joined < c.joined
            };
            let joined = self.connections.iter().filter(before).count();
            let pooled = c.peer.is_some() && !matches!(c.state, State::Leased | State::Finished);
            (c.source.filter(|_| c.peer.is_none()), c.peer).hash(hasher);
            pooled.then_some(joined).hash(hasher);
        }
        let mut requests: Vec<_> = self.connections.iter().filter(|c| is_request(c)).collect();
        requests.sort_unstable_by_key(|c| c.entry);
        for request in requests {
            naming.connection(request.token).hash(hasher);
        }
        for waiter in &naming.waiters {
            let Some(Waiter { want, standing, .. }) = self.waiter(*waiter) else { continue };
            match *want {
                Want::Any => 0.hash(hasher),
                Want::Id(id) => (1, naming.id(id)).hash(hasher),
                Want::Claimed => 2.hash(hasher),
                Want::Stock(ready) => (3, ready).hash(hasher),
            }
            match *standing {
                WaiterState::Waiting => 0.hash(hasher),
                WaiterState::Granted(token) => (1, naming.connection(token)).hash(hasher),
                WaiterState::Stocked => 2.hash(hasher),
                WaiterState::Lapsed => 4.hash(hasher),
                WaiterState::Refused(Refusal::Gone { id, reason }) => {
                    (3, naming.id(id), reason).hash(hasher);
                }
                WaiterState::Refused(refusal) => std::mem::discriminant(&refusal).hash(hasher),
            }
        }
        let live = |id| self.connections.iter().any(|c| c.id == Some(id));
        let named = self.ended.iter().rev().filter(|(id, _)| !live(*id));
        let mut ended: Vec<(u32, CloseReason)> = Vec::new();
        for (name, reason) in named.filter_map(|(id, reason)| Some((naming.id(*id)?, *reason))) {
            if ended.iter().all(|(other, _)| *other != name) {
                ended.push((name, reason));
            }
        }
        ended.sort_by_key(|(name, _)| *name);
        ended.hash(hasher);
        match &self.supply {
            // Of a closed pool it is told, but does not change.
            _ if self.closed => {}
            Supply::Dialer(dialer) => dialer.hash_state(self.now, hasher),
            Supply::Door(door) => door.hash_state(self.now, hasher),
        }
    }
}
