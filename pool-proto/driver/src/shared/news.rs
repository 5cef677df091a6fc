//! The events of a pool that are told once, or counted and told from time to time: a flood of rejections,
//! or an outage, must not fill a log.
//!
//! The driver gathers them after each of its turns, from the totals of the machine. A call that has news for it
//! wakes it, unless it has a time for the next line of that kind already.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use pool_proto::{CloseReason, Instant, Rejected, Role, Timeouts, Totals};

use super::state::State;
use super::{PoolConnection, SharedMachine};
use crate::connection::Failure;
use crate::events::{self, Label, shown};

/// The time from the first line of a kind to the next one, if there is something to tell. Each further
/// interval takes twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest interval: a flood that goes on for an hour takes some 65 lines, and a person who looks at
/// the log sees a figure that is at most a minute old.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The time from the report of a failing peer to the next one. A peer that fails and recovers all the time
/// takes two lines in it.
const HEALTH_PAUSE: Duration = Duration::from_secs(60);

/// A kind of thing that peers of a server meet, counted by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RejectedAddress,
    RejectedSource,
    RejectedFull,
    Evicted,
    Replaced,
    HandshakeEvicted,
    Silent,
    HandshakeTimeout,
    Tls,
    Id,
    Transport,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::RejectedAddress,
        Self::RejectedSource,
        Self::RejectedFull,
        Self::Evicted,
        Self::Replaced,
        Self::HandshakeEvicted,
        Self::Silent,
        Self::HandshakeTimeout,
        Self::Tls,
        Self::Id,
        Self::Transport,
    ];

    /// The kind that the machine counts for this rejection.
    pub(crate) const fn of_rejection(rejected: &Rejected) -> Self {
        match rejected {
            Rejected::NotAllowed { .. } => Self::RejectedAddress,
            Rejected::SourceFull { .. } => Self::RejectedSource,
            _ => Self::RejectedFull,
        }
    }

    /// The kind that the machine counts for this failure of a handshake.
    pub(crate) const fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Rejected(rejected) => Self::of_rejection(rejected),
            Failure::Tls(_) | Failure::NoTls(_) => Self::Tls,
            Failure::Id(_) => Self::Id,
            Failure::Dial(_)
            | Failure::Options(_)
            | Failure::TlsTransport(_)
            | Failure::IdTransport(_) => Self::Transport,
        }
    }

    /// The kind for an end by the machine, if it is to be told.
    pub(super) fn of_end(reason: CloseReason) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.reason() == Some(reason))
    }

    const fn count(self, totals: &Totals) -> u64 {
        match self {
            Self::RejectedAddress => totals.rejected_address,
            Self::RejectedSource => totals.rejected_source,
            Self::RejectedFull => totals.rejected_full,
            Self::Evicted => totals.evicted,
            Self::Replaced => totals.replaced,
            Self::HandshakeEvicted => totals.handshakes_evicted,
            Self::Silent => totals.silent,
            Self::HandshakeTimeout => totals.handshake_timeouts,
            Self::Tls => totals.tls_failures,
            Self::Id => totals.id_failures,
            Self::Transport => totals.transport_failures,
        }
    }

    /// Its name in an event.
    const fn name(self) -> &'static str {
        match self {
            Self::RejectedAddress => "address",
            Self::RejectedSource => "source",
            Self::RejectedFull => "full",
            Self::Evicted => "connection",
            Self::Replaced => "replaced",
            Self::HandshakeEvicted => "handshake",
            Self::Silent => "silent",
            Self::HandshakeTimeout => "timeout",
            Self::Tls => "tls",
            Self::Id => "id",
            Self::Transport => "transport",
        }
    }

    /// The reason of the machine, where the end is the machine's doing.
    const fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Evicted => Some(CloseReason::Evicted),
            Self::Replaced => Some(CloseReason::Replaced),
            Self::HandshakeEvicted => Some(CloseReason::HandshakeEvicted),
            Self::Silent => Some(CloseReason::Silent),
            Self::HandshakeTimeout => Some(CloseReason::HandshakeTimeout),
            _ => None,
        }
    }
}

/// Decides when a growing counter is told.
#[derive(Clone, Copy)]
struct Throttle {
    told: u64,
    /// No line before this.
    next: Instant,
    pause: Duration,
}

impl Throttle {
    const NEW: Self = Self { told: 0, next: Instant::EPOCH, pause: FIRST_PAUSE };

