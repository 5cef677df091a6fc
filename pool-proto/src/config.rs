//! Configuration: builders that refuse nonsense before anything runs.

use core::time::Duration;

use crate::error::ConfigError;
use crate::time::Period;

/// The most connections one machine can hold: ids are 32 bits, and at least 8 of them tell apart
/// the connections that use the same slot one after another.
pub const MAX_CONNECTIONS: u32 = 1 << 24;

/// The most handshakes at a time that can be configured: choosing whose handshake makes room looks at
/// all of them.
pub const MAX_HANDSHAKES: u32 = 4096;

/// Which idle connection an acquire takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TakeOrder {
    /// The one that has been idle longest: the stock stays young.
    #[default]
    OldestFirst,
    /// The one that became idle last: an idle timeout can then shrink the rest.
    NewestFirst,
}

/// Settings that clients and servers share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) max_connections: u32,
    pub(crate) max_waiters: u32,
    pub(crate) take_order: TakeOrder,
    pub(crate) handshake_timeout: Period,
    pub(crate) idle_timeout: Period,
    pub(crate) max_lifetime: Period,
    pub(crate) lifetime_jitter: f64,
    pub(crate) claim_timeout: Period,
    pub(crate) reuse_delay: Period,
    pub(crate) drain_timeout: Period,
    pub(crate) control_connection: bool,
    pub(crate) seed: Option<u64>,
}

/// Settings as the builders collect them: unchecked.
#[derive(Clone, Debug)]
struct Draft {
    max_connections: u32,
    max_waiters: u32,
    take_order: TakeOrder,
    handshake_timeout: Duration,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    lifetime_jitter: f64,
    claim_timeout: Duration,
    reuse_delay: Duration,
    drain_timeout: Duration,
    control_connection: bool,
    seed: Option<u64>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            max_connections: 65_536,
            max_waiters: 65_536,
            take_order: TakeOrder::default(),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: None,
            max_lifetime: None,
            lifetime_jitter: 0.1,
            claim_timeout: Duration::from_secs(30),
            reuse_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
            control_connection: false,
            seed: None,
        }
    }
}

impl Draft {
    fn build(&self) -> Result<Common, ConfigError> {
        Ok(Common {
            max_connections: at_most(
                "max_connections",
                at_least_one("max_connections", self.max_connections)?,
                MAX_CONNECTIONS,
                "MAX_CONNECTIONS",
            )?,
            max_waiters: at_least_one("max_waiters", self.max_waiters)?,
            take_order: self.take_order,
            handshake_timeout: positive("handshake_timeout", self.handshake_timeout)?,
            idle_timeout: optional("idle_timeout", self.idle_timeout)?,
            max_lifetime: optional("max_lifetime", self.max_lifetime)?,
            lifetime_jitter: fraction("lifetime_jitter", self.lifetime_jitter)?,
            claim_timeout: positive("claim_timeout", self.claim_timeout)?,
            reuse_delay: representable("reuse_delay", self.reuse_delay)?,
            drain_timeout: positive("drain_timeout", self.drain_timeout)?,
            control_connection: self.control_connection,
            seed: self.seed,
        })
    }
}

fn at_least_one(setting: &'static str, value: u32) -> Result<u32, ConfigError> {
    if value == 0 { Err(ConfigError::Zero { setting }) } else { Ok(value) }
}

fn at_most(
    setting: &'static str,
    value: u32,
    limit: u32,
    bound: &'static str,
) -> Result<u32, ConfigError> {
    if value > limit {
        let (value, limit) = (value.into(), limit.into());
        return Err(ConfigError::TooLarge { setting, value, limit, bound });
    }
    Ok(value)
}

fn fraction(setting: &'static str, value: f64) -> Result<f64, ConfigError> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(ConfigError::NoFraction { setting }) }
}

fn representable(setting: &'static str, duration: Duration) -> Result<Period, ConfigError> {
    Period::new(duration).ok_or(ConfigError::TooLong { setting })
}

