//! The client's supply: dials, paced by the tuner and held back by the backoff.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use super::{Role, max_claimed, sealed};
use crate::answer::WaitReason;
use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::event::{Action, CloseReason, Token};
use crate::id::IdExchange;
use crate::ids::Ids;
use crate::machine::Machine;
use crate::state::State;
use crate::state_key::CanonicalNames;
use crate::stats::Stats;
use crate::time::Instant;
use crate::tuner::{Tuner, Tuning};

/// The seed of a machine that was given none; the adapters always give one.
pub(crate) const DEFAULT_SEED: u64 = 0x706f_6f6c;

/// A connection that the peer closes this soon after it was established, unused by either end, was
/// no success: a full server of the reference completes the handshake, sends an id, and closes. A
/// second is long against a round trip and short against the life of a useful connection.
const SETTLING: Duration = Duration::from_secs(1);

/// A success after failures that has lasted this long is not proven wrong any more by what happens to
/// a later connection. Ten times what a single connection is given to settle.
const RECOVERY: Duration = Duration::from_secs(10);

/// The client role: connections come from dials.
#[derive(Clone)]
pub struct Dialing {
    tuner: Tuner,
    backoff: Backoff,
    max_dials: u32,
    /// No dial before this.
    retry_at: Option<Instant>,
    /// Counts the failures that led to a wait. Attempts begun in an earlier epoch failed for the
    /// same reason, and do not lengthen the wait again.
    epoch: u32,
    /// Whether the last success was proven wrong. Until an attempt of this epoch succeeds, those
    /// that do were begun before, and mislead like the one before them.
    relapsed: bool,
    /// When a success ended the last failures.
    recovered_at: Instant,
    next_round: Option<Instant>,
    /// Connections established since the last round.
    created: u32,
    /// The fewest ready connections since the last round.
    lowest_idle: u32,
    /// Dials that the round may still begin, where rounds pace them.
    quota: u32,
}

/// The client's machine: dials a peer and keeps connections ready.
pub type Client<C> = Machine<C, Dialing>;

impl<C> Client<C> {
    /// A client at its start. The first dials are waiting in
    /// [`poll_action`](Machine::poll_action).
    #[must_use]
    pub fn new(config: &ClientConfig, now: Instant) -> Self {
        let mut random = fastrand::Rng::with_seed(config.common.seed.unwrap_or(DEFAULT_SEED));
        let exchanged = config.ids != IdExchange::None;
        let ids = if exchanged {
            Ids::received(&mut random)
        } else {
            Ids::issued(config.common.max_connections, &mut random)
        };
        let (base, cap) = config.backoff;
        let role = Dialing {
            tuner: config.tuner.clone(),
            backoff: Backoff::new(base, cap, random.u64(..)),
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
            Self::assemble(&config.common, config.dial_timeout, exchanged, ids, role, random, now);
        client.begin_round(now);
        client.settle(now);
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
                // Not below what somebody waits for: it would never be there.
                if let Some(ready) = self.waiters.most_stock() {
                    role.tuner.require(ready);
                }
                role.lowest_idle = idle;
                role.next_round = None;
            }
        }
    }

    /// Whether one more connection is allowed. Each dial of a peer that speaks first, as none should
    /// that sends ids, is a success that brings no stock: without a limit, it would go on and on.
    fn has_room(&self) -> bool {
        self.slots.total() < self.max_connections
            && self.slots.len(State::Claimed) < max_claimed(self.role.tuner.max_capacity())
    }

    fn dial(&mut self, now: Instant) -> bool {
        let Some(key) = self.slots.insert(State::Dialing, self.role.epoch, now) else {
            return false;
        };
        let key = self.name(key);
        self.totals.dials += 1;
        self.role.quota = self.role.quota.saturating_sub(1);
        self.actions.push_back(Action::Dial { token: Token(key) });
        true
    }

    /// Dials as many as may be begun now. Apart from the look whether any is missing, which follows
    /// every call.
    #[inline(never)]
    fn dial_up(&mut self, now: Instant) {
        let role = &self.role;
        let paced = role.tuner.tuning() == Tuning::NodePass;
        // After failures one dial feels its way; the rest follows when it has succeeded.
        let max_dials = if role.backoff.failures() > 0 { 1 } else { role.max_dials };
        let capacity = role.tuner.capacity();
        while self.supply() < capacity
            && self.in_flight() < max_dials
            && self.has_room()
            && (!paced || self.role.quota > 0)
            && self.dial(now)
        {}
    }

    /// An attempt of this epoch failed.
    fn failed(&mut self, epoch: u32, relapse: bool, now: Instant) {
        let role = &mut self.role;
        if epoch != role.epoch {
            return;
        }
        role.epoch = role.epoch.wrapping_add(1);
        role.relapsed |= relapse;
        let proven_wrong = relapse && now.since(role.recovered_at) <= RECOVERY;
        let wait = if proven_wrong { role.backoff.relapse() } else { role.backoff.failure() };
        role.retry_at = Some(now + wait).filter(|at| *at > now);
    }
}

