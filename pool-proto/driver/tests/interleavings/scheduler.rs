//! The order of threads: every one with a bounded number of pre-emptions, depth first.
//!
//! A pre-emption takes the turn from a thread that could go on. With no bound the orders of three threads
//! of twenty steps are more than can be run; with a bound, their number is a polynomial. Most faults of
//! concurrent programs need two pre-emptions or fewer (Musuvathi and Qadeer, "Iterative context bounding
//! for systematic testing of multithreaded programs", 2007).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `act` without a change of threads, as long as it need not wait: observations by a test are not
/// steps of the program.
pub(crate) fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let before = IS_QUIET.replace(true);
    let result = act();
    IS_QUIET.set(before);
    result
}

/// A point at which several threads could go on.
struct Choice {
    options: Vec<TaskId>,
    chosen: usize,
}

/// The thread of the test prepares the pool, starts the other threads and waits for them. Its turns are
/// not choices: it runs whenever it can.
const MAIN: usize = 0;

pub(crate) struct Bounded {
    /// The most pre-emptions of an execution.
    bound: usize,
    path: Vec<Choice>,
    depth: usize,
    preemptions: usize,
    executions: Arc<AtomicU64>,
}

impl Bounded {
    /// Counts the executions in `executions`.
    pub(crate) fn new(bound: usize, executions: &Arc<AtomicU64>) -> Self {
        let (path, executions) = (Vec::new(), Arc::clone(executions));
        Self { bound, path, depth: 0, preemptions: 0, executions }
    }

    fn choose(&mut self, options: Vec<TaskId>) -> TaskId {
        if self.depth == self.path.len() {
            self.path.push(Choice { options, chosen: 0 });
        } else {
            assert_eq!(
                options, self.path[self.depth].options,
                "the test itself is not deterministic"
            );
        }
        let choice = &self.path[self.depth];
        self.depth += 1;
        choice.options[choice.chosen]
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.executions.fetch_add(1, Ordering::Relaxed) > 0 {
            while self.path.pop_if(|last| last.chosen + 1 == last.options.len()).is_some() {}
            let Some(last) = self.path.last_mut() else {
                self.executions.fetch_sub(1, Ordering::Relaxed);
                return None;
            };
            last.chosen += 1;
        }
        (self.depth, self.preemptions) = (0, 0);
        IS_QUIET.set(false);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let mut ids = runnable.iter().map(|task| task.id());
        if let Some(main) = ids.clone().find(|id| usize::from(*id) == MAIN) {
            return Some(main);
        }
        let goes_on = current.filter(|current| !is_yielding && ids.any(|id| id == *current));
        if goes_on.is_some() && (IS_QUIET.get() || self.preemptions == self.bound) {
            return goes_on;
        }
        let ids: Vec<TaskId> = runnable.iter().map(|task| task.id()).collect();
        let options = match goes_on {
            Some(current) => {
                let others = ids.into_iter().filter(|id| *id != current);
                [current].into_iter().chain(others).collect()
            }
            // A thread that parks could wake in vain, again and again.
            None => {
                let others: Vec<_> =
                    ids.iter().copied().filter(|id| Some(*id) != current).collect();
                if others.is_empty() { ids } else { others }
            }
        };
        if let [only] = options[..] {
            return Some(only);
        }
        let chosen = self.choose(options);
        self.preemptions += usize::from(goes_on.is_some_and(|current| current != chosen));
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        // No test draws lots.
        0
    }
}
