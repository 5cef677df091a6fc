//! A server's settings.

use core::time::Duration;

use super::{Common, Draft, MAX_HANDSHAKES, at_least_one, at_most};
use crate::allow::AllowList;
use crate::config::TakeOrder;
use crate::error::ConfigError;
use crate::id::IdFormat;

/// Configuration of a [`Server`](crate::Server). Built by [`ServerConfig::builder`].
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) common: Common,
    pub(crate) format: IdFormat,
    pub(crate) capacity: u32,
    pub(crate) max_handshakes: u32,
    pub(crate) max_per_source: u32,
    pub(crate) allow: AllowList,
}

impl ServerConfig {
    /// A builder with the defaults.
    pub fn builder() -> ServerConfigBuilder {
        ServerConfigBuilder {
            common: Draft::default(),
            format: IdFormat::default(),
            capacity: 64,
            max_handshakes: 256,
            max_per_source: None,
            allow: AllowList::everyone(),
        }
    }

    /// How ids are written on the wire.
    #[must_use]
    pub const fn id_format(&self) -> IdFormat {
        self.format
    }

    /// The same configuration with `seed`, unless one was set.
    pub fn or_seed(mut self, seed: u64) -> Self {
        self.common.seed.get_or_insert(seed);
        self
    }
}

/// Builds a [`ServerConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerConfigBuilder {
    common: Draft,
    format: IdFormat,
    capacity: u32,
    max_handshakes: u32,
    max_per_source: Option<u32>,
    allow: AllowList,
}

impl ServerConfigBuilder {
    common_settings!();

    /// The most connections that are ready or becoming so; those in use do not count. A peer that
    /// comes when they are reached is turned away before its handshake, unless another source
    /// holds at least two more: then that one's oldest makes room. Of connections that peers have
    /// begun to use and nobody here has asked for yet, twice as many are kept (at least 64). Default
    /// 64.
    pub fn capacity(mut self, limit: u32) -> Self {
        self.capacity = limit;
        self
    }

    /// How ids are written on the wire. Default [`IdFormat::Hex8`].
    pub fn id_format(mut self, format: IdFormat) -> Self {
        self.format = format;
        self
    }

    /// The most handshakes at a time. Default 256; at most [`MAX_HANDSHAKES`].
    pub fn max_handshakes(mut self, limit: u32) -> Self {
        self.max_handshakes = limit;
        self
    }

    /// The most connections that one source may hold, those in use not counted. A source is an IPv4
    /// address or an IPv6 /64 network, the smallest block that one customer is given (RFC 6177).
    /// Default: no limit but the capacity.
    pub fn max_per_source(mut self, limit: impl Into<Option<u32>>) -> Self {
        self.max_per_source = limit.into();
        self
    }

    /// Who may connect. Default: everyone.
    pub fn allow(mut self, allow: AllowList) -> Self {
        self.allow = allow;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that makes no sense, and why.
    pub fn build(self) -> Result<ServerConfig, ConfigError> {
        let common = self.common.build()?;
        at_least_one("capacity", self.capacity)?;
        at_most("capacity", self.capacity, common.max_connections, "max_connections")?;
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
        })
    }
}