impl sealed::Sealed for Dialing {}

impl Role for Dialing {
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
            client.dial_up(now);
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

    fn deadline<C>(client: &Client<C>) -> Instant {
        if client.closed {
            return Instant::NEVER;
        }
        let retry_at = client.role.retry_at.unwrap_or(Instant::NEVER);
        retry_at.min(client.role.next_round.unwrap_or(Instant::NEVER))
    }

    fn limit(&self) -> u32 {
        self.tuner.max_capacity()
    }

    fn missed(&mut self) {
        // What fails now is the peer, not the stock: a larger one would only mean more dials at its
        // return.
        if self.backoff.failures() == 0 {
            self.tuner.missed();
        }
    }

    fn require(&mut self, ready: u32) {
        self.tuner.require(ready);
    }

    fn established<C>(client: &mut Client<C>, index: u32) {
        let epoch = client.slots.get(index).map(|slot| slot.origin);
        let now = client.now;
        let role = &mut client.role;
        role.created = role.created.saturating_add(1);
        if !role.relapsed || epoch == Some(role.epoch) {
            role.relapsed = false;
            if role.backoff.failures() > 0 {
                role.recovered_at = now;
            }
            role.backoff.success();
            role.retry_at = None;
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
                if !slot.used && !slot.claimed && now.since(slot.established) < SETTLING =>
            {
                client.failed(epoch, true, now);
            }
            _ => {}
        }
    }

    fn flushed(&mut self, now: Instant) {
        if self.tuner.tuning() == Tuning::NodePass {
            self.next_round = Some(now);
        }
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

    fn hash_slot<C, H: Hasher>(client: &Client<C>, index: u32, hasher: &mut H) {
        let Some(slot) = client.slots.get(index) else {
            return;
        };
        // An epoch that is over does not come back.
        (slot.origin == client.role.epoch).hash(hasher);
        let fresh = !matches!(slot.state, State::Dialing | State::Handshaking);
        if fresh && !slot.used && !slot.claimed {
            client.now.since(slot.established).min(SETTLING).hash(hasher);
        }
    }

    fn hash_state<C, N: CanonicalNames<C>, H: Hasher>(
        client: &Client<C>,
        _names: &N,
        hasher: &mut H,
    ) {
        let (role, now) = (&client.role, client.now);
        let distance = |at: Option<Instant>| at.and_then(|at| at.distance(now));
        role.tuner.hash(hasher);
        role.backoff.hash_state(hasher);
        (distance(role.retry_at), distance(role.next_round), role.relapsed).hash(hasher);
        // One more than it takes not to count.
        now.since(role.recovered_at).min(RECOVERY + Duration::from_nanos(1)).hash(hasher);
        let created = match role.tuner.tuning() {
            Tuning::NodePass => role.created,
            Tuning::Demand => role.created.min(1),
        };
        (created, role.lowest_idle, role.quota).hash(hasher);
    }

    fn report(&self, stats: &mut Stats) {
        stats.capacity = self.tuner.capacity();
        stats.interval = self.tuner.interval();
        stats.failures_in_a_row = self.backoff.failures();
    }
}
