//! Where a client's connections come from: dials, paced by the tuner and held back after failures.

mod outcomes;
mod surplus;
mod urgency;

use std::hash::{Hash, Hasher};
use std::time::Duration;

use pool_proto::State::*;
use pool_proto::{
    Acquirer, CloseReason, ConfigError, ConnId, Instant, Refusal, Stats, Token, Tuner, Tuning,
    WaitReason,
};

use super::hints::Hints;
use super::{Connection, Naive, Supply, Want};
use crate::call::{Answer, Did};
use crate::setup::Setup;
use surplus::Surplus;
use urgency::Urgency;

/// A connection that the peer closes this soon after it was established, unused, was no success.
const SETTLING: Duration = Duration::from_secs(1);

/// A success that has lasted this long is not proven wrong any more.
const RECOVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Dialer {
    /// The law itself is a pure value with tests of its own; when it is asked is said here.
    tuner: Tuner,
    hints: Hints,
    urgency: Urgency,
    /// The next round of the Go package's law; none while one goes on.
    next_round: Option<Instant>,
    created: u32,
    surplus: Option<Surplus>,
    quota: u32,
    max_dials: u32,
    /// The most at a time since the last failure.
    window: u32,
    /// Since when too few come for those that wait: for the limit on dials, or on the stock.
    limited: Option<(bool, Instant)>,
    failures: u32,
    /// The failures that the last success forgave.
    forgiven: u32,
    retry: Option<Retry>,
    /// How often in a row a full server has turned one away, and how often it had before it took
    /// one in.
    rejections: u32,
    forgiven_rejections: u32,
    /// How many it holds, as far as is known from those that it has turned away.
    ceiling: Option<u32>,
    /// How many more it has taken since it last turned one away, and when the last of them.
    taken_since: u32,
    raised_at: Instant,
    /// Failures and rejections that led to a wait.
    epoch: u32,
    relapsed: bool,
    recovered_at: Instant,
}

/// A random wait, as far as it is known: it ends between `from` and `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    from: Instant,
    to: Instant,
    /// Whether a timeout has come in between, so that it may have ended.
    perhaps_over: bool,
}

impl Retry {
    /// A wait of at least and at most so long.
    fn drawn(now: Instant, (least, most): (Duration, Duration)) -> Self {
        let soonest = Instant::from_nanos(now.as_nanos() + 1).max(now + least);
        Self { from: soonest, to: now + most, perhaps_over: false }
    }
}

impl Dialer {
    pub fn new(setup: &Setup, now: Instant) -> Self {
        let ((min, max), (short, long)) = (setup.capacity, setup.interval);
        Self {
            tuner: Tuner::new(setup.tuning, min..=max, short..=long).with_keep(setup.keep),
            hints: Hints::new(),
            urgency: Urgency::default(),
            next_round: None,
            created: 0,
            surplus: None,
            quota: 0,
            max_dials: setup.max_dials,
            window: 256,
            limited: None,
            failures: 0,
            forgiven: 0,
            retry: None,
            rejections: 0,
            forgiven_rejections: 0,
            ceiling: None,
            taken_since: 0,
            raised_at: now,
            epoch: 0,
            relapsed: false,
            recovered_at: now,
        }
    }

    pub fn report(&self, stats: &mut Stats) {
        stats.capacity = self.tuner.capacity();
        stats.interval = self.tuner.interval();
        stats.lead_time = self.tuner.lead_time();
        stats.peer_waiters = self.tuner.backlog();
        stats.failures_in_a_row = self.failures;
        stats.ceiling = self.ceiling;
    }

