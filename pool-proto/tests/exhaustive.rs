//! Every script up to a length, from the start: pools of at most three connections, two ready ones
//! and two waiters, each step compared with the oracle.
//!
//! A script is a sequence of steps of an alphabet. All steps there are, in all orders, are too many;
//! so there are several alphabets, each of the steps that have to do with one another, and each is
//! gone through up to [`DEPTH`]. All steps together are gone through up to a smaller depth.
//!
//! A step that has no subject (say, to put back a lease where there is none) does not reach the
//! machine, so the script goes on as the one without it does; that one is shorter and gone through
//! as well. Nothing else is left out: no two states are taken for one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod oracle;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use oracle::checked::reasons;
use oracle::op::{Given, KINDS, Op, Span, When, Who, Whom, WhoseId};
use oracle::{Checked, Setup, Side};
use pool_proto::{Accepting, CloseReason, Dialing, Finding, HandshakeFailure, Tuning};

/// The length of the scripts.
const DEPTH: usize = 8;

const FIRST: Whom = Whom::Nth(0);
const SECOND: Whom = Whom::Nth(1);

/// What was gone through.
#[derive(Default)]
struct Seen {
    /// Scripts of the full length; each is checked after every step.
    scripts: u64,
    steps: u64,
    kinds: [u64; KINDS],
    ends: HashSet<CloseReason>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.steps += other.steps;
        for (sum, count) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += count;
        }
        self.ends.extend(other.ends);
    }

    fn go_on<R: Side + Clone>(&mut self, checked: &Checked<R>, alphabet: &[Op], left: usize) {
        if left == 0 {
            self.scripts += 1;
            return;
        }
        let mut fresh = None;
        for op in alphabet {
            let mut next = fresh.take().unwrap_or_else(|| checked.clone());
            if self.step(&mut next, op) {
                self.go_on(&next, alphabet, left - 1);
            } else {
                fresh = Some(next);
            }
        }
    }

    /// Whether the step had a subject.
    fn step<R: Side>(&mut self, checked: &mut Checked<R>, op: &Op) -> bool {
        let before = *checked.stats();
        let outcome = checked.apply(op);
        if outcome.is_none() && !matches!(op, Op::Pass(_) | Op::Back(_)) {
            return false;
        }
        self.steps += 1;
        self.kinds[op.kind()] += 1;
        let Some(outcome) = outcome else { return true };
        self.ends.extend(reasons(&outcome.actions));
        // These end without an action.
        let (before, after) = (before.totals, checked.stats().totals);
        let failures = |totals: pool_proto::Totals| totals.tls_failures + totals.transport_failures;
        for (reason, ended) in [
            (CloseReason::DialFailed, before.dial_failures < after.dial_failures),
            (CloseReason::HandshakeFailed, failures(before) < failures(after)),
            (CloseReason::Released, before.released < after.released),
            (CloseReason::DrainTimeout, before.drain_timeouts < after.drain_timeouts),
        ] {
            if ended {
                self.ends.insert(reason);
            }
        }
        true
    }
}

/// Scripts to go through: all that begin with `prefix` and go on with up to `depth` steps of
/// `alphabet`.
struct Scripts<'a> {
    name: &'a str,
    setup: Setup,
    prefix: &'a [Op],
    alphabet: &'a [Op],
    depth: usize,
}

impl Scripts<'_> {
    /// Goes through all of them, on all cores.
    fn explore<R: Side + Clone>(&self, all: &mut Seen) {
        let Self { name, setup, prefix, alphabet, depth } = self;
        let pairs =
            alphabet.iter().flat_map(|first| alphabet.iter().map(move |second| [first, second]));
        let pairs = Mutex::new(pairs.collect::<Vec<_>>());
        let explorer = || {
            let mut seen = Seen::default();
            let mut start = Checked::<R>::new(setup, true);
            assert!(prefix.iter().all(|op| seen.step(&mut start, op)), "{name} has a wrong prefix");
            loop {
                let Some(pair) = pairs.lock().unwrap().pop() else { return seen };
                let mut checked = start.clone();
                if pair.iter().all(|op| seen.step(&mut checked, op)) {
                    seen.go_on(&checked, alphabet, depth - pair.len());
                }
            }
        };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let mut seen = Seen::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(explorer)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(part) => seen.add(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        println!(
            "{name}: {} scripts of {depth} of {} steps, {} steps taken",
            seen.scripts,
            alphabet.len(),
            seen.steps
        );
        all.add(seen);
    }
}

