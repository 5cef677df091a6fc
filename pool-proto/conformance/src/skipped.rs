//! Scenarios, and parts of them, that cannot run here. They count as passed, so the end of a run lists
//! them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

static SKIPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

thread_local! {
    static CURRENT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs `act` as the scenario `name`.
pub(super) fn within<T>(name: &'static str, act: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(Some(name));
    let result = act();
    CURRENT.set(before);
    result
}

/// Records that the scenario of this thread, or the rest of it, does not run, and why.
pub(super) fn skip(why: impl fmt::Display) {
    let line = format!("{}: {why}", CURRENT.get().unwrap_or("a thread of a scenario"));
    println!("skipped: {line}");
    SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).insert(line);
}

/// Prints the skipped scenarios.
pub(super) fn summary() {
    let skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    if skipped.is_empty() {
        return println!("conformance: nothing was skipped");
    }
    println!("conformance: {} skipped, in whole or in part:", skipped.len());
    for line in &*skipped {
        println!("  {line}");
    }
}