    /// Everything except names and counters, with times only as far as they matter.
    pub fn hash_state(&self, now: Instant, hasher: &mut impl Hasher) {
        let distance = |at: Instant| at.as_nanos().wrapping_sub(now.as_nanos());
        self.tuner.hash_state(now, hasher);
        self.hints.hash(hasher);
        if self.tuner.max_capacity() > 16 {
            self.urgency.hash_state(now, hasher);
        }
        (self.failures, self.forgiven, self.window.min(self.max_dials)).hash(hasher);
        self.paced().then_some((self.created, self.quota)).hash(hasher);
        self.surplus.map(|s| (s.fewest, now.since(s.since), s.acquires)).hash(hasher);
        let retry = self.retry.map(|r| (distance(r.from), distance(r.to), r.perhaps_over));
        (self.next_round.map(distance), retry, self.relapsed).hash(hasher);
        (self.rejections, self.forgiven_rejections, self.ceiling, self.taken_since).hash(hasher);
        let age = |at| now.since(at).min(RECOVERY + Duration::from_nanos(1));
        (self.forgiven > 0).then_some(age(self.recovered_at)).hash(hasher);
        (self.forgiven_rejections > 0).then_some(age(self.raised_at)).hash(hasher);
        now.since(self.raised_at).min(SETTLING).hash(hasher);
    }

    /// A caller of either end has acquired a connection.
    fn came(&mut self, now: Instant) {
        self.urgency.acquired(now);
        if let Some(surplus) = &mut self.surplus {
            surplus.acquires = (surplus.acquires + 1).min(surplus::MANY);
        }
    }

    const fn paced(&self) -> bool {
        matches!(self.tuner.tuning(), Tuning::NodePass)
    }
}

impl Naive {
    const fn dialer(&self) -> Option<&Dialer> {
        match &self.supply {
            Supply::Dialer(dialer) => Some(dialer),
            Supply::Door(_) => None,
        }
    }

    const fn dialer_mut(&mut self) -> Option<&mut Dialer> {
        match &mut self.supply {
            Supply::Dialer(dialer) => Some(dialer),
            Supply::Door(_) => None,
        }
    }

    pub fn epoch(&self) -> u32 {
        self.dialer().map_or(0, |dialer| dialer.epoch)
    }

    fn in_flight(&self) -> u32 {
        self.count(Dialing) + self.count(Handshaking)
    }

    // --- rounds ---------------------------------------------------------------------------------

    pub fn begin_round(&mut self) {
        let (idle, stock, wanted) = (self.count(Idle), self.stock(), self.wanted());
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.next_round = None;
        dialer.tuner.begin_round(idle);
        // The law may have moved.
        let wanted = if dialer.paced() { dialer.tuner.capacity() } else { wanted };
        dialer.quota = wanted.saturating_sub(stock);
    }

    /// A round is over when all of its dials have an outcome.
    pub fn end_round(&mut self) {
        let (now, over) = (self.now, self.in_flight() == 0);
        let Some(dialer) = self.dialer_mut().filter(|dialer| dialer.paced()) else { return };
        if over && dialer.next_round.is_none() {
            let created = std::mem::take(&mut dialer.created);
            dialer.tuner.end_round(created);
            dialer.next_round = Some(now + dialer.tuner.interval());
            dialer.quota = 0;
        }
    }

    /// When something of the dialer's own is due: a round, a peak to forget, a surplus to close.
    pub fn law_due(&self) -> Option<Instant> {
        let dialer = self.dialer().filter(|_| !self.is_ending())?;
        let surplus = dialer.surplus.map(|surplus| surplus.ends(self.setup.keep));
        let law = [dialer.next_round, dialer.tuner.next_advance(), surplus, self.dial_due()];
        law.into_iter().flatten().min()
    }

    /// A caller here wants any connection.
    pub fn demanded(&mut self) {
        let now = self.now;
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.came(now);
        if dialer.failures == 0 {
            dialer.tuner.acquired(now);
        }
    }

    /// A caller at the server has acquired a connection, and has told its id.
    pub fn demanded_there(&mut self, token: Token) {
        let (now, held) = (self.now, self.in_stock());
        let connection = self.get(token);
        let (epoch, since) = (connection.epoch, connection.established);
        let age = since.map_or(Duration::ZERO, |since| now.since(since));
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.came(now);
        if dialer.failures == 0 && dialer.tuner.acquired_by_peer(now, age) {
            self.found_room(epoch, held);
        }
    }

