//! Where a server's connections come from: peers, accepted and admitted within limits.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use pool_proto::State::{self, *};
use pool_proto::{CloseReason, Instant, Rejected, Token};

use super::{Connection, Naive, Supply};
use crate::call::Answer;

#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Whether the listener is gone.
    ended: bool,
    /// For peers that have replaced connections of theirs: since when, and how many.
    replaced: Vec<(Peer, Instant, u32)>,
    /// From where peers were admitted.
    known: BTreeSet<IpAddr>,
}

/// A peer by its certificate, or by its source where it has none.
pub type Peer = Result<[u8; 32], IpAddr>;

impl Door {
    /// The replacements that still count.
    pub fn hash_state(&self, now: Instant, hasher: &mut impl Hasher) {
        self.ended.hash(hasher);
        self.known.hash(hasher);
        let counting = self.replaced.iter().filter(|(_, since, _)| now.since(*since) < MINUTE);
        let mut counting: Vec<_> =
            counting.map(|(peer, since, count)| (*peer, now.since(*since), *count)).collect();
        counting.sort_unstable();
        counting.hash(hasher);
    }
}

/// In this time a peer may replace as many connections as it holds.
const MINUTE: Duration = Duration::from_secs(60);

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
pub(super) fn listed(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(address) if address.octets()[0] == 10)
}

