//! Configurations, and builders that check them before anything runs.

use core::time::Duration;

use crate::entropy::Entropy;
use crate::error::ConfigError;
use crate::time::Period;

/// The byte that the end which acquires a connection sends on it before anything else, where
/// [`opening_byte`](ClientConfigBuilder::opening_byte) says so.
///
/// 0xC1 begins no record of TLS, no request of HTTP, and no text at all: it never occurs in UTF-8
/// (RFC 3629, section 1). So an end that is configured otherwise notices.
pub const OPENING_BYTE: u8 = 0xc1;

/// The most connections that one machine can hold: 2²⁴, half as many as there are ids with the 25 random
/// bits of a server's. So the server draws an id twice at most, on average.
pub const MAX_CONNECTIONS: u32 = 1 << 24;

/// The most handshakes at a time that can be configured. To find a handshake to evict, the server may
/// look at all of them.
pub const MAX_HANDSHAKES: u32 = 4096;

/// The idle connection that an acquire of any connection takes. Evictions, replacements and idle
/// timeouts always begin with the oldest.
///
/// | role | default |
/// |---|---|
/// | server | newest first |
/// | client, where nobody [says](Acquirer) which end acquires | oldest first: the server takes from the other end of the stock |
/// | client otherwise, and without ids | newest first: its peer does not take the same connections |
///
/// The reasons:
///
/// - *Dead connections go out last.* The newest connection has just been established or put back: it has
///   the latest sign of life of the peer. When a NAT has forgotten its mappings, or the peer's host has
///   restarted, the dead connections are the older ones, and the peer's next ones are handed out first. So
///   are the replacements of dead ones that were taken.
/// - *Expiry does not meet a take.* The other end learns of a take one trip through the network later.
///   Until then it may end the connection: by its idle timeout, by a replacement. It begins with the
///   oldest, which the newest-first end takes last.
/// - *Both ends do not take the same one.* Where the acquirer is not set ([`Acquirer::Either`]), and both
///   acquire any connection at once, opposite orders meet only in the last connection of the stock, and
///   equal orders in every one. Opposite orders make it rare, and not impossible: [`Acquirer::Both`] does.
///
/// The last reason alone has such a client take the oldest, against the first two: an answer that reaches
/// the wrong request is worse than a dead connection.
///
/// A connection that is put back is the newest, too, so newest first takes it again at once. If both
/// ends put connections back, the end that takes must put back after the other end, or have a reuse
/// delay longer than a trip: a request that arrives before the other end's put is discarded as data of
/// the former use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TakeOrder {
    /// The connection that has been idle longest. All connections of the pool are used in turn.
    OldestFirst,
    /// The connection that became idle last. The idle timeout can shrink the rest.
    NewestFirst,
}

/// The settings that clients and servers share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) max_connections: u32,
    pub(crate) max_waiters: u32,
    pub(crate) take_order: TakeOrder,
    pub(crate) acquirer: Acquirer,
    pub(crate) handshake_timeout: Period,
    /// Server only.
    pub(crate) first_byte_timeout: Period,
    pub(crate) idle_timeout: Period,
    pub(crate) max_lifetime: Period,
    pub(crate) lifetime_jitter: f64,
    pub(crate) claim_timeout: Period,
    pub(crate) reuse_delay: Period,
    pub(crate) drain_timeout: Period,
    pub(crate) control_connection: bool,
    pub(crate) opening_byte: bool,
    /// The secret of the machine, or what a seed makes of it. Never shown: who knows it knows all ids.
    pub(crate) seed: Option<Entropy>,
}

/// How much longer than its peer the end that acquires lets a connection rest.
///
/// At the end of the rest each end discards the data that has arrived. The peer does so late: by the lag of
/// its clock (4 ms on most Linux systems, 10 ms on some), of its timer (1 ms), and of a busy thread. Data
/// that the acquirer sends in the next use must not arrive before that.
const REST_MARGIN: Duration = Duration::from_millis(50);

impl Common {
    /// Returns how long a connection rests that was put back.
    pub(crate) fn rest(&self) -> Period {
        if self.acquirer == Acquirer::ThisEnd && self.reuse_delay != Period::ZERO {
            Period::saturating(self.reuse_delay.duration().saturating_add(REST_MARGIN))
        } else {
            self.reuse_delay
        }
    }
}

/// The shared settings as a builder collects them, unchecked.
#[derive(Clone, Debug)]
struct Draft {
    max_connections: u32,
    max_waiters: u32,
    /// `None` for the role's default.
    take_order: Option<TakeOrder>,
    acquirer: Acquirer,
    handshake_timeout: Duration,
    first_byte_timeout: Duration,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    lifetime_jitter: f64,
    claim_timeout: Duration,
    reuse_delay: Duration,
    drain_timeout: Duration,
    control_connection: bool,
    opening_byte: bool,
    seed: Option<Entropy>,
}

/// The seed of a machine that is given neither a seed nor entropy. The adapters always give entropy.
const DEFAULT_SEED: u64 = 0x706f_6f6c;

