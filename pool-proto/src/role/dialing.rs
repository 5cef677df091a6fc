//! The client's supply: dials, paced by the tuner and held back after failures and by a full peer.
//!
//! An attempt can come to nothing in two ways. The peer is *down*: nothing is dialled until the wait
//! of the backoff is over, and then one connection at a time until one succeeds. Or the peer is
//! *full*: it has accepted the transport, and closed it before the id, or so soon after it that the
//! connection was of no use, while it holds other connections of this client. Then the supply that it
//! holds is a ceiling. Up to the ceiling the client dials at once, because each connection that is
//! taken, by either end, leaves a place at the peer: a pool does not count those in use. Now and then,
//! after waits of the same kind, the client dials one more, and if it stays, the ceiling rises as fast
//! as a congestion window in its slow start (RFC 5681): the number of dials beyond it doubles with each
//! round trip. The same holds if it serves a caller.
//!
//! A peer that turns connections away while it holds none of this client's may be either: a pool whose
//! places all belong to others, or a balancer whose server is gone. A ceiling of zero would mean the same
//! as the backoff, so the backoff applies; the waits are the same in both cases, and both are short while
//! a caller waits.
//!
//! | file | contents |
//! |---|---|
//! | `calls.rs` | the calls that only a client has |
//! | `configure.rs` | a new configuration while it runs |
//! | `control.rs` | dials for a control connection that has been lost |
//! | `law.rs` | when the tuner is asked, and what follows: rounds, limits |
//! | `urgency.rs` | how fast connections are replaced while callers are served from stock |
//! | `outcomes.rs` | the outcomes of attempts, and what they mean for the next dials |
//! | `sharing.rs` | a client that acquires, as its server does |
//! | `surplus.rs` | ready connections beyond the capacity, and when they are closed |

mod calls;
mod configure;
mod control;
mod law;
mod outcomes;
mod sharing;
mod surplus;
mod urgency;

use core::time::Duration;

use control::ControlDials;
use law::Limit;
pub(crate) use sharing::YIELDING;
use surplus::Surplus;
use urgency::Urgency;

use super::hooks::Hooks;
use super::max_claimed;
use super::share::Share;
use crate::answer::WaitReason;
use crate::backoff::Backoff;
use crate::config::Acquirer;
use crate::event::{Action, CloseReason, HandshakeFailure, Token};
use crate::id::{ConnId, HintReader, IdExchange};
use crate::ids::Told;
use crate::machine::Machine;
use crate::state::State;
use crate::stats::Stats;
use crate::time::{Instant, Period};
use crate::tuner::Tuner;

/// A connection that the peer closes, unused by either end, counts as turned away if it is newer than
/// this, or if the ceiling has just risen: a full server of the Go package completes the handshake,
/// sends an id, and closes.
///
/// A second is long compared with a round trip and short compared with the life of a useful
/// connection.
pub(crate) const PROBATION: Duration = Duration::from_secs(1);

/// After this time, a success that ended failures or raised the ceiling is final: the early end of a
/// later connection no longer revokes it. Ten times [`PROBATION`].
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// The most dials at a time before any has succeeded: half of the handshakes that a server does at a time
/// by default.
pub(crate) const FIRST_WINDOW: u32 = 256;

/// The dials at a time after the first success that follows a failure: not many for a server that is back,
/// and two round trips sooner than one, three and nine. (RFC 6928 begins a connection with ten segments.)
pub(crate) const SECOND_WINDOW: u32 = 16;

/// The longest wait while a caller waits, if the base of the backoff is not longer.
///
/// A caller that has waited for a second rarely notices another one, and a dial a second is little
/// even for a server that does TLS with thousands of clients.
const LONGEST_WITH_WAITERS: Period = Period::from_nanos(1_000_000_000);

