//! The clock: the one place where time is read.

#![expect(clippy::disallowed_methods, reason = "time is read here and handed to everything else")]

use std::sync::LazyLock;

use pool_proto::Instant;

use crate::platform::CoarseClock;

/// A clock that a [`SharedMachine`](crate::shared::SharedMachine) reads.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time since the clock's epoch. It never goes back.
    fn now(&self) -> Instant;

    /// Returns a time that may lag [`now`](Self::now) by a few milliseconds, where that is cheaper.
    fn coarse(&self) -> Instant {
        self.now()
    }
}

/// The monotonic clock of the operating system, which all pools of a process share. Its epoch is
/// the first reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

struct Epoch {
    precise: std::time::Instant,
    coarse: CoarseClock,
}

static EPOCH: LazyLock<Epoch> = LazyLock::new(|| {
    let precise = std::time::Instant::now();
    Epoch { precise, coarse: CoarseClock::start() }
});

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        Instant::EPOCH + EPOCH.precise.elapsed()
    }

    fn coarse(&self) -> Instant {
        match EPOCH.coarse.elapsed() {
            Some(elapsed) => Instant::EPOCH + elapsed,
            None => self.now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn the_coarse_reading_lags_by_a_few_milliseconds_at_most() {
        let start = MonotonicClock.now();
        std::thread::sleep(Duration::from_millis(30));
        for _ in 0..100 {
            let (coarse, now) = (MonotonicClock.coarse(), MonotonicClock.now());
            assert!(coarse <= now, "{coarse:?} is after {now:?}");
            // A tick is 10 ms at most; a busy machine may suspend this thread between the two.
            assert!(coarse >= start + Duration::from_millis(15), "{coarse:?}, {now:?}");
        }
    }

    #[test]
    fn the_clock_advances_and_all_copies_agree() {
        let first = MonotonicClock.now();
        std::thread::sleep(Duration::from_millis(20));
        let passed = MonotonicClock.now().since(first);
        assert!(passed >= Duration::from_millis(20), "{passed:?}");
    }
}
