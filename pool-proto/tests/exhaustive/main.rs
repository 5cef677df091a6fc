//! Every script up to a length, from the start: pools of at most three connections, two ready ones
//! and two waiters, each step compared with the oracle.
//!
//! A script is a sequence of steps of an alphabet: mostly [all there are](steps), on every subject.
//!
//! # Why not every script is run
//!
//! Most scripts lead to states that others have reached before, up to names. The exploration goes
//! breadth first over states, and expands each state once, where it is reached in the fewest steps. Two
//! states are the same if they have the same key. The key covers everything of the machine, of the naive
//! pool and of the world outside that a later step could read
//! ([`Machine::hash_state`](pool_proto::Machine::hash_state), `oracle/state_key.rs`), but
//!
//! - *names*: tokens, ids, waiters and connections. They are compared for equality only; a new one
//!   differs from all before. A key names each connection by its place among those of its state, and
//!   each waiter by its place in the queue. A step may choose any subject, so the number of a subject
//!   makes no difference to the set of all steps.
//! - *the time*: only the distance between two instants is ever read. A key holds the distances from
//!   now, no further back than they are read, and none for deadlines that are switched off.
//! - *counters*: no later step depends on them. The oracle compares them step by step.
//! - *the past*: of ended connections and waiters only whether there are any, of ended ids only those
//!   that a step can still name: all others are equally stale.
//! - *random draws that choose between equals*: the step of a lifetime that is not jittered, and the
//!   keys of hash tables. The generator of the waits after failures is in the key.
//!
//! Equal keys thus mean the same future, up to names. [`same`] checks that. A step that has no subject
//! does not reach the machine, and steps that must not change anything (stale events, unknown waiters,
//! counters) are taken from every state one after the other: the key stays the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod explore;

mod same;
mod steps;

use std::time::Duration;

use explore::{Scripts, Seen};
use pool_proto::{Accepting, CloseReason, Dialing, Tuning};
use pool_testkit::call::TestRole;
use pool_testkit::oracle::op::{Given, KINDS, Op, Span, When, Who, Whom};
use pool_testkit::setup::{Setup, Side};
use steps::Alphabet;

/// The length of the scripts of all steps.
const DEPTH: u8 = 8;

const FIRST: Whom = Whom::Nth(0);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const SMALL: Setup = Setup::SMALL;
const AGING: Setup = Setup {
    idle_timeout: Some(seconds(3)),
    max_lifetime: Some(seconds(7)),
    claim_timeout: seconds(2),
    ..SMALL
};
/// The zero id names the control connection.
const CONTROL: Setup = Setup { control_connection: true, ..AGING };
const RESTING: Setup = Setup { capacity: (1, 1), reuse_delay: seconds(2), ..AGING };

/// A connection of a client that is ready.
const CONNECTED: [Op; 2] = [Op::Dialed(FIRST), Op::Established(FIRST, Given::Fresh)];

/// A connection of a server that is ready.
const JOINED: [Op; 3] = [Op::Accept(0), Op::Admit(FIRST, 0), Op::Established(FIRST, Given::Fresh)];

/// Failures, successes that do not last, and successes that have lasted.
fn relapses() -> Alphabet {
    let of_dials = |op: &Op| {
        matches!(op, Op::Dialed(_) | Op::DialFailed(_) | Op::Closed(_) | Op::Timeout(When::Due))
            || matches!(op, Op::Established(_, Given::Fresh))
    };
    let mut alphabet = Alphabet::whole(true);
    alphabet.steps.retain(of_dials);
    alphabet.steps.push(Op::Pass(Span::Millis(11_000)));
    alphabet.futile.clear();
    alphabet
}

/// A server that turns connections away while it holds others, and callers that wait for room.
fn rejections() -> Alphabet {
    let mut alphabet = relapses();
    let of_full = |op: &Op| {
        matches!(op, Op::HandshakeFailed(..) | Op::DialNow | Op::Acquired | Op::Cancel(Who::Nth(0)))
            || matches!(op, Op::Release(Whom::Nth(0)))
    };
    alphabet.steps.extend(Alphabet::whole(true).steps.into_iter().filter(of_full));
    alphabet
}

fn whole<R: TestRole>(
    name: &'static str,
    setup: Setup,
    prefix: &'static [Op],
    depth: u8,
) -> Scripts<'static> {
    Scripts { name, setup, prefix, alphabet: Alphabet::whole(R::SIDE == Side::Client), depth }
}