impl Common {
    /// The secret from which everything random is derived.
    pub(crate) fn entropy(&self) -> Entropy {
        self.seed.unwrap_or_else(|| Entropy::of_seed(DEFAULT_SEED))
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            max_connections: 65_536,
            max_waiters: 65_536,
            take_order: None,
            acquirer: Acquirer::Either,
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(5),
            idle_timeout: None,
            max_lifetime: None,
            lifetime_jitter: 0.1,
            claim_timeout: Duration::from_secs(30),
            reuse_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(1),
            control_connection: false,
            opening_byte: false,
            seed: None,
        }
    }
}

impl Draft {
    fn build(&self, order: TakeOrder) -> Result<Common, ConfigError> {
        if self.opening_byte && self.control_connection {
            let needed = "a pool without a control connection";
            return Err(ConfigError::Needs { setting: "opening_byte", needed });
        }
        Ok(Common {
            max_connections: at_most(
                "max_connections",
                at_least_one("max_connections", self.max_connections)?,
                MAX_CONNECTIONS,
                "MAX_CONNECTIONS",
            )?,
            max_waiters: at_least_one("max_waiters", self.max_waiters)?,
            take_order: self.take_order.unwrap_or(order),
            acquirer: self.acquirer,
            handshake_timeout: positive("handshake_timeout", self.handshake_timeout)?,
            first_byte_timeout: positive("first_byte_timeout", self.first_byte_timeout)?,
            idle_timeout: optional("idle_timeout", self.idle_timeout)?,
            max_lifetime: optional("max_lifetime", self.max_lifetime)?,
            lifetime_jitter: fraction("lifetime_jitter", self.lifetime_jitter)?,
            claim_timeout: positive("claim_timeout", self.claim_timeout)?,
            reuse_delay: representable("reuse_delay", self.reuse_delay)?,
            drain_timeout: positive("drain_timeout", self.drain_timeout)?,
            control_connection: self.control_connection,
            opening_byte: self.opening_byte,
            seed: self.seed,
        })
    }
}

fn at_least_one(setting: &'static str, value: u32) -> Result<u32, ConfigError> {
    if value == 0 { Err(ConfigError::Zero { setting }) } else { Ok(value) }
}

/// Two ends that both acquire need at least one connection each.
fn enough_for(acquirer: Acquirer, capacity: u32) -> Result<(), ConfigError> {
    if acquirer == Acquirer::Both && capacity < 2 {
        let needed = "a capacity of at least 2, one for each end";
        return Err(ConfigError::Needs { setting: "acquirer", needed });
    }
    Ok(())
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
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(ConfigError::NotAFraction { setting })
    }
}

fn representable(setting: &'static str, duration: Duration) -> Result<Period, ConfigError> {
    Period::new(duration).ok_or(ConfigError::TooLong { setting })
}

fn positive(setting: &'static str, duration: Duration) -> Result<Period, ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError::ZeroDuration { setting });
    }
    representable(setting, duration)
}

fn optional(setting: &'static str, duration: Option<Duration>) -> Result<Period, ConfigError> {
    duration.map_or(Ok(Period::NEVER), |duration| positive(setting, duration))
}