fn positive(setting: &'static str, duration: Duration) -> Result<Period, ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError::NoTime { setting });
    }
    representable(setting, duration)
}

fn optional(setting: &'static str, duration: Option<Duration>) -> Result<Period, ConfigError> {
    duration.map_or(Ok(Period::NEVER), |duration| positive(setting, duration))
}

/// The setters of the settings that both builders share.
macro_rules! common_settings {
    () => {
        /// The most connections at a time, those in use included. Default 65,536; at most
        /// [`MAX_CONNECTIONS`].
        pub fn max_connections(mut self, limit: u32) -> Self {
            self.common.max_connections = limit;
            self
        }

        /// The most callers that may wait at a time. Default 65,536.
        pub fn max_waiters(mut self, limit: u32) -> Self {
            self.common.max_waiters = limit;
            self
        }

        /// Which idle connection an acquire takes. Default: the one that has been idle longest.
        pub fn take_order(mut self, order: TakeOrder) -> Self {
            self.common.take_order = order;
            self
        }

        /// One absolute deadline for handshake and id exchange together, however slowly bytes
        /// trickle. Default 10 s.
        pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
            self.common.handshake_timeout = timeout;
            self
        }

        /// Closes a connection that was idle for this long. Default: never. On a server, more than
        /// a second: a client takes a peer that closes new connections sooner for a full one, and
        /// backs off.
        pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
            self.common.idle_timeout = timeout.into();
            self
        }

        /// Closes a connection this long after it was established (while it is in use: when it is
        /// put back). Default: never. On a server, more than a second even when shortened by
        /// [`lifetime_jitter`](Self::lifetime_jitter), as [`idle_timeout`](Self::idle_timeout).
        pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
            self.common.max_lifetime = lifetime.into();
            self
        }

        /// Shortens each connection's lifetime by a random part of up to this fraction, drawn once
        /// at its birth from [16 even steps](crate#timers), so that connections born together do
        /// not end together. Default 0.1; from 0 to 1.
        pub fn lifetime_jitter(mut self, fraction: f64) -> Self {
            self.common.lifetime_jitter = fraction;
            self
        }

        /// How long a connection that the peer has begun to use is kept for an acquire by id.
        /// Default 30 s.
        pub fn claim_timeout(mut self, timeout: Duration) -> Self {
            self.common.claim_timeout = timeout;
            self
        }

        /// How long a connection that was put back rests before it is drained and can be taken
        /// again. What arrives until then counts as the former use's and is thrown away. Default:
        /// zero, only what had arrived when it was put back is thrown away.
        pub fn reuse_delay(mut self, delay: Duration) -> Self {
            self.common.reuse_delay = delay;
            self
        }

        /// How long the driver may take to drain or check a connection (it never blocks, so this
        /// ends only what was lost). Default 1 s.
        pub fn drain_timeout(mut self, timeout: Duration) -> Self {
            self.common.drain_timeout = timeout;
            self
        }

        /// Whether one connection, known by [`00000000`](crate::ConnId::ZERO), is the control
        /// connection, as the first of newer releases of the reference. Only an acquire by that id
        /// takes it, and waits until it is there; it is no part of the stock. A server names the
        /// next one so that comes when none has the name. Kept for the
        /// [`claim_timeout`](Self::claim_timeout). Default: no; a server then never makes that id.
        pub fn control_connection(mut self, wanted: bool) -> Self {
            self.common.control_connection = wanted;
            self
        }

        /// The seed of everything random: ids, jitter. Without one the adapters draw it from the
        /// operating system; a machine driven by hand uses a constant.
        pub fn seed(mut self, seed: u64) -> Self {
            self.common.seed = Some(seed);
            self
        }
    };
}

mod client;
mod server;

pub use client::{ClientConfig, ClientConfigBuilder};
pub use server::{ServerConfig, ServerConfigBuilder};
