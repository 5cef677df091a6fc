//! Where a server's connections come from: peers, admitted within limits.

use std::net::{IpAddr, Ipv6Addr};

use pool_proto::State::{self, *};
use pool_proto::{CloseReason, Rejected, Token};

use super::{Connection, Naive, Supply};
use crate::call::Answer;

#[derive(Clone, Debug, Default, Hash)]
pub struct Door {
    /// Whether the listener is gone.
    ended: bool,
}

/// The unit that limits count as one source.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// The addresses that a setup with a list admits.
fn listed(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(address) if address.octets()[0] == 10)
}

impl Naive {
    pub const fn listener_gone(&self) -> bool {
        matches!(self.supply, Supply::Door(Door { ended: true }))
    }

    /// Whether there was a listener that could end.
    pub const fn end_listener(&mut self) -> bool {
        match &mut self.supply {
            Supply::Dialer(_) => false,
            Supply::Door(door) => {
                door.ended = true;
                true
            }
        }
    }

    pub fn admit(&mut self, address: IpAddr) -> Answer {
        if matches!(self.supply, Supply::Dialer(_)) {
            return Answer::Nothing;
        }
        let rejected = match self.reason_against(address) {
            Some(rejected) => rejected,
            None => {
                let source = source_of(address);
                self.make_room(source);
                let admission = self.choices.admitted.expect("the naive pool admits the peer");
                let twin = self.with_id(admission.id);
                assert_eq!(twin, None, "{} is a live connection's", admission.id);
                let connection = self.begin(admission.token, Handshaking);
                (connection.id, connection.source) = (Some(admission.id), Some(source));
                self.join(admission.token);
                self.totals.admitted += 1;
                return Answer::Admitted(Ok(admission));
            }
        };
        *match rejected {
            Rejected::NotAllowed { .. } => &mut self.totals.rejected_address,
            Rejected::SourceFull { .. } => &mut self.totals.rejected_source,
            Rejected::HandshakesReached { .. } => &mut self.totals.rejected_handshakes,
            _ => &mut self.totals.rejected_full,
        } += 1;
        Answer::Admitted(Err(rejected))
    }

    /// Why the peer has to be turned away: a limit is reached, and no source holds so much more that
    /// one of its connections may be ended for this one. Nothing is ended for a peer that is turned
    /// away all the same.
    fn reason_against(&self, address: IpAddr) -> Option<Rejected> {
        let source = source_of(address);
        let capacity = self.setup.capacity.1;
        if self.closed {
            return Some(Rejected::PoolClosed);
        }
        if self.setup.listed && !listed(address) {
            return Some(Rejected::NotAllowed { address: address.to_canonical() });
        }
        if let Some(limit) = self.setup.max_per_source
            && self.pooled(source) >= limit
        {
            return Some(Rejected::SourceFull { source_address: source, limit });
        }
        if self.stock() > capacity {
            return Some(Rejected::CapacityReached { limit: capacity });
        }
        if self.handshakes_full() {
            // An eviction that frees a handshake frees a place in the pool, too.
            let limit = self.setup.max_handshakes;
            let victims = self.handshake_victims(source);
            return victims.is_empty().then_some(Rejected::HandshakesReached { limit });
        }
        if self.stock() == capacity && self.victims(source, &Self::STOCK).is_empty() {
            return Some(Rejected::CapacityReached { limit: capacity });
        }
        let limit = self.setup.max_connections;
        if self.stock() < capacity
            && self.held() >= limit
            && self.victims(source, &Self::POOLED).is_empty()
        {
            return Some(Rejected::ConnectionsReached { limit });
        }
        None
    }

    /// Ends one connection, where a limit is reached.
    fn make_room(&mut self, source: IpAddr) {
        let victims = if self.handshakes_full() {
            self.handshake_victims(source)
        } else if self.stock() == self.setup.capacity.1 {
            self.victims(source, &Self::STOCK)
        } else if self.held() >= self.setup.max_connections {
            self.victims(source, &Self::POOLED)
        } else {
            return;
        };
        self.close_one(self.choice(&victims), CloseReason::Evicted);
    }

