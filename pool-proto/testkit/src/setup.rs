//! The settings of a machine in plain numbers: one form for the builders, the ledger, the oracle and
//! the world.
//!
//! It has the builders' own methods, so that a test reads as if it used a builder, and the ledger
//! knows everything that the machine was told.

use std::ops::RangeInclusive;
use std::time::Duration;

use pool_proto::{
    Acquirer, ClientConfig, ConfigError, ConnId, IdExchange, IdFormat, Instant, ServerConfig,
    State, TakeOrder, Tuning,
};

/// Which end of a connection a machine is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The settings of a client or a server. Settings of the other side are ignored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    pub seed: u64,
    /// Server: the upper end is its capacity.
    pub capacity: (u32, u32),
    pub max_connections: u32,
    pub max_waiters: u32,
    /// `None`: the default of the role.
    pub take_order: Option<TakeOrder>,
    pub acquirer: Acquirer,
    pub handshake_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    pub max_lifetime: Option<Duration>,
    /// Shortens lifetimes by up to this fraction, at random: see [`is_exact`](Self::is_exact).
    pub lifetime_jitter: f64,
    pub claim_timeout: Duration,
    pub reuse_delay: Duration,
    pub drain_timeout: Duration,
    pub control_connection: bool,
    pub opening_byte: bool,
    /// Client: whether and how; server: how.
    pub ids: IdExchange,
    // the client's
    pub tuning: Tuning,
    pub interval: (Duration, Duration),
    pub keep: Duration,
    pub max_dials: u32,
    pub dial_timeout: Duration,
    pub backoff: (Duration, Duration),
    // the server's
    pub max_handshakes: u32,
    pub max_per_source: Option<u32>,
    pub first_byte_timeout: Duration,
    /// Peers are known by certificates.
    pub certificates: bool,
    /// Only peers of 10.0.0.0/8 may connect.
    pub listed: bool,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sets what both builders have.
macro_rules! common {
    ($builder:expr, $setup:expr) => {
        $builder
            .seed($setup.seed)
            .max_connections($setup.max_connections)
            .max_waiters($setup.max_waiters)
            .handshake_timeout($setup.handshake_timeout)
            .idle_timeout($setup.idle_timeout)
            .max_lifetime($setup.max_lifetime)
            .lifetime_jitter($setup.lifetime_jitter)
            .claim_timeout($setup.claim_timeout)
            .reuse_delay($setup.reuse_delay)
            .drain_timeout($setup.drain_timeout)
            .control_connection($setup.control_connection)
            .opening_byte($setup.opening_byte)
            .acquirer($setup.acquirer)
    };
}

/// Some of the builders' methods.
macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(
            #[must_use]
            pub const fn $name(mut self, value: $type) -> Self {
                self.$name = value;
                self
            }
        )*
    };
}

/// The methods for settings that can be switched off.
macro_rules! optional_setters {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(
            #[must_use]
            pub fn $name(mut self, value: impl Into<Option<$type>>) -> Self {
                self.$name = value.into();
                self
            }
        )*
    };
}

impl Setup {
    /// The builders' defaults, and a fixed seed.
    pub const DEFAULT: Self = Self {
        seed: 1,
        capacity: (2, 1024),
        max_connections: 65_536,
        max_waiters: 65_536,
        take_order: None,
        handshake_timeout: seconds(10),
        idle_timeout: None,
        max_lifetime: None,
        lifetime_jitter: 0.1,
        claim_timeout: seconds(30),
        reuse_delay: Duration::ZERO,
        drain_timeout: seconds(1),
        control_connection: false,
        opening_byte: false,
        acquirer: Acquirer::Either,
        ids: IdExchange::Wire(IdFormat::Hex8),
        tuning: Tuning::Demand,
        interval: (Duration::from_millis(100), seconds(1)),
        keep: seconds(60),
        max_dials: 1024,
        dial_timeout: seconds(10),
        backoff: (Duration::from_millis(200), seconds(5)),
        max_handshakes: 512,
        max_per_source: None,
        first_byte_timeout: seconds(5),
        certificates: false,
        listed: false,
    };

    /// Small limits, and no timeout that ends a ready connection. Waits after failures are so long
    /// that a random wait of zero does not happen.
    pub const SMALL: Self = Self {
        capacity: (1, 2),
        max_connections: 3,
        max_waiters: 2,
        lifetime_jitter: 0.0,
        interval: (seconds(2), seconds(8)),
        max_dials: 2,
        dial_timeout: seconds(5),
        backoff: (seconds(20), seconds(70)),
        max_handshakes: 2,
        ..Self::DEFAULT
    };

