//! Where a client's connections come from: dials, paced by the tuner and held back after failures.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use pool_proto::State::*;
use pool_proto::{CloseReason, Instant, Stats, Token, Tuner, Tuning, WaitReason};

use super::{Connection, Naive, Supply};
use crate::call::Did;
use crate::setup::Setup;

/// A connection that the peer closes this soon after it was established, unused, was no success.
const SETTLING: Duration = Duration::from_secs(1);

/// A success that has lasted this long is not proven wrong any more.
const RECOVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Dialer {
    /// The law itself is a pure value with tests of its own; when it is asked is said here.
    tuner: Tuner,
    next_round: Option<Instant>,
    created: u32,
    lowest_idle: u32,
    quota: u32,
    failures: u32,
    /// The failures that the last success forgave.
    forgiven: u32,
    retry: Option<Retry>,
    /// Failures that led to a wait.
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

impl Dialer {
    pub fn new(setup: &Setup, now: Instant) -> Self {
        let ((min, max), (short, long)) = (setup.capacity, setup.interval);
        Self {
            tuner: Tuner::new(setup.tuning, min..=max, short..=long),
            next_round: None,
            created: 0,
            lowest_idle: 0,
            quota: 0,
            failures: 0,
            forgiven: 0,
            retry: None,
            epoch: 0,
            relapsed: false,
            recovered_at: now,
        }
    }

    pub fn report(&self, stats: &mut Stats) {
        stats.capacity = self.tuner.capacity();
        stats.interval = self.tuner.interval();
        stats.failures_in_a_row = self.failures;
    }

    /// All but names and counters: of what follows from how long ago, no more than matters.
    pub fn hash_state(&self, now: Instant, hasher: &mut impl Hasher) {
        let distance = |at: Instant| at.as_nanos().wrapping_sub(now.as_nanos());
        self.tuner.hash(hasher);
        let created = if self.paced() { self.created } else { self.created.min(1) };
        (created, self.lowest_idle, self.quota, self.failures, self.forgiven).hash(hasher);
        let retry = self.retry.map(|r| (distance(r.from), distance(r.to), r.perhaps_over));
        (self.next_round.map(distance), retry, self.relapsed).hash(hasher);
        now.since(self.recovered_at).min(RECOVERY + Duration::from_nanos(1)).hash(hasher);
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
        let (idle, stock, now, wanted) =
            (self.count(Idle), self.stock(), self.now, self.most_stock());
        let Some(dialer) = self.dialer_mut() else { return };
        if dialer.paced() {
            dialer.tuner.begin_round(idle);
            dialer.quota = dialer.tuner.capacity().saturating_sub(stock);
            dialer.next_round = Some(now + dialer.tuner.interval());
        } else {
            dialer.tuner.begin_round(dialer.lowest_idle);
            if let Some(ready) = wanted {
                dialer.tuner.require(ready);
            }
            dialer.lowest_idle = idle;
            dialer.next_round = None;
        }
    }

    pub fn round_due(&self) -> Option<Instant> {
        self.dialer().filter(|_| !self.closed)?.next_round
    }

    pub fn missed(&mut self) {
        if let Some(dialer) = self.dialer_mut().filter(|dialer| dialer.failures == 0) {
            dialer.tuner.missed();
        }
    }

    pub fn require(&mut self, ready: u32) {
        if let Some(dialer) = self.dialer_mut() {
            dialer.tuner.require(ready);
        }
    }

    pub fn flushed(&mut self) {
        let now = self.now;
        if let Some(dialer) = self.dialer_mut().filter(|dialer| dialer.paced()) {
            dialer.next_round = Some(now);
        }
    }

    /// Handles a timeout of the dialer itself: rounds and retries.
    pub fn supply_due(&mut self) {
        let (now, closed) = (self.now, self.closed);
        let Some(dialer) = self.dialer_mut().filter(|_| !closed) else { return };
        match &mut dialer.retry {
            Some(retry) if retry.to <= now => dialer.retry = None,
            Some(retry) if retry.from <= now => {
                retry.from = Instant::from_nanos(now.as_nanos() + 1);
                retry.perhaps_over = true;
            }
            _ => {}
        }
        if dialer.next_round.is_some_and(|at| at <= now) {
            let created = std::mem::take(&mut dialer.created);
            dialer.tuner.end_round(created);
            self.begin_round();
        }
    }

    // --- dials ----------------------------------------------------------------------------------

    pub fn refill(&mut self) {
        let (idle, now) = (self.count(Idle), self.now);
        let machine_dials = !self.choices.dialled.is_empty();
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.lowest_idle = dialer.lowest_idle.min(idle);
        // Under demand a round can only lower the capacity: at the minimum there is none.
        let lowerable = dialer.tuner.capacity() > dialer.tuner.min_capacity();
        if !dialer.paced() && dialer.next_round.is_none() && lowerable {
            dialer.next_round = Some(now + dialer.tuner.interval());
        }
        if !self.may_dial() {
            return;
        }
        let Some(dialer) = self.dialer_mut() else { return };
        match &mut dialer.retry {
            Some(retry) if retry.perhaps_over && machine_dials => dialer.retry = None,
            Some(retry) => {
                retry.perhaps_over = false;
                return;
            }
            None => {}
        }
        while self.may_dial() {
            self.dial();
        }
    }

    /// Whether one more dial is wanted and allowed, but for the wait after a failure.
    fn may_dial(&self) -> bool {
        let Some(dialer) = self.dialer() else { return false };
        let max_dials = if dialer.failures > 0 { 1 } else { self.setup.max_dials };
        self.stock() < dialer.tuner.capacity()
            && self.in_flight() < max_dials
            && !self.is_full()
            && (!dialer.paced() || dialer.quota > 0)
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

    /// A connection was established.
    pub fn succeeded(&mut self, token: Token) {
        let (now, epoch) = (self.now, self.get(token).epoch);
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.created += 1;
        // An attempt begun before the last success was disproved may be the same false success.
        if dialer.relapsed && epoch != dialer.epoch {
            return;
        }
        dialer.relapsed = false;
        dialer.retry = None;
        if dialer.failures > 0 {
            dialer.recovered_at = now;
            dialer.forgiven = dialer.failures;
            dialer.failures = 0;
        }
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
        unused.filter(|_| dials).map(|at| self.now.since(at).min(SETTLING)).hash(hasher);
    }

    /// Applies the end of a connection to the next dials.
    pub fn consequences(&mut self, connection: &Connection, reason: CloseReason) {
        let now = self.now;
        let young = connection.established.is_none_or(|at| now.since(at) < SETTLING);
        let relapse = match reason {
            CloseReason::DialFailed
            | CloseReason::DialTimeout
            | CloseReason::HandshakeFailed
            | CloseReason::HandshakeTimeout
            | CloseReason::DuplicateId
            | CloseReason::MissingId => false,
            CloseReason::PeerClosed
                if !connection.used && connection.claimed.is_none() && young =>
            {
                true
            }
            _ => return,
        };
        let (base, cap) = self.setup.backoff;
        let Some(dialer) = self.dialer_mut() else { return };
        // Attempts begun before a failure fail for the same reason, and are not counted again.
        if connection.epoch != dialer.epoch {
            return;
        }
        dialer.epoch += 1;
        dialer.relapsed |= relapse;
        if relapse && now.since(dialer.recovered_at) <= RECOVERY {
            dialer.failures = dialer.failures.max(std::mem::take(&mut dialer.forgiven));
        }
        let bound = (0..dialer.failures).fold(base, |wait, _| (wait * 2).min(cap));
        dialer.failures += 1;
        let soonest = Instant::from_nanos(now.as_nanos() + 1);
        dialer.retry = Some(Retry { from: soonest, to: now + bound, perhaps_over: false });
    }

    /// Compares the machine's deadline with the earliest of all others, and learns from it when the
    /// wait after a failure ends.
    pub fn accept_retry(
        &mut self,
        known: Option<Instant>,
        due: Option<Instant>,
    ) -> Result<(), String> {
        let closed = self.closed;
        let retry = self.dialer_mut().filter(|_| !closed).map(|dialer| &mut dialer.retry);
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
        let machine_waits = self.choices.backing_off;
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
        if let Some(retry) = &mut dialer.retry {
            if retry.perhaps_over && !machine_waits {
                dialer.retry = None;
            } else {
                retry.perhaps_over = false;
                return WaitReason::BackingOff { failures: dialer.failures };
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
