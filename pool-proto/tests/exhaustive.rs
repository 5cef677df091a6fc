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
    /// Scripts of the full length, and those that end earlier because no step has a subject.
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
        let passes = matches!(op, Op::Pass(_) | Op::Back(_));
        let Some(outcome) = checked.apply(op) else {
            return passes;
        };
        self.steps += 1;
        self.kinds[op.kind()] += 1;
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

/// Goes through all scripts on all cores.
fn explore<R: Side + Clone>(name: &str, setup: Setup, alphabet: &[Op], depth: usize) -> Seen {
    let starts = alphabet.iter().flat_map(|first| alphabet.iter().map(move |second| [first, second]));
    let work = Mutex::new(starts.collect::<Vec<_>>());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let seen = std::thread::scope(|scope| {
        let explorer = || {
            let mut seen = Seen::default();
            loop {
                let Some(start) = work.lock().unwrap().pop() else { return seen };
                let mut checked = Checked::<R>::new(&setup, false);
                if start.iter().all(|op| seen.step(&mut checked, op)) {
                    seen.go_on(&checked, alphabet, depth - start.len());
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(explorer)).collect();
        let mut all = Seen::default();
        for thread in threads {
            match thread.join() {
                Ok(seen) => all.add(seen),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    println!(
        "{name}: {} steps in the alphabet, scripts of {depth}: {}, steps taken: {}",
        alphabet.len(),
        seen.scripts,
        seen.steps
    );
    seen
}

const SMALL: Setup = Setup::SMALL;

#[test]
fn probe() {
    let supply = [
        Op::Dialed(FIRST),
        Op::DialFailed(FIRST),
        Op::Established(FIRST, Given::Fresh),
        Op::Established(FIRST, Given::Same(WhoseId::Live(0))),
        Op::HandshakeFailed(FIRST, HandshakeFailure::Tls),
        Op::Timeout(When::Due),
        Op::Acquire,
        Op::Closed(FIRST),
        Op::Flush,
    ];
    let lease = [
        Op::Dialed(FIRST),
        Op::Established(FIRST, Given::Fresh),
        Op::Acquire,
        Op::Put(FIRST),
        Op::PutDrained(FIRST, Finding::Quiet),
        Op::Reject(FIRST, Finding::Data),
        Op::Checked(FIRST, Finding::Quiet),
        Op::Checked(FIRST, Finding::Data),
        Op::Readable(FIRST),
        Op::Timeout(When::Due),
    ];
    for depth in 4..=8 {
        explore::<Dialing>("supply", SMALL, &supply, depth);
        explore::<Dialing>("lease", SMALL, &lease, depth);
    }
}
