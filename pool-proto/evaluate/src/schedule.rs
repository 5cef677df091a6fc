//! Events in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Nanos;

/// Future events; events at the same time come in the order in which they were entered.
pub(crate) struct Schedule<T> {
    /// Times, and the numbers in which the events were entered, which no two share.
    heap: BinaryHeap<Reverse<(Nanos, u64, T)>>,
    entered: u64,
    now: Nanos,
}

impl<T: Ord> Schedule<T> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0, now: 0 }
    }

    /// Returns the time of the event that came last.
    pub(crate) const fn now(&self) -> Nanos {
        self.now
    }

    /// Enters an event; one in the past comes now.
    pub(crate) fn at(&mut self, at: Nanos, event: T) {
        self.entered += 1;
        self.heap.push(Reverse((at.max(self.now), self.entered, event)));
    }

    /// Enters an event that comes after a time.
    pub(crate) fn after(&mut self, delay: Nanos, event: T) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Returns the next event, if it comes by `until`, and moves the time to it.
    pub(crate) fn next(&mut self, until: Nanos) -> Option<T> {
        self.heap.peek().filter(|Reverse((at, ..))| *at <= until)?;
        let Reverse((at, _, event)) = self.heap.pop()?;
        self.now = at;
        Some(event)
    }
}
