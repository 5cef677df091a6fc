//! A client's settings.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::{Common, Draft, at_least_one, at_most, enough_for, positive, representable};
use crate::config::{Acquirer, Bounds, TakeOrder};
use crate::entropy::Entropy;
use crate::error::ConfigError;
use crate::id::IdExchange;
use crate::time::Period;
use crate::tuner::{Tuner, Tuning};

/// The configuration of a [`Client`](crate::Client). Built by [`ClientConfig::builder`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) common: Common,
    pub(crate) ids: IdExchange,
    pub(crate) tuner: Tuner,
    pub(crate) max_dials: u32,
    pub(crate) dial_timeout: Period,
    pub(crate) backoff: (Duration, Duration),
}

impl ClientConfig {
    /// Returns a builder with the defaults.
    ///
    /// ```
    /// use core::time::Duration;
    /// use pool_proto::{ClientConfig, ConfigError};
    ///
    /// let config = ClientConfig::builder()
    ///     .capacity(8..=64)
    ///     .dial_timeout(Duration::from_secs(3))
    ///     .build()?;
    ///
    /// let nonsense = ClientConfig::builder().capacity(0..=64).build();
    /// assert_eq!(nonsense.unwrap_err(), ConfigError::Zero { setting: "capacity" });
    /// # let _ = config; Ok::<(), ConfigError>(())
    /// ```
    pub fn builder() -> ClientConfigBuilder {
        ClientConfigBuilder {
            common: Draft::default(),
            ids: IdExchange::default(),
            tuning: Tuning::default(),
            capacity: Bounds(2..=1024),
            interval: Bounds(Duration::from_millis(100)..=Duration::from_secs(1)),
            keep: Duration::from_secs(60),
            max_dials: 1024,
            dial_timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(200), Duration::from_secs(5)),
        }
    }

    /// Returns how ids are exchanged.
    #[must_use]
    pub const fn ids(&self) -> IdExchange {
        self.ids
    }

    /// Returns the law that moves the capacity, as it is at first.
    #[must_use]
    pub const fn tuner(&self) -> &Tuner {
        &self.tuner
    }

    /// Returns the most connections at a time, including those in use.
    #[must_use]
    pub const fn max_connections(&self) -> u32 {
        self.common.max_connections
    }

    /// Returns the most dials and handshakes at a time.
    #[must_use]
    pub const fn max_dials(&self) -> u32 {
        self.max_dials
    }

    /// Returns the timeout of a dial.
    #[must_use]
    pub const fn dial_timeout(&self) -> Duration {
        self.dial_timeout.duration()
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

/// Builds a [`ClientConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientConfigBuilder {
    pub(super) common: Draft,
    ids: IdExchange,
    tuning: Tuning,
    capacity: Bounds<u32>,
    interval: Bounds<Duration>,
    keep: Duration,
    max_dials: u32,
    dial_timeout: Duration,
    backoff: (Duration, Duration),
}

impl ClientConfigBuilder {
    common_settings!();

    /// Sets the bounds of the capacity, the number of ready connections to aim at: a range such as
    /// `8..=64`, or one number that it keeps. Default 2..=1,024.
    ///
    /// A client dials, so it chooses how many connections to keep: the tuner moves the number within
    /// the range, as [`tuning`](Self::tuning) says. A server chooses no number, and has
    /// [a limit](crate::ServerConfigBuilder::capacity) instead. The page [`sizing`](crate::sizing) tells
    /// what to expect.
    pub fn capacity(mut self, bounds: impl Into<Bounds<u32>>) -> Self {
        self.capacity = bounds.into();
        self
    }

    /// Sets the bounds of the interval, the time between two rounds of [`Tuning::NodePass`]: a range, or one
    /// time that it keeps. Default 100 ms..=1 s. [`Tuning::Demand`] has no rounds.
    pub fn interval(mut self, bounds: impl Into<Bounds<Duration>>) -> Self {
        self.interval = bounds.into();
        self
    }

