//! The options of a world: a swarm of them, drawn from its seed or its bytes. (Groce et al., "Swarm
//! Testing", 2012: many different configurations, each with some features left out, find more bugs
//! than a single configuration that has all features.)

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use pool_proto::{
    Acquirer, IdExchange, IdFormat, MAX_CONNECTIONS, MAX_HANDSHAKES, TakeOrder, Tuning,
};

use super::faults::Fault;
use super::source::Source;
use crate::setup::{Setup, Side};

/// The end at which users take any connection, and tell its id to the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takers {
    Client,
    Server,
    /// Both at a time. Unless their settings say so, they take the same connection now and then, and
    /// lose it.
    Both,
}

/// The options of a world.
pub struct Options {
    pub seed: u64,
    /// How long faults go on.
    pub duration: Duration,
    pub ids: IdExchange,
    pub setups: [Setup; 2],
    /// How long a segment takes, without faults.
    pub delay: Duration,
    pub jitter: Duration,
    pub takers: Takers,
    /// Whether the other end accepts what users have taken, and is not told its id.
    pub accepts: bool,
    /// How many bursts of users come, and how many users in each at the most.
    pub bursts: u32,
    pub burst: u32,
    /// Of 100 conversations, how many put their connections back.
    pub reuse: u8,
    pub timeout: RangeInclusive<u64>,
    /// By fault: how many times in a run, or how many of 1,000 occasions.
    pub faults: [u16; Fault::ALL.len()],
    /// Whether each step is compared with the naive pool.
    pub oracle: bool,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Options {
    /// The options of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self::draw(seed, &mut Source::seed(seed))
    }

    /// The options of a world whose choices come from bytes: it is small, and each step is compared
    /// with the naive pool.
    pub(super) fn of_bytes(random: &mut Source) -> Self {
        let seed = random.u64(..256);
        let mut options = Self::draw(seed, random);
        for setup in &mut options.setups {
            // The naive pool knows exact lifetimes only.
            if random.bool() {
                setup.lifetime_jitter = 0.0;
            }
        }
        options.oracle = true;
        options
    }

    fn draw(seed: u64, random: &mut Source) -> Self {
        let (durations, bursts) =
            if random.is_brief() { (2..60, 1..12) } else { (60..660, 10..60) };
        let reuse_delay =
            if random.u8(..3) == 0 { ms(random.u64(5..3000)) } else { Duration::ZERO };
        let format = if random.bool() { IdFormat::Hex8 } else { IdFormat::Raw4 };
        let ids = if random.u8(..8) == 0 { IdExchange::None } else { IdExchange::Wire(format) };
        let takers = match random.u8(..3) {
            _ if ids == IdExchange::None => Takers::Client,
            0 => Takers::Client,
            1 => Takers::Server,
            _ => Takers::Both,
        };
        // Without a draw, so that old inputs of fuzzers keep their meaning.
        let told = ids != IdExchange::None && seed / 2 % 2 == 1;
        let acquirers = match takers {
            _ if !told => [Acquirer::Either; 2],
            Takers::Client => [Acquirer::ThisEnd, Acquirer::Peer],
            Takers::Server => [Acquirer::Peer, Acquirer::ThisEnd],
            Takers::Both => [Acquirer::Both; 2],
        };
        let mut options = Self {
            seed,
            duration: Duration::from_secs(random.u64(durations)),
            ids,
            setups: [draw_client(random, reuse_delay), draw_server(random, reuse_delay)],
            delay: Duration::from_micros(random.u64(20..60_000)),
            jitter: Duration::from_micros(random.u64(1..20_000)),
            takers,
            // Where a first byte says that the peer has taken a connection, and nothing else.
            accepts: told && seed / 16 % 2 == 1,
            bursts: random.u32(bursts),
            burst: random.u32(1..12),
            // Two ends that take the same connections must not reuse: neither knows when the other has
            // ended.
            reuse: if takers == Takers::Both && !told { 0 } else { random.u8(0..=100) },
            timeout: 10..=random.u64(20..10_000),
            faults: draw_faults(random),
            oracle: false,
        };
        // Likewise without a draw.
        options.faults[Fault::Configure as usize] = [0, 0, 3, 12][(seed / 16 % 4) as usize];
        let opening_byte = told && seed / 32 % 2 == 1;
        let control = ids != IdExchange::None && !opening_byte && seed / 64 % 4 == 3;
        for (setup, acquirer) in options.setups.iter_mut().zip(acquirers) {
            setup.acquirer = acquirer;
            setup.opening_byte = opening_byte;
            setup.control_connection = control;
            // Where lifetimes are exact, one that is a moment too long is seen.
            if seed / 8 % 2 == 1 {
                setup.lifetime_jitter = 0.0;
            }
            if acquirer == Acquirer::Both {
                setup.capacity.1 = setup.capacity.1.max(2);
                setup.max_connections = setup.max_connections.max(2);
            }
        }
        // A server that closes within a second, as one does whose idle timeout is less than two, looks
        // like a full one, which clients stay away from.
        let server = &mut options.setups[Side::Server as usize];
        server.idle_timeout = server.idle_timeout.map(|timeout| timeout.max(ms(2100)));
        if random.u8(..6) == 0 {
            // Drivers and users that are slow together meet in states that are short otherwise.
            for fault in [Fault::LateCheck, Fault::LateCollect] {
                options.faults[fault as usize] = 300;
            }
        }
        if reuse_delay > Duration::ZERO {
            // Both ends rest for the same time by the same clock, or early data would be drained.
            for fault in [Fault::ClockForward, Fault::ClockBackward, Fault::LateTimer] {
                options.faults[fault as usize] = 0;
            }
        }
        options
    }