/// The setters of the settings that both builders share.
macro_rules! common_settings {
    () => {
        /// Sets the most connections at a time, including those in use. Default 65,536; at most
        /// [`MAX_CONNECTIONS`](crate::MAX_CONNECTIONS).
        ///
        /// [Finished](crate::State::Finished) connections do not count, but each has a descriptor until
        /// the [`claim_timeout`](Self::claim_timeout): at their own limit of twice the capacity, or 64 if
        /// that is more, the oldest of them is closed. So leave room for them in the limit on descriptors.
        pub fn max_connections(mut self, limit: u32) -> Self {
            self.common.max_connections = limit;
            self
        }

        /// Sets the most waiters at a time. Default 65,536.
        pub fn max_waiters(mut self, limit: u32) -> Self {
            self.common.max_waiters = limit;
            self
        }

        /// Sets which idle connection an acquire of any connection takes. Default: as
        /// [`TakeOrder`] says for this role.
        pub fn take_order(mut self, order: TakeOrder) -> Self {
            self.common.take_order = Some(order);
            self
        }

        /// Sets which end acquires any connection. Default
        /// [`Acquirer::Either`](crate::Acquirer::Either): not said. Set it at both ends, as
        /// [`Acquirer`](crate::Acquirer) tells.
        pub fn acquirer(mut self, acquirer: crate::Acquirer) -> Self {
            self.common.acquirer = acquirer;
            self
        }

        /// Sets the timeout of the handshake. It is an absolute deadline: bytes that trickle in do not
        /// extend it. Default 10 s.
        ///
        /// At a client it begins with the connected transport and includes the id exchange. At a
        /// server it begins with the first byte of the peer, and again when the id is sent.
        pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
            self.common.handshake_timeout = timeout;
            self
        }

        /// Sets the time after which an idle connection is closed. Default: never.
        ///
        /// Connections do not go together, but one after another, the first of them after half of this
        /// time. A client dials a connection to take the place of an old one before it closes that, and
        /// keeps the old one to the end of this time while the peer is down. It closes first where the
        /// peer has no room for one more, and under
        /// [`Tuning::NodePass`](crate::Tuning::NodePass), which says when to dial.
        ///
        /// On a server, set more than two seconds: a client takes a peer that closes new connections
        /// within one for a full server, and dials less.
        pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
            self.common.idle_timeout = timeout.into();
            self
        }

        /// Sets the time after which an established connection is closed. A connection in use is
        /// closed when it is put back. Default: never.
        ///
        /// On a server, set more than one second even after the cut of
        /// [`lifetime_jitter`](Self::lifetime_jitter), as for
        /// [`idle_timeout`](Self::idle_timeout).
        pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
            self.common.max_lifetime = lifetime.into();
            self
        }

        /// Sets the largest fraction, from 0 to 1, by which a connection's lifetime is shortened.
        /// Default 0.1.
        ///
        /// Each connection draws its fraction once from [16 even steps](crate#timers), so that
        /// connections that were established together do not expire together.
        pub fn lifetime_jitter(mut self, fraction: f64) -> Self {
            self.common.lifetime_jitter = fraction;
            self
        }

        /// Sets how long a connection that the peer has begun to use, or has closed, is kept for an
        /// acquire by id. Default 30 s. The peer's user must tell the id within this time.
        pub fn claim_timeout(mut self, timeout: Duration) -> Self {
            self.common.claim_timeout = timeout;
            self
        }

        /// Sets how long a connection that was put back rests before it is drained and can be
        /// acquired again. Data that arrives in this time belongs to the former use and is discarded.
        /// Default: zero, so that only data that arrived before the put is discarded.
        ///
        /// Set the same delay at both ends, with [`Acquirer::ThisEnd`](crate::Acquirer::ThisEnd) at one and
        /// [`Acquirer::Peer`](crate::Acquirer::Peer) at the other. The end that acquires then adds 50 ms: the
        /// peer discards the data that has arrived when its delay is over, some milliseconds late, and the
        /// data of the next use must come afterwards. With another [`acquirer`](Self::acquirer), a connection
        /// that is acquired as soon as it has rested may lose its first bytes.
        pub fn reuse_delay(mut self, delay: Duration) -> Self {
            self.common.reuse_delay = delay;
            self
        }

        /// Sets the timeout of a drain or another check. Default 1 s. A check never blocks, so the
        /// timeout ends only connections that the driver has lost.
        pub fn drain_timeout(mut self, timeout: Duration) -> Self {
            self.common.drain_timeout = timeout;
            self
        }

        /// Sets whether the connection with the id [`00000000`](crate::ConnId::ZERO) is the control
        /// connection, as in newer releases of the Go package. Default: no; then a server never makes
        /// that id.
        ///
        /// Only an acquire by that id takes the control connection, and waits until it is there. It
        /// is not part of the stock, and is kept for the [`claim_timeout`](Self::claim_timeout). A
        /// server gives the id to the next connection whenever no live one has it. A client dials one
        /// beyond its stock for a caller that waits for it: at once, and while the server gives it another
        /// id, after waits that double from the base of the backoff up to the claim timeout.
        pub fn control_connection(mut self, wanted: bool) -> Self {
            self.common.control_connection = wanted;
            self
        }

        /// Sets whether the end that acquires any connection sends an
        /// [opening byte](crate::OPENING_BYTE) on it, at once. Default: no. Set it at both ends or at
        /// neither.
        ///
        /// It is for services that speak first, as SSH and SMTP do: without it, an end that
        /// [accepts](crate::Machine::acquire_claimed) learns of a use by the first byte that the user of
        /// its peer writes, and both users may wait for each other. The drivers write the byte and take
        /// it out again, so users see nothing of it. An acquire by id then waits for it too. A Go end
        /// knows no such byte, and a pool with a control connection has none.
        pub fn opening_byte(mut self, wanted: bool) -> Self {
            self.common.opening_byte = wanted;
            self
        }

        /// Sets the seed of everything random: ids, jitter, hash keys. It is for tests and simulations:
        /// anyone who guesses the seed knows every id.
        ///
        /// Default: none. Then the adapters give the machine secret bytes from the operating system.
        /// A driver of your own passes them to `or_entropy` of the built configuration; otherwise the
        /// machine uses a constant.
        pub fn seed(mut self, seed: u64) -> Self {
            self.common.seed = Some(crate::entropy::Entropy::of_seed(seed));
            self
        }
    };
}

mod acquirer;
mod bounds;
mod client;
#[cfg(feature = "serde")]
mod file;
mod numbers;
mod server;

pub use acquirer::Acquirer;
pub(crate) use acquirer::{assigned, is_servers};
pub use bounds::Bounds;
pub(crate) use client::sound_capacity;
pub use client::{ClientConfig, ClientConfigBuilder};
pub(crate) use numbers::NotSettings;
pub use server::{ServerConfig, ServerConfigBuilder};
