//! The options of a seed: the network, the runtime, the settings of the pools, the habits of the users.

use std::time::Duration;

use fastrand::Rng;
use pool_driver::exports::{Acquirer, IdFormat, Tuning};

/// The choices of a seed, made before its life begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Whether the connections are TLS.
    pub tls: bool,
    /// Whether the reactor tracks readiness by edges, as tokio does; otherwise it reports once for each
    /// registration, as `async-io` does.
    pub edges: bool,
    /// A trip through the network, at least.
    pub trip: Duration,
    /// And at most so much longer.
    pub jitter: Duration,
    /// The longest time from an arrival to its report by the reactor.
    pub report: Duration,
    /// The longest delay of a timer.
    pub lateness: Duration,
    /// The bytes that are under way in one direction or unread, at most.
    pub window: usize,
    /// Mishaps in a thousand calls, while there are faults.
    pub mishaps: u32,
    /// The end that acquires any connection.
    pub acquirer: [Acquirer; 2],
    /// The bounds of the client's capacity.
    pub capacity: (u32, u32),
    /// The capacity of the server.
    pub server_capacity: u32,
    /// The law of the client.
    pub tuning: Tuning,
    /// The format of ids.
    pub format: IdFormat,
    /// Dials at a time, at most.
    pub max_dials: u32,
    /// Timeouts and delays.
    pub dial_timeout: Duration,
    /// Of handshakes.
    pub handshake_timeout: Duration,
    /// Of idle connections, at the end that acquires.
    pub idle_timeout: Option<Duration>,
    /// Of connections, at the end that acquires.
    pub max_lifetime: Option<Duration>,
    /// Of connections that the peer has begun to use.
    pub claim_timeout: Duration,
    /// Before a connection that was put back is used again.
    pub reuse_delay: Duration,
    /// Whether the end that acquires sends an opening byte.
    pub opening_byte: bool,
    /// Whether there is a control connection.
    pub control: bool,
    /// The time of faults.
    pub faults: Duration,
    /// The mean time between the begins of two visits.
    pub pause: Duration,
    /// The bytes of a message, at most.
    pub message: usize,
    /// Whether strangers connect to the server.
    pub strangers: bool,
}

impl Options {
    /// The choices of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Not the numbers of the life itself.
        let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let millis = |rng: &mut Rng, from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
        let one_in = |rng: &mut Rng, count: u32| rng.u32(..count) == 0;
        let trip = match rng.u32(..3) {
            0 => Duration::from_micros(rng.u64(20..200)),
            1 => millis(&mut rng, 1, 20),
            _ => millis(&mut rng, 20, 150),
        };
        let jitter = if rng.bool() { trip } else { Duration::ZERO };
        let window = if one_in(&mut rng, 4) { rng.usize(600..5_000) } else { 1 << rng.u32(14..19) };
        // A window in a round trip: a message takes two seconds at most.
        let round_trip = 2 * (trip + jitter) + Duration::from_millis(4);
        let fits = (window as f64 * 2.0 / round_trip.as_secs_f64()) as usize;
        let acquirer = match rng.u32(..3) {
            0 => [Acquirer::ThisEnd, Acquirer::Peer],
            1 => [Acquirer::Peer, Acquirer::ThisEnd],
            _ => [Acquirer::Both, Acquirer::Both],
        };
        let least = rng.u32(1..=4);
        // Each end needs one.
        let most = (least + rng.u32(0..=8)).max(2);
        Self {
            seed,
            tls: !one_in(&mut rng, 3),
            edges: rng.bool(),
            trip,
            jitter,
            report: Duration::from_micros(rng.u64(1..2_000)),
            lateness: if rng.bool() { millis(&mut rng, 0, 5) } else { Duration::ZERO },
            window,
            mishaps: if one_in(&mut rng, 4) { 0 } else { rng.u32(1..60) },
            acquirer,
            capacity: (least, most),
            server_capacity: if one_in(&mut rng, 5) { most + 4 } else { 2 * most + 20 },
            tuning: if one_in(&mut rng, 4) { Tuning::NodePass } else { Tuning::Demand },
            format: if rng.bool() { IdFormat::Hex8 } else { IdFormat::Raw4 },
            max_dials: if rng.bool() { rng.u32(1..=4) } else { 64 },
            dial_timeout: millis(&mut rng, 1_500, 8_000),
            handshake_timeout: millis(&mut rng, 2_000, 8_000),
            idle_timeout: rng.bool().then(|| millis(&mut rng, 3_000, 60_000)),
            max_lifetime: rng.bool().then(|| millis(&mut rng, 8_000, 60_000)),
            claim_timeout: millis(&mut rng, 2_000, 20_000),
            // Not where both ends acquire: see its documentation.
            reuse_delay: if one_in(&mut rng, 3) && acquirer[0] != Acquirer::Both {
                millis(&mut rng, 1, 500)
            } else {
                Duration::ZERO
            },
            opening_byte: one_in(&mut rng, 4),
            control: false,
            faults: millis(&mut rng, 3_000, 30_000),
            pause: millis(&mut rng, 20, 500),
            message: fits.min(if one_in(&mut rng, 20) { 400_000 } else { 3_000 }),
            strangers: one_in(&mut rng, 3),
        }
        .with_control(one_in(&mut rng, 4))
    }

    /// An opening byte excludes a control connection.
    const fn with_control(mut self, control: bool) -> Self {
        self.control = control && !self.opening_byte;
        self
    }
}