    /// A connection was established; its id may tell how many callers wait at the server.
    pub fn arrived(&mut self, token: Token) {
        let now = self.now;
        let connection = self.get(token);
        let (took, id) = (now.since(connection.begun), connection.id);
        let received = self.ids_received();
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.tuner.established(now, took);
        if let Some(id) = id.filter(|id| received && *id != ConnId::ZERO)
            && let Some(waiters) = dialer.hints.read(id)
        {
            dialer.tuner.peer_waits(now, waiters);
        }
    }

    pub fn returned(&mut self) {
        if let Some(dialer) = self.dialer_mut() {
            dialer.tuner.returned();
        }
    }

    pub fn require(&mut self, ready: u32) {
        let now = self.now;
        if let Some(dialer) = self.dialer_mut() {
            dialer.tuner.require(now, ready);
        }
    }

    pub fn set_capacity(&mut self, low: u32, high: u32) -> Answer {
        let Setup { max_connections, acquirer, .. } = self.setup;
        let (setting, limit) = ("capacity", max_connections);
        if low == 0 {
            return Answer::Configured(Err(ConfigError::Zero { setting }));
        }
        if low > high {
            return Answer::Configured(Err(ConfigError::Inverted { setting }));
        }
        if high > limit {
            let (value, limit, bound) = (high.into(), limit.into(), "max_connections");
            return Answer::Configured(Err(ConfigError::TooLarge { setting, value, limit, bound }));
        }
        assert_ne!(acquirer, Acquirer::Both, "the naive pool does not know this");
        self.setup.capacity = (low, high);
        if let Some(dialer) = self.dialer_mut() {
            dialer.tuner.set_bounds(low..=high);
        }
        while let Some((waiter, wanted)) = self.first_beyond(high) {
            self.refuse(waiter, Refusal::StockBeyondCapacity { wanted, capacity: high });
        }
        self.settle();
        Answer::Configured(Ok(()))
    }

    /// Takes over the new settings of the dialer itself, from which those before it differed.
    pub(super) fn set_dialer(&mut self, before: &Setup) {
        let (now, setup) = (self.now, self.setup);
        let Some(dialer) = self.dialer_mut() else { return };
        let ((min, max), (short, long)) = (setup.capacity, setup.interval);
        dialer.max_dials = setup.max_dials;
        dialer.tuner.configure(min..=max, short..=long, setup.keep);
        if setup.keep != before.keep {
            dialer.surplus = None;
        }
        let soonest = now + dialer.tuner.interval();
        dialer.next_round = dialer.next_round.map(|at| at.min(soonest));
        let latest = now + setup.backoff.1;
        if let Some(retry) = dialer.retry.as_mut().filter(|retry| retry.to > latest) {
            // As for callers that wait: drawn anew if it was longer.
            retry.perhaps_over &= retry.from <= latest;
            let drawn_anew = Instant::from_nanos(now.as_nanos() + 1);
            (retry.from, retry.to) = (retry.from.min(drawn_anew), latest);
        }
    }

    pub fn flushed(&mut self) {
        let now = self.now;
        if let Some(dialer) = self.dialer_mut() {
            dialer.next_round = dialer.next_round.map(|_| now);
        }
    }

    /// How many connections are wanted: those that the law says, and one for each caller that waits.
    fn wanted(&self) -> u32 {
        let Some(dialer) = self.dialer() else { return 0 };
        let capacity = dialer.tuner.capacity();
        if dialer.paced() {
            return capacity;
        }
        let (waiting, most) = (self.count_waiting(Want::Any), self.setup.capacity.1);
        let here = (capacity + waiting).max(self.most_stock().unwrap_or(0)).min(most);
        let at_peer = (capacity + dialer.tuner.backlog()).min(most - most / 4);
        capacity.max(here).max(at_peer)
    }

