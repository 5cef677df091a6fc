//! The tuning laws: how many connections are kept ready.

mod demand;
mod lead_time;
mod rounds;

use core::hash::{Hash, Hasher};
use core::ops::RangeInclusive;
use core::time::Duration;

use demand::Demand;
use rounds::Rounds;

use crate::time::{Instant, Period};

/// The law that moves the capacity, the number of ready connections to aim at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tuning {
    /// The capacity follows demand: it is the third highest number of acquires within a *lead time* that
    /// was seen lately, or half of the highest if that is more, and one more. A capacity above four stays
    /// while the law asks for one less. The page [`sizing`] has figures and limits.
    ///
    /// [`sizing`]: crate::sizing
    ///
    /// - The lead time is the time from a dial until the connection is ready. An acquire is served at
    ///   once if and only if there were no more acquires within the lead time before it than the capacity.
    ///   It is measured: the smoothed mean and twice the deviation, as in RFC 6298.
    /// - Acquires count whether they are served from stock or wait: those of this end's callers, and
    ///   those of the peer's, of which this end learns by acquires by id. Acquires while the peer is down
    ///   do not count.
    /// - A peak is remembered for [`keep`](crate::ClientConfigBuilder::keep), 60 s by default: a connection
    ///   may be idle for so long in order to spare one wait. Crowds that are further apart find the stock of
    ///   quieter times.
    /// - Connections that are missing are dialled at once while a caller waits, and one more for each caller
    ///   that does. While the stock serves
    ///   everybody, dials are spread, as the handshakes of a crowd would slow it down.
    /// - Ready connections beyond the capacity, which nobody has needed for a 32nd of `keep`, or for a
    ///   128th of it in which 16 callers came, are closed, if this end [may acquire](crate::Acquirer) them.
    ///   Otherwise they are the peer's to close.
    /// - Callers of the peer wait where this end does not see them. A server of this crate tells roughly
    ///   how many by the ids that it makes ([`ConnId`](crate::ConnId)). At a server of the Go package,
    ///   their number shows only as new connections are acquired at once, and the capacity then at most
    ///   doubles with each lead time.
    ///
    /// The law is a base-stock policy, which is optimal where an order costs nothing but its lead time
    /// (see for example Zipkin, *Foundations of Inventory Management*, 2000, chapter 6).
    #[default]
    Demand,
    /// The law of the Go package `github.com/NodePassProject/pool`, as its release v1.0.50 has it: connections
    /// are created in rounds. A round begins by dialling the missing connections, ends with the last of its
    /// dials, and is followed by the interval.
    ///
    /// It is for fleets in which both implementations must behave alike. With the same dials and acquires,
    /// each round has the same idle connections, dials, capacity and interval in both.
    ///
    /// - The interval moves at the begin of a round: 100 ms down if fewer than a fifth of the capacity are
    ///   idle, 100 ms up if more than four fifths are.
    /// - The capacity moves at the end: one down if the round has created less than a fifth of it, one up
    ///   if more than four fifths.
    /// - While the peer is down, rounds go on, and those that create nothing lower the capacity. A Go client
    ///   dials in each of them, this one as its [backoff](crate::ClientConfigBuilder::backoff) allows.
    /// - At most [`max_dials`](crate::ClientConfigBuilder::max_dials) are under way at a time; the Go package
    ///   has no such limit.
    ///
    /// With capacities up to 4, the interval can only rise.
    NodePass,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a machine has one law, and nearly always the large one"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
enum Law {
    Demand(Demand),
    Rounds(Rounds),
}

/// A capacity up to this follows demand exactly.
const FEW: u32 = 4;