/// Asserts that the exploration was not trivial: every kind of step was taken but a change of the
/// configuration, and connections ended
/// for every reason but those of the other side.
fn assert_reached(seen: &Seen, other_side: &[Op], unreachable: &[CloseReason]) {
    use CloseReason::*;

    assert!(seen.steps > 1_000_000, "{} steps", seen.steps);
    // A key tells states under one configuration apart, so random scripts alone change it.
    let others = other_side.iter().chain(&[Op::SetConfig(0, 0)]);
    let others: Vec<usize> = others.map(Op::kind).collect();
    for kind in 0..KINDS {
        assert_eq!(seen.kinds[kind] > 0, !others.contains(&kind), "whether {kind} was reached");
    }
    let all = [
        DialFailed,
        DialTimeout,
        HandshakeFailed,
        HandshakeTimeout,
        DuplicateId,
        MissingId,
        PeerClosed,
        IdleTimeout,
        Expired,
        Unclaimed,
        Overflow,
        Leftover,
        DrainTimeout,
        Silent,
        HandshakeEvicted,
        Evicted,
        Replaced,
        Cleaned,
        Flushed,
        PoolClosed,
        Released,
        Stale,
    ];
    for reason in all {
        let expected = !unreachable.contains(&reason);
        assert_eq!(seen.ends.contains(&reason), expected, "whether {reason:?} was reached");
    }
}

/// Runs them in sequence: each takes all cores.
#[test]
fn every_short_life_is_right() {
    every_short_life_of_a_server_is_right();
    every_short_life_of_a_client_is_right();
}

fn every_short_life_of_a_client_is_right() {
    let mut seen = Seen::default();
    // The law of demand is a value of its own with tests of its own, and there are endless states of it.
    // Here the capacity moves by calls.
    let fixed = Setup { capacity: (1, 1), ..AGING };
    let pair = Setup { capacity: (2, 2), ..SMALL };
    // The first wait with a caller may be shorter than one without.
    let backoff = (seconds(1), seconds(8));
    let three = Setup { capacity: (3, 3), max_connections: 4, max_dials: 3, backoff, ..SMALL };
    let node_pass = Setup { tuning: Tuning::NodePass, interval: (seconds(1), seconds(1)), ..SMALL };
    for scripts in [
        whole::<Dialing>("client", fixed, &[], DEPTH),
        Scripts {
            alphabet: Alphabet::whole(true).by_the_nanosecond(),
            ..whole::<Dialing>("client, to the nanosecond", fixed, &[], 6)
        },
        whole::<Dialing>("client, rounds", node_pass, &[], 5),
        whole::<Dialing>("client, control", Setup { capacity: (1, 1), ..CONTROL }, &[], 5),
        whole::<Dialing>("client, resting", RESTING, &CONNECTED, 5),
        Scripts { name: "relapses", setup: pair, prefix: &[], alphabet: relapses(), depth: 10 },
        Scripts {
            name: "full",
            setup: three,
            prefix: &CONNECTED,
            alphabet: rejections(),
            depth: 7,
        },
    ] {
        scripts.explore::<Dialing>(&mut seen);
    }
    let of_peers = [CloseReason::Silent, CloseReason::HandshakeEvicted, CloseReason::Evicted];
    assert_reached(&seen, &[Op::Accept(0), Op::Admit(FIRST, 0)], &of_peers);
}

fn every_short_life_of_a_server_is_right() {
    let mut seen = Seen::default();
    let few = Setup { max_handshakes: 1, max_per_source: Some(1), ..SMALL };
    for scripts in [
        whole::<Accepting>("server", AGING, &[], DEPTH),
        Scripts {
            alphabet: Alphabet::whole(false).by_the_nanosecond(),
            ..whole::<Accepting>("server, to the nanosecond", AGING, &[], 6)
        },
        whole::<Accepting>("server, few", few, &[], 6),
        whole::<Accepting>("server, control", CONTROL, &[], 6),
        whole::<Accepting>("server, resting", RESTING, &JOINED, 6),
    ] {
        scripts.explore::<Accepting>(&mut seen);
    }
    let of_dials = [
        CloseReason::DialFailed,
        CloseReason::DialTimeout,
        CloseReason::DuplicateId,
        CloseReason::MissingId,
    ];
    assert_reached(&seen, &[Op::DialNow, Op::SetCapacity(1, true)], &of_dials);
}

#[test]
fn states_with_one_key_have_one_future() {
    let exact = |dials| Alphabet::whole(dials).by_the_nanosecond();
    let fixed = Setup { capacity: (1, 1), ..AGING };
    let clients = Scripts { alphabet: exact(true), ..whole::<Dialing>("clients", fixed, &[], 6) };
    let servers =
        Scripts { alphabet: exact(false), ..whole::<Accepting>("servers", AGING, &[], 6) };
    let clients = clients.assert_sameness::<Dialing>();
    let servers = servers.assert_sameness::<Accepting>();
    println!("compared: {clients} pairs of clients, {servers} of servers");
    assert!(clients > 100 && servers > 30, "{clients} and {servers} pairs");
}
