//! The naive pool at the side of a real machine: it gets the same calls, and must answer alike.

use pool_proto::{Acquirer, Action, Instant, Stats};

use super::naive::waiters::Want;
use super::naive::{Choices, Naive};
use crate::call::{Answer, Call, Did, Pool};
use crate::setup::{Setup, Side};

/// The naive pool of one machine.
#[derive(Clone)]
pub struct Shadow(pub(super) Naive);

impl Shadow {
    /// The naive pool of a machine that was just built, and has done `actions`. There is none where
    /// lifetimes are random, where there is a control connection, or where connections are the peer's to
    /// acquire.
    pub fn new(setup: &Setup, side: Side, now: Instant, actions: &[Did]) -> Option<Self> {
        let known = setup.is_exact()
            && !setup.control_connection
            && matches!(setup.acquirer, Acquirer::Either | Acquirer::ThisEnd);
        known.then(|| {
            let choices = Choices::of(&Answer::Nothing, actions);
            let (naive, did) = Naive::new(setup, side == Side::Client, now, choices);
            assert_same(&naive, actions, &did);
            Self(naive)
        })
    }

    /// Makes a call, and compares answer and actions with the machine's.
    pub fn follow(&mut self, now: Instant, call: &Call, answer: &Answer, actions: &[Did]) {
        let choices = Choices::of(answer, actions);
        let (naives, did) = self.0.call(now, call, choices);
        assert_eq!(*answer, naives, "left the machine, right the naive pool, after {call:?}");
        assert_same(&self.0, actions, &did);
    }

    /// Compares the machine's own account.
    pub fn compare(&mut self, stats: &Stats, machine: &impl Pool) {
        let naive = &mut self.0;
        assert_eq!(*stats, naive.stats(), "left the machine, right the naive pool");
        assert_eq!(machine.error_count(), naive.errors());
        for (token, state) in naive.states() {
            assert_eq!(machine.state_of(token), Some(state), "left the machine's {token:?}");
        }
        if let Err(wrong) = naive.accepts_timeout(machine.poll_timeout()) {
            panic!("{wrong}");
        }
    }
}

/// The same actions: the wakes of each queue in the same order, the rest in any.
fn assert_same(naive: &Naive, machine: &[Did], expected: &[Did]) {
    if machine == expected {
        return;
    }
    let mut missing = expected.to_vec();
    for action in machine {
        match missing.iter().position(|other| other == action) {
            Some(at) => drop(missing.remove(at)),
            None => {
                panic!("{action:?} is too much: {machine:#?}, but the naive pool: {expected:#?}")
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?} is missing of {expected:#?}");
    let queue = |waiter| match naive.want(waiter) {
        Some(Want::Stock(_)) => Some(Want::Stock(0)),
        other => other,
    };
    let wakes = |actions: &[Did]| {
        let mut wakes: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Wake { waiter } => Some((*waiter, queue(*waiter))),
                _ => None,
            })
            .collect();
        // Stable: within one queue the order stays.
        wakes.sort_by_key(|(_, queue)| format!("{queue:?}"));
        wakes
    };
    assert_eq!(wakes(machine), wakes(expected), "the order in which waiters are woken");
}
