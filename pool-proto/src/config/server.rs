//! A server's settings.

use core::time::Duration;

use super::{Common, Draft, MAX_HANDSHAKES, at_least_one, at_most, enough_for};
use crate::allow::AllowList;
use crate::config::TakeOrder;
use crate::entropy::Entropy;
use crate::error::ConfigError;
use crate::id::IdFormat;

/// The configuration of a [`Server`](crate::Server). Built by [`ServerConfig::builder`].
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) common: Common,
    pub(crate) format: IdFormat,
    pub(crate) capacity: u32,
    pub(crate) max_handshakes: u32,
    pub(crate) max_per_source: u32,
    pub(crate) allow: AllowList,
    pub(crate) certificates: bool,
}

impl ServerConfig {
    /// Returns a builder with the defaults.
    pub fn builder() -> ServerConfigBuilder {
        ServerConfigBuilder {
            common: Draft::default(),
            format: IdFormat::default(),
            capacity: 1024,
            max_handshakes: 512,
            max_per_source: None,
            allow: AllowList::everyone(),
        }
    }

    /// Returns the format of ids on the wire.
    #[must_use]
    pub const fn id_format(&self) -> IdFormat {
        self.format
    }

    /// Returns the same configuration for peers that [`admit`](crate::Server::admit) knows by their
    /// certificates, and not only by their addresses. The adapters set it with TLS.
    pub const fn with_certificates(mut self, wanted: bool) -> Self {
        self.certificates = wanted;
        self
    }

    /// Returns the same configuration with a secret from which ids, jitter and hash keys are derived,
    /// unless a seed or a secret was set.
    ///
    /// The bytes come from a cryptographic generator, such as the operating system's, and are drawn
    /// anew for each machine. Machines with the same bytes make the same ids.
    pub fn or_entropy(mut self, entropy: [u8; 32]) -> Self {
        self.common.seed.get_or_insert(Entropy::new(entropy));
        self
    }
}

/// Builds a [`ServerConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerConfigBuilder {
    pub(super) common: Draft,
    format: IdFormat,
    capacity: u32,
    max_handshakes: u32,
    max_per_source: Option<u32>,
    allow: AllowList,
}

impl ServerConfigBuilder {
    common_settings!();

    /// Sets the limit on ready connections; connections in use and handshakes do not count. Default
    /// 1,024.
    ///
    /// A limit and not a range, as a server does not dial: its clients dial its stock, each within
    /// [its range](crate::ClientConfigBuilder::capacity). No client is turned away if the limit is at
    /// least the sum of the upper bounds of their ranges.
    ///
    /// At the limit, [`admit`](crate::Server::admit) evicts a connection of another peer or replaces
    /// one of the same peer, or it rejects the peer. Claimed connections are limited to twice the
    /// capacity, or 64 if that is more.
    pub fn capacity(mut self, limit: u32) -> Self {
        self.capacity = limit;
        self
    }

    /// Sets the format of ids on the wire. Default [`IdFormat::Hex8`].
    pub fn id_format(mut self, format: IdFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets the most handshakes at a time. Default 512; at most [`MAX_HANDSHAKES`].
    ///
    /// Handshakes take no places in the stock. At the limit a new one evicts an older one:
    /// [`accept`](crate::Server::accept) says which.
    pub fn max_handshakes(mut self, limit: u32) -> Self {
        self.max_handshakes = limit;
        self
    }

    /// Sets the time in which a peer that has connected must send its first byte. Default 5 s, which is
    /// enough for two lost packets in a row (RFC 6298: they are sent again after 1 s and 2 s).
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.common.first_byte_timeout = timeout;
        self
    }

    /// Sets the most connections that one peer may hold; handshakes and those in use do not count.
    /// Default: no limit except the capacity.
    ///
    /// A peer is known by its certificate where the server requires one, and otherwise by its source.
    /// A source is an IPv4 address or an IPv6 /64 network, the smallest block that a customer is given
    /// (RFC 6177).
    pub fn max_per_source(mut self, limit: impl Into<Option<u32>>) -> Self {
        self.max_per_source = limit.into();
        self
    }

    /// Sets the peers that may connect. Default: everyone.
    pub fn allow(mut self, allow: AllowList) -> Self {
        self.allow = allow;
        self
    }

    /// Checks the settings and returns the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first invalid setting and says why it is invalid.
    pub fn build(self) -> Result<ServerConfig, ConfigError> {
        let common = self.common.build(TakeOrder::NewestFirst)?;
        at_least_one("capacity", self.capacity)?;
        at_most("capacity", self.capacity, common.max_connections, "max_connections")?;
        enough_for(common.acquirer, self.capacity)?;
        at_least_one("max_handshakes", self.max_handshakes)?;
        Ok(ServerConfig {
            max_handshakes: at_most(
                "max_handshakes",
                self.max_handshakes,
                MAX_HANDSHAKES,
                "MAX_HANDSHAKES",
            )?,
            max_per_source: match self.max_per_source {
                Some(limit) => at_least_one("max_per_source", limit)?,
                None => u32::MAX,
            },
            common,
            format: self.format,
            capacity: self.capacity,
            allow: self.allow,
            certificates: false,
        })
    }
}
