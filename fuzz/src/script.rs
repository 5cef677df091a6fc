//! One machine and any order of events, told to the harness of the machine's tests: it carries out
//! the actions, keeps its own account of every connection, and compares it with the machine's after
//! each step.

#[path = "../../pool-proto/tests/machine/harness/mod.rs"]
#[allow(dead_code, reason = "the machine's tests use more of it")]
#[allow(unused_qualifications, reason = "its prelude is not that of every including crate")]
pub(crate) mod harness;

mod life;

use pool_proto::{Event, Finding, HandshakeFailure, IdExchange, TakeOrder, Tuning, WaitReason};

use super::choices::Choices;
use harness::{ClientHarness, ServerHarness, id, ms};
use life::Life;

/// A script is over after so many steps. Longer ones are slower and find no more: the machines are
/// small.
const MOST_STEPS: usize = 500;

/// What can fail in a handshake.
const FAILURES: [HandshakeFailure; 3] =
    [HandshakeFailure::Tls, HandshakeFailure::Id, HandshakeFailure::Transport];

/// A client: dials, handshakes, users, time, in any order. Then everything goes well, and everybody
/// who waits must be served, and the pool be full.
pub fn client_script(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (min, max) = (choices.within(1, 3), choices.within(3, 6));
    let (max_dials, max_connections) = (choices.within(1, 4), choices.within(6, 15));
    let ids = choices.of([IdExchange::default(), IdExchange::None]);
    let tuning = choices.of([Tuning::Demand, Tuning::Reference]);
    let pool = ClientHarness::client(min, max, |config| {
        config
            .ids(ids)
            .max_dials(max_dials)
            .max_connections(max_connections)
            .max_waiters(choices.within(1, 8))
            .tuning(tuning)
            .take_order(choices.of([TakeOrder::OldestFirst, TakeOrder::NewestFirst]))
            .reuse_delay(choices.of([ms(0), ms(70)]))
            .idle_timeout(choices.of([None, Some(ms(900))]))
            .max_lifetime(choices.of([None, Some(ms(1500))]))
            .claim_timeout(ms(300))
            .backoff(ms(20), ms(300))
            .seed(choices.byte().into())
    });
    let mut life = Life::new(pool);
    life.pool.max_dials = max_dials;
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        client_step(&mut life, &mut choices, ids);
    }
    serve(life, ids, tuning);
}

fn client_step(life: &mut Life<pool_proto::Dialing>, choices: &mut Choices<'_>, ids: IdExchange) {
    let (dialing, handshaking) = (life.pool.dialing(), life.pool.handshaking());
    match choices.below(32) {
        0..4 => {
            if let Some(token) = choices.pick(&dialing) {
                life.pool.dialed(token);
            }
        }
        4..10 => {
            if let Some(token) = choices.pick(&handshaking) {
                // Few ids, so that the peer sends live ones again; now and then none.
                let fresh = id(choices.within(0, 20));
                let named = ids != IdExchange::None && fresh != id(20);
                life.known(fresh, token);
                life.pool.established(token, named.then_some(fresh));
            }
        }
        10 => {
            if let Some(token) = choices.pick(&dialing) {
                life.pool.dial_failed(token);
            }
        }
        11 => {
            if let Some(token) = choices.pick(&handshaking) {
                life.pool.handshake_failed(token, choices.of(FAILURES));
            }
        }
        _ => life.step(choices),
    }
}

/// From here on everything goes well.
fn serve(mut life: Life<pool_proto::Dialing>, ids: IdExchange, tuning: Tuning) {
    life.pool.auto = Some(Finding::Quiet);
    while !life.pool.checks.is_empty() {
        life.pool.checked(Finding::Quiet);
    }
    for round in 0.. {
        life.release_all();
        for token in life.pool.dialing() {
            life.pool.dialed(token);
        }
        for (fresh, token) in (1000 * (round + 1)..).zip(life.pool.handshaking()) {
            life.pool.established(token, (ids != IdExchange::None).then_some(id(fresh)));
        }
        life.pool.pass(ms(50));
        for waiter in life.pool.waiters() {
            life.collect(waiter);
        }
        let waiting = life.pool.waiters().into_iter();
        let mut reasons = waiting.filter_map(|waiter| life.pool.machine.why(waiter));
        // An id may never come, and the reference's capacity does not follow demand.
        let in_vain = |why| match why {
            WaitReason::IdNotSeen => true,
            WaitReason::Stock { .. } => tuning == Tuning::Reference,
            _ => false,
        };
        let stats = life.pool.stats();
        let full = stats.idle + stats.dialing + stats.handshaking >= stats.capacity;
        // Rounds of the reference may bring less than the capacity.
        if reasons.all(in_vain) && (full || tuning == Tuning::Reference) {
            break;
        }
        assert!(round < 200, "{stats:?}");
    }
}

/// A server: peers of few sources, handshakes, users, time, in any order.
pub fn server_script(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (capacity, max_connections) = (choices.within(1, 6), choices.within(6, 13));
    let max_per_source = choices.of([None, Some(2), Some(3), Some(5)]);
    let mut pool = ServerHarness::server(capacity, |config| {
        config
            .max_connections(max_connections)
            .max_handshakes(choices.within(1, 4))
            .max_per_source(max_per_source)
            .max_waiters(choices.within(1, 8))
            .take_order(choices.of([TakeOrder::OldestFirst, TakeOrder::NewestFirst]))
            .allow("10.0.0.0/29, 2001:db8::/32".parse().unwrap())
            .reuse_delay(choices.of([ms(0), ms(70)]))
            .idle_timeout(choices.of([None, Some(ms(900))]))
            .max_lifetime(choices.of([None, Some(ms(1500))]))
            .claim_timeout(ms(300))
            .seed(choices.byte().into())
    });
    pool.max_per_source = max_per_source.map(|limit| limit as usize);
    let mut life = Life::new(pool);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        server_step(&mut life, &mut choices);
    }
    life.release_all();
}

fn server_step(life: &mut Life<pool_proto::Accepting>, choices: &mut Choices<'_>) {
    let handshaking = life.pool.handshaking();
    match choices.below(32) {
        0..8 => {
            let source = choices.of(["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"]);
            if let Ok(admission) = life.pool.admit(source) {
                life.known(admission.id, admission.token);
            }
        }
        8..13 => {
            if let Some(token) = choices.pick(&handshaking) {
                life.pool.established(token, None);
            }
        }
        13 => {
            if let Some(token) = choices.pick(&handshaking) {
                life.pool.handshake_failed(token, choices.of(FAILURES));
            }
        }
        14 if choices.byte() == 0xff => life.pool.event(Event::AcceptEnded),
        _ => life.step(choices),
    }
}
