//! A configuration in plain numbers, for both sides, that prints as such.

use std::time::Duration;

use pool_proto::{ClientConfig, IdExchange, ServerConfig, TakeOrder, Tuning};

/// How a client or a server is configured. What only the other side has is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub seed: u64,
    /// Server: the upper end is its capacity.
    pub capacity: (u32, u32),
    pub max_connections: u32,
    pub max_waiters: u32,
    pub take_order: TakeOrder,
    pub handshake_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    pub max_lifetime: Option<Duration>,
    /// Shortens lifetimes by chance, if there are any: see [`is_exact`](Self::is_exact).
    pub jitter_percent: u8,
    pub claim_timeout: Duration,
    pub reuse_delay: Duration,
    pub drain_timeout: Duration,
    // the client's
    pub ids_exchanged: bool,
    pub tuning: Tuning,
    pub interval: (Duration, Duration),
    pub max_dials: u32,
    pub dial_timeout: Duration,
    pub backoff: (Duration, Duration),
    // the server's
    pub max_handshakes: u32,
    pub max_per_source: Option<u32>,
    /// Only peers of 10.0.0.0/8 may connect.
    pub listed: bool,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sets what both builders have.
macro_rules! common {
    ($builder:expr, $settings:expr) => {
        $builder
            .seed($settings.seed)
            .max_connections($settings.max_connections)
            .max_waiters($settings.max_waiters)
            .take_order($settings.take_order)
            .handshake_timeout($settings.handshake_timeout)
            .idle_timeout($settings.idle_timeout)
            .max_lifetime($settings.max_lifetime)
            .lifetime_jitter($settings.jitter())
            .claim_timeout($settings.claim_timeout)
            .reuse_delay($settings.reuse_delay)
            .drain_timeout($settings.drain_timeout)
    };
}

impl Setup {
    /// Small limits, and no timeout that ends a ready connection. Waits are so long that a random
    /// one of zero does not happen.
    pub const SMALL: Self = Self {
        seed: 1,
        capacity: (1, 2),
        max_connections: 3,
        max_waiters: 2,
        take_order: TakeOrder::OldestFirst,
        handshake_timeout: seconds(10),
        idle_timeout: None,
        max_lifetime: None,
        jitter_percent: 0,
        claim_timeout: seconds(30),
        reuse_delay: Duration::ZERO,
        drain_timeout: seconds(1),
        ids_exchanged: true,
        tuning: Tuning::Demand,
        interval: (seconds(2), seconds(8)),
        max_dials: 2,
        dial_timeout: seconds(5),
        backoff: (seconds(20), seconds(70)),
        max_handshakes: 2,
        max_per_source: None,
        listed: false,
    };

    /// A setup decoded from bytes; zeros give a simple one.
    pub fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        let mut pick = |from: &[u32]| from[usize::from(next()) % from.len()];
        let min = pick(&[1, 2, 3, 5]);
        let max = min + pick(&[0, 1, 3, 7]);
        let interval =
            [(2000, 8000), (1000, 1000), (100, 1000), (50, 450)][pick(&[0, 1, 2, 3]) as usize];
        let ms = |millis: u32| Duration::from_millis(millis.into());
        let optional = |millis: u32| (millis > 0).then(|| ms(millis));
        Self {
            seed: pick(&[1, 2, 3, 4, 5, 6, 7, 8]).into(),
            capacity: (min, max),
            max_connections: max + pick(&[0, 1, 2, 8]),
            max_waiters: pick(&[8, 2, 1, 3]),
            take_order: [TakeOrder::OldestFirst, TakeOrder::NewestFirst][pick(&[0, 1]) as usize],
            handshake_timeout: ms(pick(&[10_000, 1000])),
            idle_timeout: optional(pick(&[0, 3000, 9000])),
            max_lifetime: optional(pick(&[0, 20_000, 4000])),
            jitter_percent: u8::try_from(pick(&[0, 0, 0, 0, 0, 0, 0, 100])).unwrap(),
            claim_timeout: ms(pick(&[30_000, 2000])),
            reuse_delay: ms(pick(&[0, 500, 2000])),
            drain_timeout: ms(pick(&[1000, 20_000])),
            ids_exchanged: pick(&[1, 1, 0]) == 1,
            tuning: [Tuning::Demand, Tuning::NodePass][pick(&[0, 1]) as usize],
            interval: (ms(interval.0), ms(interval.1)),
            max_dials: pick(&[32, 1, 2, 3]),
            dial_timeout: ms(pick(&[5000, 1500])),
            backoff: (ms(pick(&[20_000, 5000])), ms(pick(&[70_000, 20_000]))),
            max_handshakes: pick(&[256, 1, 2, 3]),
            max_per_source: match pick(&[0, 1, 2, 4]) {
                0 => None,
                limit => Some(limit),
            },
            listed: pick(&[0, 0, 1]) == 1,
        }
    }

    /// How many bytes [`arbitrary`](Self::arbitrary) takes.
    pub const BYTES: usize = 24;

    /// Whether lifetimes are exact. Where they are not, the naive pool is not asked.
    pub const fn is_exact(&self) -> bool {
        self.jitter_percent == 0 || self.max_lifetime.is_none()
    }

    pub fn jitter(&self) -> f64 {
        f64::from(self.jitter_percent) / 100.0
    }

    pub fn client(&self) -> ClientConfig {
        common!(ClientConfig::builder(), self)
            .capacity(self.capacity.0..=self.capacity.1)
            .ids(if self.ids_exchanged { IdExchange::default() } else { IdExchange::None })
            .tuning(self.tuning)
            .interval(self.interval.0..=self.interval.1)
            .max_dials(self.max_dials)
            .dial_timeout(self.dial_timeout)
            .backoff(self.backoff.0, self.backoff.1)
            .build()
            .unwrap()
    }

    pub fn server(&self) -> ServerConfig {
        let config = common!(ServerConfig::builder(), self)
            .capacity(self.capacity.1)
            .max_handshakes(self.max_handshakes)
            .max_per_source(self.max_per_source);
        let config = match self.listed {
            true => config.allow("10.0.0.0/8".parse().unwrap()),
            false => config,
        };
        config.build().unwrap()
    }
}
