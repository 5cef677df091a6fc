//! The server's supply: peers that connect, admitted within limits that nobody can use to lock
//! others out.

use core::hash::{Hash, Hasher};
use core::net::IpAddr;

use super::dialing::DEFAULT_SEED;
use super::sources::{Sources, source_of};
use super::{Role, max_claimed, sealed};
use crate::allow::AllowList;
use crate::answer::WaitReason;
use crate::config::ServerConfig;
use crate::error::{Refusal, Rejected};
use crate::event::{CloseReason, Token};
use crate::id::ConnId;
use crate::ids::Ids;
use crate::machine::Machine;
use crate::state::State;
use crate::state_key::CanonicalNames;
use crate::stats::Stats;
use crate::time::{Instant, Period};

/// How many sources, the heaviest first, are looked at for a connection to end: the first one mostly
/// has it, and a crowd of sources must not make each admission slow.
const SOURCES_LOOKED_AT: usize = 64;

/// The server role: connections come from a listener.
#[derive(Clone)]
pub struct Accepting {
    sources: Sources,
    allow: AllowList,
    capacity: u32,
    max_handshakes: u32,
    max_per_source: u32,
    ended: bool,
}

/// The server's machine: names the connections that peers make.
pub type Server<C> = Machine<C, Accepting>;

/// The states in which a connection can be evicted to make room within the capacity. A claimed one
/// is not counted there, so its end would make no room.
const SUPPLY: [State; 3] = [State::Handshaking, State::Idle, State::Resting];

/// The states in which a connection can be evicted to make room within all connections.
const POOLED: [State; 4] = [State::Handshaking, State::Idle, State::Resting, State::Claimed];

/// A place in the pool, reserved before the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Names the connection.
    pub token: Token,
    /// The id to send once TLS is established. The connection can be taken once
    /// [`Event::Established`](crate::Event::Established) says that the id has left.
    pub id: ConnId,
}

impl<C> Server<C> {
    /// A server at its start.
    #[must_use]
    pub fn new(config: &ServerConfig, now: Instant) -> Self {
        let mut random = fastrand::Rng::with_seed(config.common.seed.unwrap_or(DEFAULT_SEED));
        let ids = Ids::issued(config.common.max_connections, &mut random);
        let role = Accepting {
            sources: Sources::new(&mut random),
            allow: config.allow.clone(),
            capacity: config.capacity,
            max_handshakes: config.max_handshakes,
            max_per_source: config.max_per_source,
            ended: false,
        };
        Self::assemble(&config.common, Period::NEVER, true, ids, role, random, now)
    }

    /// A peer at `address` has connected: reserves a place and an id for it, before any handshake.
    ///
    /// When a limit is reached, the peer's source is compared with the one that holds most: if that
    /// one holds at least two more, its oldest connection makes room
    /// ([`Evicted`](CloseReason::Evicted)). So no source can lock out another, and two equal ones
    /// do not evict each other in turn.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which limit or list turned it away; the driver closes the transport.
    pub fn admit(&mut self, now: Instant, address: IpAddr) -> Result<Admission, Rejected> {
        let now = self.advance(now);
        let admission = self.try_admit(now, address);
        match admission {
            Ok(_) => self.totals.admitted += 1,
            Err(Rejected::NotAllowed { .. }) => self.totals.rejected_address += 1,
            Err(Rejected::SourceFull { .. }) => self.totals.rejected_source += 1,
            Err(Rejected::HandshakesReached { .. }) => self.totals.rejected_handshakes += 1,
            Err(_) => self.totals.rejected_full += 1,
        }
        admission
    }

    fn try_admit(&mut self, now: Instant, address: IpAddr) -> Result<Admission, Rejected> {
        let full = Rejected::ConnectionsReached { limit: self.max_connections };
        if self.closed {
            return Err(Rejected::PoolClosed);
        }
        if !self.role.allow.permits(address) {
            return Err(Rejected::NotAllowed { address: address.to_canonical() });
        }
        let source_address = source_of(address);
        let held = self.role.sources.pooled(source_address);
        if held >= self.role.max_per_source {
            return Err(Rejected::SourceFull { source_address, limit: self.role.max_per_source });
        }
        // More than the capacity is on its way only while what was put back for waiters is being
        // drained; one eviction would not make room then.
        let beyond = Rejected::CapacityReached { limit: self.role.capacity };
        if self.supply() > self.role.capacity {
            return Err(beyond);
        }
        if self.slots.len(State::Handshaking) >= self.role.max_handshakes
            && !self.evict_handshake(source_address)
        {
            return Err(Rejected::HandshakesReached { limit: self.role.max_handshakes });
        }
        if self.supply() == self.role.capacity && !self.evict_pooled(held, &SUPPLY) {
            return Err(beyond);
        }
        if self.slots.total() >= self.max_connections && !self.evict_pooled(held, &POOLED) {
            return Err(full);
        }
        let source = self.role.sources.enrol(source_address).ok_or(full)?;
        let key = self.slots.insert(State::Handshaking, source, now).ok_or(full)?;
        self.role.sources.admitted(source, &mut self.slots, key.index);
        let key = self.name(key);
        let id = self.slots.get(key.index).and_then(|slot| slot.id).ok_or(full)?;
        Ok(Admission { token: Token(key), id })
    }