    pub fn note_limit(&mut self) {
        let (now, in_flight, stock) = (self.now, self.in_flight(), self.stock());
        let (here, most) = (self.count_waiting(Want::Any), self.setup.capacity.1);
        let Some(dialer) = self.dialer_mut() else { return };
        let waiting = here.max(dialer.tuner.backlog());
        let by_dials = in_flight >= dialer.max_dials;
        let too_few = waiting > in_flight && dialer.failures == 0 && (by_dials || stock >= most);
        let Some((_, since)) = dialer.limited.filter(|(by, _)| too_few && *by == by_dials) else {
            dialer.limited = too_few.then_some((by_dials, now));
            return;
        };
        if now.since(since) >= Duration::from_secs(1) {
            dialer.limited = Some((by_dials, now));
            self.totals.limited_by_dials += u64::from(by_dials);
            self.totals.limited_by_capacity += u64::from(!by_dials);
        }
    }

    /// Handles a timeout of the dialer itself: rounds and retries.
    pub fn supply_due(&mut self) {
        let now = self.now;
        let Some(dialer) = self.dialer_mut() else { return };
        match &mut dialer.retry {
            Some(retry) if retry.to <= now => dialer.retry = None,
            Some(retry) if retry.from <= now => {
                retry.from = Instant::from_nanos(now.as_nanos() + 1);
                retry.perhaps_over = true;
            }
            _ => {}
        }
        dialer.tuner.advance(now);
        if dialer.next_round.is_some_and(|at| at <= now) {
            self.begin_round();
        }
        self.close_surplus();
    }

    // --- dials ----------------------------------------------------------------------------------

    pub fn refill(&mut self) {
        let now = self.now;
        self.note_surplus();
        self.hurry();
        let (during, after) = (self.missing_dials(true), self.missing_dials(false));
        let dialled = self.choices.dialled.len();
        let Some(dialer) = self.dialer_mut() else { return };
        let dials = match &mut dialer.retry {
            // Only where both differ it shows whether the wait is over.
            Some(retry) if retry.perhaps_over && during < after => {
                if dialled > during as usize {
                    dialer.retry = None;
                    after
                } else {
                    retry.perhaps_over = false;
                    during
                }
            }
            Some(_) => during,
            None => after,
        };
        for _ in 0..dials {
            self.take_pace();
            self.dial();
        }
        let (stock, urgent, setup) = (self.stock(), self.is_urgent(), self.setup);
        let Some(dialer) = self.dialer_mut().filter(|dialer| dialer.failures == 0) else { return };
        if dials > 0 && dialer.ceiling.is_some_and(|ceiling| stock > ceiling) {
            // A dial beyond the ceiling: unless it succeeds, the next one comes after a wait.
            dialer.retry = Some(Retry::drawn(now, setup.wait(dialer.rejections, urgent)));
            dialer.rejections += 1;
        }
    }

    /// Whether an old idle connection goes at once. Otherwise another one is dialled first, or the peer
    /// is down.
    pub fn may_retire(&mut self) -> bool {
        let (stock, in_flight, full) = (self.stock(), self.in_flight(), self.is_full());
        let (ageing, most) = (self.ageing().len(), self.setup.max_dials);
        let Some(dialer) = self.dialer() else { return true };
        let wanted = dialer.tuner.capacity();
        if stock - in_flight > wanted {
            return true;
        }
        if dialer.failures > 0 {
            return false;
        }
        if in_flight > 0 && dialer.ceiling.is_some_and(|ceiling| stock > ceiling) {
            // A connection that left meanwhile may have made the room that the attempt finds.
            return false;
        }
        if dialer.ceiling.is_some() || dialer.paced() || full {
            return true;
        }
        // At most one dial for each old connection.
        if in_flight < most && stock >= wanted && ageing > (stock - wanted) as usize {
            self.dial();
        }
        false
    }