    /// Of several victims, none of which is promised to be the one, that of the machine.
    fn choice(&self, victims: &[Token]) -> Token {
        let chosen = victims.iter().find(|victim| self.choices.evicted.contains(victim));
        *chosen.unwrap_or(&victims[0])
    }

    fn handshakes_full(&self) -> bool {
        self.count(Handshaking) >= self.setup.max_handshakes
    }

    fn sources(&self) -> Vec<IpAddr> {
        let mut sources: Vec<IpAddr> = self.connections.iter().filter_map(|c| c.source).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn held_by(&self, source: IpAddr, held: impl Fn(&Connection) -> bool) -> u32 {
        let of_source = self.connections.iter().filter(|c| c.source == Some(source) && held(c));
        u32::try_from(of_source.count()).unwrap()
    }

    /// Connections of `source` that are neither leased nor finished.
    fn pooled(&self, source: IpAddr) -> u32 {
        self.held_by(source, |connection| !matches!(connection.state, Leased | Finished))
    }

    const STOCK: [State; 3] = [Handshaking, Idle, Resting];
    const POOLED: [State; 4] = [Handshaking, Idle, Resting, Claimed];

    /// The oldest connection in one of `states` of the source that holds most, of those that have
    /// one and hold at least two more than `source`; of each, where several hold as much.
    fn victims(&self, source: IpAddr, states: &[State]) -> Vec<Token> {
        self.of_the_heaviest(self.pooled(source) + 2, states)
    }

    fn of_the_heaviest(&self, least: u32, states: &[State]) -> Vec<Token> {
        let candidates: Vec<(u32, Token)> = self
            .sources()
            .into_iter()
            .filter_map(|source| {
                let theirs = self.connections.iter().filter(|c| c.source == Some(source));
                let fitting = theirs.filter(|c| states.contains(&c.state));
                let oldest = fitting.min_by_key(|c| c.joined)?;
                Some((self.pooled(source), oldest.token))
            })
            .filter(|(held, _)| *held >= least)
            .collect();
        let most = candidates.iter().map(|(held, _)| *held).max();
        candidates.into_iter().filter(|(held, _)| Some(*held) == most).map(|(_, c)| c).collect()
    }

    /// The oldest handshake of the source that has most under way, if that are at least two more
    /// than `source` has; of each, where several have as many.
    fn handshake_victims(&self, source: IpAddr) -> Vec<Token> {
        let handshakes = |source| self.held_by(source, |c| c.state == Handshaking);
        let most = self.sources().into_iter().map(handshakes).max().unwrap_or(0);
        if most < handshakes(source) + 2 {
            return Vec::new();
        }
        let heaviest = self.sources().into_iter().filter(|source| handshakes(*source) == most);
        let oldest = heaviest.filter_map(|source| {
            let theirs = self.all(Handshaking).filter(|c| c.source == Some(source));
            theirs.min_by_key(|c| c.entry).map(|c| c.token)
        });
        oldest.collect()
    }

    /// Claims do not count as stock, but must not pile up: beyond twice the capacity (at least 64)
    /// the oldest of the source that holds most goes.
    /// Of finished ones, and at a client, simply the oldest goes.
    pub fn shed_claims(&mut self, state: State) {
        let limit = self.setup.capacity.1.saturating_mul(2).max(64);
        if self.count(state) <= limit {
            return;
        }
        let victims = match (state, &self.supply) {
            (Finished, _) => self.first(Finished).into_iter().collect(),
            (_, Supply::Dialer(_)) => return,
            _ => self.of_the_heaviest(1, &[Claimed]),
        };
        self.close_one(self.choice(&victims), CloseReason::Unclaimed);
    }
}
