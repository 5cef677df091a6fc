//! Breadth first over states: a state that is reached twice is expanded once.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use pool_proto::{CloseReason, Totals};

use crate::steps::{Alphabet, STALE, has_subject};
use pool_testkit::call::TestRole;
use pool_testkit::oracle::checked::{Outcome, reasons};
use pool_testkit::oracle::op::{KINDS, Op};
use pool_testkit::oracle::{Checked, Setup};

/// The scope: a step that makes one more waiter is taken, but not gone on from.
const MAX_WAITERS: usize = 2;

/// A script: one byte a step, the first one uppermost, so that scripts of one length sort like their
/// steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Script {
    steps: u128,
    length: u8,
}

impl Script {
    const LONGEST: u8 = 16;
    const EMPTY: Self = Self { steps: 0, length: 0 };

    fn with(self, step: usize) -> Self {
        assert!(self.length < Self::LONGEST);
        let shift = 8 * (Self::LONGEST - 1 - self.length);
        let step = u128::from(u8::try_from(step).unwrap());
        Self { steps: self.steps | step << shift, length: self.length + 1 }
    }

    fn steps(self) -> impl Iterator<Item = usize> {
        self.steps.to_be_bytes().into_iter().map(usize::from).take(self.length.into())
    }
}

/// Keys are hashes already.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are of 128 bits");
    }

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let half = key as u64;
        self.0 = half;
    }
}

pub(crate) type States = HashMap<u128, Script, BuildHasherDefault<AsItIs>>;

/// Kinds of steps and ends that occurred.
pub(crate) struct Seen {
    /// Steps taken and checked.
    pub(crate) steps: u64,
    pub(crate) kinds: [u64; KINDS],
    pub(crate) ends: HashSet<CloseReason>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { steps: 0, kinds: [0; KINDS], ends: HashSet::new() }
    }
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        for (sum, count) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += count;
        }
        self.ends.extend(other.ends);
    }

    /// Whether the step came to anything: it had a subject, or time went by.
    fn take<R: TestRole>(&mut self, checked: &mut Checked<R>, op: &Op) -> bool {
        let before = checked.stats().totals;
        let outcome = checked.apply(op);
        if outcome.is_none() && !matches!(op, Op::Pass(_) | Op::Back(_)) {
            return false;
        }
        self.steps += 1;
        self.kinds[op.kind()] += 1;
        if let Some(outcome) = outcome {
            self.note_ends(&outcome, before, checked.stats().totals);
        }
        true
    }

    fn note_ends(&mut self, outcome: &Outcome, before: Totals, after: Totals) {
        self.ends.extend(reasons(&outcome.actions));
        // These end without an action.
        let failures = |totals: Totals| totals.tls_failures + totals.transport_failures;
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
    }
}

/// Scripts to explore: `prefix`, followed by any sequence of up to `depth` steps of the alphabet.
pub(crate) struct Scripts<'a> {
    pub(crate) name: &'a str,
    pub(crate) setup: Setup,
    pub(crate) prefix: &'a [Op],
    pub(crate) alphabet: Alphabet,
    pub(crate) depth: u8,
}

/// A thread's part of a depth.
struct Part {
    seen: Seen,
    reached: States,
    /// Scripts that led to a state which another leads to as well: some of them.
    again: Vec<(u128, Script)>,
}

