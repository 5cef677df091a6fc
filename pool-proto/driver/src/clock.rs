//! A pool's one clock: monotonic time since the pool was built.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place where time is read; everything else is told"
)]

#[cfg(target_os = "linux")]
use core::time::Duration;

use crate::shared::Clock;
use pool_proto::Instant;

/// Counts from the moment at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    epoch: std::time::Instant,
    #[cfg(target_os = "linux")]
    coarse_epoch: Duration,
}

impl MonotonicClock {
    /// It is [`Instant::EPOCH`] now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
            #[cfg(target_os = "linux")]
            coarse_epoch: read(rustix::time::ClockId::Monotonic),
        }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }

    // Linux' coarse clock lags by up to a tick (1–4 ms) and costs a fifth of the precise one, which
    // alone costs more than taking a connection does.
    #[cfg(target_os = "linux")]
    fn coarse(&self) -> Instant {
        let coarse = read(rustix::time::ClockId::MonotonicCoarse);
        Instant::EPOCH + coarse.saturating_sub(self.coarse_epoch)
    }
}

#[cfg(target_os = "linux")]
fn read(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn the_cheap_reading_lags_by_a_few_milliseconds_at_the_most() {
        let clock = MonotonicClock::start();
        std::thread::sleep(Duration::from_millis(30));
        for _ in 0..100 {
            let (coarse, now) = (clock.coarse(), clock.now());
            assert!(coarse <= now, "{coarse:?} is after {now:?}");
            // A tick is 10 ms at the most; a busy machine may take this thread away between the two.
            assert!(coarse >= Instant::EPOCH + Duration::from_millis(15), "{coarse:?}, {now:?}");
        }
    }

    #[test]
    fn it_counts_from_its_start() {
        let first = MonotonicClock::start();
        std::thread::sleep(Duration::from_millis(20));
        let second = MonotonicClock::start();
        let ahead = first.now().since(second.now());
        assert!(ahead > Duration::from_millis(10), "{ahead:?}");
        assert!(second.coarse() < first.now());
    }
}
