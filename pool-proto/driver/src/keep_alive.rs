//! How dead peers are found: TCP keep-alive settings, as data.

use core::time::Duration;

/// TCP keep-alive and user timeout of every connection of a pool. The adapters apply it; the
/// operating system does the work.
///
/// A peer that is gone without a word (power cut, cable, NAT that forgot) is noticed after
/// [`budget`](Self::budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    idle: Duration,
    interval: Duration,
    retries: u32,
}

/// Unanswered probes after which a connection is dead. With the first probe after one period and
/// one period between probes, a dead peer costs four periods.
const RETRIES: u32 = 3;

impl KeepAlive {
    /// Probes after `period` of silence and then every `period`, three times. At least one second:
    /// the operating system counts whole seconds.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        let period = Duration::from_secs(period.as_secs().max(1));
        Self { idle: period, interval: period, retries: RETRIES }
    }

    /// Silence before the first probe (`TCP_KEEPIDLE`).
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// Time between probes (`TCP_KEEPINTVL`).
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Unanswered probes after which the connection is dead (`TCP_KEEPCNT`).
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Time from the peer's last sign of life until the connection fails: also the limit for sent
    /// data to be acknowledged (`TCP_USER_TIMEOUT`, RFC 5482), which keep-alive does not cover.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.idle.saturating_add(self.interval.saturating_mul(self.retries))
    }
}

impl Default for KeepAlive {
    /// Every 15 seconds, so that a dead peer is found within a minute, and NATs that forget after
    /// 30 s (RFC 4787 asks them for two minutes; many do not comply) are kept awake.
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_peer_costs_four_periods() {
        assert_eq!(KeepAlive::every(Duration::from_secs(5)).budget(), Duration::from_secs(20));
    }

    #[test]
    fn a_period_below_what_the_system_can_count_is_one_second() {
        assert_eq!(KeepAlive::every(Duration::from_millis(3)).idle(), Duration::from_secs(1));
    }
    #[test]
    fn a_period_is_cut_to_whole_seconds() {
        let keep_alive = KeepAlive::every(Duration::from_millis(2900));
        assert_eq!(keep_alive.idle(), Duration::from_secs(2));
    }

    #[test]
    fn the_first_probe_comes_after_one_period_and_each_of_three_after_another() {
        let keep_alive = KeepAlive::every(Duration::from_secs(5));
        assert_eq!(keep_alive.idle(), Duration::from_secs(5));
        assert_eq!(keep_alive.interval(), Duration::from_secs(5));
        assert_eq!(keep_alive.retries(), 3);
    }

    #[test]
    fn by_default_a_dead_peer_is_found_within_a_minute() {
        let keep_alive = KeepAlive::default();
        assert_eq!(keep_alive, KeepAlive::every(Duration::from_secs(15)));
        assert_eq!(keep_alive.budget(), Duration::from_secs(60));
    }

    #[test]
    fn a_period_without_end_has_a_budget_without_end() {
        assert_eq!(KeepAlive::every(Duration::MAX).budget(), Duration::MAX);
    }
}