impl Scripts<'_> {
    pub(crate) fn start<R: TestRole>(&self) -> Checked<R> {
        let mut start = Checked::new(&self.setup, false);
        for op in self.prefix {
            assert!(start.apply(op).is_some(), "{} has a wrong prefix", self.name);
        }
        start
    }

    pub(crate) fn replay<R: TestRole>(&self, script: Script) -> Checked<R> {
        let mut checked = self.start();
        for step in script.steps() {
            checked.apply(&self.alphabet.steps[step]);
        }
        checked
    }

    /// Goes through all of them, on all cores. Returns every state but the last ones, with a script
    /// that leads to it; and of those that several lead to, others that do.
    pub(crate) fn explore<R: TestRole + Clone + Sync>(
        &self,
        all: &mut Seen,
    ) -> (States, Vec<(u128, Script)>) {
        self.explore_on::<R>(std::thread::available_parallelism().map_or(2, usize::from), all)
    }

    /// [`explore`](Self::explore) on so many cores. On one, the other scripts are the same at each run.
    pub(crate) fn explore_on<R: TestRole + Clone + Sync>(
        &self,
        cores: usize,
        all: &mut Seen,
    ) -> (States, Vec<(u128, Script)>) {
        let start = self.start::<R>();
        let mut states = States::default();
        states.insert(start.key(), Script::EMPTY);
        let mut level = vec![Script::EMPTY];
        let (mut sizes, mut again) = (Vec::new(), Vec::new());
        let mut seen = Seen::default();
        for depth in 0..self.depth {
            sizes.push(level.len());
            let goes_on = depth + 1 < self.depth;
            let mut reached = States::default();
            for part in self.parts(cores, &start, &level, &states, goes_on) {
                seen.add(part.seen);
                again.extend(part.again);
                part.reached.into_iter().for_each(|(key, script)| {
                    let least = reached.entry(key).or_insert(script);
                    *least = script.min(*least);
                });
            }
            level = reached.values().copied().collect();
            level.sort_unstable();
            states.extend(reached);
        }
        println!(
            "{}: states at each depth {sizes:?}, then all steps to depth {}; {} steps taken",
            self.name, self.depth, seen.steps
        );
        all.add(seen);
        (states, again)
    }

    fn parts<R: TestRole + Clone + Sync>(
        &self,
        cores: usize,
        start: &Checked<R>,
        level: &[Script],
        states: &States,
        goes_on: bool,
    ) -> Vec<Part> {
        const CHUNK: usize = 64;
        let at = AtomicUsize::new(0);
        let explorer = || {
            let (reached, again) = (States::default(), Vec::new());
            let mut part = Part { seen: Seen::default(), reached, again };
            // The states on the way to the current one: the next state shares most of the way.
            let mut way: Vec<(usize, Checked<R>)> = Vec::new();
            loop {
                let from = at.fetch_add(CHUNK, Ordering::Relaxed);
                let chunk = level.iter().skip(from).take(CHUNK);
                if chunk.len() == 0 {
                    return part;
                }
                for script in chunk {
                    self.walk(start, &mut way, *script);
                    let here = way.last().map_or(start, |(_, checked)| checked);
                    self.go_on(here, *script, states, goes_on, &mut part);
                }
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(explorer)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Part>| match thread.join() {
                Ok(part) => part,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        })
    }

    fn walk<R: TestRole + Clone>(
        &self,
        start: &Checked<R>,
        way: &mut Vec<(usize, Checked<R>)>,
        script: Script,
    ) {
        let common = way.iter().zip(script.steps()).take_while(|((a, _), b)| a == b).count();
        way.truncate(common);
        for step in script.steps().skip(common) {
            let mut next = way.last().map_or(start, |(_, checked)| checked).clone();
            next.apply(&self.alphabet.steps[step]);
            way.push((step, next));
        }
    }

    /// Takes every step from one state.
    fn go_on<R: TestRole + Clone>(
        &self,
        here: &Checked<R>,
        script: Script,
        states: &States,
        goes_on: bool,
        part: &mut Part,
    ) {
        let mut fresh = None;
        for (step, op) in self.alphabet.steps.iter().enumerate() {
            // Without a call at the end there is nothing to see.
            let silent = matches!(op, Op::Pass(_) | Op::Back(_)) && !goes_on;
            if silent || !has_subject(here, op) {
                continue;
            }
            let mut next = fresh.take().unwrap_or_else(|| here.clone());
            if !part.seen.take(&mut next, op) {
                fresh = Some(next);
            } else if goes_on && next.ledger().waiters().len() <= MAX_WAITERS {
                part.reach(next.key(), script.with(step), states);
            }
        }
        self.take_futile(fresh.unwrap_or_else(|| here.clone()), goes_on, &mut part.seen);
    }

    /// Takes the steps that change nothing, in sequence: the state has to stay the same. They may tell
    /// the time, which a stale step has done before.
    fn take_futile<R: TestRole>(&self, mut here: Checked<R>, goes_on: bool, seen: &mut Seen) {
        here.apply(&STALE);
        // States at the last depth are not expanded.
        let key = goes_on.then(|| here.key());
        for op in &self.alphabet.futile {
            if has_subject(&here, op) && seen.take(&mut here, op) {
                let after = goes_on.then(|| here.key());
                assert_eq!(after, key, "{op:?} has changed something");
            }
        }
    }
}

impl Part {
    fn reach(&mut self, key: u128, script: Script, states: &States) {
        let known = states.contains_key(&key) || self.reached.contains_key(&key);
        if known {
            // A sample: of some keys, two scripts each.
            let sampled = || self.again.iter().filter(|(other, _)| *other == key).count();
            if key.is_multiple_of(128) && sampled() < 2 {
                self.again.push((key, script));
            }
        } else {
            self.reached.insert(key, script);
        }
    }
}
