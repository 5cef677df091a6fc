//! A client's settings.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::{Common, Draft, at_least_one, at_most, positive, representable};
use crate::config::TakeOrder;
use crate::error::ConfigError;
use crate::id::IdExchange;
use crate::time::Period;
use crate::tuner::{Tuner, Tuning};

/// Configuration of a [`Client`](crate::Client). Built by [`ClientConfig::builder`].
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
    /// A builder with the defaults.
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
            capacity: 4..=64,
            interval: Duration::from_millis(100)..=Duration::from_secs(1),
            max_dials: 32,
            dial_timeout: Duration::from_secs(10),
            backoff: (Duration::from_millis(200), Duration::from_secs(30)),
        }
    }

    /// How ids are exchanged.
    #[must_use]
    pub const fn ids(&self) -> IdExchange {
        self.ids
    }

    /// The most dials and handshakes at a time.
    #[must_use]
    pub const fn max_dials(&self) -> u32 {
        self.max_dials
    }

    /// How long a dial may take.
    #[must_use]
    pub const fn dial_timeout(&self) -> Duration {
        self.dial_timeout.duration()
    }

    /// The same configuration with `seed`, unless one was set.
    pub fn or_seed(mut self, seed: u64) -> Self {
        self.common.seed.get_or_insert(seed);
        self
    }
}

/// Builds a [`ClientConfig`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientConfigBuilder {
    common: Draft,
    ids: IdExchange,
    tuning: Tuning,
    capacity: RangeInclusive<u32>,
    interval: RangeInclusive<Duration>,
    max_dials: u32,
    dial_timeout: Duration,
    backoff: (Duration, Duration),
}

impl ClientConfigBuilder {
    common_settings!();

    /// The bounds of the number of ready connections to aim at. Default 4..=64.
    pub fn capacity(mut self, bounds: RangeInclusive<u32>) -> Self {
        self.capacity = bounds;
        self
    }

    /// The bounds of the time between two rounds of the tuner. Default 100 ms..=1 s.
    pub fn interval(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.interval = bounds;
        self
    }

    /// The law that moves capacity and interval. Default [`Tuning::Demand`].
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// How ids are exchanged. Default: read from the wire as [`IdFormat::Hex8`].
    pub fn ids(mut self, ids: IdExchange) -> Self {
        self.ids = ids;
        self
    }

    /// The most dials and handshakes at a time. Default 32: on two cores over loopback the fill
    /// rate hardly rises between 16 and 64.
    pub fn max_dials(mut self, limit: u32) -> Self {
        self.max_dials = limit;
        self
    }

    /// How long connecting may take, TLS not included. Default 10 s.
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// After the n-th failure in a row: a random wait up to `min(cap, base · 2ⁿ⁻¹)`, and then one
    /// dial at a time until one succeeds. Default 200 ms and 30 s.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that makes no sense, and why.
    pub fn build(self) -> Result<ClientConfig, ConfigError> {
        let common = self.common.build()?;
        let (low, high) = (*self.capacity.start(), *self.capacity.end());
        at_least_one("capacity", low)?;
        if low > high {
            return Err(ConfigError::Inverted { setting: "capacity" });
        }
        at_most("capacity", high, common.max_connections, "max_connections")?;
        positive("interval", *self.interval.start())?;
        representable("interval", *self.interval.end())?;
        if self.interval.is_empty() {
            return Err(ConfigError::Inverted { setting: "interval" });
        }
        positive("backoff", self.backoff.0)?;
        representable("backoff", self.backoff.1)?;
        if self.backoff.0 > self.backoff.1 {
            return Err(ConfigError::Inverted { setting: "backoff" });
        }
        Ok(ClientConfig {
            common,
            ids: self.ids,
            tuner: Tuner::new(self.tuning, self.capacity, self.interval),
            max_dials: at_least_one("max_dials", self.max_dials)?,
            dial_timeout: positive("dial_timeout", self.dial_timeout)?,
            backoff: self.backoff,
        })
    }
}
