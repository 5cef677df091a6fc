//! The bookkeeping that client and server share: states, waiters, leases, timers.

mod configure;
mod give_back;
mod handle;
mod names;
mod retire;
mod step;
mod take;

use alloc::collections::VecDeque;
use core::fmt;

pub(crate) use configure::unchanged;

use crate::config::{Acquirer, Common, TakeOrder, is_servers};
use crate::entropy::{Entropy, Use};
use crate::event::{Action, CloseReason, Token};
use crate::id::ConnId;
use crate::ids::{Ids, Told};
use crate::role::Role;
use crate::slots::Slots;
use crate::state::State;
use crate::stats::{Stats, Totals};
use crate::time::{Instant, Period};
use crate::waiters::Waiters;

/// How long a granted connection waits for its waiter to collect it.
///
/// A waiter that was woken collects within microseconds; an executor that is stuck, or a host that was
/// suspended, makes it late, and then it asks again. Ten seconds are ten times as long as a stall that a
/// caller would put up with, and short compared with the timeouts of connections in the pool, where a
/// close by the peer is noticed.
const GRANT_TIMEOUT: Period = Period::from_nanos(10_000_000_000);

/// The time that a connection may stay in each state.
fn periods(common: &Common, dial_timeout: Period) -> impl Fn(State) -> Period + '_ {
    move |state| match state {
        State::Dialing => dial_timeout,
        State::Accepted => common.first_byte_timeout,
        State::Handshaking | State::Admitted => common.handshake_timeout,
        State::Idle => common.idle_timeout,
        State::Claimed | State::Finished => common.claim_timeout,
        State::Resting => common.rest(),
        State::Checking => common.drain_timeout,
        // Its acquirer ends it.
        State::Reserved => Period::NEVER,
        State::Granted => GRANT_TIMEOUT,
        // Its holder ends it.
        State::Leased => Period::NEVER,
    }
}

/// The pool's state machine, in two forms: [`Client`](crate::Client) and [`Server`](crate::Server).
///
/// The [crate documentation](crate) has the contract and the driving loop.
///
/// A clone holds every connection a second time. It is for model checkers, whose connections are
/// names, and which compare states by [`hash_state`](Self::hash_state). Never clone a machine that
/// drives I/O.
#[derive(Clone)]
pub struct Machine<C, R> {
    pub(crate) slots: Slots<C>,
    pub(crate) ids: Ids,
    pub(crate) waiters: Waiters,
    pub(crate) actions: VecDeque<Action<C>>,
    pub(crate) role: R,
    pub(crate) totals: Totals,
    pub(crate) max_connections: u32,
    pub(crate) closed: bool,
    /// The deadline of the graceful shutdown, from its begin on; [`Instant::NEVER`] if there is none.
    pub(crate) shutdown: Option<Instant>,
    pub(crate) now: Instant,
    /// The nearest deadline that may be new since [`note_deadline`](Self::note_deadline).
    new_deadline: Instant,
    /// Draws the steps of lifetimes.
    pub(crate) random: fastrand::Rng,
    /// Tells a configuration with another seed.
    entropy: Entropy,
    take_order: TakeOrder,
    pub(crate) acquirer: Acquirer,
    /// When an idle connection was let go last.
    pub(crate) retired_at: Instant,
    /// Whether data on a pooled connection means that the peer has taken the connection. Without ids
    /// the peer is not a pool, and may speak first.
    peer_claims: bool,
    /// Whether the end that acquires any connection sends an opening byte.
    opening: bool,
    reuse_delay: Period,
    errors: u64,
}