/// The client role: connections come from dials.
#[derive(Clone)]
pub struct Dialing {
    /// How ids are exchanged, which cannot change.
    ids: IdExchange,
    pub(crate) tuner: Tuner,
    /// Reads the number of the peer's waiters from its ids.
    pub(crate) hints: HintReader,
    /// The waits for a peer that is down.
    pub(crate) backoff: Backoff,
    /// The waits for room at a peer that is full.
    pub(crate) probes: Backoff,
    /// The cap of both while a caller waits.
    cap_with_waiters: Period,
    pub(crate) max_dials: u32,
    /// The most dials at a time: [`FIRST_WINDOW`] at first, one after a failure, [`SECOND_WINDOW`] after the
    /// first success, and two more for each other one, as in a slow start (RFC 5681).
    pub(crate) window: u32,
    /// The limit that keeps callers waiting, and the time since which it does or was last counted.
    limited: Option<(Limit, Instant)>,
    pub(crate) urgency: Urgency,
    /// The end of the wait. Before it nothing is dialled after failures, and nothing beyond the
    /// ceiling otherwise.
    pub(crate) retry_at: Option<Instant>,
    /// The supply that a full peer was seen to hold, with the attempts that were under way.
    pub(crate) ceiling: Option<u32>,
    /// The dials that may be under way beyond the ceiling after the wait: one, and another for each
    /// time that the ceiling has risen since.
    pub(crate) allowance: u32,
    /// The time of the success that raised the ceiling last.
    pub(crate) raised_at: Instant,
    /// The number of failures and rejections that led to a wait. Attempts of an earlier epoch came to
    /// nothing for the same reason, and do not lengthen the wait again.
    pub(crate) epoch: u32,
    /// Whether the last success was revoked. Then successes of attempts from an earlier epoch do not
    /// reset the backoff: they may be the same false success.
    pub(crate) relapsed: bool,
    /// The time of the success that ended the last failures.
    pub(crate) recovered_at: Instant,
    /// The begin of the next round under [`Tuning::NodePass`]; `None` while a round goes on.
    pub(crate) next_round: Option<Instant>,
    pub(crate) control: ControlDials,
    /// Connections that the round has established.
    pub(crate) created: u32,
    /// Ready connections beyond the capacity, if there are any.
    pub(crate) surplus: Option<Surplus>,
    /// The last acquires of both ends, where both acquire.
    pub(crate) share: Share,
    /// When a connection was given up last because the peer had none.
    pub(crate) yielded_at: Instant,
    /// Dials that the round may still begin, under [`Tuning::NodePass`].
    pub(crate) quota: u32,
}

/// The client's machine: dials a peer and keeps connections ready.
pub type Client<C> = Machine<C, Dialing>;

