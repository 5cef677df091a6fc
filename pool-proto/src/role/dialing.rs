//! The client's supply: dials, paced by the tuner and held back by the backoff.

use core::time::Duration;

use super::hooks::Hooks;
use super::max_claimed;
use crate::answer::WaitReason;
use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::entropy::Use;
use crate::event::{Action, CloseReason, Token};
use crate::id::IdExchange;
use crate::ids::Ids;
use crate::machine::Machine;
use crate::state::State;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tuner::{Tuner, Tuning};

/// A new connection that the peer closes within this time, unused by either end, counts as a failed
/// attempt: a full server of the Go package completes the handshake, sends an id, and closes.
///
/// A second is long compared with a round trip and short compared with the life of a useful
/// connection.
pub(crate) const PROBATION: Duration = Duration::from_secs(1);

/// After this time, a success that ended failures is final: the early end of a later connection no
/// longer revokes it. Ten times [`PROBATION`].
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// The client role: connections come from dials.
#[derive(Clone)]
pub struct Dialing {
    pub(crate) tuner: Tuner,
    pub(crate) backoff: Backoff,
    max_dials: u32,
    /// The end of the backoff's wait: no dial before it.
    pub(crate) retry_at: Option<Instant>,
    /// The number of failures that led to a wait. Attempts of an earlier epoch failed for the same
    /// reason, and do not lengthen the wait again.
    pub(crate) epoch: u32,
    /// Whether the last success was revoked. Then successes of attempts from an earlier epoch do not
    /// reset the backoff: they may be the same false success.
    pub(crate) relapsed: bool,
    /// The time of the success that ended the last failures.
    pub(crate) recovered_at: Instant,
    pub(crate) next_round: Option<Instant>,
    /// Connections established since the last round.
    pub(crate) created: u32,
    /// The lowest number of idle connections since the last round.
    pub(crate) lowest_idle: u32,
    /// Dials that the round may still begin, under [`Tuning::NodePass`].
    pub(crate) quota: u32,
}

/// The client's machine: dials a peer and keeps connections ready.
pub type Client<C> = Machine<C, Dialing>;

impl<C> Client<C> {
    /// Creates a client. Its first dials are in [`poll_action`](Machine::poll_action) already.
    #[must_use]
    pub fn new(config: &ClientConfig, now: Instant) -> Self {
        let entropy = config.common.entropy();
        let exchanged = config.ids != IdExchange::None;
        let ids = if exchanged { Ids::received(&entropy) } else { Ids::issued(&entropy) };
        let (base, cap) = config.backoff;
        let role = Dialing {
            tuner: config.tuner.clone(),
            backoff: Backoff::with_generator(base, cap, entropy.generator(Use::Backoff)),
            max_dials: config.max_dials,
            retry_at: None,
            epoch: 0,
            relapsed: false,
            recovered_at: now,
            next_round: None,
            created: 0,
            lowest_idle: 0,
            quota: 0,
        };
        let mut client =
            Self::assemble(&config.common, config.dial_timeout, exchanged, ids, role, now);
        client.begin_round(now);
        client.dispatch(now);
        client
    }

    fn begin_round(&mut self, now: Instant) {
        let idle = self.slots.len(State::Idle);
        let supply = self.supply();
        let role = &mut self.role;
        match role.tuner.tuning() {
            Tuning::NodePass => {
                role.tuner.begin_round(idle);
                role.quota = role.tuner.capacity().saturating_sub(supply);
                role.next_round = Some(now.after(role.tuner.period()));
            }
            Tuning::Demand => {
                role.tuner.begin_round(role.lowest_idle);
                // A capacity below the stock that a caller waits for would never satisfy it.
                if let Some(ready) = self.waiters.largest_stock() {
                    role.tuner.require(ready);
                }
                role.lowest_idle = idle;
                role.next_round = None;
            }
        }
    }

    /// Whether one more connection is allowed.
    ///
    /// Without the limit on claimed connections the client would dial forever: a connection whose
    /// peer sends first is claimed at once and adds no stock.
    fn has_room(&self) -> bool {
        self.held() < self.max_connections
            && self.slots.len(State::Claimed) < max_claimed(self.role.tuner.max_capacity())
    }

    fn dial(&mut self, now: Instant) -> bool {
        let Some(key) = self.slots.insert(State::Dialing, self.role.epoch, now) else {
            return false;
        };
        self.issue_id(key.index);
        self.totals.dials += 1;
        self.role.quota = self.role.quota.saturating_sub(1);
        self.actions.push_back(Action::Dial { token: Token(key) });
        true
    }

    /// Begins as many dials as are missing and allowed. Out of line: the cheap test in `refill` runs
    /// after every call.
    #[inline(never)]
    fn dial_missing(&mut self, now: Instant) {
        let role = &self.role;
        let paced = role.tuner.tuning() == Tuning::NodePass;
        // After a failure one dial probes the peer; the rest follows when it has succeeded.
        let max_dials = if role.backoff.failures() > 0 { 1 } else { role.max_dials };
        let capacity = role.tuner.capacity();
        while self.supply() < capacity
            && self.in_flight() < max_dials
            && self.has_room()
            && (!paced || self.role.quota > 0)
            && self.dial(now)
        {}
    }

