//! The primitives with which threads synchronize in the shared machine: those of std, or with
//! `--cfg pool_model` those of a model checker, which runs the tests in `tests/interleavings/` in every
//! order of threads.
//!
//! [`Arc`](std::sync::Arc) and [`Weak`](std::sync::Weak) are std's in any case: their counts take no lock,
//! and only the last drop depends on them.

#[cfg(not(pool_model))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::{Thread, current, park_timeout},
};

#[cfg(pool_model)]
pub(crate) use once::OnceLock;
#[cfg(pool_model)]
pub(crate) use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize},
    },
    thread::{Thread, current, park_timeout},
};

#[cfg(pool_model)]
mod once {
    use core::sync::atomic::Ordering;

    use super::AtomicBool;

    /// A cell that is written once. The checker has none: this is std's, with a point before each access at
    /// which the checker may run other threads.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        cell: std::sync::OnceLock<T>,
        point: AtomicBool,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) const fn new() -> Self {
            Self { cell: std::sync::OnceLock::new(), point: AtomicBool::new(false) }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.point.load(Ordering::Acquire);
            self.cell.get()
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.point.store(true, Ordering::Release);
            self.cell.set(value)
        }
    }
}