impl<C> Client<C> {
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
        self.issue_id(key.index, Told::default());
        self.totals.dials += 1;
        self.role.quota = self.role.quota.saturating_sub(1);
        self.actions.push_back(Action::Dial { token: Token(key) });
        true
    }

    /// The supply that the peer holds already.
    fn established(&self) -> u32 {
        self.supply().saturating_sub(self.in_flight())
    }

    /// Whether a caller waits for something that only a new connection can bring.
    fn is_awaited(&self) -> bool {
        self.waiters.first_for_supply().is_some() || self.lacks_control()
    }

    /// Whether a long wait for the next dial would keep a caller waiting: also one that waits for the peer
    /// to begin to use a connection.
    fn is_urgent(&self) -> bool {
        self.is_awaited() || !self.waiters.claimed.is_empty()
    }

    /// Begins as many dials as are missing and allowed. Out of line: the cheap test in `refill` runs
    /// after every call.
    #[inline(never)]
    fn dial_missing(&mut self, now: Instant) {
        let (role, paced) = (&self.role, self.is_paced());
        // After a failure one dial probes the peer; the others follow when it has succeeded.
        let max_dials = if role.is_down() { 1 } else { role.max_dials.min(role.window) };
        let limit = match (role.ceiling, role.retry_at) {
            (None, None) => u32::MAX,
            (Some(ceiling), None) => ceiling.max(self.established()).saturating_add(role.allowance),
            (Some(ceiling), Some(_)) if !role.is_down() => ceiling,
            (None, Some(_)) if !role.is_down() => self.plenty(),
            (_, Some(_)) => return,
        };
        let limit = limit.min(self.aim());
        let before = self.in_flight();
        while self.supply() < limit
            && self.in_flight() < max_dials
            && self.has_room()
            && (!paced || self.role.quota > 0)
            && !self.is_ahead(now)
            && self.dial(now)
        {}
        let beyond = self.role.ceiling.is_some_and(|ceiling| self.supply() > ceiling);
        if self.in_flight() > before && beyond && !self.role.is_down() {
            // Whatever the outcome of this attempt, the next one waits, unless the ceiling rises: a peer may
            // also let it in and close another connection of this client in its place.
            let cap = self.longest_wait();
            let wait = self.role.probes.failure_within(cap);
            self.role.wait(wait, now);
        }
    }

    /// Pulls the end of a long wait nearer, because a caller waits. Where many pools are called at the
    /// same moment, their dials are spread over the whole time.
    #[inline(never)]
    fn hurry(&mut self, now: Instant) {
        let latest = now.after(self.role.cap_with_waiters);
        if self.role.retry_at.is_some_and(|at| at > latest) && self.is_urgent() {
            let wait = self.role.backoff.within(self.role.cap_with_waiters);
            self.role.wait(wait, now);
        }
    }

    /// The cap of the wait that begins now.
    fn longest_wait(&self) -> Period {
        if self.is_urgent() { self.role.cap_with_waiters } else { Period::NEVER }
    }
}

impl Dialing {
    /// Whether the last attempts failed.
    const fn is_down(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// The deadline at which the law forgets something, if it is nearer than `before`.
    #[inline]
    fn forgets_sooner(&self, before: Instant) -> Instant {
        let at = self.tuner.advances_at();
        if at < before { at } else { Instant::NEVER }
    }

    /// A caller of either end has acquired a connection.
    fn came(&mut self, now: Instant) {
        self.urgency.acquired(now);
        if let Some(surplus) = &mut self.surplus {
            surplus.acquired();
        }
    }

    fn wait(&mut self, wait: Duration, now: Instant) {
        self.retry_at = Some(now + wait).filter(|at| *at > now);
    }
}

impl Hooks for Dialing {
    const IS_SERVER: bool = false;
    const LAST_STEP: State = State::Handshaking;

    fn refill<C>(client: &mut Client<C>, now: Instant) {
        let mut aim = client.aim();
        client.note_surplus(client.spare().saturating_sub(aim), now);
        if client.role.retry_at.is_some() {
            client.hurry(now);
        }
        if client.yields_at() <= now {
            client.yield_to_peer(now);
            aim = client.aim();
        }
        if client.supply() < aim && client.has_room() {
            client.dial_missing(now);
        }
        client.dial_for_control(now);
        client.note_limit(now);
        client.end_round(now);
        // With the capacity of the next round, the stock may be enough, and all of it this end's own.
        if client.is_paced() && client.yields_at() <= now {
            client.yield_to_peer(now);
        }
    }

    #[inline]
    fn refill_quickly<C>(client: &mut Client<C>, now: Instant) -> Option<Instant> {
        let role = &client.role;
        let capacity = role.tuner.capacity().max(1);
        let is_plain = role.retry_at.is_none()
            && role.limited.is_none()
            && client.acquirer != Acquirer::Both
            && !client.is_paced()
            && role.tuner.backlog() == 0;
        if !is_plain {
            return None;
        }
        let dial_at = match client.supply() < capacity {
            true if client.has_room() => return None,
            true => client.dial_at(),
            false => Instant::NEVER,
        };
        let surplus_at = client.note_surplus(client.idle().saturating_sub(capacity), now);
        Some(surplus_at.min(dial_at))
    }

