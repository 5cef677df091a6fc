//! The bookkeeping that client and server share: states, waiters, leases, timers.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::config::{Common, TakeOrder};
use crate::error::{PutError, Refusal};
use crate::event::{
    Acquire, Action, CloseReason, Collected, Event, Finding, HandshakeFailure, Lease, Purpose,
    Stock, Token, WaitOutcome, WaitReason, WaiterId,
};
use crate::id::ConnId;
use crate::ids::Ids;
use crate::slab::Key;
use crate::slots::{LIFETIME_STEPS, NOBODY, Slot, Slots, State};
use crate::stats::{Stats, Totals};
use crate::time::{Instant, Period};
use crate::waiters::{Standing, Waiters, Want};

/// Where a machine's connections come from: [`Dialing`](crate::Dialing) or
/// [`Accepting`](crate::Accepting). Sealed.
pub trait Role: Sized {
    /// Begins what can be begun to fill the pool.
    #[doc(hidden)]
    fn refill<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// Does what is due by `now`.
    #[doc(hidden)]
    fn handle_timeout<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// The earliest deadline that is the role's own.
    #[doc(hidden)]
    fn deadline<C>(machine: &Machine<C, Self>) -> Instant;

    /// The most ready connections there may be.
    #[doc(hidden)]
    fn limit(&self) -> u32;

    /// An acquire found nothing ready.
    #[doc(hidden)]
    fn missed(&mut self) {}

    /// So many ready connections are asked for.
    #[doc(hidden)]
    fn require(&mut self, _ready: u32) {}

    /// Why nothing can come any more.
    #[doc(hidden)]
    fn dried_up(&self) -> Option<Refusal> {
        None
    }

    /// The listener is gone.
    #[doc(hidden)]
    fn accept_ended(&mut self) -> bool {
        false
    }

    /// A connection became ready for the first time.
    #[doc(hidden)]
    fn established<C>(_machine: &mut Machine<C, Self>, _index: u32) {}

    /// A connection was leased.
    #[doc(hidden)]
    fn leased<C>(_machine: &mut Machine<C, Self>, _index: u32) {}

    /// A leased connection came back.
    #[doc(hidden)]
    fn returned<C>(_machine: &mut Machine<C, Self>, _index: u32) {}

    /// A connection is about to end.
    #[doc(hidden)]
    fn ending<C>(machine: &mut Machine<C, Self>, index: u32, reason: CloseReason);

    /// The user flushed the pool.
    #[doc(hidden)]
    fn flushed(&mut self, _now: Instant) {}

    /// What a waiter for any connection waits for.
    #[doc(hidden)]
    fn wait_reason<C>(machine: &Machine<C, Self>) -> WaitReason;

    /// Fills in what only the role knows.
    #[doc(hidden)]
    fn report(&self, stats: &mut Stats);
}

