//! Events in the order of their times.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::time::Nanos;

/// Events to come; of two at the same time, the one that was entered first comes first.
pub(crate) struct Schedule<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    entered: u64,
    now: Nanos,
}

struct Entry<T> {
    at: Nanos,
    number: u64,
    event: T,
}

impl<T> Schedule<T> {
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
        let entry = Entry { at: at.max(self.now), number: self.entered, event };
        self.heap.push(Reverse(entry));
    }

    /// Enters an event that comes after a time.
    pub(crate) fn after(&mut self, delay: Nanos, event: T) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Returns the next event, if it comes by `until`, and moves the time to it.
    pub(crate) fn next(&mut self, until: Nanos) -> Option<T> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}