    fn handle_timeout<C>(client: &mut Client<C>, now: Instant) {
        if client.role.retry_at.is_some_and(|at| at <= now) {
            client.role.retry_at = None;
        }
        client.role.control.handle_timeout(now);
        if client.role.next_round.is_some_and(|at| at <= now) {
            client.begin_round();
        }
        client.role.tuner.advance(now);
        client.close_surplus(now);
    }

    fn next_deadline<C>(client: &Client<C>) -> Instant {
        let role = &client.role;
        let at = |deadline: Option<Instant>| deadline.unwrap_or(Instant::NEVER);
        let surplus_at = role.surplus.map_or(Instant::NEVER, |surplus| surplus.closes_at());
        let law = at(role.next_round).min(surplus_at).min(role.tuner.advances_at());
        let dials = at(role.retry_at).min(client.dial_at());
        law.min(dials).min(at(client.control_due())).min(client.yields_at())
    }

    #[inline]
    fn established<C>(client: &mut Client<C>, begun: Instant, id: Option<ConnId>, now: Instant) {
        let role = &mut client.role;
        role.tuner.established(now, now.since(begun));
        match id {
            // The control connection has the id that its user knows.
            Some(ConnId::ZERO) => role.control.succeeded(now),
            Some(id) => {
                if let Some(waiters) = role.hints.read(id) {
                    role.tuner.peer_waits(now, waiters);
                }
            }
            None => {}
        }
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
            | CloseReason::HandshakeTimeout
            | CloseReason::DuplicateId
            | CloseReason::MissingId => client.failed(epoch, false, now),
            CloseReason::PeerClosed => Self::ended_by_peer(client, index),
            _ => {}
        }
    }

    fn ended_by_peer<C>(client: &mut Client<C>, index: u32) {
        let Some(slot) = client.slots.get(index) else {
            return;
        };
        let (epoch, now) = (slot.origin, client.now);
        // A peer that has just taken one more may close an older one in its place.
        let since = slot.established.max(client.role.raised_at);
        let unused = !slot.used && slot.claimed.is_none() && !slot.finished;
        if unused && now.since(since) < PROBATION {
            client.turned_away(index, epoch, true, now);
            if let Some(slot) = client.slots.get_mut(index) {
                slot.doubted = true;
            }
        }
    }

    fn acquired<C>(client: &mut Client<C>, _index: u32, here: bool) {
        client.count_acquired(here);
    }

    fn doubt_refuted(&mut self) {
        self.not_turned_away();
    }

    fn handshake_failed<C>(client: &mut Client<C>, index: u32, failure: HandshakeFailure) {
        let Some(epoch) = client.slots.get(index).map(|slot| slot.origin) else {
            return;
        };
        let now = client.now;
        match failure {
            // The ends do not agree, or one of them does not accept the other's certificate.
            HandshakeFailure::Tls => client.failed(epoch, false, now),
            // Nearly always the peer has closed the connection before or during the exchange of the id.
            HandshakeFailure::Id | HandshakeFailure::Transport => {
                client.turned_away(index, epoch, false, now);
            }
        }
    }

    fn came_in<C>(client: &mut Client<C>, now: Instant) {
        client.pace_beyond_plenty(now);
        // It may have come in the place of an old one, which may have been used and be young again.
        let (tuner, idle) = (&client.role.tuner, client.slots.len(State::Idle));
        let replaced = client.established() > tuner.capacity() && idle > tuner.min_capacity();
        if replaced && let Some(oldest) = client.oldest_ageing(now) {
            client.close_one(oldest, CloseReason::IdleTimeout);
        } else if idle > tuner.max_capacity()
            && let Some(oldest) = client.slots.front(State::Idle)
        {
            client.close_one(oldest, CloseReason::Replaced);
        }
    }

