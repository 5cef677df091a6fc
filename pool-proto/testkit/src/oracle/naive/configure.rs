//! Another configuration while the pool runs.

use pool_proto::State::*;
use pool_proto::{CloseReason, ConfigError, Refusal, Token};

use super::server::listed;
use super::{Naive, Supply};
use crate::call::Answer;
use crate::setup::{Setup, Side};

impl Naive {
    /// Takes over a setup: connections that have no room or time under it end, and the rest go on.
    pub(super) fn set_config(&mut self, setup: &Setup) -> Answer {
        let side = if self.dials() { Side::Client } else { Side::Server };
        if let Some(setting) = setup.fixed(side, &self.setup) {
            return Answer::Configured(Err(ConfigError::Fixed { setting }));
        }
        let before = std::mem::replace(&mut self.setup, *setup);
        for connection in &mut self.connections {
            connection.ageing = connection.established.is_some() && setup.max_lifetime.is_some();
        }
        self.set_dialer(&before);
        if matches!(self.supply, Supply::Door(_)) {
            self.close_barred();
            while self.unproven() > setup.max_handshakes {
                let victims = self.handshake_victims();
                self.close_one(self.choice(&victims), CloseReason::HandshakeEvicted);
            }
            self.close_beyond_limits(setup.capacity.1 < before.capacity.1);
        }
        let most = setup.capacity.1.saturating_mul(2).max(64);
        for state in [Claimed, Finished] {
            while self.count(state) > most && !(self.dials() && state == Claimed) {
                self.shed_claims(state);
            }
        }
        while let Some((waiter, wanted)) = self.first_beyond(setup.capacity.1) {
            let capacity = setup.capacity.1;
            self.refuse(waiter, Refusal::StockBeyondCapacity { wanted, capacity });
        }
        self.timeout();
        Answer::Configured(Ok(()))
    }

    /// Whether the peer of a connection is not on the list, which did not hold when it came.
    pub(super) fn is_barred(&self, token: Token) -> bool {
        let source = self.find(token).and_then(|connection| connection.source);
        self.setup.listed && source.is_some_and(|source| !listed(source))
    }

    fn close_barred(&mut self) {
        let unused = [Accepted, Handshaking, Admitted, Idle, Resting];
        let all: Vec<Token> = self.connections.iter().map(|c| c.token).collect();
        for token in all {
            if self.is_barred(token) && self.state(token).is_some_and(|s| unused.contains(&s)) {
                self.close_one(token, CloseReason::NotAllowed);
            }
        }
    }

    /// The oldest ready one of the peer that has most goes, as long as there are too many for a lower limit.
    fn close_beyond_limits(&mut self, is_lower: bool) {
        if let Some(most) = self.setup.max_per_source {
            loop {
                let victims = self.of_the_heaviest(most + 1, &Self::STOCK);
                if victims.is_empty() {
                    break;
                }
                self.close_one(self.choice(&victims), CloseReason::Surplus);
            }
        }
        while is_lower && self.stock() > self.setup.capacity.1 {
            let victims = self.of_the_heaviest(1, &Self::STOCK);
            if victims.is_empty() {
                break;
            }
            self.close_one(self.choice(&victims), CloseReason::Surplus);
        }
    }
}
