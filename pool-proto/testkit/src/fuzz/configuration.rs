//! Any configuration: the builders refuse exactly the configurations that the documentation calls
//! invalid, and a machine with any other one survives a short script at any time.

use std::time::Duration;

use pool_proto::{
    Acquirer, CheckResult, ConnId, Event, IdExchange, IdFormat, Instant, MAX_CONNECTIONS,
    MAX_HANDSHAKES, TakeOrder, Tuning,
};

use super::choices::Choices;
use crate::call::TestRole;
use crate::harness::{ClientHarness, Harness, ServerHarness};
use crate::setup::Setup;

/// The last span that fits: one more nanosecond is 584 years, which means never.
const LONGEST: Duration = Duration::from_nanos(u64::MAX - 1);

/// A machine that dials or admits more than this at once is built, but not run: it would only cost
/// time and memory.
const MOST_AT_ONCE: u32 = 64;

const MOST_STEPS: usize = 60;

/// The bytes: every setting of both builders, then what happens and when.
pub fn configuration(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let setup = settings(&mut choices);
    let client = setup.client();
    let server = setup.server();
    assert_eq!(client.is_ok(), client_is_sound(&setup), "{setup:?}: {client:?}");
    assert_eq!(server.is_ok(), server_is_sound(&setup), "{setup:?}: {server:?}");
    for error in [client.as_ref().err(), server.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    if client.is_ok() && setup.max_dials.min(setup.capacity.1) <= MOST_AT_ONCE {
        run_client(&setup, &mut choices);
    }
    if server.is_ok() {
        run_server(&setup, &mut choices);
    }
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

/// Picks one of the last instants, one of the first, or any.
fn instant(choices: &mut Choices<'_>) -> Instant {
    let nanos = match choices.byte() {
        0..100 => u64::MAX - u64::from(choices.byte()),
        100..200 => u64::from(choices.byte()) * 10_000_000,
        _ => u64::from_be_bytes(choices.array()),
    };
    Instant::from_nanos(nanos)
}

/// Any settings.
fn settings(choices: &mut Choices<'_>) -> Setup {
    let mut setup = Setup {
        seed: 1,
        max_connections: number(choices),
        max_waiters: number(choices),
        take_order: Some(match choices.flag() {
            true => TakeOrder::NewestFirst,
            false => TakeOrder::OldestFirst,
        }),
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
        control_connection: false,
        opening_byte: false,
        capacity: bounds(choices, number),
        interval: bounds(choices, span),
        keep: Duration::ZERO,
        tuning: if choices.flag() { Tuning::NodePass } else { Tuning::Demand },
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
        listed: false,
        first_byte_timeout: span(choices),
        certificates: choices.flag(),
        acquirer: Acquirer::Either,
    };
    // From other settings, so that old inputs keep their meaning.
    setup.keep = setup.interval.1;
    setup.acquirer = match setup.max_waiters % 8 {
        5 => Acquirer::ThisEnd,
        6 => Acquirer::Peer,
        7 => Acquirer::Both,
        _ => Acquirer::Either,
    };
    setup
}

// --- what the documentation says ----------------------------------------------------------------

fn is_sound(setup: &Setup) -> bool {
    let positive = [setup.handshake_timeout, setup.claim_timeout, setup.drain_timeout];
    let optional = [setup.idle_timeout, setup.max_lifetime].into_iter().flatten();
    (1..=MAX_CONNECTIONS).contains(&setup.max_connections)
        && setup.max_waiters > 0
        && positive.into_iter().chain(optional).all(is_a_period)
        && setup.reuse_delay <= LONGEST
        && setup.lifetime_jitter >= 0.0
        && setup.lifetime_jitter <= 1.0
}

fn client_is_sound(setup: &Setup) -> bool {
    let (low, high) = setup.capacity;
    let ranges = [setup.interval, setup.backoff];
    let needs_ids = matches!(setup.acquirer, Acquirer::Both | Acquirer::Peer);
    is_sound(setup)
        && (!needs_ids || setup.ids_exchanged())
        && is_enough_for_both(setup)
        && 0 < low
        && low <= high
        && high <= setup.max_connections
        && setup.max_dials > 0
        && is_a_period(setup.dial_timeout)
        && ranges.into_iter().all(|(low, high)| is_a_period(low) && low <= high)
        && ranges.into_iter().all(|(_, high)| high <= LONGEST)
}

/// Two ends that both acquire have at least one connection each.
fn is_enough_for_both(setup: &Setup) -> bool {
    setup.acquirer != Acquirer::Both || setup.capacity.1 > 1
}

fn server_is_sound(setup: &Setup) -> bool {
    is_sound(setup)
        && is_enough_for_both(setup)
        && (1..=setup.max_connections).contains(&setup.capacity.1)
        && (1..=MAX_HANDSHAKES).contains(&setup.max_handshakes)
        && setup.max_per_source != Some(0)
        && is_a_period(setup.first_byte_timeout)
}

// --- what the machines do -----------------------------------------------------------------------

fn run_client(setup: &Setup, choices: &mut Choices<'_>) {
    let mut pool = ClientHarness::new(setup);
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
                    pool.established(token, (setup.ids != IdExchange::None).then_some(id));
                }
            }
            80..90 => outage(&mut pool),
            _ if choices.is_empty() => break,
            _ => users(&mut pool, choices),
        }
    }
}

/// More peers begin to use their connections than may, and nobody asks for any.
fn crowd(setup: &Setup, pool: &mut ServerHarness) {
    for _ in 0..70 {
        let Ok(admission) = pool.admit("10.0.0.1") else { return };
        pool.established(admission.token, None);
        if pool.pooled().contains(&admission.token) {
            pool.readable(admission.token);
        }
        while !pool.checks.is_empty() {
            pool.checked(CheckResult::Data);
        }
        assert!(pool.stats().claimed <= setup.capacity.1.saturating_mul(2).max(64));
    }
}

fn run_server(setup: &Setup, choices: &mut Choices<'_>) {
    let mut pool = ServerHarness::new(setup);
    for _ in 0..MOST_STEPS {
        match choices.byte() {
            0..50 => {
                let address = choices.of(["10.0.0.1", "10.0.0.2", "2001:db8::1"]);
                match choices.byte() {
                    0..50 => drop(pool.accept(address)),
                    _ => drop(pool.admit(address)),
                }
            }
            50..80 => {
                if let Some(token) = pool.admitted().first().copied() {
                    pool.established(token, None);
                }
            }
            80..90 => crowd(setup, &mut pool),
            90..95 => pool.event(Event::AcceptEnded),
            _ if choices.is_empty() => break,
            _ => users(&mut pool, choices),
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
fn users<R: TestRole>(pool: &mut Harness<R>, choices: &mut Choices<'_>) {
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