    /// So many connections, few faults, and a short time.
    pub fn large(seed: u64, connections: u32) -> Self {
        let mut options = Self::of_seed(seed);
        options.duration = Duration::from_secs(60);
        options.ids = IdExchange::default();
        (options.delay, options.jitter) = (ms(20), ms(10));
        options.takers = Takers::Client;
        (options.bursts, options.burst, options.reuse) = (2000, 200, 80);
        options.timeout = 10..=5000;
        options.faults = [0; Fault::ALL.len()];
        for fault in [Fault::Delay, Fault::Loss, Fault::Reorder] {
            options.faults[fault as usize] = 2;
        }
        for fault in [Fault::Reset, Fault::HalfOpen, Fault::Clean, Fault::ServerCrash] {
            options.faults[fault as usize] = 1;
        }
        for setup in &mut options.setups {
            setup.capacity = (connections, connections);
            setup.tuning = Tuning::Demand;
            // Fewer than the server does at a time: otherwise the dials evict each other.
            setup.max_dials = MAX_HANDSHAKES / 2;
            setup.max_connections = connections.saturating_mul(2).min(MAX_CONNECTIONS);
            setup.max_waiters = 1000;
            setup.max_handshakes = MAX_HANDSHAKES;
            setup.max_per_source = None;
            setup.backoff = (ms(100), ms(1000));
            setup.dial_timeout = Duration::from_secs(10);
            setup.handshake_timeout = Duration::from_secs(10);
            setup.reuse_delay = Duration::ZERO;
            setup.idle_timeout = Some(Duration::from_secs(40));
            setup.max_lifetime = Some(Duration::from_secs(50));
        }
        // Half of the server is room for connections that the client does not know to have ended.
        let server = &mut options.setups[Side::Server as usize];
        server.capacity = (connections * 2, connections * 2);
        server.max_connections = connections.saturating_mul(4).min(MAX_CONNECTIONS);
        // Of so many, the server's own timeouts would end one each millisecond. To the client, that is a full
        // server that lets each new one in for an old one, and then a ceiling does not rise.
        (server.idle_timeout, server.max_lifetime) = (None, None);
        options
    }

    /// Whether users of both ends may acquire the same connection, because nobody has said which end
    /// acquires.
    pub fn may_collide(&self) -> bool {
        self.setups[0].acquirer == Acquirer::Either
    }

    /// Whether who acquires any connection sends an opening byte on it.
    pub fn opens(&self) -> bool {
        self.setups[0].opening_byte
    }

    /// Whether the zero id names a connection that users of both ends keep.
    pub fn has_control(&self) -> bool {
        self.setups[0].control_connection
    }

    /// Whether the users of this side may acquire any connection.
    pub fn acquires(&self, side: Side) -> bool {
        self.setups[side as usize].acquirer != Acquirer::Peer
    }