impl Naive {
    pub const fn listener_gone(&self) -> bool {
        matches!(self.supply, Supply::Door(Door { ended: true, .. }))
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

    pub fn accept(&mut self, address: IpAddr) -> Answer {
        if self.dials() {
            return Answer::Nothing;
        }
        let source = source_of(address);
        let rejected = if self.closed {
            Some(Rejected::PoolClosed)
        } else if self.shutting_down {
            Some(Rejected::ShuttingDown)
        } else if self.setup.listed && !listed(address) {
            Some(Rejected::NotAllowed { address: address.to_canonical() })
        } else if self.setup.certificates {
            None
        } else {
            self.reason_against(Err(source), source)
        };
        if let Some(rejected) = rejected {
            self.count_rejected(rejected);
            return Answer::Accepted(Err(rejected));
        }
        if self.unproven() >= self.setup.max_handshakes {
            let victims = self.handshake_victims();
            self.close_one(self.choice(&victims), CloseReason::HandshakeEvicted);
        }
        let token = self.choices.accepted.expect("the naive pool accepts the peer");
        self.begin(token, Accepted).source = Some(source);
        self.totals.accepted += 1;
        Answer::Accepted(Ok(token))
    }

    pub fn admit(&mut self, token: Token, certificate: Option<[u8; 32]>) -> Answer {
        if self.dials() {
            return Answer::Nothing;
        }
        if self.closed {
            return Answer::Admitted(Err(Rejected::PoolClosed));
        }
        if !self.fits(token, &[Accepted, Handshaking], None) {
            return Answer::Admitted(Err(Rejected::HandshakeEnded));
        }
        let source = self.find(token).and_then(|c| c.source).unwrap();
        let peer = certificate.ok_or(source);
        // A peer that is turned away has pushed nobody out.
        if let Some(rejected) = self.reason_against(peer, source) {
            self.count_rejected(rejected);
            self.end(token, CloseReason::Rejected);
            self.settle();
            return Answer::Admitted(Err(rejected));
        }
        self.get(token).peer = Some(peer);
        if let Supply::Door(door) = &mut self.supply {
            door.known.insert(source);
        }
        self.make_room(peer);
        let id = self.choices.admitted.expect("the naive pool admits the peer");
        let twin = self.with_id(id);
        assert_eq!(twin, None, "{id} is a live connection's");
        self.enter(token, Admitted);
        self.get(token).id = Some(id);
        self.join(token);
        self.totals.admitted += 1;
        self.settle();
        Answer::Admitted(Ok(id))
    }

    const fn count_rejected(&mut self, rejected: Rejected) {
        *match rejected {
            Rejected::NotAllowed { .. } => &mut self.totals.rejected_address,
            Rejected::SourceFull { .. } => &mut self.totals.rejected_source,
            _ => &mut self.totals.rejected_full,
        } += 1;
    }

    /// Handshakes of peers that may be anybody.
    pub fn unproven(&self) -> u32 {
        self.count(Accepted) + self.count(Handshaking)
    }

    /// Why the peer has to be turned away: a limit is reached, and no connection may be ended for
    /// this one.
    fn reason_against(&self, peer: Peer, address: IpAddr) -> Option<Rejected> {
        let capacity = self.setup.capacity.1;
        if let Some(limit) = self.setup.max_per_source
            && self.pooled(peer) >= limit
        {
            return Some(Rejected::SourceFull { source_address: address, limit });
        }
        let limit = self.setup.max_connections;
        // While a finished one is leased beyond the limit, the end of one would not make room.
        let none_goes = |states: &[State]| {
            self.held() > limit
                || (self.victims(peer, states).is_empty() && self.own_victim(peer).is_none())
        };
        if self.stock() > capacity || (self.stock() == capacity && none_goes(&Self::STOCK)) {
            return Some(Rejected::CapacityReached { limit: capacity });
        }
        if self.stock() < capacity && self.held() >= limit && none_goes(&Self::POOLED) {
            return Some(Rejected::ConnectionsReached { limit });
        }
        None
    }

    /// Ends one connection, where a limit is reached: of the peer that holds much more, or else the
    /// oldest of this peer.
    fn make_room(&mut self, peer: Peer) {
        let states: &[State] = if self.stock() == self.setup.capacity.1 {
            &Self::STOCK
        } else if self.held() >= self.setup.max_connections {
            &Self::POOLED
        } else {
            return;
        };
        let victims = self.victims(peer, states);
        if !victims.is_empty() {
            return self.close_one(self.choice(&victims), CloseReason::Evicted);
        }
        let own = self.own_victim(peer).unwrap();
        let now = self.now;
        if let Supply::Door(door) = &mut self.supply {
            match door.replaced.iter_mut().find(|(of, ..)| *of == peer) {
                Some((_, since, count)) if now.since(*since) < MINUTE => *count += 1,
                Some(entry) => *entry = (peer, now, 1),
                None => door.replaced.push((peer, now, 1)),
            }
        }
        self.close_one(own, CloseReason::Replaced);
    }

    /// The oldest connection of this peer that nobody has used for a second, if it may replace one
    /// more.
    fn own_victim(&self, peer: Peer) -> Option<Token> {
        let Supply::Door(door) = &self.supply else { return None };
        let lately = door.replaced.iter().find(|(of, since, _)| {
            // A peer is forgotten with its last connection.
            *of == peer && self.now.since(*since) < MINUTE
        });
        let count = lately.map_or(0, |(_, _, count)| *count);
        if count >= self.pooled(peer) {
            return None;
        }
        let theirs = self.connections.iter().filter(|c| c.peer == Some(peer));
        let unused = |c: &&Connection| {
            Self::STOCK.contains(&c.state) && c.since + Duration::from_secs(1) <= self.now
        };
        theirs.filter(unused).min_by_key(|c| c.joined).map(|c| c.token)
    }

    fn oldest_of(&self, peer: Peer, states: &[State]) -> Option<Token> {
        let theirs = self.connections.iter().filter(|c| c.peer == Some(peer));
        let fitting = theirs.filter(|c| states.contains(&c.state));
        fitting.min_by_key(|c| c.joined).map(|c| c.token)
    }

    /// The machine's choice among several permitted victims.
    pub(super) fn choice(&self, victims: &[Token]) -> Token {
        let chosen = victims.iter().find(|victim| self.choices.evicted.contains(victim));
        *chosen.unwrap_or(&victims[0])
    }

    /// Forgets peers without connections, and the connections that they have replaced.
    pub fn forget_peers(&mut self) {
        let live = |peer: Peer| {
            self.connections.iter().any(|c| {
                c.peer == Some(peer) || (c.peer.is_none() && c.source.map(Err) == Some(peer))
            })
        };
        let gone: Vec<Peer> = match &self.supply {
            Supply::Door(door) => {
                door.replaced.iter().map(|(peer, ..)| *peer).filter(|peer| !live(*peer)).collect()
            }
            Supply::Dialer(_) => return,
        };
        if let Supply::Door(door) = &mut self.supply {
            door.replaced.retain(|(peer, ..)| !gone.contains(peer));
        }
    }

    pub(super) fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.connections.iter().filter_map(|c| c.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Connections of a peer that are past their handshakes, and neither leased nor finished.
    pub(super) fn pooled(&self, peer: Peer) -> u32 {
        let counts =
            |c: &&Connection| !matches!(c.state, Accepted | Handshaking | Leased | Finished);
        let theirs = self.connections.iter().filter(|c| c.peer == Some(peer));
        u32::try_from(theirs.filter(counts).count()).unwrap()
    }

    pub(super) const STOCK: [State; 2] = [Idle, Resting];
    const POOLED: [State; 3] = [Idle, Resting, Claimed];

    /// The oldest connection in one of `states` of the peer that holds most, of those that have one
    /// and hold at least two more than `peer`; of each, where several hold as much.
    fn victims(&self, peer: Peer, states: &[State]) -> Vec<Token> {
        self.of_the_heaviest(self.pooled(peer) + 2, states)
    }

    pub(super) fn of_the_heaviest(&self, least: u32, states: &[State]) -> Vec<Token> {
        let oldest = |peer| Some((self.pooled(peer), self.oldest_of(peer, states)?));
        let candidates: Vec<(u32, Token)> = self
            .peers()
            .into_iter()
            .filter_map(oldest)
            .filter(|(held, _)| *held >= least)
            .collect();
        let most = candidates.iter().map(|(held, _)| *held).max();
        candidates.into_iter().filter(|(held, _)| Some(*held) == most).map(|(_, c)| c).collect()
    }

    /// The handshake that is evicted for another: a silent one, unless at most a quarter of the
    /// limit is silent; the oldest of the source with most handshakes. A handshake counts as sixteen
    /// if no peer was ever admitted from its source.
    pub(super) fn handshake_victims(&self) -> Vec<Token> {
        let speaking = self.count(Handshaking);
        let silent = speaking == 0 || self.count(Accepted) > self.setup.max_handshakes / 4;
        let state = if silent { Accepted } else { Handshaking };
        let Supply::Door(door) = &self.supply else { return Vec::new() };
        let weight = |source: Option<IpAddr>| {
            let unproven = |c: &&Connection| matches!(c.state, Accepted | Handshaking);
            let all = self.connections.iter().filter(unproven);
            let each = if source.is_some_and(|at| door.known.contains(&at)) { 1 } else { 16 };
            each * all.filter(|c| c.source == source).count()
        };
        let most = self.all(state).map(|c| weight(c.source)).max();
        let theirs = self.all(state).filter(|c| Some(weight(c.source)) == most);
        theirs.min_by_key(|c| c.entry).map(|c| c.token).into_iter().collect()
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
        let reason = match state {
            Finished => CloseReason::PeerClosed,
            _ => CloseReason::Unclaimed,
        };
        self.close_one(self.choice(&victims), reason);
    }
}
