//! A new configuration for a server that runs.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::{Accepting, Hooks as _, SUPPLY, Server};
use crate::config::ServerConfig;
use crate::error::ConfigError;
use crate::event::{CloseReason, Token};
use crate::machine::unchanged;
use crate::state::State;
use crate::time::{Instant, Period};

/// The states in which a connection ends when the allow list does not admit its peer any more.
const UNUSED: [State; 6] = [
    State::Accepted,
    State::Handshaking,
    State::Admitted,
    State::Idle,
    State::Reserved,
    State::Resting,
];

impl<C> Server<C> {
    /// Changes the configuration. The server goes on, and does new things as one that was built with
    /// this configuration.
    ///
    /// | setting | what its change applies to |
    /// |---|---|
    /// | `capacity` | At once: ready connections beyond a lower one are closed ([`CloseReason::Surplus`]), the oldest of the peer with most of them first; claimed and finished ones beyond their limits, too. Those that are becoming ready stay |
    /// | `max_per_source` | At once: the oldest ready connections of a peer beyond it are closed ([`CloseReason::Surplus`]) |
    /// | `max_handshakes` | At once: handshakes beyond it are evicted, as [`accept`](Self::accept) says |
    /// | `allow` | At once: connections of peers that it does not admit are closed if they are ready, or in their handshakes ([`CloseReason::NotAllowed`]). Those in use, here or at the peer, go on to the end of their use, and are then closed |
    /// | `max_connections` | The next peers. Connections beyond it go on to their ends |
    /// | `max_waiters` | The next callers. Those that wait go on waiting |
    /// | `take_order` | The next acquire |
    /// | `first_byte_timeout`, `handshake_timeout`, `idle_timeout`, `max_lifetime`, `lifetime_jitter`, `claim_timeout`, `reuse_delay`, `drain_timeout` | All connections. The time counts from when it began, not from the change. A connection whose time is over ends now; one in use whose lifetime is over, when it is put back |
    /// | `id_format`, `acquirer`, `control_connection`, `opening_byte`, `with_certificates`, `seed` | Cannot change. A configuration without a seed leaves it as it is |
    ///
    /// The configuration is a complete one: a setting that it does not make has its default. So keep
    /// the builder, or the file, that the pool was built from. Where the configuration is the same as
    /// before, nothing changes.
    ///
    /// The time is O(n log n) in the number of connections if lifetimes change, O(n) if the allow list
    /// does, and otherwise that of a timeout and of the evictions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Fixed`] names the first setting that cannot change. Then nothing changes.
    pub fn set_config(&mut self, now: Instant, config: &ServerConfig) -> Result<(), ConfigError> {
        self.check_config(now, config)?;
        self.apply_config(config);
        Ok(())
    }

    /// Returns whether peers are known by their certificates, and not only by their addresses.
    #[must_use]
    pub const fn knows_certificates(&self) -> bool {
        self.role.certificates
    }

    /// Refuses a configuration that changes what cannot change.
    pub(crate) fn check_config(
        &mut self,
        now: Instant,
        config: &ServerConfig,
    ) -> Result<(), ConfigError> {
        self.advance(now);
        unchanged("id_format", config.format == self.role.format)?;
        unchanged("with_certificates", config.certificates == self.role.certificates)?;
        self.check_fixed(&config.common)
    }

    /// Takes over a configuration that was checked.
    pub(crate) fn apply_config(&mut self, config: &ServerConfig) {
        let now = self.now;
        self.take_over(&config.common, Period::NEVER);
        let role = &mut self.role;
        let is_lower = config.capacity < role.capacity;
        role.capacity = config.capacity;
        role.max_handshakes = config.max_handshakes;
        role.max_per_source = config.max_per_source;
        for token in self.newly_judged(config) {
            if let Some(slot) =
                self.slots.resolve(token, State::ALL).and_then(|i| self.slots.get_mut(i))
            {
                slot.barred = !slot.barred;
            }
        }
        self.role.allow.clone_from(&config.allow);
        self.close_barred();
        while Accepting::unproven(self) > self.role.max_handshakes && self.evict_handshake() {}
        self.close_beyond_limits(is_lower);
        self.settle_settings(now);
    }

    /// The connections of whose peers the allow list of this configuration says otherwise than the last
    /// one.
    pub(crate) fn newly_judged(&self, config: &ServerConfig) -> Vec<Token> {
        let turned = |(index, key)| {
            let slot = self.slots.get(index)?;
            let permitted = config.allow.permits(self.role.address(index));
            (slot.barred == permitted).then_some(Token(key))
        };
        self.slots.slab.live().filter_map(turned).collect()
    }

    /// Turns the verdict of an allow list on the address of a connection, for addresses from a tape.
    pub(crate) fn turn_address(&mut self, token: Token, turn: impl Fn(IpAddr) -> IpAddr) -> bool {
        let Some(index) = self.slots.resolve(token, State::ALL) else { return false };
        let address = turn(self.role.address(index));
        self.role.note_address(index, address);
        true
    }

    fn close_barred(&mut self) {
        for state in UNUSED {
            let mut at = self.slots.front(state);
            while let Some(index) = at {
                at = self.slots.next(index);
                if self.slots.get(index).is_some_and(|slot| slot.barred) {
                    self.close_one(index, CloseReason::NotAllowed);
                }
            }
        }
    }

    /// Closes ready connections while a peer has more than one may, and while there are more than a
    /// capacity that is lower than before. (What peers may acquire is kept beyond a capacity that stays.)
    fn close_beyond_limits(&mut self, is_lower: bool) {
        let most = self.role.max_per_source;
        while let Some(victim) = self.oldest_ready(most.saturating_add(1)) {
            self.close_one(victim, CloseReason::Surplus);
        }
        while is_lower
            && self.supply() > self.role.capacity
            && let Some(victim) = self.oldest_ready(1)
        {
            self.close_one(victim, CloseReason::Surplus);
        }
    }

    /// The oldest ready connection of the heaviest peer that has one and holds at least so many.
    fn oldest_ready(&mut self, least: u32) -> Option<u32> {
        self.role.sources.rank();
        let ready = |index: &u32| self.slots.get(*index).is_some_and(|s| SUPPLY.contains(&s.state));
        let sources = &self.role.sources;
        sources
            .heaviest(least)
            .find_map(|source| sources.pooled_slots(source, &self.slots).find(ready))
    }
}

impl Accepting {
    /// Remembers the address of a connection's peer.
    pub(super) fn note_address(&mut self, index: u32, address: IpAddr) {
        let at = index as usize;
        if self.addresses.len() <= at {
            self.addresses.resize(at + 1, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        if let Some(place) = self.addresses.get_mut(at) {
            *place = address;
        }
    }

    /// The address of the peer of a live connection.
    fn address(&self, index: u32) -> IpAddr {
        let address = self.addresses.get(index as usize).copied();
        address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}