    /// Whether a fault happens on this occasion.
    pub fn strikes(&self, fault: Fault, random: &mut Source) -> bool {
        let chance = self.faults[fault as usize];
        chance > 0 && random.happens(chance, 1000)
    }
}

fn draw_client(random: &mut Source, reuse_delay: Duration) -> Setup {
    let low = random.u32(1..8);
    let high = low + random.u32(0..12);
    let short = ms(random.u64(50..1000));
    let base = ms(random.u64(5..500));
    let long = short + ms(random.u64(0..4000));
    Setup {
        capacity: (low, high),
        interval: (short, long),
        keep: long * 8,
        tuning: if random.u8(..4) == 0 { Tuning::NodePass } else { Tuning::Demand },
        max_dials: random.u32(1..10),
        max_connections: high + random.u32(0..24),
        max_waiters: if random.bool() { 64 } else { random.u32(1..10) },
        backoff: (base, base + ms(random.u64(0..20_000))),
        dial_timeout: ms(random.u64(300..6000)),
        ..draw_common(random, reuse_delay)
    }
}

fn draw_server(random: &mut Source, reuse_delay: Duration) -> Setup {
    let capacity = random.u32(2..30);
    Setup {
        capacity: (capacity, capacity),
        max_connections: capacity + random.u32(0..40),
        max_waiters: if random.bool() { 64 } else { random.u32(1..10) },
        max_handshakes: random.u32(1..24),
        max_per_source: (random.u8(..3) == 0).then(|| random.u32(2..30)),
        first_byte_timeout: ms(random.u64(300..6000)),
        certificates: random.bool(),
        ..draw_common(random, reuse_delay)
    }
}

fn draw_common(random: &mut Source, reuse_delay: Duration) -> Setup {
    Setup {
        take_order: Some(match random.bool() {
            true => TakeOrder::OldestFirst,
            false => TakeOrder::NewestFirst,
        }),
        handshake_timeout: ms(random.u64(500..8000)),
        idle_timeout: (random.u8(..3) == 0).then(|| ms(random.u64(1200..60_000))),
        max_lifetime: (random.u8(..3) == 0).then(|| ms(random.u64(1500..90_000))),
        claim_timeout: ms(random.u64(200..20_000)),
        reuse_delay,
        drain_timeout: ms(random.u64(20..500)),
        ..Setup::DEFAULT
    }
}

fn draw_faults(random: &mut Source) -> [u16; Fault::ALL.len()] {
    // Some seeds hardly know trouble, some little else.
    let share = *random.choice(&[5, 20, 50]).unwrap_or(&20);
    Fault::ALL.map(|fault| {
        if fault == Fault::Configure {
            return 0;
        }
        if !random.happens(share, 100) {
            return 0;
        }
        match fault {
            Fault::Reset | Fault::HalfOpen | Fault::StaleEvent | Fault::KnownDead => {
                random.u16(2..20)
            }
            // Users give up whenever their patience ends.
            Fault::GiveUp => 0,
            Fault::LateCheck | Fault::LateReadable => {
                *random.choice(&[50, 200, 500]).unwrap_or(&50)
            }
            Fault::LateCollect => *random.choice(&[200, 500]).unwrap_or(&200),
            Fault::Strangers => random.u16(1..8),
            fault if fault.is_timed() => random.u16(1..4),
            // So many of 1,000 times.
            _ => *random.choice(&[10, 50, 200]).unwrap_or(&50),
        }
    })
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [client, server] = &self.setups;
        writeln!(
            f,
            "seed {}: {:?} of faults; ids {:?}; takers {:?}{}, {} bursts of up to {}, {} % reuse; \
             one way {:?} + {:?}",
            self.seed,
            self.duration,
            self.ids,
            self.takers,
            if self.accepts { " (accepted)" } else { "" },
            self.bursts,
            self.burst,
            self.reuse,
            self.delay,
            self.jitter
        )?;
        writeln!(f, "client: {client:?}")?;
        writeln!(f, "server: {server:?}")?;
        write!(f, "faults:")?;
        for fault in Fault::ALL {
            match self.faults[fault as usize] {
                0 => {}
                rate => write!(f, " {} ({rate}),", fault.name())?,
            }
        }
        Ok(())
    }
}
