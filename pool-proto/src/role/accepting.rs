//! The server's supply: peers, accepted and admitted within limits by which none can lock out others.
//!
//! A peer passes two gates. [`Server::accept`] lets it do its handshake, within a budget that takes
//! nothing from the stock. [`Server::admit`] gives it a place in the stock, after the handshake: by
//! then its certificate, or at least that it speaks TLS, is proven.

mod configure;
mod sharing;

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::hooks::Hooks;
use super::max_claimed;
use super::sources::{Peer, Sources};
use crate::allow::AllowList;
use crate::answer::WaitReason;
use crate::config::{Acquirer, ServerConfig};
use crate::error::{Refusal, Rejected};
use crate::event::{CloseReason, Token};
use crate::id::{ConnId, IdFormat};
use crate::ids::{Ids, Told};
use crate::machine::Machine;
use crate::slots::Slot;
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
    /// The format of ids, which cannot change.
    format: IdFormat,
    allow: AllowList,
    /// The addresses of the peers, by the indices of their connections. A changed allow list decides on
    /// addresses, of which a source is only a part, and a certificate says nothing.
    addresses: Vec<IpAddr>,
    capacity: u32,
    max_handshakes: u32,
    max_per_source: u32,
    /// Whether peers are known by their certificates, and not only by their addresses.
    certificates: bool,
    /// Whether the listener has ended.
    pub(crate) ended: bool,
}

/// The server's machine: accepts and admits peers, and gives each connection an id.
pub type Server<C> = Machine<C, Accepting>;

/// The time that a connection must have been unused before a newer one of its peer replaces it. A peer
/// that has lost its connections comes back after a longer time, as it must notice that first; a
/// client that fills its pool, and wants more than there is room for, does not.
const REPLACEABLE: Duration = Duration::from_secs(1);

/// The states in which an eviction makes room within the capacity. Claimed connections are not
/// counted there, so evicting one would not make room.
const SUPPLY: [State; 3] = [State::Idle, State::Reserved, State::Resting];

/// The states in which an eviction makes room within the limit on all connections.
const POOLED: [State; 4] = [State::Idle, State::Reserved, State::Resting, State::Claimed];

/// The states of a handshake whose peer may turn out to be anybody.
const UNPROVEN: [State; 2] = [State::Accepted, State::Handshaking];

impl<C> Server<C> {
    /// Creates a server.
    #[must_use]
    pub fn new(config: &ServerConfig, now: Instant) -> Self {
        let entropy = config.common.entropy();
        let ids = Ids::issued(&entropy);
        let role = Accepting {
            sources: Sources::new(&entropy),
            format: config.format,
            allow: config.allow.clone(),
            addresses: Vec::new(),
            capacity: config.capacity,
            max_handshakes: config.max_handshakes,
            max_per_source: config.max_per_source,
            certificates: config.certificates,
            ended: false,
        };
        Self::assemble(&config.common, Period::NEVER, true, ids, role, now)
    }

    /// Accepts a peer at `address` that has connected. It may do its handshake, and takes no place in
    /// the stock. Report its first byte with [`Event::FirstByte`](crate::Event::FirstByte), and call
    /// [`admit`](Self::admit) when TLS is over (without TLS, at once).
    ///
    /// At the limit on handshakes, another one is evicted ([`CloseReason::HandshakeEvicted`]). Peers
    /// that have sent nothing go before those that have, except for the youngest quarter of the limit:
    /// a first byte takes a moment. Within that, the source with the most handshakes goes first, and
    /// its oldest. Sixteen handshakes count as one if they come from a source from which a peer was
    /// admitted (the last 1,024 of these are remembered). So a flood of unfinished handshakes does not
    /// keep out peers that have finished one.
    ///
    /// # Errors
    ///
    /// [`Rejected`] names the list or limit that forbids the connection; the driver closes the
    /// transport. Where peers have no certificates, a peer that would not be admitted is rejected
    /// here, before it costs a handshake.
    pub fn accept(&mut self, now: Instant, address: IpAddr) -> Result<Token, Rejected> {
        let now = self.advance(now);
        let accepted = self.try_accept(now, address);
        match accepted {
            Ok(_) => self.totals.accepted += 1,
            Err(rejected) => self.count_rejected(rejected),
        }
        accepted
    }

