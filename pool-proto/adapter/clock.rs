//! A pool's one clock: monotonic time since the pool was built.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place where time is read; everything else is told"
)]

#[cfg(target_os = "linux")]
use core::time::Duration;

use crate::shell::Clock;
use crate::time::Instant;

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