    /// Closes the oldest connection whose successor is there.
    pub fn drop_replaced(&mut self) {
        let (idle, old) = (self.count(Idle), self.ageing().first().copied());
        let Some(dialer) = self.dialer() else { return };
        let (most, least) = (dialer.tuner.capacity(), dialer.tuner.min_capacity());
        match old {
            Some(old) if self.stock() - self.in_flight() > most && idle > least => {
                self.close_one(old, CloseReason::IdleTimeout);
            }
            // The old one has been in use meanwhile: there is one too many.
            _ if idle > self.limit() => {
                let oldest = self.first(Idle).unwrap();
                self.close_one(oldest, CloseReason::Replaced);
            }
            _ => {}
        }
    }

    /// While somebody waits, a long wait is cut to a random part of a short one.
    fn hurry(&mut self) {
        let (now, latest) = (self.now, self.now + self.setup.patience());
        let urgent = self.is_urgent();
        let Some(retry) = self.dialer_mut().and_then(|dialer| dialer.retry.as_mut()) else {
            return;
        };
        if urgent && retry.to > latest {
            // If it was not known whether it would end before `latest`, it may also have stayed.
            retry.perhaps_over &= retry.from <= latest;
            // If it has stayed, it may be over already, and nobody has told the time.
            let drawn_anew = Instant::from_nanos(now.as_nanos() + 1);
            (retry.from, retry.to) = (retry.from.min(drawn_anew), latest);
        }
    }

    /// Whether somebody waits for something that only a new connection can bring.
    fn is_awaited(&self) -> bool {
        self.first_waiting(Want::Any).is_some() || self.most_stock().is_some()
    }

    /// Whether a waiter would notice a long wait for the next dial.
    fn is_urgent(&self) -> bool {
        self.is_awaited() || self.first_waiting(Want::Claimed).is_some()
    }

    /// The number of connections that the server certainly holds and may hand out.
    fn in_stock(&self) -> u32 {
        [Idle, Granted, Resting, Checking].into_iter().map(|state| self.count(state)).sum()
    }

    /// How many more dials are wanted and allowed, if the wait is not over, or if it is.
    fn missing_dials(&self, waiting: bool) -> u32 {
        let Some(dialer) = self.dialer() else { return 0 };
        let down = dialer.failures > 0;
        if self.is_full() || (waiting && down) {
            return 0;
        }
        let wanted = match dialer.ceiling {
            None if waiting => 0,
            None => self.wanted(),
            Some(ceiling) if waiting => ceiling,
            Some(ceiling) => ceiling.max(self.in_stock()) + 1 + dialer.taken_since,
        };
        let at_a_time = if down { 1 } else { self.setup.max_dials.min(dialer.window) };
        let paced = if dialer.paced() { dialer.quota } else { u32::MAX };
        [
            wanted.min(self.wanted()).saturating_sub(self.stock()),
            at_a_time.saturating_sub(self.in_flight()),
            self.setup.max_connections - self.held(),
            paced,
            self.allowed_by_pace(),
        ]
        .into_iter()
        .min()
        .unwrap_or(0)
    }

    fn dial(&mut self) {
        let token = self.choices.dialled.pop_front().expect("the naive pool dials");
        self.begin(token, Dialing);
        self.totals.dials += 1;
        self.did.push(Did::Dial { token });
        if let Some(dialer) = self.dialer_mut() {
            dialer.quota = dialer.quota.saturating_sub(1);
        }
    }

    // --- failures -------------------------------------------------------------------------------

    pub fn dial_now(&mut self) -> Answer {
        let (now, ending) = (self.now, self.is_ending());
        if let Some(dialer) = self.dialer_mut().filter(|_| !ending) {
            (dialer.retry, dialer.rejections) = (None, 0);
            dialer.failures = dialer.failures.min(1);
            dialer.next_round = dialer.next_round.map(|_| now);
            self.settle();
        }
        Answer::Nothing
    }