const SMALL: Setup = Setup::SMALL;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A connection of a client that is ready.
const CONNECTED: [Op; 2] = [Op::Dialed(FIRST), Op::Established(FIRST, Given::Fresh)];

/// A connection of a server that is ready.
const JOINED: [Op; 2] = [Op::Admit(0), Op::Established(FIRST, Given::Fresh)];

/// Taking, using and giving back.
const LEASES: [Op; 13] = [
    Op::Acquire,
    Op::Put(FIRST),
    Op::PutDrained(FIRST, Finding::Quiet),
    Op::PutDrained(FIRST, Finding::Data),
    Op::Reject(FIRST, Finding::Quiet),
    Op::Reject(FIRST, Finding::Data),
    Op::Release(FIRST),
    Op::Readable(FIRST),
    Op::Checked(FIRST, Finding::Quiet),
    Op::Checked(FIRST, Finding::Data),
    Op::Checked(FIRST, Finding::Closed),
    Op::AcquireById(WhoseId::Live(0)),
    Op::Timeout(When::Due),
];

/// Waiting for any connection.
const QUEUE: [Op; 9] = [
    Op::Acquire,
    Op::AcquireAgain,
    Op::Collect(Who::Nth(0)),
    Op::Collect(Who::Nth(1)),
    Op::Cancel(Who::Nth(0)),
    Op::PutDrained(FIRST, Finding::Quiet),
    Op::Closed(FIRST),
    Op::Readable(FIRST),
    Op::Checked(FIRST, Finding::Data),
];

/// Waiting for one connection, or for stock.
const WAITERS: [Op; 9] = [
    Op::Acquire,
    Op::AcquireById(WhoseId::Live(0)),
    Op::AcquireById(WhoseId::Made(0)),
    Op::WaitReady(2),
    Op::Collect(Who::Nth(0)),
    Op::Cancel(Who::Nth(0)),
    Op::Put(FIRST),
    Op::Checked(FIRST, Finding::Quiet),
    Op::Closed(FIRST),
];

/// A client's own way to connections.
const DIALS: [Op; 12] = [
    Op::Dialed(FIRST),
    Op::DialFailed(FIRST),
    Op::Established(FIRST, Given::Fresh),
    Op::Established(FIRST, Given::Missing),
    Op::Established(FIRST, Given::Same(WhoseId::Live(0))),
    Op::HandshakeFailed(FIRST, HandshakeFailure::Tls),
    Op::Timeout(When::Due),
    Op::Timeout(When::Late(Span::Millis(60_000))),
    Op::Acquire,
    Op::Closed(FIRST),
    Op::Flush,
    Op::Close,
];

/// Failures, successes that do not last, and successes that have lasted.
const RELAPSES: [Op; 7] = [
    Op::Dialed(FIRST),
    Op::DialFailed(FIRST),
    Op::Established(FIRST, Given::Fresh),
    Op::Closed(FIRST),
    Op::Closed(SECOND),
    Op::Timeout(When::Due),
    Op::Pass(Span::Millis(11_000)),
];

/// A server's.
const ADMISSIONS: [Op; 8] = [
    Op::Admit(0),
    Op::Admit(1),
    Op::Established(FIRST, Given::Fresh),
    Op::Established(SECOND, Given::Fresh),
    Op::HandshakeFailed(FIRST, HandshakeFailure::Id),
    Op::Acquire,
    Op::Put(FIRST),
    Op::Timeout(When::Due),
];

/// Every kind of step there is.
const EVERYTHING: [Op; 46] = [
    Op::Acquire,
    Op::AcquireAgain,
    Op::AcquireById(WhoseId::Live(0)),
    Op::AcquireById(WhoseId::Ended(0)),
    Op::AcquireById(WhoseId::Made(0)),
    Op::WaitReady(1),
    Op::WaitReady(3),
    Op::Collect(Who::Nth(0)),
    Op::Collect(Who::Foreign),
    Op::Cancel(Who::Nth(0)),
    Op::Cancel(Who::Over(0)),
    Op::Why(Who::Nth(0)),
    Op::Put(FIRST),
    Op::Put(Whom::Ended(0)),
    Op::PutDrained(FIRST, Finding::Quiet),
    Op::PutDrained(FIRST, Finding::Closed),
    Op::Reject(FIRST, Finding::Quiet),
    Op::Reject(Whom::Any(0), Finding::Quiet),
    Op::Release(FIRST),
    Op::PutForeign,
    Op::Clean,
    Op::Flush,
    Op::Close,
    Op::AddError,
    Op::ResetError,
    Op::Dialed(FIRST),
    Op::Dialed(Whom::Foreign),
    Op::DialFailed(FIRST),
    Op::Established(FIRST, Given::Fresh),
    Op::Established(Whom::Any(0), Given::Fresh),
    Op::HandshakeFailed(FIRST, HandshakeFailure::Transport),
    Op::Readable(FIRST),
    Op::Readable(Whom::Any(0)),
    Op::Checked(FIRST, Finding::Quiet),
    Op::Checked(FIRST, Finding::Data),
    Op::Checked(Whom::Any(0), Finding::Quiet),
    Op::Closed(FIRST),
    Op::Closed(Whom::Any(0)),
    Op::AcceptEnded,
    Op::Admit(0),
    Op::Admit(1),
    Op::Timeout(When::Due),
    Op::Timeout(When::Early),
    Op::Timeout(When::Late(Span::Nanosecond)),
    Op::Pass(Span::Millis(1000)),
    Op::Back(Span::Millis(1000)),
];