    /// Sets the time for which [`Tuning::Demand`] remembers a peak of demand. Default 60 s.
    ///
    /// So long may a connection be idle in order to spare one wait: with twice the time, crowds that come
    /// half as often find their stock, and the stock of a crowd that does not come again is held twice as
    /// long. A minute of an idle TLS connection costs some 10 KB at each end, and keep-alive.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Sets the law that moves the capacity. Default [`Tuning::Demand`].
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Sets how ids are exchanged. Default: the peer sends them as
    /// [`IdFormat::Hex8`](crate::IdFormat::Hex8).
    pub fn ids(mut self, ids: IdExchange) -> Self {
        self.ids = ids;
        self
    }

    /// Sets the most dials and handshakes at a time. Default 1,024. Before the first has succeeded, there are
    /// 256 at most; after a failure, one, then 16, and two more for each success.
    ///
    /// They bound the rate at which connections are replaced, to this number in each
    /// [lead time](crate::Stats::lead_time): 1,024 are enough for 1,463 acquires a second at a round trip of
    /// 200 ms. [`limited_by_dials`](crate::Totals::limited_by_dials) tells whether callers waited for more.
    pub fn max_dials(mut self, limit: u32) -> Self {
        self.max_dials = limit;
        self
    }

    /// Sets the timeout of a dial, without TLS. Default 10 s.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Sets the backoff. Default 200 ms and 5 s.
    ///
    /// After the n-th failure in a row the client waits for a random time up to
    /// `min(cap, base · 2ⁿ⁻¹)` (from half of it, once it is the cap), and then dials one connection at
    /// a time until one succeeds. While a caller waits for any connection or for stock, the cap is a
    /// second, or `base` if that is longer. [`dial_now`](crate::Client::dial_now) ends a wait.
    ///
    /// A peer that turns connections away while it holds others of this client is full, not down.
    /// Its refusal is not a failure: the client keeps the stock that the peer can hold, and tries
    /// one connection more after such waits.
    ///
    /// With the defaults, a server that is down is dialled 960 times an hour by a client without
    /// waiters, and 4,800 times by one with waiters. (The Go package dials without a backoff: measured
    /// at a capacity of 5, 180,000 times an hour.) When it returns, the next dial comes after at most
    /// 5 s, with waiters after at most 1 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    /// Checks the settings and returns the configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first invalid setting and says why it is invalid.
    pub fn build(self) -> Result<ClientConfig, ConfigError> {
        let acquirer = self.common.acquirer;
        if self.ids == IdExchange::None && matches!(acquirer, Acquirer::Peer | Acquirer::Both) {
            let needed = "a peer that is a pool, and ids";
            return Err(ConfigError::Needs { setting: "acquirer", needed });
        }
        if self.ids == IdExchange::None && self.common.opening_byte {
            let needed = "a peer that is a pool, and ids";
            return Err(ConfigError::Needs { setting: "opening_byte", needed });
        }
        let common = self.common.build(match (self.ids, acquirer) {
            (IdExchange::Wire(_), Acquirer::Either) => TakeOrder::OldestFirst,
            _ => TakeOrder::NewestFirst,
        })?;
        let interval = self.interval.0;
        let capacity = sound_capacity(self.capacity, common.max_connections, acquirer)?;
        positive("interval", *interval.start())?;
        representable("interval", *interval.end())?;
        if interval.is_empty() {
            return Err(ConfigError::Inverted { setting: "interval" });
        }
        positive("keep", self.keep)?;
        positive("backoff", self.backoff.0)?;
        representable("backoff", self.backoff.1)?;
        if self.backoff.0 > self.backoff.1 {
            return Err(ConfigError::Inverted { setting: "backoff" });
        }
        Ok(ClientConfig {
            common,
            ids: self.ids,
            tuner: Tuner::new(self.tuning, capacity, interval).with_keep(self.keep),
            max_dials: at_least_one("max_dials", self.max_dials)?,
            dial_timeout: positive("dial_timeout", self.dial_timeout)?,
            backoff: self.backoff,
        })
    }
}

/// The capacity of a client, if it makes sense.
pub(crate) fn sound_capacity(
    Bounds(capacity): Bounds<u32>,
    max_connections: u32,
    acquirer: Acquirer,
) -> Result<RangeInclusive<u32>, ConfigError> {
    let (low, high) = (*capacity.start(), *capacity.end());
    at_least_one("capacity", low)?;
    if low > high {
        return Err(ConfigError::Inverted { setting: "capacity" });
    }
    at_most("capacity", high, max_connections, "max_connections")?;
    enough_for(acquirer, high)?;
    Ok(capacity)
}
