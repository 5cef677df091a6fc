//! TCP keep-alive: the settings by which dead peers are noticed.

use core::time::Duration;
use std::io;

use pool_proto::ConfigError;
use socket2::SockRef;

use crate::platform;

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
/// | platform | idle in the pool | leased | leased, with data under way |
/// |---|---|---|---|
/// | Linux, Android | 1.4 periods | 1.4 periods | the system's limit: some 15 minutes |
/// | macOS, FreeBSD, … | 1.4 periods | 1.4 periods | the system's limit |
/// | Windows | 2.8 periods: it always sends 10 probes | 2.8 periods | the system's limit |
/// | OpenBSD, Haiku | the system's limit | the system's limit | the system's limit |
///
/// # Data under way
///
/// A living peer is never cut off, however long it does not read: its system answers probes of the
/// connection, and of its full buffer, and each answer is a sign of life. Probes wait, however, while
/// data are not acknowledged: the system repeats those. A host that has died is noticed then when the
/// system has repeated the data often enough (on Linux `net.ipv4.tcp_retries2` times, by default 15,
/// which takes 15 minutes and more). A holder that wants to know sooner sets a deadline of its own for the
/// answer. Peers whose systems live need no limit: a process that ends closes its connections, and a
/// host that has restarted answers with a reset.
///
/// Linux has a limit for such data, the user timeout (`TCP_USER_TIMEOUT`, RFC 5482). But it counts the
/// time of a full buffer at a living peer as well, so it is off from the first write of a holder. In the
/// pool it is on, because the peer of a connection that was put back right after a write may have died:
/// unless the system holds data for which the peer has had no room yet: then the peer most likely lives and
/// does not read.
///
/// The pool does not ask the system which connections are suspect. `TCP_INFO` tells it on Linux, but
/// socket2 and rustix have no safe interface to it, and asking for one connection takes 0.8 µs, which is
/// more than a take. So suspects are recognised by the time: they leave three fifths of a period after
/// their first probe, and an end that takes the [newest](pool_proto::TakeOrder) hands them out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Whole seconds, at least one.
    period: Duration,
}

/// Unanswered probes after which a connection is dead. A bad path may lose one or two.
const RETRIES: u32 = 3;

/// Intervals between probes in a period. Whole seconds are the least that the system knows, so a
/// higher number would not be faster for a period of 5 s.
const INTERVALS: u32 = 5;

impl KeepAlive {
    /// The longest period: 32,767 s, some nine hours. Linux takes no more for any part of it; other systems
    /// do.
    pub const MAX: Duration = Duration::from_secs(32_767);

    /// Keeps a connection from being silent for longer than `period`. Periods are whole seconds, at
    /// least one, because the operating system counts in seconds. A pool with a period above
    /// [`MAX`](Self::MAX) is not built.
    ///
    /// The figures of the table are for 5 s and its multiples. Between them, and below, the interval is
    /// cut to whole seconds; the budget of a period of 1 s is 4 s.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self { period: Duration::from_secs(period.as_secs().max(1)) }
    }

    /// Refuses a period that the system would refuse for each connection.
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        if self.period <= Self::MAX {
            return Ok(());
        }
        Err(ConfigError::TooLarge {
            setting: "keep_alive (in seconds)",
            value: self.period.as_secs(),
            limit: Self::MAX.as_secs(),
            bound: "KeepAlive::MAX",
        })
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

    /// Returns the time from the peer's last sign of life until a connection fails that has no data under
    /// way. In the pool, on Linux, it is also the limit for the acknowledgement of data that were sent
    /// before (`TCP_USER_TIMEOUT`).
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.idle().saturating_add(self.interval().saturating_mul(RETRIES))
    }

    /// Sets the options of a socket that is to be in the pool, as far as the platform has them.
    pub(super) fn apply(self, socket: &SockRef<'_>) -> io::Result<()> {
        let settings = platform::keep_alive(self.idle(), self.interval(), RETRIES);
        socket.set_tcp_keepalive(&settings)?;
        // No holder has sent anything yet, so no data can wait for room at the peer.
        self.set_limit(socket)
    }

    fn set_limit(self, socket: &SockRef<'_>) -> io::Result<()> {
        platform::limit_unacknowledged(socket, Some(self.budget()))
    }

    /// Sets the limit for data under way of a socket that is in the pool, unless some wait for room.
    pub(super) fn limit(self, socket: &SockRef<'_>) -> io::Result<()> {
        if platform::data_wait_for_room(socket)? {
            return Ok(());
        }
        self.set_limit(socket)
    }
}

/// Ends the limit for data under way: from now on, a living peer may leave them in its full buffer.
pub(super) fn unlimit(socket: &SockRef<'_>) -> io::Result<()> {
    platform::limit_unacknowledged(socket, None)
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

    fn times(seconds: u64) -> [u64; 3] {
        let keep_alive = KeepAlive::every(Duration::from_secs(seconds));
        let (idle, interval) = (keep_alive.idle(), keep_alive.interval());
        [idle, interval, keep_alive.budget()].map(|time| time.as_secs())
    }

    #[test]
    fn a_dead_peer_is_noticed_after_seven_fifths_of_the_period() {
        assert_eq!(times(5), [4, 1, 7]);
        assert_eq!(times(15), [12, 3, 21]);
        assert_eq!(times(100), [80, 20, 140]);
    }

    #[test]
    fn the_budget_is_the_silence_and_the_time_of_the_probes() {
        for seconds in 1..100 {
            let keep_alive = KeepAlive::every(Duration::from_secs(seconds));
            let probes = keep_alive.interval() * keep_alive.retries();
            assert_eq!(keep_alive.budget(), keep_alive.idle() + probes);
        }
        assert_eq!(KeepAlive::default().retries(), 3);
    }

    #[test]
    fn other_periods_are_cut_to_whole_seconds() {
        assert_eq!(times(1), [1, 1, 4]);
        assert_eq!(times(2), [1, 1, 4]);
        assert_eq!(times(7), [6, 1, 9]);
        assert_eq!(times(14), [12, 2, 18]);
    }

    #[test]
    fn a_second_probe_is_due_by_the_end_of_the_period() {
        for seconds in 2..100 {
            let [idle, interval, budget] = times(seconds);
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
        assert_eq!(KeepAlive::every(Duration::MAX).budget(), Duration::MAX);
    }
}