/// That not little was gone through: every kind of step was taken, and connections ended for every
/// reason but those of the other side.
fn assert_reached(seen: &Seen, other_side: &[Op], unreachable: &[CloseReason]) {
    use CloseReason::*;

    assert!(seen.scripts > 4_000_000, "{} scripts", seen.scripts);
    for op in EVERYTHING {
        let expected = !other_side.contains(&op);
        assert_eq!(seen.kinds[op.kind()] > 0, expected, "whether {op:?} was reached");
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
        Evicted,
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

#[test]
fn every_short_life_of_a_client_is_right() {
    let mut seen = Seen::default();
    let pair = Setup { capacity: (2, 2), ..SMALL };
    let reference =
        Setup { tuning: Tuning::Reference, interval: (seconds(1), seconds(1)), ..SMALL };
    let aging = Setup { idle_timeout: Some(seconds(3)), max_lifetime: Some(seconds(7)), ..SMALL };
    let resting = Setup { capacity: (1, 1), reuse_delay: seconds(2), ..aging };
    let scripts =
        |name, setup, prefix, alphabet, depth| Scripts { name, setup, prefix, alphabet, depth };
    for scripts in [
        scripts("dials", SMALL, &[], &DIALS[..], DEPTH),
        scripts("dials in rounds", reference, &[], &DIALS, DEPTH),
        scripts("relapses", pair, &[], &RELAPSES, DEPTH),
        scripts("leases", SMALL, &[], &[&CONNECTED[..], &LEASES].concat(), DEPTH),
        scripts("leases of what rests", resting, &CONNECTED, &LEASES, DEPTH),
        scripts("queue", SMALL, &[], &[&CONNECTED[..], &QUEUE].concat(), DEPTH),
        scripts("waiters", SMALL, &[], &[&CONNECTED[..], &WAITERS].concat(), DEPTH),
        scripts("everything", aging, &[], &EVERYTHING, 4),
    ] {
        scripts.explore::<Dialing>(&mut seen);
    }
    assert_reached(&seen, &[Op::Admit(0), Op::Admit(1)], &[CloseReason::Evicted]);
}

#[test]
fn every_short_life_of_a_server_is_right() {
    let mut seen = Seen::default();
    let aging = Setup { idle_timeout: Some(seconds(3)), max_lifetime: Some(seconds(7)), ..SMALL };
    let resting = Setup { reuse_delay: seconds(2), ..aging };
    let few = Setup { max_handshakes: 1, max_per_source: Some(1), ..SMALL };
    let scripts =
        |name, setup, prefix, alphabet, depth| Scripts { name, setup, prefix, alphabet, depth };
    for scripts in [
        scripts("admissions", SMALL, &[], &ADMISSIONS[..], DEPTH),
        scripts("admissions within limits", few, &[], &ADMISSIONS, DEPTH),
        scripts("leases", SMALL, &[], &[&JOINED[..], &LEASES].concat(), DEPTH),
        scripts("leases of what rests", resting, &JOINED, &LEASES, DEPTH),
        scripts("queue", SMALL, &[], &[&JOINED[..], &QUEUE].concat(), DEPTH),
        scripts("waiters", SMALL, &[], &[&JOINED[..], &WAITERS].concat(), DEPTH),
        scripts("everything", aging, &[], &EVERYTHING, 4),
    ] {
        scripts.explore::<Accepting>(&mut seen);
    }
    let of_dials = [
        CloseReason::DialFailed,
        CloseReason::DialTimeout,
        CloseReason::DuplicateId,
        CloseReason::MissingId,
    ];
    assert_reached(&seen, &[Op::DialFailed(FIRST)], &of_dials);
}