    /// How long a connection rests that was put back: 50 ms longer at the end that acquires, so that its
    /// next use does not begin before the peer has discarded the data that has arrived.
    #[must_use]
    pub const fn rest(&self) -> Duration {
        match self.acquirer {
            Acquirer::ThisEnd if !self.reuse_delay.is_zero() => {
                self.reuse_delay.saturating_add(Duration::from_millis(50))
            }
            _ => self.reuse_delay,
        }
    }

    setters! {
        seed: u64,
        max_connections: u32,
        max_waiters: u32,
        handshake_timeout: Duration,
        lifetime_jitter: f64,
        claim_timeout: Duration,
        reuse_delay: Duration,
        drain_timeout: Duration,
        control_connection: bool,
        opening_byte: bool,
        acquirer: Acquirer,
        ids: IdExchange,
        tuning: Tuning,
        keep: Duration,
        max_dials: u32,
        dial_timeout: Duration,
        max_handshakes: u32,
        first_byte_timeout: Duration,
        certificates: bool,
        listed: bool,
    }

    optional_setters! {
        take_order: TakeOrder,
        idle_timeout: Duration,
        max_lifetime: Duration,
        max_per_source: u32,
    }

    #[must_use]
    pub const fn capacity(mut self, low: u32, high: u32) -> Self {
        self.capacity = (low, high);
        self
    }

    #[must_use]
    pub const fn interval(mut self, bounds: RangeInclusive<Duration>) -> Self {
        self.interval = (*bounds.start(), *bounds.end());
        self
    }