    fn try_accept(&mut self, now: Instant, address: IpAddr) -> Result<Token, Rejected> {
        let full = Rejected::ConnectionsReached { limit: self.max_connections };
        if self.closed {
            return Err(Rejected::PoolClosed);
        }
        if self.shutdown.is_some() {
            return Err(Rejected::ShuttingDown);
        }
        if !self.role.permits(address) {
            return Err(Rejected::NotAllowed { address: address.to_canonical() });
        }
        let peer = Peer::at(address);
        if !self.role.certificates {
            self.room_for(&peer, peer.address(), now)?;
        }
        if Accepting::unproven(self) >= self.role.max_handshakes {
            self.evict_handshake();
        }
        let source = self.role.sources.register(peer).ok_or(full)?;
        let Some(key) = self.slots.insert(State::Accepted, source, now) else {
            self.role.sources.forget_if_unused(source);
            return Err(full);
        };
        self.role.sources.accepted(source);
        self.role.note_address(key.index, address);
        Ok(Token(key))
    }

    /// Admits a peer whose handshake is over: gives it a place in the stock and an id. Send the id, and
    /// report it with [`Event::Established`](crate::Event::Established).
    ///
    /// `certificate` is the SHA-256 fingerprint of the peer's certificate, if the handshake has
    /// verified one. It tells peers apart; without it, the source of the peer does: its IPv4 address,
    /// or its IPv6 /64 network.
    ///
    /// At a limit, the peer is compared with the peer that holds most connections. If that peer holds at
    /// least two more, its oldest connection is evicted ([`CloseReason::Evicted`]). So no peer can lock
    /// out another, and two equal peers do not evict each other in turn. Otherwise, the connection takes
    /// the place of the oldest one of the same peer that has been unused for a second
    /// ([`CloseReason::Replaced`]): a peer whose old connections died unnoticed is back at once. Each
    /// peer may replace as many as it holds, and then as many again each minute, so that a client that
    /// wants more than the server holds does not wear out its connections.
    ///
    /// # Errors
    ///
    /// [`Rejected`] names the limit that forbids the connection, whose token ends; the driver closes
    /// the transport.
    pub fn admit(
        &mut self,
        now: Instant,
        token: Token,
        certificate: Option<[u8; 32]>,
    ) -> Result<ConnId, Rejected> {
        let now = self.advance(now);
        if self.closed {
            return Err(Rejected::PoolClosed);
        }
        let Some(index) = self.resolve(token, &UNPROVEN) else {
            return Err(Rejected::HandshakeEnded);
        };
        let admitted = self.try_admit(index, certificate, now);
        match admitted {
            Ok(_) => self.totals.admitted += 1,
            Err(rejected) => {
                self.count_rejected(rejected);
                self.end(index, CloseReason::Rejected);
            }
        }
        self.dispatch(now);
        admitted
    }