impl<C, R: Role> fmt::Debug for Machine<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<C, R: Role> Machine<C, R> {
    pub(crate) fn assemble(
        common: &Common,
        dial_timeout: Period,
        peer_claims: bool,
        ids: Ids,
        role: R,
        now: Instant,
    ) -> Self {
        let entropy = common.entropy();
        Self {
            slots: Slots::new(
                periods(common, dial_timeout),
                common.max_lifetime,
                common.lifetime_jitter,
                common.control_connection,
            ),
            ids,
            waiters: Waiters::new(common.max_waiters, &entropy),
            actions: VecDeque::new(),
            role,
            totals: Totals::default(),
            max_connections: common.max_connections,
            closed: false,
            shutdown: None,
            now,
            new_deadline: Instant::EPOCH,
            random: entropy.generator(Use::Lifetimes),
            entropy,
            take_order: common.take_order,
            acquirer: common.acquirer,
            retired_at: now,
            peer_claims,
            opening: common.opening_byte,
            reuse_delay: common.reuse_delay,
            errors: 0,
        }
    }

    // --- the contract ---------------------------------------------------------------------------

    /// Returns the next action for the driver, in order; `None` when there is nothing to do until the
    /// next call.
    #[must_use = "an action that is not carried out leaks a connection or a waiter"]
    pub fn poll_action(&mut self) -> Option<Action<C>> {
        self.actions.pop_front()
    }