    #[must_use]
    pub const fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff = (base, cap);
        self
    }

    #[must_use]
    pub const fn id_format(mut self, format: IdFormat) -> Self {
        self.ids = IdExchange::Wire(format);
        self
    }

    /// Decodes a setup from bytes; zeros give a simple one.
    pub fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        let mut pick = |from: &[u32]| from[usize::from(next()) % from.len()];
        let min = pick(&[1, 2, 3, 5]);
        let max = min + pick(&[0, 1, 3, 7]);
        let interval =
            [(2000, 8000), (1000, 1000), (100, 1000), (50, 450)][pick(&[0, 1, 2, 3]) as usize];
        let ms = |millis: u32| Duration::from_millis(millis.into());
        let optional = |millis: u32| (millis > 0).then(|| ms(millis));
        // In a quarter of the setups there is a control connection, or an end that may not acquire
        // everything. The naive pool does not know these. (One byte says it all, so that old inputs of
        // fuzzers keep their meaning.)
        let byte = pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        let opening_byte = matches!(byte, 9 | 10 | 13);
        let (seed, acquirer) = match byte {
            usual @ 0..8 => (usual + 1, Acquirer::Either),
            usual @ 8..11 => (usual - 7, Acquirer::Either),
            11 => (4, Acquirer::ThisEnd),
            both @ (12 | 13) if max > 1 => (both - 7, Acquirer::Both),
            14 => (7, Acquirer::Peer),
            15 => (0, Acquirer::Either),
            _ => (1, Acquirer::Either),
        };
        let needs_ids = opening_byte || matches!(acquirer, Acquirer::Both | Acquirer::Peer);
        Self {
            seed: seed.into(),
            capacity: (min, max),
            max_connections: max + pick(&[0, 1, 2, 8]),
            max_waiters: pick(&[8, 2, 1, 3]),
            take_order: Some(
                [TakeOrder::OldestFirst, TakeOrder::NewestFirst][pick(&[0, 1]) as usize],
            ),
            handshake_timeout: ms(pick(&[10_000, 1000])),
            idle_timeout: optional(pick(&[0, 3000, 9000])),
            max_lifetime: optional(pick(&[0, 20_000, 4000])),
            lifetime_jitter: f64::from(pick(&[0, 0, 0, 0, 0, 0, 0, 1])),
            claim_timeout: ms(pick(&[30_000, 2000])),
            reuse_delay: ms(pick(&[0, 500, 2000])),
            drain_timeout: ms(pick(&[1000, 20_000])),
            control_connection: seed == 0,
            opening_byte,
            acquirer,
            ids: match pick(&[1, 1, 0]) {
                0 if !needs_ids => IdExchange::None,
                _ => IdExchange::default(),
            },
            tuning: [Tuning::Demand, Tuning::NodePass][pick(&[0, 1]) as usize],
            interval: (ms(interval.0), ms(interval.1)),
            keep: ms(2 * interval.1),
            max_dials: pick(&[32, 1, 2, 3]),
            dial_timeout: ms(pick(&[5000, 1500])),
            backoff: (ms(pick(&[20_000, 5000])), ms(pick(&[70_000, 20_000]))),
            max_handshakes: pick(&[256, 1, 2, 3]),
            max_per_source: match pick(&[0, 1, 2, 4]) {
                0 => None,
                limit => Some(limit),
            },
            first_byte_timeout: ms(pick(&[5000, 700])),
            certificates: pick(&[0, 1]) == 1,
            listed: pick(&[0, 0, 1]) == 1,
        }
    }

    /// How many bytes [`arbitrary`](Self::arbitrary) takes.
    pub const BYTES: usize = 26;

    /// How long a granted connection waits for its waiter.
    pub const GRANT_TIMEOUT: Duration = Duration::from_secs(10);

    // --- what the settings mean -----------------------------------------------------------------

    /// Whether lifetimes are exact. Where they are not, the naive pool is not asked.
    pub fn is_exact(&self) -> bool {
        self.lifetime_jitter <= 0.0 || self.max_lifetime.is_none()
    }

    pub const fn ids_exchanged(&self) -> bool {
        matches!(self.ids, IdExchange::Wire(_))
    }

    /// Whether this end may acquire the connection with this id without being told of it, and end it.
    /// Where both ends acquire, an id whose text begins with a digit below 8 is the server's.
    pub fn owns(&self, side: Side, id: ConnId) -> bool {
        match self.acquirer {
            Acquirer::Either | Acquirer::ThisEnd => true,
            Acquirer::Peer => false,
            Acquirer::Both => {
                let servers = id.to_string().starts_with(|first: char| ('0'..'8').contains(&first));
                servers == (side == Side::Server)
            }
        }
    }

    /// The most connections of one source.
    pub fn most_per_source(&self) -> u32 {
        self.max_per_source.unwrap_or(u32::MAX)
    }

    /// How long a connection may stay in a state; `None` if nothing limits it.
    pub const fn period(&self, state: State) -> Option<Duration> {
        match state {
            State::Dialing => Some(self.dial_timeout),
            State::Accepted => Some(self.first_byte_timeout),
            State::Handshaking | State::Admitted => Some(self.handshake_timeout),
            State::Idle => self.idle_timeout,
            State::Claimed | State::Finished => Some(self.claim_timeout),
            State::Resting => Some(self.rest()),
            State::Checking => Some(self.drain_timeout),
            State::Granted => Some(Self::GRANT_TIMEOUT),
            // Leased.
            _ => None,
        }
    }

    /// The latest end of the lifetime of a connection in this state, if the pool ends it then.
    pub fn end_of(&self, established: Option<Instant>, state: State) -> Option<Instant> {
        let most = self.max_lifetime.filter(|_| matches!(state, State::Idle | State::Resting));
        Some(established? + most?)
    }

    /// The shortest and the longest wait for the next attempt when one fails after so many failures.
    /// With `awaited`, somebody waits for a new connection.
    pub fn wait(&self, failures_before: u32, awaited: bool) -> (Duration, Duration) {
        let (base, longest) = self.backoff;
        let cap = if awaited { self.patience() } else { longest };
        let factor = 1u32.checked_shl(failures_before).unwrap_or(u32::MAX);
        match base.saturating_mul(factor) {
            bound if bound < cap => (Duration::ZERO, bound),
            _ => (cap / 2, cap),
        }
    }

    /// The longest wait for the next attempt while somebody waits for a new connection.
    pub fn patience(&self) -> Duration {
        let (base, cap) = self.backoff;
        base.max(seconds(1)).min(cap)
    }

    /// The longest time after which a machine of this setup may be due.
    pub fn longest_period(&self) -> Duration {
        let periods = State::ALL.iter().filter_map(|state| self.period(*state));
        let others =
            [self.interval.1, self.keep, self.backoff.1].into_iter().chain(self.max_lifetime);
        periods.chain(others).max().unwrap_or_default()
    }

    /// The first setting that this setup has otherwise than a running machine of `side` may have it.
    pub fn fixed(&self, side: Side, running: &Self) -> Option<&'static str> {
        let format = |setup: &Self| match setup.ids {
            IdExchange::Wire(format) => format,
            IdExchange::None => IdFormat::default(),
        };
        let of_role = match side {
            Side::Client => {
                [("ids", self.ids == running.ids), ("tuning", self.tuning == running.tuning)]
            }
            Side::Server => [
                ("id_format", format(self) == format(running)),
                ("with_certificates", self.certificates == running.certificates),
            ],
        };
        let shared = [
            ("seed", self.seed == running.seed),
            ("acquirer", self.acquirer == running.acquirer),
            ("control_connection", self.control_connection == running.control_connection),
            ("opening_byte", self.opening_byte == running.opening_byte),
        ];
        of_role.into_iter().chain(shared).find(|(_, same)| !same).map(|(setting, _)| setting)
    }

    /// This setup with one setting changed: number `which` of them, to value number `to`. The result makes
    /// sense if this does.
    #[must_use]
    pub fn changed(&self, which: u8, to: u8) -> Self {
        let pick = |from: &[u32]| from[usize::from(to) % from.len()];
        let ms = |from: &[u32]| Duration::from_millis(pick(from).into());
        let optional = |from: &[u32]| (pick(from) > 0).then(|| ms(from));
        let (low, high) = self.capacity;
        let least = if self.acquirer == Acquirer::Both { 2 } else { 1 };
        let order = [None, Some(TakeOrder::OldestFirst), Some(TakeOrder::NewestFirst)];
        match which % 26 {
            0 | 1 => {
                let most = (u32::from(to) % 8 + 1).clamp(least, self.max_connections);
                self.capacity(low.min(most), most)
            }
            2 => self.capacity(high.min(pick(&[1, 2, 3, 8])), high),
            3 => self.max_connections(high + pick(&[0, 1, 2, 8])),
            4 => self.max_waiters(pick(&[8, 2, 1, 3])),
            5 => self.take_order(order[usize::from(to) % 3]),
            6 => self.handshake_timeout(ms(&[10_000, 1000, 300])),
            7 | 8 => self.idle_timeout(optional(&[0, 3000, 9000, 500])),
            // With jitter, the naive pool could not follow.
            9 | 10 if self.max_lifetime.is_none() && self.lifetime_jitter > 0.0 => *self,
            9 | 10 => self.max_lifetime(optional(&[0, 20_000, 4000, 900])),
            11 => self.claim_timeout(ms(&[30_000, 2000, 400])),
            12 => self.reuse_delay(ms(&[0, 500, 2000])),
            13 => self.drain_timeout(ms(&[1000, 20_000, 200])),
            14 => self.interval(ms(&[2000, 1000, 100, 50])..=ms(&[8000, 1000, 1000, 450])),
            15 => self.keep(ms(&[16_000, 2000, 160])),
            16 => self.max_dials(pick(&[32, 1, 2, 3])),
            17 => self.dial_timeout(ms(&[5000, 1500])),
            18 => self.backoff(ms(&[20_000, 5000, 5000]), ms(&[70_000, 20_000, 5000])),
            19 => self.max_handshakes(pick(&[256, 1, 2, 3])),
            20 => self.max_per_source(Some(pick(&[0, 1, 2, 4])).filter(|limit| *limit > 0)),
            21 => self.first_byte_timeout(ms(&[5000, 700])),
            22 | 23 => self.listed(!self.listed),
            24 => *self,
            // All of these are refused.
            _ => match to % 6 {
                0 => self.seed(self.seed + 1),
                1 => self.control_connection(!self.control_connection).opening_byte(false),
                2 => self.certificates(!self.certificates),
                3 => self.id_format(IdFormat::Raw4),
                4 if self.tuning == Tuning::Demand => self.tuning(Tuning::NodePass),
                4 => self.tuning(Tuning::Demand),
                _ if self.acquirer == Acquirer::Either => self.acquirer(Acquirer::ThisEnd),
                _ => self.acquirer(Acquirer::Either),
            },
        }
    }

    /// Whether a client takes this capacity.
    pub const fn allows_capacity(&self, low: u32, high: u32) -> bool {
        let least = if matches!(self.acquirer, Acquirer::Both) { 2 } else { 1 };
        0 < low && low <= high && least <= high && high <= self.max_connections
    }

    pub fn client(&self) -> Result<ClientConfig, ConfigError> {
        let config = common!(ClientConfig::builder(), self);
        let config = match self.take_order {
            Some(order) => config.take_order(order),
            None => config,
        };
        config
            .capacity(self.capacity.0..=self.capacity.1)
            .ids(self.ids)
            .tuning(self.tuning)
            .interval(self.interval.0..=self.interval.1)
            .keep(self.keep)
            .max_dials(self.max_dials)
            .dial_timeout(self.dial_timeout)
            .backoff(self.backoff.0, self.backoff.1)
            .build()
    }

    pub fn server(&self) -> Result<ServerConfig, ConfigError> {
        let config = common!(ServerConfig::builder(), self);
        let config = match self.take_order {
            Some(order) => config.take_order(order),
            None => config,
        };
        let config = config
            .capacity(self.capacity.1)
            .id_format(match self.ids {
                IdExchange::Wire(format) => format,
                IdExchange::None => IdFormat::default(),
            })
            .max_handshakes(self.max_handshakes)
            .max_per_source(self.max_per_source)
            .first_byte_timeout(self.first_byte_timeout);
        let config = match self.listed.then(|| "10.0.0.0/8".parse()) {
            Some(Ok(allow)) => config.allow(allow).build(),
            _ => config.build(),
        };
        config.map(|config| config.with_certificates(self.certificates))
    }
}