    /// Makes room for a source that holds `held` by ending the oldest pooled connection, of those in
    /// one of `states`, of the source that holds most of all that have one.
    fn evict_pooled(&mut self, held: u32, states: &[State]) -> bool {
        let evictable = |index: &u32| {
            let state = self.state(*index);
            state.is_some_and(|state| states.contains(&state))
        };
        let sources = &self.role.sources;
        let victim = sources
            .heaviest(held.saturating_add(2))
            .take(SOURCES_LOOKED_AT)
            .find_map(|source| sources.pooled_slots(source, &self.slots).find(evictable));
        let Some(victim) = victim else { return false };
        self.close_one(victim, CloseReason::Evicted);
        true
    }

    /// Makes room for a handshake of the source `address` by ending the oldest handshake of the
    /// source that has most of them under way. Looks at every handshake, of which there are
    /// `max_handshakes` at the most.
    fn evict_handshake(&mut self, address: IpAddr) -> bool {
        let mut heaviest: Option<(u32, u32)> = None;
        let mut at = self.slots.front(State::Handshaking);
        while let Some(index) = at {
            at = self.slots.next(index);
            let source = self.slots.get(index).map(|slot| slot.origin);
            let count = source.map_or(0, |source| self.role.sources.handshakes(source));
            if heaviest.is_none_or(|(most, _)| count > most) {
                heaviest = Some((count, index));
            }
        }
        let own = self.role.sources.number(address);
        let own = own.map_or(0, |source| self.role.sources.handshakes(source));
        match heaviest {
            Some((count, oldest)) if count >= own.saturating_add(2) => {
                self.close_one(oldest, CloseReason::Evicted);
                true
            }
            _ => false,
        }
    }
}

impl sealed::Sealed for Accepting {}

impl Role for Accepting {
    fn refill<C>(_server: &mut Server<C>, _now: Instant) {}

    fn handle_timeout<C>(_server: &mut Server<C>, _now: Instant) {}

    fn deadline<C>(_server: &Server<C>) -> Instant {
        Instant::NEVER
    }

    fn limit(&self) -> u32 {
        self.capacity
    }

    fn supply_ended(&self) -> Option<Refusal> {
        self.ended.then_some(Refusal::AcceptEnded)
    }

    fn accept_ended(&mut self) -> bool {
        self.ended = true;
        true
    }

    fn moved<C>(server: &mut Server<C>, index: u32, from: State, to: State) {
        let Some(source) = server.slots.get(index).map(|slot| slot.origin) else {
            return;
        };
        let sources = &mut server.role.sources;
        if from == State::Handshaking {
            sources.handshake_over(source);
        }
        match (from == State::Leased, to == State::Leased) {
            (false, true) => sources.left(source, &mut server.slots, index),
            (true, false) => sources.joined(source, &mut server.slots, index),
            _ => {}
        }
    }

    fn surplus_claim<C>(server: &Server<C>) -> Option<u32> {
        if server.slots.len(State::Claimed) <= max_claimed(server.role.capacity) {
            return None;
        }
        let claimed = |index: &u32| server.state(*index) == Some(State::Claimed);
        // One of the source that holds most, so that nobody can push out the claims of others.
        let sources = &server.role.sources;
        let theirs = sources
            .heaviest(1)
            .take(SOURCES_LOOKED_AT)
            .find_map(|source| sources.pooled_slots(source, &server.slots).find(claimed));
        theirs.or_else(|| server.slots.front(State::Claimed))
    }

    fn ending<C>(server: &mut Server<C>, index: u32, _reason: CloseReason) {
        let Some(slot) = server.slots.get(index) else {
            return;
        };
        let (source, state) = (slot.origin, slot.state);
        if state == State::Handshaking {
            server.role.sources.handshake_over(source);
        }
        if state != State::Leased {
            server.role.sources.left(source, &mut server.slots, index);
        }
        server.role.sources.ended(source);
    }

    fn wait_reason<C>(server: &Server<C>) -> WaitReason {
        match server.slots.len(State::Handshaking) {
            0 => WaitReason::NoPeer,
            in_flight => WaitReason::Handshaking { in_flight },
        }
    }

    fn hash_slot<C, H: Hasher>(server: &Server<C>, index: u32, hasher: &mut H) {
        let source =
            server.slots.get(index).and_then(|slot| server.role.sources.address(slot.origin));
        source.hash(hasher);
    }

    fn hash_state<C, N: CanonicalNames<C>, H: Hasher>(
        server: &Server<C>,
        names: &N,
        hasher: &mut H,
    ) {
        let name = |key| names.connection(Token(key));
        server.role.ended.hash(hasher);
        server
            .role
            .sources
            .hash_state(|list, hasher| list.hash_ends(&server.slots.slab, &name, hasher), hasher);
    }

    fn report(&self, stats: &mut Stats) {
        stats.capacity = self.capacity;
    }
}