/// The capacity, moved by a [`Tuning`] law within fixed bounds; a pure value.
///
/// ```
/// use core::time::Duration;
/// use pool_proto::{Instant, Tuner, Tuning};
///
/// let ms = Duration::from_millis;
/// let mut tuner = Tuner::new(Tuning::Demand, 2..=64, ms(100)..=ms(1000));
/// // Connections take 80 ms. Ten are acquired within that time: a crowd that has come once counts half.
/// let now = Instant::EPOCH + ms(1000);
/// tuner.established(now, ms(80));
/// for _ in 0..10 {
///     tuner.acquired(now);
/// }
/// assert_eq!(tuner.capacity(), 6);
/// // After a minute without demand that is forgotten.
/// tuner.advance(now + Duration::from_secs(61));
/// assert_eq!(tuner.capacity(), 2);
///
/// let mut tuner = Tuner::new(Tuning::NodePass, 5..=20, ms(100)..=ms(1000));
/// // An empty pool of capacity 5 that creates 5 connections: one more next time.
/// assert_eq!(tuner.round(0, 5), (6, ms(100)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuner {
    min_capacity: u32,
    max_capacity: u32,
    capacity: u32,
    law: Law,
}

impl Tuner {
    /// Creates a tuner. Capacity and interval start at their minima. The interval is that of
    /// [`Tuning::NodePass`].
    ///
    /// Inverted bounds count as the single value of their lower end. An interval beyond 584 years
    /// saturates. (The configuration builders refuse both.)
    #[must_use]
    pub fn new(
        tuning: Tuning,
        capacity: RangeInclusive<u32>,
        interval: RangeInclusive<Duration>,
    ) -> Self {
        let (min_capacity, max_capacity) = capacity.into_inner();
        let max_capacity = max_capacity.max(min_capacity);
        Self {
            min_capacity,
            max_capacity,
            capacity: min_capacity,
            law: match tuning {
                Tuning::Demand => Law::Demand(Demand::new(max_capacity)),
                Tuning::NodePass => Law::Rounds(Rounds::new(interval)),
            },
        }
    }

    /// Returns the tuner with the time for which [`Tuning::Demand`] remembers a peak. Default 60 s.
    #[must_use]
    pub fn with_keep(mut self, keep: Duration) -> Self {
        if let Law::Demand(law) = &mut self.law {
            law.set_keep(Period::saturating(keep));
        }
        self
    }

    /// Returns the tuner with this capacity and interval, clamped to its bounds.
    #[must_use]
    pub fn with_state(mut self, capacity: u32, interval: Duration) -> Self {
        self.aim(capacity);
        if let Law::Rounds(law) = &mut self.law {
            law.set_interval(Period::saturating(interval));
        }
        self
    }

    /// Returns the law.
    #[must_use]
    pub const fn tuning(&self) -> Tuning {
        match &self.law {
            Law::Demand(_) => Tuning::Demand,
            Law::Rounds(_) => Tuning::NodePass,
        }
    }

    /// Returns the number of ready connections to aim at.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Returns the lower bound of the capacity.
    #[must_use]
    pub const fn min_capacity(&self) -> u32 {
        self.min_capacity
    }

    /// Returns the upper bound of the capacity.
    #[must_use]
    pub const fn max_capacity(&self) -> u32 {
        self.max_capacity
    }

    /// Sets new bounds. The capacity moves into them at once.
    ///
    /// Inverted bounds count as the single value of their lower end.
    pub fn set_bounds(&mut self, capacity: RangeInclusive<u32>) {
        let (min, max) = capacity.into_inner();
        (self.min_capacity, self.max_capacity) = (min, max.max(min));
        match &self.law {
            Law::Demand(_) => self.follow(),
            Law::Rounds(_) => self.aim(self.capacity),
        }
    }

    /// Sets other bounds and another [`keep`](Self::with_keep). The law and everything that it has learnt
    /// stay, and capacity and interval move into their bounds at once.
    ///
    /// Inverted bounds count as the single value of their lower end.
    pub fn configure(
        &mut self,
        capacity: RangeInclusive<u32>,
        interval: RangeInclusive<Duration>,
        keep: Duration,
    ) {
        match &mut self.law {
            Law::Demand(law) => law.set_keep(Period::saturating(keep)),
            Law::Rounds(law) => law.set_bounds(interval),
        }
        self.set_bounds(capacity);
    }