    fn try_admit(
        &mut self,
        index: u32,
        certificate: Option<[u8; 32]>,
        now: Instant,
    ) -> Result<ConnId, Rejected> {
        let full = Rejected::ConnectionsReached { limit: self.max_connections };
        let origin = self.slots.get(index).ok_or(full)?.origin;
        let at = self.role.sources.peer(origin).ok_or(full)?;
        let peer = certificate.map_or(at, Peer::Certificate);
        let victim = self.room_for(&peer, at.address(), now)?;
        // Registered before the victim ends, which may be the last connection of this peer.
        let source = self.role.sources.register(peer).ok_or(full)?;
        self.role.sources.proven(origin, source);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.origin = source;
        }
        let yielded = victim.is_some_and(|(_, reason)| reason == CloseReason::Yielded);
        if let Some((victim, reason)) = victim {
            if reason == CloseReason::Replaced {
                self.role.sources.count_replaced(source, now);
            }
            self.close_one(victim, reason);
        }
        let servers = match self.acquirer {
            // The successor of a connection that this end gave up for the peer is the peer's.
            Acquirer::Both => Some(self.next_is_ours(source) && !yielded),
            _ => None,
        };
        let waiters = Some(self.role.sources.share_of(self.waiters.any()));
        let id = self.issue_id(index, Told { servers, waiters }).ok_or(full)?;
        self.enter(index, State::Admitted, now);
        Ok(id)
    }

    const fn count_rejected(&mut self, rejected: Rejected) {
        match rejected {
            Rejected::NotAllowed { .. } => self.totals.rejected_address += 1,
            Rejected::SourceFull { .. } => self.totals.rejected_source += 1,
            _ => self.totals.rejected_full += 1,
        }
    }

    /// The room for one more connection of `peer`: at a limit, the connection that has to go for it,
    /// and the reason.
    fn room_for(
        &mut self,
        peer: &Peer,
        source_address: IpAddr,
        now: Instant,
    ) -> Result<Option<(u32, CloseReason)>, Rejected> {
        let role = &self.role;
        let held = role.sources.pooled_count(peer);
        // This end's own supply exceeds the capacity only while connections that were put back for waiters
        // are being drained, and there are more connections than allowed only while finished ones are
        // leased. Then the end of one would not make room. The peers' may exceed it for long: then one goes
        // for another, so that no peer locks out the others.
        let supply = self.supply();
        let own = supply.saturating_sub(self.slots.len(State::Reserved));
        let one_is_enough = own <= role.capacity && self.held() <= self.max_connections;
        if held >= role.max_per_source {
            let full = Rejected::SourceFull { source_address, limit: role.max_per_source };
            return self.yielded_to(peer).filter(|_| one_is_enough).map(Some).ok_or(full);
        }
        let (states, full): (&[State], _) = if supply >= role.capacity {
            (&SUPPLY, Rejected::CapacityReached { limit: role.capacity })
        } else if self.held() >= self.max_connections {
            (&POOLED, Rejected::ConnectionsReached { limit: self.max_connections })
        } else {
            return Ok(None);
        };
        let victim = one_is_enough.then(|| self.victim_for(peer, held, states, now)).flatten();
        victim.map(Some).ok_or(full)
    }

    /// The oldest connection in one of `states` of the heaviest peer, if it holds two more than `peer`.
    /// Else the oldest of `peer` itself that is not in use.
    fn victim_for(
        &mut self,
        peer: &Peer,
        held: u32,
        states: &[State],
        now: Instant,
    ) -> Option<(u32, CloseReason)> {
        self.role.sources.rank();
        let sources = &self.role.sources;
        let oldest = |source: u32, suits: &dyn Fn(&Slot<C>) -> bool| {
            let suits = |index: &u32| self.slots.get(*index).is_some_and(suits);
            sources.pooled_slots(source, &self.slots).find(suits)
        };
        let mut heavier = sources.heaviest(held.saturating_add(2)).take(SOURCES_SEARCHED);
        let evicted =
            heavier.find_map(|source| oldest(source, &|slot| states.contains(&slot.state)));
        let evicted = evicted.map(|victim| (victim, CloseReason::Evicted));
        evicted.or_else(|| self.yielded_to(peer)).or_else(|| {
            let own = sources.number(peer).filter(|own| sources.may_replace(*own, now))?;
            let replaceable =
                |slot: &Slot<C>| SUPPLY.contains(&slot.state) && slot.since + REPLACEABLE <= now;
            oldest(own, &replaceable).map(|victim| (victim, CloseReason::Replaced))
        })
    }

    /// Evicts the handshake that goes first: see [`accept`](Self::accept). Looks at every handshake of
    /// its state, of which there are at most `max_handshakes`. Returns whether there was one.
    fn evict_handshake(&mut self) -> bool {
        let spared = self.role.max_handshakes / 4;
        let silent = self.slots.len(State::Accepted) > spared;
        let first = if silent { State::Accepted } else { State::Handshaking };
        let second = if silent { State::Handshaking } else { State::Accepted };
        let mut heaviest: Option<(u32, u32)> = None;
        let mut at = self.slots.front(first).or_else(|| self.slots.front(second));
        while let Some(index) = at {
            at = self.slots.next(index);
            let Some(source) = self.slots.get(index).map(|slot| slot.origin) else { continue };
            let weight = self.role.sources.handshake_weight(source);
            if heaviest.is_none_or(|(most, _)| weight > most) {
                heaviest = Some((weight, index));
            }
        }
        if let Some((_, victim)) = heaviest {
            self.close_one(victim, CloseReason::HandshakeEvicted);
        }
        heaviest.is_some()
    }
}

