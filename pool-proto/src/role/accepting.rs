//! The server's supply: admission of peers within limits by which no peer can lock out others.

use core::net::IpAddr;

use super::hooks::Hooks;
use super::max_claimed;
use super::sources::{Sources, source_of};
use crate::allow::AllowList;
use crate::answer::WaitReason;
use crate::config::ServerConfig;
use crate::error::{Refusal, Rejected};
use crate::event::{CloseReason, Token};
use crate::id::ConnId;
use crate::ids::Ids;
use crate::machine::Machine;
use crate::state::State;
use crate::stats::Stats;
use crate::time::{Instant, Period};

/// The most sources, heaviest first, that are searched for a connection to evict. Nearly always the
/// first one has it; the limit keeps admission fast in a crowd of sources.
const SOURCES_SEARCHED: usize = 64;

/// The server role: connections come from a listener.
#[derive(Clone)]
pub struct Accepting {
    pub(crate) sources: Sources,
    allow: AllowList,
    capacity: u32,
    max_handshakes: u32,
    max_per_source: u32,
    /// Whether the listener has ended.
    pub(crate) ended: bool,
}

/// The server's machine: admits peers and gives each connection an id.
pub type Server<C> = Machine<C, Accepting>;

/// The states in which an eviction makes room within the capacity. Claimed connections are not
/// counted there, so evicting one would not make room.
const SUPPLY: [State; 3] = [State::Handshaking, State::Idle, State::Resting];

/// The states in which an eviction makes room within the limit on all connections.
const POOLED: [State; 4] = [State::Handshaking, State::Idle, State::Resting, State::Claimed];

/// A reserved place in the pool for a peer that has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The token of the connection.
    pub token: Token,
    /// The id to send as soon as TLS is established. The connection can be acquired after
    /// [`Event::Established`](crate::Event::Established) has said that the id was sent.
    pub id: ConnId,
}

impl<C> Server<C> {
    /// Creates a server.
    #[must_use]
    pub fn new(config: &ServerConfig, now: Instant) -> Self {
        let entropy = config.common.entropy();
        let ids = Ids::issued(&entropy);
        let role = Accepting {
            sources: Sources::new(&entropy),
            allow: config.allow.clone(),
            capacity: config.capacity,
            max_handshakes: config.max_handshakes,
            max_per_source: config.max_per_source,
            ended: false,
        };
        Self::assemble(&config.common, Period::NEVER, true, ids, role, now)
    }

    /// Reserves a place and an id for a peer at `address` that has connected. Call it before the
    /// handshake.
    ///
    /// At a limit, the peer's source is compared with the source that holds most connections. If that
    /// one holds at least two more, its oldest connection is evicted
    /// ([`CloseReason::Evicted`]). So no source can lock out another, and two equal sources do not
    /// evict each other in turn.
    ///
    /// # Errors
    ///
    /// [`Rejected`] names the limit or list that forbids the connection; the driver closes the
    /// transport.
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
        let held = self.role.sources.pooled_count(source_address);
        if held >= self.role.max_per_source {
            return Err(Rejected::SourceFull { source_address, limit: self.role.max_per_source });
        }
        // The supply exceeds the capacity only while connections that were put back for waiters are
        // being drained. Then one eviction would not make room.
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
        if self.held() >= self.max_connections && !self.evict_pooled(held, &POOLED) {
            return Err(full);
        }
        let source = self.role.sources.register(source_address).ok_or(full)?;
        let key = self.slots.insert(State::Handshaking, source, now).ok_or(full)?;
        self.role.sources.admitted(source, &mut self.slots, key.index);
        let id = self.issue_id(key.index).ok_or(full)?;
        Ok(Admission { token: Token(key), id })
    }

    /// Makes room for a source that holds `held` pooled connections. Of the sources that have a
    /// connection in one of `states`, it evicts the oldest such connection of the heaviest.
    fn evict_pooled(&mut self, held: u32, states: &[State]) -> bool {
        let evictable = |index: &u32| {
            let state = self.state(*index);
            state.is_some_and(|state| states.contains(&state))
        };
        let sources = &self.role.sources;
        let victim = sources
            .heaviest(held.saturating_add(2))
            .take(SOURCES_SEARCHED)
            .find_map(|source| sources.pooled_slots(source, &self.slots).find(evictable));
        let Some(victim) = victim else { return false };
        self.close_one(victim, CloseReason::Evicted);
        true
    }

    /// Makes room for a handshake of the source `address`: evicts the oldest handshake of the source
    /// that has most of them. Looks at every handshake, of which there are at most
    /// `max_handshakes`.
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

/// Whether connections in this state do not count for their source.
const fn is_outside(state: State) -> bool {
    matches!(state, State::Leased | State::Finished)
}

impl Hooks for Accepting {
    fn refill<C>(_server: &mut Server<C>, _now: Instant) {}

    fn handle_timeout<C>(_server: &mut Server<C>, _now: Instant) {}

    fn next_deadline<C>(_server: &Server<C>) -> Instant {
        Instant::NEVER
    }

    #[inline]
    fn moved<C>(server: &mut Server<C>, index: u32, from: State, to: State) {
        let Some(source) = server.slots.get(index).map(|slot| slot.origin) else {
            return;
        };
        let sources = &mut server.role.sources;
        if from == State::Handshaking {
            sources.handshake_ended(source);
        }
        match (is_outside(from), is_outside(to)) {
            (false, true) => sources.remove_pooled(source, &mut server.slots, index),
            (true, false) => sources.add_pooled(source, &mut server.slots, index),
            _ => {}
        }
    }

    fn ending<C>(server: &mut Server<C>, index: u32, _reason: CloseReason) {
        let Some(slot) = server.slots.get(index) else {
            return;
        };
        let (source, state) = (slot.origin, slot.state);
        if state == State::Handshaking {
            server.role.sources.handshake_ended(source);
        }
        if !is_outside(state) {
            server.role.sources.remove_pooled(source, &mut server.slots, index);
        }
        server.role.sources.connection_ended(source);
    }

    fn surplus_claim<C>(server: &Server<C>, state: State) -> Option<u32> {
        if server.slots.len(state) <= max_claimed(server.role.capacity) {
            return None;
        }
        if state == State::Finished {
            return server.slots.front(state);
        }
        let claimed = |index: &u32| server.state(*index) == Some(State::Claimed);
        // From the heaviest source, so that no source can push out the claims of others.
        let sources = &server.role.sources;
        let heaviest = sources
            .heaviest(1)
            .take(SOURCES_SEARCHED)
            .find_map(|source| sources.pooled_slots(source, &server.slots).find(claimed));
        heaviest.or_else(|| server.slots.front(State::Claimed))
    }

    fn wait_reason<C>(server: &Server<C>) -> WaitReason {
        match server.slots.len(State::Handshaking) {
            0 => WaitReason::NoPeer,
            in_flight => WaitReason::Handshaking { in_flight },
        }
    }

    fn max_capacity(&self) -> u32 {
        self.capacity
    }

    fn supply_ended(&self) -> Option<Refusal> {
        self.ended.then_some(Refusal::AcceptEnded)
    }

    fn accept_ended(&mut self) -> bool {
        self.ended = true;
        true
    }

    fn report(&self, stats: &mut Stats) {
        stats.capacity = self.capacity;
    }
}
