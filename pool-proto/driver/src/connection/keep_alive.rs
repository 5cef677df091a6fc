//! TCP keep-alive: the settings by which dead peers are noticed.

use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};

/// The TCP keep-alive settings and user timeout of a pool's connections. The operating system does
/// the work.
///
/// A peer that vanishes without a close (power cut, cable, a NAT that forgot its mapping) is noticed
/// after [`budget`](Self::budget):
///
/// ```text
///   silence       0          4/5       1        6/5       7/5 periods
///                 │           │        │         │         │
///              last sign    probe    probe     probe     dead
///               of life       └────── suspect ─────┘
/// ```
///
/// The first probe is due before the period ends, so that a lost one is repeated at its end: a NAT that
/// needs a packet each period gets it. A first probe without an answer makes the connection suspect,
/// and the others follow five times as fast.
///
/// | platform | idle in the pool | leased |
/// |---|---|---|
/// | Linux, Android | 1.4 periods | 4 periods (`TCP_USER_TIMEOUT`) |
/// | macOS, FreeBSD, … | 1.4 periods | the same, and with unacknowledged data the system's limit |
/// | Windows | 2.8 periods: it always sends 10 probes | the same, and with such data the system's limit |
/// | OpenBSD, Haiku | the system's limit | the system's limit |
///
/// The pool does not ask the system which connections are suspect. `TCP_INFO` tells it on Linux, but
/// socket2 and rustix have no safe interface to it, and asking for one connection takes 0.8 µs, which is
/// more than a take. So suspects are recognised by their time: they leave three fifths of a period after
/// their first probe, and an end that takes the [newest](pool_proto::TakeOrder) hands them out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Whole seconds, at least one.
    period: Duration,
}

/// Unanswered probes after which a connection is dead. One or two may be lost on a bad path.
const RETRIES: u32 = 3;

/// Intervals between probes in a period. Whole seconds are the least that the system knows, so a
/// higher number would not be faster for a period of 5 s.
const INTERVALS: u32 = 5;

/// Periods until a leased connection fails. Its holder may be sending to a peer that lives, and does not
/// read for a while.
const LEASED_PERIODS: u32 = 4;

impl KeepAlive {
    /// Keeps a connection from being silent for longer than `period`. Periods are whole seconds, at
    /// least one, because the operating system counts in seconds.
    ///
    /// The figures of the table are for 5 s and its multiples. Between them, and below, the interval is
    /// cut to whole seconds; the budget of a period of 1 s is 4 s.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self { period: Duration::from_secs(period.as_secs().max(1)) }
    }

    /// Returns the silence before the first probe (`TCP_KEEPIDLE`): the period without one
    /// [`interval`](Self::interval), or 1 s.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.period.saturating_sub(self.interval()).max(Duration::from_secs(1))
    }

    /// Returns the time between probes (`TCP_KEEPINTVL`): a fifth of the period, or 1 s.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let seconds = self.period.as_secs() / u64::from(INTERVALS);
        Duration::from_secs(seconds.max(1))
    }

    /// Returns the number of unanswered probes after which a connection is dead (`TCP_KEEPCNT`).
    #[must_use]
    pub const fn retries(&self) -> u32 {
        RETRIES
    }

    /// Returns the time from the peer's last sign of life until a connection in the pool fails. On Linux
    /// it is also the limit for the acknowledgement of data that were sent before (`TCP_USER_TIMEOUT`,
    /// RFC 5482), which keep-alive does not cover.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.idle().saturating_add(self.interval().saturating_mul(RETRIES))
    }

    /// Returns the same for a connection that is leased, on Linux: four periods. There the user timeout
    /// replaces the number of probes, and counts the time in which a living peer does not read, too.
    #[must_use]
    pub const fn leased_budget(&self) -> Duration {
        self.period.saturating_mul(LEASED_PERIODS)
    }

    /// Sets the options of a socket that is to be in the pool, as far as the platform has them.
    pub(super) fn apply(self, socket: &SockRef<'_>) -> io::Result<()> {
        let settings = TcpKeepalive::new().with_time(self.idle());
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
        let settings = settings.with_interval(self.interval());
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "windows")))]
        let settings = settings.with_retries(RETRIES);
        socket.set_tcp_keepalive(&settings)?;
        self.limit(socket, false)
    }

    /// Sets the limit of a socket that is leased, or is not, where the platform has one.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn limit(self, socket: &SockRef<'_>, leased: bool) -> io::Result<()> {
        let budget = if leased { self.leased_budget() } else { self.budget() };
        socket.set_tcp_user_timeout(Some(budget))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as where it does something")]
    pub(super) fn limit(self, _socket: &SockRef<'_>, _leased: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Default for KeepAlive {
    /// Every 15 seconds. A dead peer is noticed after 21 s, and a NAT that forgets mappings after 30 s
    /// keeps them (RFC 4787 asks NATs for two minutes; many do not comply).
    fn default() -> Self {
        Self::every(Duration::from_secs(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: u64) -> [u64; 4] {
        let keep_alive = KeepAlive::every(Duration::from_secs(seconds));
        let (idle, interval) = (keep_alive.idle(), keep_alive.interval());
        [idle, interval, keep_alive.budget(), keep_alive.leased_budget()].map(|time| time.as_secs())
    }

    #[test]
    fn a_dead_peer_is_noticed_after_seven_fifths_of_the_period() {
        assert_eq!(times(5), [4, 1, 7, 20]);
        assert_eq!(times(15), [12, 3, 21, 60]);
        assert_eq!(times(100), [80, 20, 140, 400]);
    }

    #[test]
    fn other_periods_are_cut_to_whole_seconds() {
        assert_eq!(times(1), [1, 1, 4, 4]);
        assert_eq!(times(2), [1, 1, 4, 8]);
        assert_eq!(times(7), [6, 1, 9, 28]);
        assert_eq!(times(14), [12, 2, 18, 56]);
    }

    #[test]
    fn a_second_probe_is_due_by_the_end_of_the_period() {
        for seconds in 2..100 {
            let [idle, interval, budget, _] = times(seconds);
            assert_eq!(idle + interval, seconds);
            assert!(budget <= seconds + 2 * interval);
        }
    }

    #[test]
    fn a_period_below_one_second_is_one_second() {
        assert_eq!(
            KeepAlive::every(Duration::from_millis(3)),
            KeepAlive::every(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_period_is_cut_to_whole_seconds() {
        assert_eq!(
            KeepAlive::every(Duration::from_millis(2900)),
            KeepAlive::every(Duration::from_secs(2))
        );
    }

    #[test]
    fn the_default_is_fifteen_seconds() {
        assert_eq!(KeepAlive::default(), KeepAlive::every(Duration::from_secs(15)));
    }

    #[test]
    fn an_endless_period_has_an_endless_budget() {
        let keep_alive = KeepAlive::every(Duration::MAX);
        assert_eq!(
            (keep_alive.budget(), keep_alive.leased_budget()),
            (Duration::MAX, Duration::MAX)
        );
    }
}