    /// Returns whether [`poll_action`](Self::poll_action) has an action.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout) next; `None` when no
    /// deadline is set. It may change with every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let (role, retire_at) = match self.shutdown {
            Some(deadline) => (deadline, Instant::NEVER),
            None => (R::next_deadline(self), self.retire_at()),
        };
        self.slots.next_due().min(role).min(retire_at).finite()
    }

    /// Returns a lower bound of the deadlines that were set since [`note_deadline`](Self::note_deadline);
    /// `None` if none was set. A driver that wakes by then may sleep on. Otherwise it asks for
    /// [`poll_timeout`](Self::poll_timeout), which costs more than most acquires do.
    #[must_use]
    pub fn new_deadline(&self) -> Option<Instant> {
        self.new_deadline.finite()
    }

    /// Takes note that the driver knows [`poll_timeout`](Self::poll_timeout).
    pub const fn note_deadline(&mut self) {
        self.new_deadline = Instant::NEVER;
    }

    // --- reports --------------------------------------------------------------------------------

    /// Returns the number of connections in each state, and totals since the machine was created.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            dialing: self.slots.len(State::Dialing),
            handshaking: self.handshaking(),
            idle: self.idle(),
            reserved: self.slots.len(State::Reserved),
            claimed: self.slots.len(State::Claimed),
            finished: self.slots.len(State::Finished),
            leased: self.slots.len(State::Leased) + self.slots.len(State::Granted),
            returning: self.slots.len(State::Resting) + self.slots.len(State::Checking),
            waiters: self.waiters.len(),
            accept_waiters: self.waiters.claimed.len(),
            totals: self.totals,
            ..Stats::default()
        };
        self.role.report(&mut stats);
        stats
    }

    /// Returns the totals since the machine was created, as they are in the [statistics](Self::stats).
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns the state of a connection; `None` when it has ended.
    #[must_use]
    pub fn state_of(&self, token: Token) -> Option<State> {
        self.state(self.slots.slab.resolve(token.0)?)
    }

    /// Returns whether the end of a connection, which the peer has closed young and unused, was taken for
    /// a rejection by a full peer. Client only.
    #[must_use]
    pub fn is_doubted(&self, token: Token) -> bool {
        let slot = self.slots.slab.resolve(token.0).and_then(|index| self.slots.get(index));
        slot.is_some_and(|slot| slot.doubted)
    }

    /// Returns the peer that has connected and sent nothing for the longest time, and the time of its
    /// arrival. Server only; `None` if nothing of the kind is there.
    #[must_use]
    pub fn longest_silent(&self) -> Option<(Token, Instant)> {
        let index = self.slots.front(State::Accepted)?;
        Some((self.slots.token(index)?, self.slots.get(index)?.since))
    }

    /// Returns the number of ready connections, for either end.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.slots.len(State::Idle) + self.slots.len(State::Reserved)
    }

    /// Returns whether this end is the [acquirer](Acquirer) of the connection with this id: whether it may
    /// acquire and end it without being told of it. The other end may have to end it nevertheless; that may
    /// meet an acquire of the peer that it does not know of yet.
    #[must_use]
    pub fn is_acquirer_of(&self, id: Option<ConnId>) -> bool {
        match self.acquirer {
            Acquirer::Either | Acquirer::ThisEnd => true,
            Acquirer::Peer => false,
            Acquirer::Both => id.is_none_or(|id| is_servers(id) == R::IS_SERVER),
        }
    }

    /// Adds one to the error counter. The counter is the user's: the machine only keeps it.
    pub fn add_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// Returns the user's error counter.
    #[must_use]
    pub const fn error_count(&self) -> u64 {
        self.errors
    }

    /// Sets the user's error counter to zero.
    pub fn reset_error(&mut self) {
        self.errors = 0;
    }

    // --- inside ---------------------------------------------------------------------------------

    /// Moves the clock to `now` and returns the machine's time, for a call that may bring a deadline nearer.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.sets_deadline(Instant::EPOCH);
        self.tick(now)
    }

    /// Moves the clock to `now` and returns the machine's time.
    ///
    /// Time never goes back: a `now` before the latest one counts as the latest. It is clamped below
    /// `Instant::NEVER`, at which every disabled timer would fire.
    #[inline]
    pub(crate) fn tick(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now).min(Instant::LAST);
        self.now
    }

    /// Takes note that no deadline before `at` may have been set.
    #[inline]
    pub(crate) fn sets_deadline(&mut self, at: Instant) {
        self.new_deadline = self.new_deadline.min(at);
    }

    /// The number of connections that are ready, becoming ready, or granted.
    pub(crate) fn supply(&self) -> u32 {
        // All that count, except those in two states.
        let others = self.slots.len(State::Leased) + self.slots.len(State::Claimed);
        self.held().saturating_sub(others)
    }

    /// The number of connections that count against `max_connections`: all but the finished ones, and those
    /// of peers that have not proven their identity.
    pub(crate) fn held(&self) -> u32 {
        self.slots.total().saturating_sub(self.slots.len(State::Finished) + R::unproven(self))
    }

    /// The number of handshakes under way.
    pub(crate) fn handshaking(&self) -> u32 {
        let states = [State::Accepted, State::Handshaking, State::Admitted];
        states.iter().map(|state| self.slots.len(*state)).sum()
    }

    /// The number of dials and handshakes under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.slots.len(State::Dialing).saturating_add(self.slots.len(State::Handshaking))
    }

    /// Whether this end may acquire and end a connection without being told of it.
    pub(crate) fn is_ours(&self, index: u32) -> bool {
        self.is_acquirer_of(self.slots.get(index).and_then(|slot| slot.id))
    }

    /// Why a connection may not be handed out any more, if so. Its acquirer decides.
    pub(crate) fn expiry(&self, index: u32, now: Instant) -> Option<CloseReason> {
        if self.is_ours(index) { self.slots.expiry(index, now) } else { None }
    }

    /// Gives a connection its id, if this end makes the ids, and returns it. May be called at any
    /// time of the connection's life, but once.
    ///
    /// The zero id is made for the control connection only, if one is configured: users of the Go
    /// package know the control connection by that id. The id encodes `told` for the peer.
    pub(crate) fn issue_id(&mut self, index: u32, told: Told) -> Option<ConnId> {
        let control = self.slots.control;
        let slot = self.slots.get_mut(index)?;
        debug_assert!(slot.id.is_none(), "a connection has one id");
        slot.id = self.ids.issue(index, control, told);
        slot.id
    }

    /// Whether this id names the control connection. Only an acquire by id takes that connection, and
    /// after its end another one may come.
    pub(crate) fn is_control(&self, id: Option<ConnId>) -> bool {
        self.slots.is_control(id)
    }

    pub(crate) fn state(&self, index: u32) -> Option<State> {
        self.slots.get(index).map(|slot| slot.state)
    }
}