    fn may_retire<C>(client: &mut Client<C>, now: Instant) -> bool {
        let (role, supply) = (&client.role, client.supply());
        let capacity = role.tuner.capacity();
        if client.established() > capacity {
            return true;
        }
        // While the peer is down, an old connection may be better than none.
        if role.is_down() {
            return false;
        }
        // A dial beyond the ceiling shows that the peer has more room only if nothing else leaves its
        // place to it meanwhile.
        if client.in_flight() > 0 && role.ceiling.is_some_and(|ceiling| supply > ceiling) {
            return false;
        }
        // A peer without room, and a law that says when to dial, want the old one to go first.
        let in_turn = role.ceiling.is_some() || client.is_paced();
        if in_turn || !client.has_room() {
            return true;
        }
        let replacing = supply.saturating_sub(capacity);
        if client.in_flight() < role.max_dials
            && supply >= capacity
            && client.are_ageing(replacing, now)
        {
            client.dial(now);
        }
        false
    }

    fn surplus_claim<C>(client: &mut Client<C>, state: State) -> Option<u32> {
        // Too many claimed ones stop the dials instead.
        let limit = max_claimed(client.role.tuner.max_capacity());
        let surplus = state == State::Finished && client.slots.len(state) > limit;
        client.slots.front(state).filter(|_| surplus)
    }

    fn wait_reason<C>(client: &Client<C>) -> WaitReason {
        let in_flight = client.in_flight();
        if in_flight > 0 {
            WaitReason::Dialing { in_flight }
        } else if client.role.retry_at.is_some() && client.role.is_down() {
            WaitReason::BackingOff { failures: client.role.backoff.failures() }
        } else if !client.has_room() {
            WaitReason::AllInUse {
                leased: client.slots.len(State::Leased),
                claimed: client.slots.len(State::Claimed),
            }
        } else if client.role.retry_at.is_some()
            && client.role.ceiling.is_some_and(|ceiling| client.supply() >= ceiling)
            && client.supply() < client.role.tuner.capacity()
        {
            WaitReason::Full { held: client.held() }
        } else if client.is_paced() {
            WaitReason::NextRound
        } else if client.idle() > 0 {
            WaitReason::Reserved { reserved: client.idle() }
        } else {
            WaitReason::Returning { returning: client.supply() }
        }
    }

    fn max_capacity(&self) -> u32 {
        self.tuner.max_capacity()
    }

    #[inline]
    fn demanded(&mut self, now: Instant) -> Instant {
        self.came(now);
        // During failures the peer is the bottleneck, not the stock: a higher capacity would only mean
        // more dials at its return.
        if self.is_down() {
            return Instant::NEVER;
        }
        let before = self.tuner.advances_at();
        self.tuner.acquired(now);
        self.forgets_sooner(before)
    }

    fn demanded_by_peer<C>(client: &mut Client<C>, index: u32, now: Instant) -> Instant {
        client.role.came(now);
        let slot = client.slots.get(index).filter(|_| !client.role.is_down());
        let Some(slot) = slot else { return Instant::NEVER };
        let (age, recent) = (now.since(slot.established), slot.origin == client.role.epoch);
        let before = client.role.tuner.advances_at();
        if client.role.tuner.acquired_by_peer(now, age) {
            client.found_room(recent, now);
        }
        client.role.forgets_sooner(before)
    }

    fn returned(&mut self) {
        self.tuner.returned();
    }

    fn require(&mut self, now: Instant, ready: u32) {
        self.tuner.require(now, ready);
    }

    fn flushed(&mut self, now: Instant) {
        self.next_round = self.next_round.map(|_| now);
    }

    fn report(&self, stats: &mut Stats) {
        stats.capacity = self.tuner.capacity();
        stats.interval = self.tuner.interval();
        stats.lead_time = self.tuner.lead_time();
        stats.peer_waiters = self.tuner.backlog();
        stats.failures_in_a_row = self.backoff.failures();
        stats.ceiling = self.ceiling;
    }
}