    /// As [`configure`](Self::configure), with the settings of another tuner of the same law.
    pub(crate) fn configure_as(&mut self, other: &Self) {
        let any = Period::ZERO;
        let (shortest, longest) = other.intervals().unwrap_or((any, any));
        self.configure(
            other.min_capacity..=other.max_capacity,
            shortest.duration()..=longest.duration(),
            other.keep().unwrap_or(any).duration(),
        );
    }

    /// Returns the time from the end of one round to the begin of the next; zero under
    /// [`Tuning::Demand`], which has no rounds.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.period().duration()
    }

    pub(crate) const fn period(&self) -> Period {
        match &self.law {
            Law::Demand(_) => Period::ZERO,
            Law::Rounds(law) => law.interval(),
        }
    }

    /// The bounds of the interval, if the law has one.
    pub(crate) const fn intervals(&self) -> Option<(Period, Period)> {
        match &self.law {
            Law::Demand(_) => None,
            Law::Rounds(law) => Some(law.bounds()),
        }
    }

    /// The time for which a peak is remembered, if the law remembers any.
    pub(crate) const fn keep(&self) -> Option<Period> {
        match &self.law {
            Law::Demand(law) => Some(law.keep()),
            Law::Rounds(_) => None,
        }
    }

    /// Returns the time in which a connection is replaced, as the law reckons with it: few dials take
    /// longer. `None` under [`Tuning::NodePass`], and where the bounds leave no choice, since nothing is
    /// measured then.
    #[must_use]
    pub fn lead_time(&self) -> Option<Duration> {
        match &self.law {
            Law::Demand(law) if self.has_choice() => Some(law.lead_time().bound().duration()),
            _ => None,
        }
    }

    // --- Tuning::NodePass -----------------------------------------------------------------------

    /// Does a whole round of [`Tuning::NodePass`]: [`begin_round`](Self::begin_round), then
    /// [`end_round`](Self::end_round). Returns the new capacity and interval.
    pub fn round(&mut self, idle: u32, created: u32) -> (u32, Duration) {
        self.begin_round(idle);
        self.end_round(created);
        (self.capacity, self.interval())
    }

    /// Begins a round of [`Tuning::NodePass`] with so many idle connections. Does nothing under another
    /// law.
    pub fn begin_round(&mut self, idle: u32) {
        if let Law::Rounds(law) = &mut self.law {
            law.begin(idle, self.capacity);
        }
    }

    /// Ends a round of [`Tuning::NodePass`] in which `created` connections came into the pool. Does
    /// nothing under another law.
    pub fn end_round(&mut self, created: u32) {
        if matches!(self.law, Law::Rounds(_)) {
            self.aim(Rounds::end(created, self.capacity));
        }
    }

    // --- Tuning::Demand -------------------------------------------------------------------------

    /// A caller at this end acquires any connection, whether one is ready or not.
    pub fn acquired(&mut self, now: Instant) {
        let limit = self.max_capacity;
        self.learn(|law| law.acquired(now, 1, limit));
    }

    /// A caller at this end acquires by id a connection that a caller at the peer acquired. The connection
    /// was established `age` ago. Returns whether the caller at the peer had been waiting for it, as an age
    /// of less than a quarter of the lead time says.
    pub fn acquired_by_peer(&mut self, now: Instant, age: Duration) -> bool {
        let limit = self.max_capacity;
        let mut fresh = false;
        self.learn(|law| {
            fresh = age < law.lead_time().bound().duration() / 4;
            law.acquired_by_peer(now, fresh, limit);
        });
        fresh
    }

    /// A connection is put back: its acquire need not be replaced.
    pub fn returned(&mut self) {
        // It changes no peak, so that there is nothing to follow.
        if let Some(law) = self.learning() {
            law.returned();
        }
    }

    /// The peer has told how many of its callers wait for a connection, within bounds.
    ///
    /// The hint alone does not raise the capacity above three quarters of the maximum. Acquires must
    /// confirm it.
    pub fn peer_waits(&mut self, now: Instant, waiters: RangeInclusive<u32>) {
        let limit = self.believed();
        self.learn(|law| law.peer_waits(now, &waiters, limit));
    }

    /// Returns how many callers of the peer wait, as far as its hints say and are believed: up to three
    /// quarters of the maximum of the capacity.
    #[must_use]
    pub const fn backlog(&self) -> u32 {
        match &self.law {
            Law::Demand(law) if self.has_choice() => {
                if law.backlog() < self.believed() {
                    law.backlog()
                } else {
                    self.believed()
                }
            }
            _ => 0,
        }
    }

    /// The most that a hint alone may ask for.
    pub(crate) const fn believed(&self) -> u32 {
        self.max_capacity - self.max_capacity / 4
    }

    /// A connection is established, `took` after its dial began.
    pub fn established(&mut self, now: Instant, took: Duration) {
        self.learn(|law| law.established(now, took));
    }

    /// The peer is down. Until a connection is established, nothing is learnt, and nothing forgotten.
    pub fn failed(&mut self, now: Instant) {
        self.learn(|law| law.failed(now));
    }

    /// A caller at this end waits for a stock of `ready`.
    pub fn require(&mut self, now: Instant, ready: u32) {
        self.learn(|law| law.require(now, ready));
    }

    /// Forgets peaks that are too long ago.
    pub fn advance(&mut self, now: Instant) {
        self.learn(|law| law.advance(now));
    }

    /// Returns when to call [`advance`](Self::advance) next, if there is something to forget.
    #[must_use]
    pub fn next_advance(&self) -> Option<Instant> {
        self.advances_at().finite()
    }

    #[inline]
    pub(crate) fn advances_at(&self) -> Instant {
        match &self.law {
            Law::Demand(law) if self.has_choice() => law.changes_at(),
            _ => Instant::NEVER,
        }
    }

    /// Feeds `hasher` with everything that the future of the tuner depends on: of times, the distances
    /// from `now`. For model checkers.
    pub fn hash_state<H: Hasher>(&self, now: Instant, hasher: &mut H) {
        (self.min_capacity, self.max_capacity, self.capacity).hash(hasher);
        match &self.law {
            Law::Demand(law) if self.has_choice() => law.hash_state(now, hasher),
            Law::Demand(_) => {}
            Law::Rounds(law) => law.hash(hasher),
        }
    }

    fn learn(&mut self, act: impl FnOnce(&mut Demand)) {
        if let Some(law) = self.learning() {
            act(law);
            self.follow();
        }
    }

    /// The law that learns, unless the bounds leave no choice.
    const fn learning(&mut self) -> Option<&mut Demand> {
        match (self.has_choice(), &mut self.law) {
            (true, Law::Demand(law)) => Some(law),
            _ => None,
        }
    }

    const fn has_choice(&self) -> bool {
        self.min_capacity < self.max_capacity
    }

    /// Sets the capacity that the peak of demand needs. If it was one more than that before, it stays: the
    /// peaks of steady demand differ by one from minute to minute. Stocks of a few connections follow
    /// exactly, as one is much of them.
    fn follow(&mut self) {
        if let Law::Demand(law) = &self.law {
            let demand = law.demand();
            let least = if demand > 0 { demand.saturating_add(1) } else { 0 };
            let most = least.saturating_add(u32::from(least > FEW));
            self.aim(self.capacity.max(least).min(most));
        }
    }

    fn aim(&mut self, capacity: u32) {
        self.capacity = capacity.max(self.min_capacity).min(self.max_capacity);
    }
}

#[cfg(test)]
mod tests;
