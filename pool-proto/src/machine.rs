//! The bookkeeping that client and server share: states, waiters, leases, timers.

mod give_back;
mod handle;
mod step;
mod take;

use alloc::collections::VecDeque;
use core::fmt;

use crate::config::{Common, TakeOrder};
use crate::event::{Action, Token};
use crate::id::ConnId;
use crate::ids::Ids;
use crate::role::Role;
use crate::slab::Key;
use crate::slots::Slots;
use crate::state::State;
use crate::stats::{Stats, Totals};
use crate::time::{Instant, Period};
use crate::waiters::{WaiterState, Waiters};

/// The pool's state machine; [`Client`](crate::Client) and [`Server`](crate::Server) are its two
/// forms. The [crate documentation](crate) has the contract and the driving loop.
///
/// A clone holds every connection a second time. Only for model checkers, whose connections are
/// names, and which tell states apart by [`hash_state`](Self::hash_state); never clone a machine that
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
    pub(crate) now: Instant,
    random: fastrand::Rng,
    take_order: TakeOrder,
    /// Whether data that arrives in the pool means that the peer has taken the connection. Without
    /// ids the peer is no pool, and may speak first.
    peer_claims: bool,
    /// Whether the zero id names the control connection.
    control: bool,
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
        mut random: fastrand::Rng,
        now: Instant,
    ) -> Self {
        let period = |state| match state {
            State::Dialing => dial_timeout,
            State::Handshaking => common.handshake_timeout,
            State::Idle => common.idle_timeout,
            State::Claimed => common.claim_timeout,
            State::Resting => common.reuse_delay,
            State::Checking => common.drain_timeout,
            State::Granted | State::Leased => Period::NEVER,
        };
        Self {
            slots: Slots::new(period, common.max_lifetime, common.lifetime_jitter),
            ids,
            waiters: Waiters::new(common.max_waiters, &mut random),
            actions: VecDeque::new(),
            role,
            totals: Totals::default(),
            max_connections: common.max_connections,
            closed: false,
            now,
            random,
            take_order: common.take_order,
            peer_claims,
            control: common.control_connection,
            reuse_delay: common.reuse_delay,
            errors: 0,
        }
    }

    // --- the contract ---------------------------------------------------------------------------

    /// The next thing to do, in order; `None` when there is nothing to do until the next call.
    #[must_use = "an action that is not carried out leaks a connection or a waiter"]
    pub fn poll_action(&mut self) -> Option<Action<C>> {
        self.actions.pop_front()
    }

    /// Whether [`poll_action`](Self::poll_action) has something.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; `None` when there is
    /// nothing to wait for. Changes with every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.next_due().min(R::deadline(self)).finite()
    }

    // --- telling --------------------------------------------------------------------------------

    /// How many connections are in which state, and what has happened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            dialing: self.slots.len(State::Dialing),
            handshaking: self.slots.len(State::Handshaking),
            idle: self.slots.len(State::Idle),
            claimed: self.slots.len(State::Claimed),
            leased: self.slots.len(State::Leased) + self.slots.len(State::Granted),
            returning: self.slots.len(State::Resting) + self.slots.len(State::Checking),
            waiters: self.waiters.len(),
            totals: self.totals,
            ..Stats::default()
        };
        self.role.report(&mut stats);
        stats
    }

    /// The state of a connection; `None` when it has ended.
    #[must_use]
    pub fn state_of(&self, token: Token) -> Option<State> {
        self.state(self.slots.slab.resolve(token.0)?)
    }

    /// Ready connections now.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.slots.len(State::Idle)
    }

    /// Adds one to the user's error counter, which the machine only keeps.
    pub fn add_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// The user's error counter.
    #[must_use]
    pub const fn error_count(&self) -> u64 {
        self.errors
    }

    /// Sets the user's error counter to zero.
    pub fn reset_error(&mut self) {
        self.errors = 0;
    }

    // --- inside ---------------------------------------------------------------------------------

    /// Where the random steps of the lifetimes come from.
    pub(crate) fn random(&self) -> u64 {
        self.random.get_seed()
    }

    /// Time never goes back: an earlier `now` counts as the latest one seen. Nor does it reach the
    /// instant that does not come, at which everything would be due.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now).min(Instant::LAST);
        self.now
    }

    /// Connections that are ready, becoming so, or promised and not yet collected.
    pub(crate) fn supply(&self) -> u32 {
        // All but these two states; every connection is in one state.
        let outside = self.slots.len(State::Leased) + self.slots.len(State::Claimed);
        self.slots.total().saturating_sub(outside)
    }

    /// Dials and handshakes under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.slots.len(State::Dialing).saturating_add(self.slots.len(State::Handshaking))
    }

    /// Gives a new connection its id, where this end makes the ids. The zero id is made for the
    /// control connection only, if there is to be one: users of the reference know it by that.
    pub(crate) fn name(&mut self, mut key: Key) -> Key {
        let Ids::Issued { permutation, zero } = &mut self.ids else {
            return key;
        };
        let mut id = permutation.id(key);
        if self.control && zero.is_none() {
            *zero = Some(key.index);
            id = ConnId::ZERO;
        } else {
            while id == ConnId::ZERO
                && let Some(next) = self.slots.slab.renew(key.index)
            {
                key = next;
                id = permutation.id(key);
            }
        }
        if let Some(slot) = self.slots.get_mut(key.index) {
            slot.id = Some(id);
        }
        key
    }

    /// Whether this id names the control connection: nobody takes that but by its id, and after one
    /// has ended another may come.
    pub(crate) fn is_control(&self, id: Option<ConnId>) -> bool {
        self.control && id == Some(ConnId::ZERO)
    }

    pub(crate) fn state(&self, index: u32) -> Option<State> {
        self.slots.get(index).map(|slot| slot.state)
    }

    /// After every change: serve or refuse those whose case has changed, and fill the pool.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.waiters.len() == 0 {
            R::refill(self, now);
        } else {
            self.serve(now);
        }
    }

    /// The rest of [`settle`](Self::settle), apart because mostly nobody waits.
    #[inline(never)]
    fn serve(&mut self, now: Instant) {
        // A waiter whose connection ended before it was collected may find others ready by now.
        while self.waiters.any() > 0
            && let Some(index) = self.next_idle()
        {
            self.offer(index, false, now);
        }
        if let Some(refusal) = self.role.supply_ended() {
            while let Some(waiter) = self.waiters.first_for_supply() {
                self.refuse(waiter, refusal);
            }
        }
        R::refill(self, now);
        while let Some(index) = self.waiters.first_stocked(self.slots.len(State::Idle)) {
            self.answer(index, WaiterState::Stocked);
        }
    }
}