/// The pool's state machine; [`Client`](crate::Client) and [`Server`](crate::Server) are its two
/// forms. The [crate documentation](crate) has the contract and the driving loop.
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
    reuse_delay: Period,
    errors: u64,
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
            reuse_delay: common.reuse_delay,
            errors: 0,
        }
    }

    // --- the contract ---------------------------------------------------------------------------

    /// Tells the machine what happened. Then drain [`poll_action`](Self::poll_action).
    pub fn handle_event(&mut self, now: Instant, event: Event<C>) {
        let now = self.advance(now);
        match event {
            Event::Dialed { token } => match self.resolve(token, &[State::Dialing]) {
                Some(index) => self.slots.enter(index, State::Handshaking, now),
                None => return,
            },
            Event::DialFailed { token } => match self.resolve(token, &[State::Dialing]) {
                Some(index) => drop(self.end(index, CloseReason::DialFailed)),
                None => return,
            },
            Event::Established { token, connection, id } => {
                self.establish(token, connection, id, now);
            }
            Event::HandshakeFailed { token, failure } => {
                let Some(index) = self.resolve(token, &[State::Handshaking]) else {
                    return;
                };
                match failure {
                    HandshakeFailure::Tls => self.totals.tls_failures += 1,
                    HandshakeFailure::Id => self.totals.id_failures += 1,
                    HandshakeFailure::Transport => self.totals.transport_failures += 1,
                }
                self.end(index, CloseReason::HandshakeFailed);
            }
            Event::Readable { token } => return self.readable(token, now),
            Event::Checked { token, connection, finding } => {
                self.checked(token, connection, finding, now);
            }
            Event::Closed { token } => self.closed_by_holder_or_peer(token),
            Event::AcceptEnded => {
                if !self.role.accept_ended() {
                    self.totals.stale_events += 1;
                }
            }
        }
        self.settle(now);
    }

    /// Does everything that is due by `now`. Then drain [`poll_action`](Self::poll_action).
    ///
    /// After it, [`poll_timeout`](Self::poll_timeout) is later than `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        const ENDS: [(State, CloseReason); 5] = [
            (State::Dialing, CloseReason::DialTimeout),
            (State::Handshaking, CloseReason::HandshakeTimeout),
            (State::Idle, CloseReason::IdleTimeout),
            (State::Claimed, CloseReason::Unclaimed),
            (State::Checking, CloseReason::DrainTimeout),
        ];
        let now = self.advance(now);
        for (state, reason) in ENDS {
            while let Some(index) = self.slots.overdue(state, now) {
                self.close_one(index, reason);
            }
        }
        while let Some(index) = self.slots.overdue(State::Resting, now) {
            self.check(index, Purpose::Drain, now);
        }
        while let Some(index) = self.slots.pop_expired(now) {
            // One that is not in the pool now is looked at when it comes back.
            if matches!(self.state(index), Some(State::Idle | State::Resting)) {
                self.close_one(index, CloseReason::Expired);
            }
        }
        R::handle_timeout(self, now);
        self.settle(now);
    }

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

    // --- taking ---------------------------------------------------------------------------------

    /// Takes any ready connection, or queues for the next one.
    ///
    /// To answer at once, [`cancel`](Self::cancel) a waiter that was queued.
    #[inline]
    pub fn acquire(&mut self, now: Instant) -> Acquire<C> {
        let now = self.advance(now);
        // The usual case, in line: returning a lease through memory costs as much as taking it.
        if let Some(index) = self.next_idle()
            && self.slots.expiry(index, now).is_none()
            && let Some(lease) = self.hand_over(index, now)
        {
            self.totals.served_at_once += 1;
            self.settle(now);
            return Acquire::Ready(lease);
        }
        self.acquire_any(now, false)
    }

    /// [`acquire`](Self::acquire) for a caller that gave a connection back with
    /// [`reject`](Self::reject): it queues at the front, because it has waited its turn.
    pub fn acquire_again(&mut self, now: Instant) -> Acquire<C> {
        let now = self.advance(now);
        self.acquire_any(now, true)
    }

    #[inline(never)]
    fn acquire_any(&mut self, now: Instant, again: bool) -> Acquire<C> {
        if self.closed {
            return self.refused(Refusal::PoolClosed);
        }
        while let Some(index) = self.next_idle() {
            if let Some(reason) = self.slots.expiry(index, now) {
                self.close_one(index, reason);
            } else if let Some(lease) = self.hand_over(index, now) {
                self.totals.served_at_once += 1;
                self.settle(now);
                return Acquire::Ready(lease);
            }
        }
        if let Some(refusal) = self.role.dried_up() {
            return self.refused(refusal);
        }
        if !again {
            self.role.missed();
        }
        self.queue(Want::Any, again, now)
    }

    /// Takes the connection with this id, or queues for it: until it comes (client), until its
    /// handshake is over, or until its holder puts it back.
    pub fn acquire_by_id(&mut self, now: Instant, id: ConnId) -> Acquire<C> {
        let now = self.advance(now);
        if self.closed {
            return self.refused(Refusal::PoolClosed);
        }
        let Some(index) = self.lookup(id) else {
            return match self.ids.refusal(id) {
                Some(refusal) => self.refused(refusal),
                None => self.queue(Want::Id(id), false, now),
            };
        };
        if !self.takeable_by_id(index) {
            return self.queue(Want::Id(id), false, now);
        }
        if let Some(reason) = self.slots.expiry(index, now) {
            self.close_one(index, reason);
            self.settle(now);
            return self.refused(Refusal::Gone { id, reason });
        }
        let Some(lease) = self.hand_over(index, now) else {
            return self.refused(Refusal::UnknownId { id });
        };
        self.totals.served_at_once += 1;
        self.settle(now);
        Acquire::Ready(lease)
    }

    /// Waits until `ready` connections are in the pool at once. It reserves none of them.
    pub fn wait_ready(&mut self, now: Instant, ready: u32) -> Stock {
        let now = self.advance(now);
        let refusal = if self.closed {
            Some(Refusal::PoolClosed)
        } else if self.slots.len(State::Idle) >= ready {
            return Stock::Ready;
        } else if ready > self.role.limit() {
            let capacity = self.role.limit();
            Some(Refusal::StockBeyondCapacity { wanted: ready, capacity })
        } else {
            self.role.dried_up()
        };
        if let Some(refusal) = refusal {
            self.totals.refused += 1;
            return Stock::Refused(refusal);
        }
        self.role.require(ready);
        let queued = self.waiters.queue(Want::Stock(ready), false);
        self.settle(now);
        match queued {
            Ok(waiter) => Stock::Queued(waiter),
            Err(refusal) => {
                self.totals.refused += 1;
                Stock::Refused(refusal)
            }
        }
    }

    /// What has become of a waiter.
    pub fn collect(&mut self, now: Instant, waiter: WaiterId) -> Collected<C> {
        let now = self.advance(now);
        loop {
            let Some(standing) = self.waiters.get(waiter).map(|waiter| waiter.standing) else {
                return Collected::Unknown;
            };
            let index = match standing {
                Standing::Waiting => return Collected::Waiting,
                Standing::Granted(index) => index,
                Standing::Stocked => {
                    self.waiters.remove(waiter);
                    return Collected::Stocked;
                }
                Standing::Refused(refusal) => {
                    self.waiters.remove(waiter);
                    return Collected::Refused(refusal);
                }
            };
            if let Some(reason) = self.slots.expiry(index, now) {
                self.close_one(index, reason);
                self.settle(now);
                continue;
            }
            let lease = self.hand_over(index, now);
            self.waiters.remove(waiter);
            self.totals.served_after_waiting += 1;
            self.settle(now);
            return lease.map_or(Collected::Unknown, Collected::Ready);
        }
    }

    /// Ends a waiter and says what it was waiting for. A connection that it had been given goes to
    /// the next waiter, or back into the pool.
    pub fn cancel(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        let now = self.advance(now);
        let reason = self.why(waiter);
        let Some(ended) = self.waiters.remove(waiter) else {
            return WaitOutcome::Unknown;
        };
        let outcome = match ended.standing {
            Standing::Waiting => {
                self.totals.cancelled += 1;
                reason.map_or(WaitOutcome::Unknown, WaitOutcome::Waiting)
            }
            Standing::Granted(index) => {
                self.totals.cancelled += 1;
                self.offer(index, true, now);
                WaitOutcome::Granted
            }
            Standing::Stocked => WaitOutcome::Granted,
            Standing::Refused(refusal) => WaitOutcome::Refused(refusal),
        };
        self.settle(now);
        outcome
    }

    /// What a waiter waits for; `None` when it waits no longer.
    #[must_use]
    pub fn why(&self, waiter: WaiterId) -> Option<WaitReason> {
        let waiter = self.waiters.get(waiter)?;
        if waiter.standing != Standing::Waiting {
            return None;
        }
        Some(match waiter.want {
            Want::Any => R::wait_reason(self),
            Want::Stock(wanted) => WaitReason::Stock { idle: self.slots.len(State::Idle), wanted },
            Want::Id(id) => match self.lookup(id).and_then(|index| self.state(index)) {
                None => WaitReason::IdNotSeen,
                Some(State::Dialing | State::Handshaking) => WaitReason::IdHandshaking,
                Some(State::Resting) => WaitReason::IdResting,
                Some(State::Checking) => WaitReason::IdChecking,
                Some(_) => WaitReason::IdLeased,
            },
        })
    }

    // --- giving back ----------------------------------------------------------------------------

    /// Puts a leased connection back.
    ///
    /// It is drained and then handed to a waiter or kept; in a full pool, or at the end of its
    /// lifetime, it is closed, which is no error.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the machine has no such lease (any more). The connection is closed then,
    /// too.
    pub fn put(&mut self, now: Instant, token: Token, connection: C) -> Result<(), PutError> {
        self.put_back(now, token, connection, None)
    }

    /// [`put`](Self::put) for a driver that has drained the connection itself just before, with this
    /// outcome: the connection can be taken again at once, without a [`Check`](Action::Check). Where
    /// there is a [reuse delay](Self::reuse_delay), that is when it is drained, not before.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_drained(
        &mut self,
        now: Instant,
        token: Token,
        connection: C,
        finding: Finding,
    ) -> Result<(), PutError> {
        self.put_back(now, token, connection, Some(finding))
    }

    /// How long a connection that was put back rests before it is drained.
    #[must_use]
    pub const fn reuse_delay(&self) -> Duration {
        self.reuse_delay.duration()
    }

    fn put_back(
        &mut self,
        now: Instant,
        token: Token,
        connection: C,
        drained: Option<Finding>,
    ) -> Result<(), PutError> {
        let now = self.advance(now);
        let index = self.slots.resolve(token, &[State::Leased]);
        let Some((index, slot)) = index.and_then(|i| Some((i, self.slots.get_mut(i)?))) else {
            self.totals.put_unknown += 1;
            let (reason, error) = if self.closed {
                (CloseReason::PoolClosed, PutError::PoolClosed)
            } else {
                (CloseReason::Stale, PutError::NotLeased)
            };
            self.actions.push_back(Action::Close { token, connection, reason });
            return Err(error);
        };
        self.totals.put += 1;
        slot.connection = Some(connection);
        slot.used = true;
        slot.claimed = false;
        let wanted = slot.id.is_some_and(|id| self.waiters.wants_id(id));
        if let Some(reason) = self.slots.expiry(index, now) {
            self.close_one(index, reason);
        } else if !wanted && self.waiters.any() == 0 && self.supply() >= self.role.limit() {
            self.close_one(index, CloseReason::Overflow);
        } else if drained == Some(Finding::Closed) {
            self.close_one(index, CloseReason::PeerClosed);
        } else if self.reuse_delay != Period::ZERO {
            R::returned(self, index);
            self.slots.enter(index, State::Resting, now);
        } else if drained == Some(Finding::Data) {
            self.close_one(index, CloseReason::Leftover);
        } else {
            R::returned(self, index);
            // Its state is still that of a lease, but it cannot end in `offer`: neither expired nor,
            // with `surplus` off, too many.
            match drained {
                Some(_) => self.offer(index, false, now),
                None => self.check(index, Purpose::Drain, now),
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Counts a connection of another pool that was to be put back here. Only the driver can tell:
    /// to the machine a foreign token may look like one of its own.
    pub const fn put_foreign(&mut self) -> PutError {
        self.totals.put_unknown += 1;
        PutError::Foreign
    }

    /// Gives back a lease that its holder has not used, because a look at the connection found it
    /// [closed](Finding::Closed), or [begun to be used](Finding::Data) by the peer.
    pub fn reject(&mut self, now: Instant, token: Token, connection: C, finding: Finding) {
        let now = self.advance(now);
        let Some(index) = self.resolve_with(token, &[State::Leased], connection) else {
            return;
        };
        if finding == Finding::Closed {
            self.close_one(index, CloseReason::PeerClosed);
        } else {
            R::returned(self, index);
            // Out of the lease before it is offered: it may be closed there.
            self.slots.enter(index, State::Checking, now);
            if let Some(slot) = self.slots.get_mut(index) {
                slot.claimed |= finding == Finding::Data && self.peer_claims;
            }
            self.offer(index, true, now);
        }
        self.settle(now);
    }

    /// Whether data that arrives on a connection in the pool means that the peer has taken it, so
    /// that only an acquire by id may have it.
    #[must_use]
    pub const fn peer_claims(&self) -> bool {
        self.peer_claims
    }

    // --- emptying -------------------------------------------------------------------------------

    /// Closes the idle connections and returns how many there were. The rest is left alone.
    pub fn clean(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.len(State::Idle);
        self.close_all(State::Idle, CloseReason::Cleaned);
        self.settle(now);
        count
    }

    /// Ends everything there is: idle connections, those in use, dials and handshakes. Waiters
    /// stay, and are served by what comes after. Returns how many there were.
    pub fn flush(&mut self, now: Instant) -> u32 {
        let now = self.advance(now);
        let count = self.slots.total();
        self.end_everything(CloseReason::Flushed);
        if !self.closed {
            self.role.flushed(now);
        }
        self.settle(now);
        count
    }

    /// Ends everything there is, and the pool: waiters are refused, and nothing begins any more.
    /// Closing again does nothing.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        if self.closed {
            return;
        }
        self.closed = true;
        while let Some(waiter) = self.waiters.first() {
            self.refuse(waiter, Refusal::PoolClosed);
        }
        self.end_everything(CloseReason::PoolClosed);
    }

    /// Whether the pool was closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
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

    /// Time never goes back: an earlier `now` counts as the latest one seen.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
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

    /// Gives a new connection its id, where this end makes the ids. The zero id is never made: some
    /// users of the reference reserve it for a connection of their own.
    pub(crate) fn name(&mut self, mut key: Key) -> Key {
        let Ids::Issued(permutation) = &self.ids else {
            return key;
        };
        let mut id = permutation.id(key);
        while id == ConnId::ZERO
            && let Some(next) = self.slots.slab.renew(key.index)
        {
            key = next;
            id = permutation.id(key);
        }
        if let Some(slot) = self.slots.get_mut(key.index) {
            slot.id = Some(id);
        }
        key
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
        if let Some(refusal) = self.role.dried_up() {
            while let Some(waiter) = self.waiters.first_for_supply() {
                self.refuse(waiter, refusal);
            }
        }
        R::refill(self, now);
        while let Some(index) = self.waiters.first_stocked(self.slots.len(State::Idle)) {
            self.answer(index, Standing::Stocked);
        }
    }

    fn resolve(&mut self, token: Token, states: &[State]) -> Option<u32> {
        let index = self.slots.resolve(token, states);
        if index.is_none() {
            self.totals.stale_events += 1;
        }
        index
    }

    /// Resolves a token that came with its connection, which is kept in the slot or, if stale,
    /// closed.
    fn resolve_with(&mut self, token: Token, states: &[State], connection: C) -> Option<u32> {
        let index = self.resolve(token, states);
        match index.and_then(|index| self.slots.get_mut(index)) {
            Some(slot) => slot.connection = Some(connection),
            None => {
                let reason = CloseReason::Stale;
                self.actions.push_back(Action::Close { token, connection, reason });
            }
        }
        index
    }

    fn lookup(&self, id: ConnId) -> Option<u32> {
        let index = self.ids.find(id)?;
        (self.slots.get(index)?.id == Some(id)).then_some(index)
    }

    fn takeable_by_id(&self, index: u32) -> bool {
        matches!(self.state(index), Some(State::Idle | State::Claimed))
    }

    fn establish(&mut self, token: Token, connection: C, id: Option<ConnId>, now: Instant) {
        let Some(index) = self.resolve_with(token, &[State::Handshaking], connection) else {
            return;
        };
        if let Ids::Received(received) = &mut self.ids {
            let Some(id) = id else { return self.close_one(index, CloseReason::MissingId) };
            if !received.enter(id, index) {
                return self.close_one(index, CloseReason::DuplicateId);
            }
            if let Some(slot) = self.slots.get_mut(index) {
                slot.id = Some(id);
            }
        }
        self.totals.established += 1;
        let step = self.random.u8(0..LIFETIME_STEPS);
        self.slots.start_ageing(index, step, now);
        R::established(self, index);
        self.offer(index, false, now);
    }

    /// Something has arrived. An idle connection is looked at; any other once it becomes idle: until
    /// then it may still be drained, or be its holder's.
    fn readable(&mut self, token: Token, now: Instant) {
        let Some(index) = self.resolve(token, &State::ALL) else { return };
        if self.state(index) == Some(State::Idle) {
            self.check(index, Purpose::Watch, now);
        } else if let Some(slot) = self.slots.get_mut(index) {
            slot.stirred = true;
        }
    }

    fn checked(&mut self, token: Token, connection: C, finding: Finding, now: Instant) {
        let Some(index) = self.resolve_with(token, &[State::Checking], connection) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match (slot.purpose, finding) {
            (_, Finding::Closed) => self.close_one(index, CloseReason::PeerClosed),
            (Purpose::Drain, Finding::Data) => self.close_one(index, CloseReason::Leftover),
            (Purpose::Drain, Finding::Quiet) => self.offer(index, true, now),
            (Purpose::Watch, finding) => {
                slot.claimed |= finding == Finding::Data && self.peer_claims;
                self.offer(index, false, now);
            }
        }
    }

    fn closed_by_holder_or_peer(&mut self, token: Token) {
        let pooled = [State::Idle, State::Claimed, State::Granted, State::Resting, State::Checking];
        if let Some(index) = self.slots.resolve(token, &[State::Leased]) {
            self.end(index, CloseReason::Released);
        } else if let Some(index) = self.resolve(token, &pooled) {
            self.close_one(index, CloseReason::PeerClosed);
        }
    }

    /// Gives a connection to the first waiter that it suits, or keeps it; `surplus` ones are closed
    /// instead when the pool is full.
    fn offer(&mut self, index: u32, surplus: bool, now: Instant) {
        if let Some(reason) = self.slots.expiry(index, now) {
            return self.close_one(index, reason);
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let (claimed, stirred) = (slot.claimed, slot.stirred);
        slot.waiter = NOBODY;
        let waiter = slot.id.and_then(|id| self.waiters.first_for(id, claimed));
        if waiter.is_some() {
            self.slots.enter(index, State::Granted, now);
        } else if claimed {
            self.slots.enter(index, State::Claimed, now);
        } else if surplus && self.supply() > self.role.limit() {
            return self.close_one(index, CloseReason::Overflow);
        } else if stirred {
            return self.check(index, Purpose::Watch, now);
        } else {
            self.slots.enter(index, State::Idle, now);
        }
        if let Some(waiter) = waiter {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.waiter = waiter;
            }
            self.answer(waiter, Standing::Granted(index));
        }
    }

    /// The idle connection to take next.
    fn next_idle(&self) -> Option<u32> {
        match self.take_order {
            TakeOrder::OldestFirst => self.slots.front(State::Idle),
            TakeOrder::NewestFirst => self.slots.back(State::Idle),
        }
    }

    #[inline]
    fn hand_over(&mut self, index: u32, now: Instant) -> Option<Lease<C>> {
        let token = self.slots.token(index)?;
        R::leased(self, index);
        self.slots.enter(index, State::Leased, now);
        let slot = self.slots.get_mut(index)?;
        slot.waiter = NOBODY;
        self.totals.leases += 1;
        self.totals.reused += u64::from(slot.used);
        Some(Lease { token, id: slot.id?, connection: slot.connection.take()? })
    }

    fn check(&mut self, index: u32, purpose: Purpose, now: Instant) {
        self.slots.enter(index, State::Checking, now);
        let token = self.slots.token(index);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.purpose = purpose;
        slot.stirred = false;
        if let (Some(token), Some(connection)) = (token, slot.connection.take()) {
            self.actions.push_back(Action::Check { token, connection, purpose });
        }
    }

    fn queue(&mut self, want: Want, again: bool, now: Instant) -> Acquire<C> {
        let queued = self.waiters.queue(want, again);
        // Even if it was refused: the capacity may have risen, or connections may have ended.
        self.settle(now);
        match queued {
            Ok(waiter) => Acquire::Queued(waiter),
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Acquire<C> {
        self.totals.refused += 1;
        Acquire::Refused(refusal)
    }

    /// Gives a waiting waiter its outcome and wakes it.
    fn answer(&mut self, index: u32, standing: Standing) {
        if let Some(waiter) = self.waiters.resolve(index, standing) {
            self.actions.push_back(Action::Wake { waiter });
        }
    }

    fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.totals.refused += 1;
        self.answer(index, Standing::Refused(refusal));
    }

    fn close_all(&mut self, state: State, reason: CloseReason) {
        // From the back: granted waiters return to the front of their queue in their old order.
        while let Some(index) = self.slots.back(state) {
            self.close_one(index, reason);
        }
    }

    fn end_everything(&mut self, reason: CloseReason) {
        for state in State::ALL {
            self.close_all(state, reason);
        }
    }

    /// Ends a connection, and has the driver close what it or the machine holds of it.
    pub(crate) fn close_one(&mut self, index: u32, reason: CloseReason) {
        let Some((token, slot)) = self.end(index, reason) else {
            return;
        };
        match (slot.connection, slot.state) {
            (Some(connection), _) => {
                self.actions.push_back(Action::Close { token, connection, reason });
            }
            // What is being checked comes back with a stale token, and is closed then.
            (None, State::Checking) => {}
            (None, _) => self.actions.push_back(Action::Abort { token, reason }),
        }
    }

    /// Ends a connection: the one way out of the slots.
    fn end(&mut self, index: u32, reason: CloseReason) -> Option<(Token, Slot<C>)> {
        let token = self.slots.token(index)?;
        R::ending(self, index, reason);
        let slot = self.slots.remove(index)?;
        self.totals.count(reason);
        if let Some(id) = slot.id {
            self.ids.ended(id, index, reason);
            while let Some(waiter) = self.waiters.first_by_id(id) {
                self.refuse(waiter, Refusal::Gone { id, reason });
            }
        }
        if slot.waiter != NOBODY {
            self.bereave(slot.waiter, reason);
        }
        Some((token, slot))
    }

    /// The connection that a waiter was to collect has ended.
    fn bereave(&mut self, waiter: u32, reason: CloseReason) {
        let refusal = match self.waiters.want(waiter) {
            _ if self.closed => Refusal::PoolClosed,
            Some(Want::Id(id)) => Refusal::Gone { id, reason },
            _ => return self.waiters.requeue(waiter),
        };
        self.totals.refused += 1;
        self.waiters.overrule(waiter, Standing::Refused(refusal));
    }
}
