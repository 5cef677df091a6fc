//! Any configuration: the builders refuse exactly what the documentation calls nonsense, and a
//! machine with whatever they accept lives through a short script at any time there is.

use std::time::Duration;

use pool_proto::{
    CheckResult, ClientConfig, ConnId, Event, IdExchange, IdFormat, Instant, MAX_CONNECTIONS,
    MAX_HANDSHAKES, ServerConfig, TakeOrder, Tuning,
};

use super::choices::Choices;
use crate::harness::{ClientHarness, Harness, ServerHarness};

/// The last span that fits: one more nanosecond is 584 years, which means never.
const LONGEST: Duration = Duration::from_nanos(u64::MAX - 1);

/// A machine that dials or admits more than this at once is built, but not run: it would only cost
/// time and memory.
const MOST_AT_ONCE: u32 = 64;

const MOST_STEPS: usize = 60;

/// The bytes: every setting of both builders, then what happens and when.
pub fn configuration(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let settings = Settings::new(&mut choices);
    let client = settings.client();
    let server = settings.server();
    assert_eq!(client.is_ok(), settings.client_is_sound(), "{settings:?}: {client:?}");
    assert_eq!(server.is_ok(), settings.server_is_sound(), "{settings:?}: {server:?}");
    for error in [client.as_ref().err(), server.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    if client.is_ok() && settings.max_dials.min(settings.capacity.1) <= MOST_AT_ONCE {
        settings.run_client(&mut choices);
    }
    if server.is_ok() {
        settings.run_server(&mut choices);
    }
}

#[derive(Debug)]
struct Settings {
    max_connections: u32,
    max_waiters: u32,
    newest_first: bool,
    handshake_timeout: Duration,
    idle_timeout: Option<Duration>,
    max_lifetime: Option<Duration>,
    lifetime_jitter: f64,
    claim_timeout: Duration,
    reuse_delay: Duration,
    drain_timeout: Duration,
    capacity: (u32, u32),
    interval: (Duration, Duration),
    reference: bool,
    ids: IdExchange,
    max_dials: u32,
    dial_timeout: Duration,
    backoff: (Duration, Duration),
    max_handshakes: u32,
    max_per_source: Option<u32>,
}

/// A number: mostly small, sometimes at a bound, sometimes any.
fn number(choices: &mut Choices<'_>) -> u32 {
    match choices.byte() {
        small @ 0..195 => 1 + u32::from(small % 8),
        195..200 => 0,
        200..210 => MAX_HANDSHAKES - 1 + choices.within(0, 2),
        210..220 => MAX_CONNECTIONS - 1 + choices.within(0, 2),
        220..230 => u32::MAX - choices.within(0, 1),
        _ => u32::from_be_bytes(choices.array()),
    }
}

/// A span: mostly of a usual size, sometimes at a bound, sometimes any.
fn span(choices: &mut Choices<'_>) -> Duration {
    match choices.byte() {
        short @ 0..100 => Duration::from_millis(u64::from(short) * 10),
        nanos @ 100..140 => Duration::from_nanos(u64::from(nanos) - 100),
        140..180 => LONGEST,
        180..183 => LONGEST + Duration::from_nanos(choices.byte().into()),
        183..185 => Duration::MAX,
        _ => Duration::new(u64::from_be_bytes(choices.array()) >> 30, choices.byte().into()),
    }
}

/// Two of a kind, mostly the smaller one first.
fn bounds<T: PartialOrd>(
    choices: &mut Choices<'_>,
    bound: impl Fn(&mut Choices<'_>) -> T,
) -> (T, T) {
    let (one, other) = (bound(choices), bound(choices));
    let swap = one > other && choices.byte() < 248;
    if swap { (other, one) } else { (one, other) }
}

/// One of the last instants, one of the first, or any.
fn instant(choices: &mut Choices<'_>) -> Instant {
    let nanos = match choices.byte() {
        0..100 => u64::MAX - u64::from(choices.byte()),
        100..200 => u64::from(choices.byte()) * 10_000_000,
        _ => u64::from_be_bytes(choices.array()),
    };
    Instant::from_nanos(nanos)
}

/// Sets what both builders have.
macro_rules! common {
    ($builder:expr, $settings:expr) => {
        $builder
            .max_connections($settings.max_connections)
            .max_waiters($settings.max_waiters)
            .take_order($settings.take_order())
            .handshake_timeout($settings.handshake_timeout)
            .idle_timeout($settings.idle_timeout)
            .max_lifetime($settings.max_lifetime)
            .lifetime_jitter($settings.lifetime_jitter)
            .claim_timeout($settings.claim_timeout)
            .reuse_delay($settings.reuse_delay)
            .drain_timeout($settings.drain_timeout)
    };
}

impl Settings {
    fn new(choices: &mut Choices<'_>) -> Self {
        Self {
            max_connections: number(choices),
            max_waiters: number(choices),
            newest_first: choices.flag(),
            handshake_timeout: span(choices),
            idle_timeout: choices.flag().then(|| span(choices)),
            max_lifetime: choices.flag().then(|| span(choices)),
            lifetime_jitter: match choices.byte() {
                usual @ 0..200 => f64::from(usual) / 199.0,
                odd @ 200..204 => {
                    [f64::NAN, f64::INFINITY, -0.1, 1.0 + f64::EPSILON][usize::from(odd % 4)]
                }
                204..240 => -0.0,
                _ => f64::from_be_bytes(choices.array()),
            },
            claim_timeout: span(choices),
            reuse_delay: span(choices),
            drain_timeout: span(choices),
            capacity: bounds(choices, number),
            interval: bounds(choices, span),
            reference: choices.flag(),
            ids: choices.of([
                IdExchange::None,
                IdExchange::Wire(IdFormat::Hex8),
                IdExchange::Wire(IdFormat::Raw4),
            ]),
            max_dials: number(choices),
            dial_timeout: span(choices),
            backoff: bounds(choices, span),
            max_handshakes: number(choices),
            max_per_source: choices.flag().then(|| number(choices)),
        }
    }

    // --- what the documentation says ------------------------------------------------------------

    fn is_sound(&self) -> bool {
        let positive = [self.handshake_timeout, self.claim_timeout, self.drain_timeout];
        let optional = [self.idle_timeout, self.max_lifetime].into_iter().flatten();
        (1..=MAX_CONNECTIONS).contains(&self.max_connections)
            && self.max_waiters > 0
            && positive.into_iter().chain(optional).all(is_a_period)
            && self.reuse_delay <= LONGEST
            && self.lifetime_jitter >= 0.0
            && self.lifetime_jitter <= 1.0
    }

    fn client_is_sound(&self) -> bool {
        let (low, high) = self.capacity;
        let ranges = [self.interval, self.backoff];
        self.is_sound()
            && 0 < low
            && low <= high
            && high <= self.max_connections
            && self.max_dials > 0
            && is_a_period(self.dial_timeout)
            && ranges.into_iter().all(|(low, high)| is_a_period(low) && low <= high)
            && ranges.into_iter().all(|(_, high)| high <= LONGEST)
    }

    fn server_is_sound(&self) -> bool {
        self.is_sound()
            && (1..=self.max_connections).contains(&self.capacity.1)
            && (1..=MAX_HANDSHAKES).contains(&self.max_handshakes)
            && self.max_per_source != Some(0)
    }

    // --- what the builders say ------------------------------------------------------------------

    fn client(&self) -> Result<ClientConfig, pool_proto::ConfigError> {
        self.client_builder(ClientConfig::builder().capacity(self.capacity.0..=self.capacity.1))
            .build()
    }

    fn server(&self) -> Result<ServerConfig, pool_proto::ConfigError> {
        self.server_builder(ServerConfig::builder().capacity(self.capacity.1)).build()
    }

    fn client_builder(
        &self,
        builder: pool_proto::ClientConfigBuilder,
    ) -> pool_proto::ClientConfigBuilder {
        common!(builder, self)
            .interval(self.interval.0..=self.interval.1)
            .tuning(if self.reference { Tuning::NodePass } else { Tuning::Demand })
            .ids(self.ids)
            .max_dials(self.max_dials)
            .dial_timeout(self.dial_timeout)
            .backoff(self.backoff.0, self.backoff.1)
    }

    fn server_builder(
        &self,
        builder: pool_proto::ServerConfigBuilder,
    ) -> pool_proto::ServerConfigBuilder {
        common!(builder, self)
            .max_handshakes(self.max_handshakes)
            .max_per_source(self.max_per_source)
    }

    fn take_order(&self) -> TakeOrder {
        if self.newest_first { TakeOrder::NewestFirst } else { TakeOrder::OldestFirst }
    }

    // --- what the machines do -------------------------------------------------------------------

    fn run_client(&self, choices: &mut Choices<'_>) {
        let (low, high) = self.capacity;
        let mut pool = ClientHarness::client(low, high, |builder| self.client_builder(builder));
        pool.max_dials = self.max_dials;
        pool.drain_timeout = self.drain_timeout;
        for step in 0..MOST_STEPS {
            match choices.byte() {
                0..40 => {
                    if let Some(token) = pool.dialing().first().copied() {
                        pool.dialed(token);
                    }
                }
                40..80 => {
                    if let Some(token) = pool.handshaking().first().copied() {
                        let id = ConnId::from_bytes((step as u32).to_be_bytes());
                        pool.established(token, (self.ids != IdExchange::None).then_some(id));
                    }
                }
                80..90 => outage(&mut pool),
                _ if choices.is_empty() => break,
                _ => users(&mut pool, choices),
            }
        }
    }

    /// More peers begin to use their connections than may, and nobody asks for any.
    fn crowd(&self, pool: &mut ServerHarness) {
        for _ in 0..70 {
            let Ok(admission) = pool.admit("10.0.0.1") else { return };
            pool.established(admission.token, None);
            if pool.pooled().contains(&admission.token) {
                pool.readable(admission.token);
            }
            while !pool.checks.is_empty() {
                pool.checked(CheckResult::Data);
            }
            assert!(pool.stats().claimed <= self.capacity.1.saturating_mul(2).max(64));
        }
    }

    fn run_server(&self, choices: &mut Choices<'_>) {
        let capacity = self.capacity.1;
        let mut pool = ServerHarness::server(capacity, |builder| self.server_builder(builder));
        pool.drain_timeout = self.drain_timeout;
        for _ in 0..MOST_STEPS {
            match choices.byte() {
                0..50 => {
                    let _ = pool.admit(choices.of(["10.0.0.1", "10.0.0.2", "2001:db8::1"]));
                }
                50..80 => {
                    if let Some(token) = pool.handshaking().first().copied() {
                        pool.established(token, None);
                    }
                }
                80..90 => self.crowd(&mut pool),
                90..95 => pool.event(Event::AcceptEnded),
                _ if choices.is_empty() => break,
                _ => users(&mut pool, choices),
            }
        }
    }
}

/// As many dials fail as a factor of 2⁶⁴ needs, each as soon as it may be begun.
fn outage(pool: &mut ClientHarness) {
    for _ in 0..70 {
        if let Some(token) = pool.dialing().first().copied() {
            pool.dial_failed(token);
        }
        let Some(due) = pool.machine.poll_timeout() else { return };
        pool.now = due;
        pool.timeout();
    }
}

/// Whether it is longer than zero, and fits into 64 bits of nanoseconds.
fn is_a_period(span: Duration) -> bool {
    !span.is_zero() && span <= LONGEST
}

/// Users come and give back; the time jumps.
fn users<R: pool_proto::Role>(pool: &mut Harness<R>, choices: &mut Choices<'_>) {
    match choices.below(8) {
        0 | 1 => {
            if let pool_proto::Acquired::Ready(lease) = pool.acquire() {
                let _ = pool.put(lease);
            }
        }
        2 => drop(pool.wait_ready(number(choices))),
        3 => {
            if let Some(waiter) = choices.pick(&pool.waiters())
                && let pool_proto::Collected::Ready(lease) = pool.collect(waiter)
            {
                let _ = pool.put_drained(lease, CheckResult::Quiet);
            }
        }
        4 => {
            if !pool.checks.is_empty() {
                pool.checked(choices.of([CheckResult::Quiet, CheckResult::Data]));
            }
        }
        5 => {
            if let Some(token) = choices.pick(&pool.pooled()) {
                pool.readable(token);
            }
        }
        _ => {
            pool.now = instant(choices);
            if choices.flag() {
                pool.timeout();
            }
        }
    }
}
