//! TCP keep-alive: the settings by which dead peers are noticed.

use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};

/// The TCP keep-alive settings and user timeout of a pool's connections. The operating system does
/// the work.
///
/// A peer that vanishes without a close (power cut, cable, a NAT that forgot its mapping) is noticed
/// after [`budget`](Self::budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    idle: Duration,
    interval: Duration,
    retries: u32,
}

/// Unanswered probes after which a connection is dead. The first probe is sent after one period, and
/// the others one period apart, so a dead peer is noticed after four periods.
const RETRIES: u32 = 3;

impl KeepAlive {
    /// Probes after `period` of silence and then every `period`, three times. Periods are whole
    /// seconds, at least one, because the operating system counts in seconds.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let period = Duration::from_secs(period.as_secs().max(1));
        Self { idle: period, interval: period, retries: RETRIES }
    }

    /// Returns the silence before the first probe (`TCP_KEEPIDLE`).
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// Returns the time between probes (`TCP_KEEPINTVL`).
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the number of unanswered probes after which a connection is dead (`TCP_KEEPCNT`).
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Returns the time from the peer's last sign of life until the connection fails. It is also the
    /// limit for the acknowledgement of sent data (`TCP_USER_TIMEOUT`, RFC 5482), which keep-alive
    /// does not cover.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.idle.saturating_add(self.interval.saturating_mul(self.retries))
    }

    /// Sets the options of a socket, as far as the platform has them.
    pub(super) fn apply(self, socket: &SockRef<'_>) -> io::Result<()> {
        let settings = TcpKeepalive::new().with_time(self.idle);
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
        let settings = settings.with_interval(self.interval);
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "windows")))]
        let settings = settings.with_retries(self.retries);
        socket.set_tcp_keepalive(&settings)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(self.budget()))?;
        Ok(())
    }
}

impl Default for KeepAlive {
    /// Every 15 seconds. A dead peer is noticed within a minute, and a NAT that forgets mappings after
    /// 30 s keeps them (RFC 4787 asks NATs for two minutes; many do not comply).
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_peer_is_noticed_after_four_periods() {
        assert_eq!(KeepAlive::every(Duration::from_secs(5)).budget(), Duration::from_secs(20));
    }

    #[test]
    fn a_period_below_one_second_is_one_second() {
        assert_eq!(KeepAlive::every(Duration::from_millis(3)).idle(), Duration::from_secs(1));
    }

    #[test]
    fn a_period_is_cut_to_whole_seconds() {
        let keep_alive = KeepAlive::every(Duration::from_millis(2900));
        assert_eq!(keep_alive.idle(), Duration::from_secs(2));
    }

    #[test]
    fn three_probes_are_sent_one_period_apart() {
        let keep_alive = KeepAlive::every(Duration::from_secs(5));
        assert_eq!(keep_alive.idle(), Duration::from_secs(5));
        assert_eq!(keep_alive.interval(), Duration::from_secs(5));
        assert_eq!(keep_alive.retries(), 3);
    }

    #[test]
    fn a_dead_peer_is_noticed_within_a_minute_by_default() {
        let keep_alive = KeepAlive::default();
        assert_eq!(keep_alive, KeepAlive::every(Duration::from_secs(15)));
        assert_eq!(keep_alive.budget(), Duration::from_secs(60));
    }

    #[test]
    fn an_endless_period_has_an_endless_budget() {
        assert_eq!(KeepAlive::every(Duration::MAX).budget(), Duration::MAX);
    }
}