impl Accepting {
    /// Whether a peer with this address may connect.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        self.allow.permits(address)
    }
}

/// Whether connections in this state do not count for their peer.
const fn is_outside(state: State) -> bool {
    matches!(state, State::Accepted | State::Handshaking | State::Leased | State::Finished)
}

/// Whether connections in this state are part of the stock that two ends share.
const fn is_stock(state: State) -> bool {
    !is_outside(state) && !matches!(state, State::Claimed | State::Granted)
}

impl Hooks for Accepting {
    const IS_SERVER: bool = true;
    const LAST_STEP: State = State::Admitted;

    fn unproven<C>(server: &Server<C>) -> u32 {
        UNPROVEN.iter().map(|state| server.slots.len(*state)).sum()
    }

    fn refill<C>(_server: &mut Server<C>, _now: Instant) {}

    #[inline]
    fn refill_quickly<C>(server: &mut Server<C>, _now: Instant) -> Option<Instant> {
        // With two acquirers, a peer may have begun to want a connection.
        (server.acquirer != Acquirer::Both).then_some(Instant::NEVER)
    }

    fn handle_timeout<C>(server: &mut Server<C>, now: Instant) {
        server.yield_to_wanting(now);
    }

    fn next_deadline<C>(server: &Server<C>) -> Instant {
        server.yields_at()
    }

    #[inline]
    fn moved<C>(server: &mut Server<C>, index: u32, from: State, to: State) {
        let Some(source) = server.slots.get(index).map(|slot| slot.origin) else {
            return;
        };
        let sources = &mut server.role.sources;
        match (is_outside(from), is_outside(to)) {
            (false, true) => sources.remove_pooled(source, &mut server.slots, index),
            (true, false) => sources.add_pooled(source, &mut server.slots, index),
            _ => {}
        }
        if server.acquirer == Acquirer::Both && is_stock(from) != is_stock(to) {
            server.count_stock(index, is_stock(to));
            if to == State::Finished {
                server.count_finished(index);
            }
        }
    }

    fn ending<C>(server: &mut Server<C>, index: u32, _reason: CloseReason) {
        let Some(slot) = server.slots.get(index) else {
            return;
        };
        let (source, state) = (slot.origin, slot.state);
        if UNPROVEN.contains(&state) {
            server.role.sources.handshake_ended(source);
        }
        if !is_outside(state) {
            server.role.sources.remove_pooled(source, &mut server.slots, index);
        }
        if server.acquirer == Acquirer::Both && is_stock(state) {
            server.count_stock(index, false);
        }
        server.role.sources.connection_ended(source);
    }

    fn acquired<C>(server: &mut Server<C>, index: u32, here: bool) {
        server.count_acquired(index, here);
    }

    fn surplus_claim<C>(server: &mut Server<C>, state: State) -> Option<u32> {
        if server.slots.len(state) <= max_claimed(server.role.capacity) {
            return None;
        }
        if state == State::Finished {
            return server.slots.front(state);
        }
        server.role.sources.rank();
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
        let claimed = server.slots.len(State::Claimed) + server.slots.len(State::Finished);
        match (server.handshaking(), claimed) {
            (0, _) if server.idle() > 0 => WaitReason::Reserved { reserved: server.idle() },
            (0, 0) => WaitReason::NoPeer,
            (0, claimed) => WaitReason::Claimed { claimed },
            (in_flight, _) => WaitReason::Handshaking { in_flight },
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