    /// An attempt that was begun in this epoch has succeeded.
    fn succeeded(&mut self, epoch: u32, now: Instant) {
        let role = &mut self.role;
        role.created = role.created.saturating_add(1);
        if !role.relapsed || epoch == role.epoch {
            role.relapsed = false;
            if role.backoff.failures() > 0 {
                role.recovered_at = now;
            }
            role.backoff.success();
            role.retry_at = None;
        }
    }

    /// An attempt that was begun in this epoch has failed; `relapse` if it had counted as a success.
    fn failed(&mut self, epoch: u32, relapse: bool, now: Instant) {
        let role = &mut self.role;
        if epoch != role.epoch {
            return;
        }
        role.epoch = role.epoch.wrapping_add(1);
        role.relapsed |= relapse;
        let revoked = relapse && now.since(role.recovered_at) <= RECOVERY;
        let wait = if revoked { role.backoff.relapse() } else { role.backoff.failure() };
        role.retry_at = Some(now + wait).filter(|at| *at > now);
    }
}

impl Hooks for Dialing {
    const LAST_STEP: State = State::Handshaking;

    fn refill<C>(client: &mut Client<C>, now: Instant) {
        let idle = client.slots.len(State::Idle);
        let role = &mut client.role;
        role.lowest_idle = role.lowest_idle.min(idle);
        let paced = role.tuner.tuning() == Tuning::NodePass;
        if !paced && role.next_round.is_none() && role.tuner.capacity() > role.tuner.min_capacity()
        {
            role.next_round = Some(now.after(role.tuner.period()));
        }
        if role.retry_at.is_none() && client.supply() < client.role.tuner.capacity() {
            client.dial_missing(now);
        }
    }

    fn handle_timeout<C>(client: &mut Client<C>, now: Instant) {
        if client.closed {
            return;
        }
        if client.role.retry_at.is_some_and(|at| at <= now) {
            client.role.retry_at = None;
        }
        if client.role.next_round.is_some_and(|at| at <= now) {
            let created = core::mem::take(&mut client.role.created);
            client.role.tuner.end_round(created);
            client.begin_round(now);
        }
    }

    fn next_deadline<C>(client: &Client<C>) -> Instant {
        if client.closed {
            return Instant::NEVER;
        }
        let retry_at = client.role.retry_at.unwrap_or(Instant::NEVER);
        retry_at.min(client.role.next_round.unwrap_or(Instant::NEVER))
    }

    #[inline]
    fn moved<C>(client: &mut Client<C>, index: u32, from: State, _to: State) {
        if from == State::Handshaking
            && let Some(epoch) = client.slots.get(index).map(|slot| slot.origin)
        {
            client.succeeded(epoch, client.now);
        }
    }

    fn ending<C>(client: &mut Client<C>, index: u32, reason: CloseReason) {
        let Some(slot) = client.slots.get(index) else {
            return;
        };
        let (epoch, now) = (slot.origin, client.now);
        match reason {
            CloseReason::DialFailed
            | CloseReason::DialTimeout
            | CloseReason::HandshakeFailed
            | CloseReason::HandshakeTimeout
            | CloseReason::DuplicateId
            | CloseReason::MissingId => client.failed(epoch, false, now),
            CloseReason::PeerClosed
                if !slot.used
                    && slot.claimed.is_none()
                    && now.since(slot.established) < PROBATION =>
            {
                client.failed(epoch, true, now);
            }
            _ => {}
        }
    }

    fn surplus_claim<C>(client: &Client<C>, state: State) -> Option<u32> {
        // Too many claimed ones stop the dials instead.
        let limit = max_claimed(client.role.tuner.max_capacity());
        let surplus = state == State::Finished && client.slots.len(state) > limit;
        client.slots.front(state).filter(|_| surplus)
    }

    fn wait_reason<C>(client: &Client<C>) -> WaitReason {
        let in_flight = client.in_flight();
        if in_flight > 0 {
            WaitReason::Dialing { in_flight }
        } else if client.role.retry_at.is_some() {
            WaitReason::BackingOff { failures: client.role.backoff.failures() }
        } else if !client.has_room() {
            WaitReason::AllInUse {
                leased: client.slots.len(State::Leased),
                claimed: client.slots.len(State::Claimed),
            }
        } else if client.role.tuner.tuning() == Tuning::NodePass {
            WaitReason::NextRound
        } else {
            WaitReason::Returning { returning: client.supply() }
        }
    }

    fn max_capacity(&self) -> u32 {
        self.tuner.max_capacity()
    }

    fn missed(&mut self) {
        // During failures the peer is the bottleneck, not the stock: a higher capacity would only mean
        // more dials at its return.
        if self.backoff.failures() == 0 {
            self.tuner.missed();
        }
    }

    fn require(&mut self, ready: u32) {
        self.tuner.require(ready);
    }

    fn flushed(&mut self, now: Instant) {
        if self.tuner.tuning() == Tuning::NodePass {
            self.next_round = Some(now);
        }
    }

    fn report(&self, stats: &mut Stats) {
        stats.capacity = self.tuner.capacity();
        stats.interval = self.tuner.interval();
        stats.failures_in_a_row = self.backoff.failures();
    }
}