    /// Returns the count since the last line, if a line is due, or the time at which it will be.
    fn news(
        &mut self,
        total: u64,
        now: Instant,
        at_the_end: bool,
    ) -> (Option<u64>, Option<Instant>) {
        let count = total.wrapping_sub(self.told);
        if count == 0 {
            return (None, None);
        }
        if now < self.next && !at_the_end {
            return (None, Some(self.next));
        }
        // After a quiet interval, the next line but one comes soon again.
        let is_calm = now >= self.next + self.pause;
        self.pause = if is_calm { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.next = now + self.pause;
        self.told = total;
        (Some(count), None)
    }
}

/// A time in which dials or handshakes of a client fail.
struct Episode {
    since: Instant,
    /// Counters at its begin.
    failed_before: u64,
    established_before: u64,
    is_told: bool,
}

/// The health of the peer of a client.
#[derive(Default)]
struct Health {
    episode: Option<Episode>,
    /// Episodes since the last report of one, that one included.
    episodes: u64,
    /// No report before this.
    next: Option<Instant>,
    /// The counters at the last look.
    seen: (u64, u64),
}

/// The last peer of a kind, and the cause.
type Last = (SocketAddr, Option<Arc<str>>);

pub(super) struct News {
    kinds: [Throttle; Kind::ALL.len()],
    last: [Option<Last>; Kind::ALL.len()],
    timeouts: [Throttle; Timeouts::REASONS],
    health: Health,
    /// The driver has a time for the next line, so it need not be called.
    is_timed: bool,
    /// The driver is called.
    pub(super) is_due: bool,
}

/// A line of the log.
enum Line {
    Failing { cause: Arc<str>, failures: u32, episodes: u64 },
    Recovered { failures: u64, lasted: Duration },
    Peers { kind: Kind, count: u64, total: u64, last: Option<Last> },
    Timeouts { reason: &'static str, count: u64, total: u64, last_failure: Option<Arc<str>> },
}

impl News {
    pub(super) const fn new() -> Self {
        Self {
            kinds: [Throttle::NEW; Kind::ALL.len()],
            last: [const { None }; Kind::ALL.len()],
            timeouts: [Throttle::NEW; Timeouts::REASONS],
            health: Health { episode: None, episodes: 0, next: None, seen: (0, 0) },
            is_timed: false,
            is_due: false,
        }
    }

    /// Calls the driver, unless it has a timer.
    pub(super) const fn call_driver(&mut self) {
        self.is_due |= !self.is_timed;
    }

    /// Keeps the last peer of a kind.
    pub(super) fn met(&mut self, kind: Kind, peer: SocketAddr, cause: Option<Arc<str>>) {
        if let Some(last) = self.last.get_mut(kind as usize) {
            *last = Some((peer, cause));
        }
        self.call_driver();
    }

    fn peers(&mut self, totals: &Totals, now: Instant, at_the_end: bool) -> Gathered {
        let mut gathered = Gathered::default();
        for ((kind, throttle), last) in Kind::ALL.iter().zip(&mut self.kinds).zip(&self.last) {
            let total = kind.count(totals);
            gathered.add(throttle.news(total, now, at_the_end), |count| Line::Peers {
                kind: *kind,
                count,
                total,
                last: last.clone(),
            });
        }
        gathered
    }
}

/// The lines to log, and the time of the next ones.
#[derive(Default)]
struct Gathered {
    lines: Vec<Line>,
    due: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, news: (Option<u64>, Option<Instant>), line: impl FnOnce(u64) -> Line) {
        self.lines.extend(news.0.map(line));
        self.due = self.due.into_iter().chain(news.1).min();
    }
}

/// The number of dials and handshakes of a client that failed.
const fn failed(totals: &Totals) -> u64 {
    let dials = totals.dial_failures.wrapping_add(totals.dial_timeouts);
    let handshakes = totals.tls_failures.wrapping_add(totals.transport_failures);
    let ids = totals.id_failures.wrapping_add(totals.duplicate_ids);
    dials.wrapping_add(handshakes).wrapping_add(ids).wrapping_add(totals.handshake_timeouts)
}

impl<C, R: Role> State<C, R> {
    fn gather_news(&mut self, is_server: bool, now: Instant, at_the_end: bool) -> Gathered {
        let totals = *self.machine.totals();
        let mut gathered = if is_server {
            self.news.peers(&totals, now, at_the_end)
        } else {
            self.health(&totals, now)
        };
        for ((reason, total), throttle) in
            totals.timeouts.by_reason().into_iter().zip(&mut self.news.timeouts)
        {
            gathered.add(throttle.news(total, now, at_the_end), |count| Line::Timeouts {
                reason,
                count,
                total,
                last_failure: None,
            });
        }
        // Not at each turn: it may name a silent peer, and makes a text then.
        if gathered.lines.iter().any(|line| matches!(line, Line::Timeouts { .. })) {
            let last = self.last_failure(now);
            for line in &mut gathered.lines {
                if let Line::Timeouts { last_failure, .. } = line {
                    last_failure.clone_from(&last);
                }
            }
        }
        self.news.is_timed = gathered.due.is_some();
        self.news.is_due = false;
        gathered
    }