    /// Whether no more connections are allowed: too many in all, or too many that peers have begun
    /// to use, which bring no stock.
    fn is_full(&self) -> bool {
        let claimed = self.count(Claimed);
        self.held() >= self.setup.max_connections || claimed >= (2 * self.setup.capacity.1).max(64)
    }

    /// The effect that its end could have on the next dials.
    pub fn hash_supply_of(&self, connection: &Connection, hasher: &mut impl Hasher) {
        (connection.epoch == self.epoch()).hash(hasher);
        let unused =
            connection.established.filter(|_| !connection.used && connection.claimed.is_none());
        let dials = matches!(self.supply, Supply::Dialer(_));
        let in_flight = dials && connection.established.is_none();
        in_flight.then_some(self.now.since(connection.begun)).hash(hasher);
        unused.filter(|_| dials).map(|at| self.now.since(at).min(SETTLING)).hash(hasher);
    }

    /// Compares the machine's deadline with the earliest of all others, and learns from it when the
    /// wait after a failure ends.
    pub fn accept_retry(
        &mut self,
        known: Option<Instant>,
        due: Option<Instant>,
    ) -> Result<(), String> {
        let ending = self.is_ending();
        let retry = self.dialer_mut().filter(|_| !ending).map(|dialer| &mut dialer.retry);
        let wrong = || Err(format!("due at {due:?}, and not at {known:?}"));
        let Some(slot @ Some(_)) = retry else {
            return if due == known { Ok(()) } else { wrong() };
        };
        let Some(retry) = slot else { return Ok(()) };
        if due == known {
            let latest = Instant::from_nanos(u64::MAX);
            retry.from = retry.from.max(known.unwrap_or(latest));
            if retry.from > retry.to {
                if !retry.perhaps_over {
                    return Err(format!("due at {due:?}, but the backoff ends by {:?}", retry.to));
                }
                *slot = None;
            }
            return Ok(());
        }
        match due {
            Some(due) if known.is_none_or(|known| due < known) => {
                if due < retry.from || due > retry.to {
                    return Err(format!("due at {due:?}, but {known:?} or in {retry:?}"));
                }
                *retry = Retry { from: due, to: due, perhaps_over: false };
                Ok(())
            }
            _ => wrong(),
        }
    }

    pub fn wait_reason(&mut self) -> WaitReason {
        let in_flight = self.in_flight();
        let handshakes = self.stats().handshaking;
        let full = self.is_full();
        let (leased, claimed, stock) = (self.count(Leased), self.count(Claimed), self.stock());
        let for_ids = claimed + self.count(Finished);
        let (machine_waits, total) = (self.choices.holds_back, self.held());
        let Some(dialer) = self.dialer_mut() else {
            return if handshakes > 0 {
                WaitReason::Handshaking { in_flight: handshakes }
            } else if for_ids > 0 {
                WaitReason::Claimed { claimed: for_ids }
            } else {
                WaitReason::NoPeer
            };
        };
        if in_flight > 0 {
            return WaitReason::Dialing { in_flight };
        }
        let beyond = dialer.ceiling.is_some_and(|ceiling| ceiling <= stock);
        let reason = match dialer.failures {
            0 if full || !beyond || stock >= dialer.tuner.capacity() => None,
            0 => Some(WaitReason::Full { held: total }),
            failures => Some(WaitReason::BackingOff { failures }),
        };
        if let (Some(reason), Some(retry)) = (reason, &mut dialer.retry) {
            if retry.perhaps_over && !machine_waits {
                dialer.retry = None;
            } else {
                retry.perhaps_over = false;
                return reason;
            }
        }
        if full {
            WaitReason::AllInUse { leased, claimed }
        } else if dialer.paced() {
            WaitReason::NextRound
        } else {
            WaitReason::Returning { returning: stock }
        }
    }
}
