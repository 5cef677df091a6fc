//! The pool's one clock: monotonic time since the pool was built.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate where time is read; everything else is told"
)]

use std::time::Duration;

use pool_proto::Instant;
use pool_proto::shell::Clock;

/// Counts from the moment at which it was made.
#[derive(Clone, Copy)]
pub(crate) struct MonotonicClock {
    epoch: std::time::Instant,
    #[cfg(target_os = "linux")]
    coarse_epoch: Duration,
}

impl MonotonicClock {
    pub(crate) fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
            #[cfg(target_os = "linux")]
            coarse_epoch: read(rustix::time::ClockId::Monotonic),
        }
    }

    /// The same moment on the system's clock; `None` when that cannot hold it.
    pub(crate) fn deadline(&self, instant: Instant) -> Option<std::time::Instant> {
        self.epoch.checked_add(Duration::from_nanos(instant.as_nanos()))
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