    fn health(&mut self, totals: &Totals, now: Instant) -> Gathered {
        let mut gathered = Gathered::default();
        let seen = (failed(totals), totals.established);
        if seen == self.news.health.seen && self.news.health.episode.is_none() {
            return gathered;
        }
        let failures = self.machine.stats().failures_in_a_row;
        // Not at each connection that is established: it looks at all peers.
        let cause = if failures > 0 { self.last_failure(now) } else { None };
        let health = &mut self.news.health;
        let before = core::mem::replace(&mut health.seen, seen);
        if failures > 0 {
            let episode = health.episode.get_or_insert_with(|| {
                health.episodes = health.episodes.wrapping_add(1);
                let (failed_before, established_before) = (before.0, seen.1);
                Episode { since: now, failed_before, established_before, is_told: false }
            });
            match health.next.filter(|next| *next > now) {
                _ if episode.is_told => {}
                Some(next) => gathered.due = Some(next),
                None => {
                    episode.is_told = true;
                    health.next = Some(now + HEALTH_PAUSE);
                    let episodes = core::mem::take(&mut health.episodes);
                    let cause = cause.unwrap_or_else(|| "unknown".into());
                    gathered.lines.push(Line::Failing { cause, failures, episodes });
                }
            }
            return gathered;
        }
        // Failures may be taken back without a new connection: a peer that is full is not down.
        let is_over = |episode: &mut Episode| seen.1 != episode.established_before;
        if let Some(episode) = health.episode.take_if(is_over).filter(|episode| episode.is_told) {
            let failures = seen.0.wrapping_sub(episode.failed_before);
            let lasted = now.since(episode.since);
            gathered.lines.push(Line::Recovered { failures, lasted });
        }
        gathered
    }
}

impl<C: PoolConnection, R: Role> SharedMachine<C, R> {
    /// Logs the news since the last call, and returns the time of the next call, if any news has to wait. For
    /// the driver, after each turn.
    pub(crate) fn tell_news(&self) -> Option<Instant> {
        let now = self.now();
        let gathered = self.lock().gather_news(self.label.is_server(), now, false);
        gathered.lines.into_iter().for_each(|line| line.tell(&self.label));
        gathered.due
    }

    /// Logs the remaining news and the end of the pool.
    pub(crate) fn tell_end(&self, cause: &'static str) {
        let now = self.now();
        let (gathered, totals) = {
            let mut state = self.lock();
            let gathered = state.gather_news(self.label.is_server(), now, true);
            (gathered, *state.machine.totals())
        };
        gathered.lines.into_iter().for_each(|line| line.tell(&self.label));
        events::ended(&self.label, cause, totals.established, totals.leases);
    }

    /// Keeps the last peer of a kind, for the events of a server.
    pub(crate) fn note_peer_of(&self, kind: Kind, peer: SocketAddr, cause: Arc<str>) {
        self.lock().news.met(kind, peer, Some(cause));
    }
}

impl Line {
    fn tell(self, label: &Label) {
        match self {
            Self::Failing { cause, failures, episodes } => {
                events::failing(label, &*label.address, &*cause, failures, episodes);
            }
            Self::Recovered { failures, lasted } => {
                let lasted = tracing::field::debug(lasted);
                events::recovered(label, &*label.address, failures, lasted);
            }
            Self::Peers { kind, count, total, last } => {
                let (peer, text) = last.unzip();
                let text = text.flatten().or_else(|| Some(kind.reason()?.to_string().into()));
                let (kind_name, peer, cause) = (kind.name(), shown(peer), text.as_deref());
                match kind {
                    Kind::RejectedAddress | Kind::RejectedSource | Kind::RejectedFull => {
                        events::rejected(label, kind_name, count, total, peer, cause);
                    }
                    Kind::Evicted | Kind::Replaced | Kind::HandshakeEvicted => {
                        events::evicted(label, kind_name, count, total, peer, cause);
                    }
                    Kind::Silent
                    | Kind::HandshakeTimeout
                    | Kind::Tls
                    | Kind::Id
                    | Kind::Transport => {
                        events::handshakes_failed(label, kind_name, count, total, peer, cause);
                    }
                }
            }
            Self::Timeouts { reason, count, total, last_failure } => {
                events::acquires_timed_out(label, reason, count, total, last_failure.as_deref());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]
mod tests;
