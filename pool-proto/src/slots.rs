//! The connections of a machine. The list that orders the connections of a state is also its timer.

use alloc::vec::Vec;

use crate::event::{CheckKind, CloseReason, Token};
use crate::id::ConnId;
use crate::slab::{Key, List, NIL, Slab};
use crate::state::{State, assert_edge};
use crate::time::{Instant, Period};

const STATES: usize = State::EACH.len();

/// The value of [`Slot::waiter`] without a waiter. A slab never grows to this index.
pub(crate) const NO_WAITER: u32 = NIL;

/// The number of steps in which lifetimes are jittered. All connections of a step have the same
/// lifetime and expire in the order in which they were established, so a list is their timer.
pub(crate) const LIFETIME_STEPS: u8 = 16;
const STEPS: usize = LIFETIME_STEPS as usize;

/// One connection.
#[derive(Clone)]
pub(crate) struct Slot<C> {
    /// The user's connection while the machine holds it: idle, claimed, finished, granted,
    /// resting.
    pub(crate) connection: Option<C>,
    /// The time at which the connection entered its state.
    pub(crate) since: Instant,
    /// The time at which it was established; before, the time at which it was begun.
    pub(crate) established: Instant,
    /// Its id, after this end has issued it or the peer has sent it.
    pub(crate) id: Option<ConnId>,
    /// The waiter to which it is granted, or [`NO_WAITER`].
    pub(crate) waiter: u32,
    /// Client: the epoch of the backoff in which it was dialled. Server: the number of its source.
    pub(crate) origin: u32,
    pub(crate) state: State,
    /// The kind of its last check.
    pub(crate) check: CheckKind,
    pub(crate) lifetime_step: u8,
    /// Whether it is in the list of its lifetime step.
    pub(crate) ageing: bool,
    /// Whether it was put back at least once.
    pub(crate) used: bool,
    /// While it is leased: whether its holder has acquired any connection, and not the one with its id.
    pub(crate) acquired: bool,
    /// The time since which the peer is known to use it, or to have ended it, if so.
    pub(crate) claimed: Option<Instant>,
    /// Whether the peer has closed it, or it has failed.
    pub(crate) finished: bool,
    /// Client: whether that was taken for a rejection by a full peer.
    pub(crate) doubted: bool,
    /// Whether data or EOF arrived while it could not be inspected.
    pub(crate) readable: bool,
    /// Server: whether the allow list was changed, and does not admit its peer any more.
    pub(crate) barred: bool,
}

/// A list whose entries stay for the same period at most. So they are in the order of their
/// deadlines.
#[derive(Clone, Copy)]
pub(crate) struct Timed<const K: usize> {
    pub(crate) list: List<K>,
    pub(crate) period: Period,
}

/// All connections of a machine.
#[derive(Clone)]
pub(crate) struct Slots<C> {
    /// Link 0: the list of the state. Link 1: the list of the lifetime step. Link 2: the list of the
    /// source. Link 3: the list of requests.
    pub(crate) slab: Slab<Slot<C>, 4>,
    /// The connections that the peer has begun to use and that nobody here has acquired, in the order
    /// of their last inspection. The control connection is not one of them.
    pub(crate) requests: List<3>,
    /// Whether the zero id names the control connection.
    pub(crate) control: bool,
    pub(crate) states: [Timed<0>; STATES],
    pub(crate) lifetimes: [Timed<1>; STEPS],
    /// The deadline of each list's first entry. `poll_timeout` is their minimum.
    pub(crate) state_due: [Instant; STATES],
    pub(crate) lifetime_due: [Instant; STEPS],
    /// The minimum of `lifetime_due`, cached: it is read more often than it changes.
    pub(crate) next_lifetime_due: Instant,
}

#[expect(
    clippy::indexing_slicing,
    reason = "arrays are indexed by a State, of which there are STATES, or by a step below STEPS"
)]
impl<C> Slots<C> {
    pub(crate) fn new(
        period: impl Fn(State) -> Period,
        max_lifetime: Period,
        lifetime_jitter: f64,
        control: bool,
    ) -> Self {
        Self {
            slab: Slab::new(),
            requests: List::new(),
            control,
            states: State::EACH.map(|state| Timed { list: List::new(), period: period(state) }),
            lifetimes: lifetimes(max_lifetime, lifetime_jitter)
                .map(|period| Timed { list: List::new(), period }),
            state_due: [Instant::NEVER; STATES],
            lifetime_due: [Instant::NEVER; STEPS],
            next_lifetime_due: Instant::NEVER,
        }
    }

    /// Sets all periods anew, also for the connections that are already in the lists.
    pub(crate) fn set_periods(
        &mut self,
        period: impl Fn(State) -> Period,
        max_lifetime: Period,
        lifetime_jitter: f64,
    ) {
        for (state, (timed, due)) in
            State::EACH.into_iter().zip(self.states.iter_mut().zip(&mut self.state_due))
        {
            timed.period = period(state);
            let first = timed.list.front().and_then(|first| self.slab.get(first));
            *due = first.map_or(Instant::NEVER, |slot| slot.since.after(timed.period));
        }
        let periods = lifetimes(max_lifetime, lifetime_jitter);
        if self.lifetimes.iter().map(|timed| timed.period).ne(periods) {
            self.set_lifetimes(periods);
        }
    }

    /// Sets the period of each lifetime step, and enters all connections in the lists anew: without a
    /// maximum they were in none.
    fn set_lifetimes(&mut self, periods: [Period; STEPS]) {
        let handshake = [State::Dialing, State::Accepted, State::Handshaking, State::Admitted];
        let mut established: Vec<(Instant, u32, u8)> = Vec::new();
        for (index, _) in self.slab.live() {
            if let Some(slot) = self.slab.get(index).filter(|s| !handshake.contains(&s.state)) {
                established.push((slot.established, index, slot.lifetime_step));
            }
        }
        established.sort_unstable();
        for (_, index, _) in &established {
            self.stop_ageing(*index);
        }
        for (timed, period) in self.lifetimes.iter_mut().zip(periods) {
            timed.period = period;
        }
        for (at, index, step) in established {
            self.start_ageing(index, step, at);
        }
    }

    pub(crate) fn period(&self, state: State) -> Period {
        self.states[state as usize].period
    }

    pub(crate) fn len(&self, state: State) -> u32 {
        self.states[state as usize].list.len()
    }

    /// The number of live connections.
    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.slab.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn front(&self, state: State) -> Option<u32> {
        self.states[state as usize].list.front()
    }

    pub(crate) fn back(&self, state: State) -> Option<u32> {
        self.states[state as usize].list.back()
    }

    /// The connection that entered the same state next after this one.
    pub(crate) fn next(&self, index: u32) -> Option<u32> {
        let state = self.get(index)?.state;
        self.states[state as usize].list.next(&self.slab, index)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Slot<C>> {
        self.slab.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Slot<C>> {
        self.slab.get_mut(index)
    }

    /// A connection and its token.
    #[inline]
    pub(crate) fn named_mut(&mut self, index: u32) -> Option<(Token, &mut Slot<C>)> {
        self.slab.entry_mut(index).map(|(key, slot)| (Token(key), slot))
    }

    pub(crate) fn token(&self, index: u32) -> Option<Token> {
        self.slab.key(index).map(Token)
    }

    /// The slot of a token, if the connection is live and in one of `states`.
    pub(crate) fn resolve(&self, token: Token, states: &[State]) -> Option<u32> {
        let index = self.slab.resolve(token.0)?;
        states.contains(&self.get(index)?.state).then_some(index)
    }

    /// Inserts a new connection; `None` when the slab is full.
    pub(crate) fn insert(&mut self, state: State, origin: u32, now: Instant) -> Option<Key> {
        let key = self.slab.insert(Slot {
            connection: None,
            since: now,
            established: now,
            id: None,
            waiter: NO_WAITER,
            origin,
            state,
            check: CheckKind::Inspect,
            lifetime_step: 0,
            ageing: false,
            used: false,
            acquired: false,
            claimed: None,
            finished: false,
            doubted: false,
            readable: false,
            barred: false,
        })?;
        assert_edge(None, Some(state));
        self.link(key.index, state, now);
        Some(key)
    }

    /// Moves a connection to another state and returns the one that it left.
    #[inline]
    pub(crate) fn enter(&mut self, index: u32, state: State, now: Instant) -> Option<State> {
        let slot = self.slab.get_mut(index)?;
        let former = core::mem::replace(&mut slot.state, state);
        slot.since = now;
        assert_edge(Some(former), Some(state));
        self.unlink(index, former);
        self.link(index, state, now);
        Some(former)
    }

    /// Removes a connection. It must be in no list of a source.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Slot<C>> {
        let state = self.get(index)?.state;
        assert_edge(Some(state), None);
        self.unlink(index, state);
        self.stop_ageing(index);
        self.slab.remove(index)
    }

    #[inline]
    fn link(&mut self, index: u32, state: State, now: Instant) {
        let timed = &mut self.states[state as usize];
        if timed.list.is_empty() {
            self.state_due[state as usize] = now.after(timed.period);
        }
        timed.list.push_back(&mut self.slab, index);
        if self.is_request(index, state) {
            self.requests.push_back(&mut self.slab, index);
        }
    }

    /// Whether this id names the control connection.
    pub(crate) fn is_control(&self, id: Option<ConnId>) -> bool {
        self.control && id == Some(ConnId::ZERO)
    }

    /// Whether a connection in `state` is in the list of requests. The answer is the same for as long as
    /// it is in that state.
    fn is_request(&self, index: u32, state: State) -> bool {
        matches!(state, State::Claimed | State::Finished)
            && self
                .get(index)
                .is_some_and(|slot| slot.claimed.is_some() && !self.is_control(slot.id))
    }

    #[inline]
    fn unlink(&mut self, index: u32, state: State) {
        if self.is_request(index, state) {
            self.requests.remove(&mut self.slab, index);
        }
        let timed = &mut self.states[state as usize];
        let was_first = timed.list.front() == Some(index);
        timed.list.remove(&mut self.slab, index);
        if was_first && timed.period != Period::NEVER {
            let first = timed.list.front().and_then(|first| self.slab.get(first));
            self.state_due[state as usize] =
                first.map_or(Instant::NEVER, |slot| slot.since.after(timed.period));
        }
    }

    /// Starts the lifetime of a connection, which is `step` steps of jitter shorter than the maximum.
    pub(crate) fn start_ageing(&mut self, index: u32, step: u8, now: Instant) {
        let step = usize::from(step) % STEPS;
        let timed = &mut self.lifetimes[step];
        let Some(slot) = self.slab.get_mut(index) else {
            return;
        };
        slot.established = now;
        slot.lifetime_step = u8::try_from(step).unwrap_or(0);
        if timed.period == Period::NEVER {
            return;
        }
        slot.ageing = true;
        if timed.list.is_empty() {
            self.lifetime_due[step] = now.after(timed.period);
            self.next_lifetime_due = self.next_lifetime_due.min(self.lifetime_due[step]);
        }
        timed.list.push_back(&mut self.slab, index);
    }

    fn stop_ageing(&mut self, index: u32) {
        let Some(slot) = self.slab.get_mut(index).filter(|slot| slot.ageing) else {
            return;
        };
        slot.ageing = false;
        let step = usize::from(slot.lifetime_step);
        let timed = &mut self.lifetimes[step];
        let was_first = timed.list.front() == Some(index);
        timed.list.remove(&mut self.slab, index);
        if was_first {
            let first = timed.list.front().and_then(|first| self.slab.get(first));
            self.lifetime_due[step] =
                first.map_or(Instant::NEVER, |slot| slot.established.after(timed.period));
            self.next_lifetime_due = earliest(&self.lifetime_due);
        }
    }

    /// The connection that has been in `state` longest, if its time there is over.
    pub(crate) fn overdue(&self, state: State, now: Instant) -> Option<u32> {
        if self.state_due[state as usize] > now {
            return None;
        }
        self.front(state)
    }

    /// The next connection whose lifetime is over. Returns each connection once.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        if self.next_lifetime_due > now {
            return None;
        }
        let step = self.lifetime_due.iter().position(|due| *due <= now)?;
        let index = self.lifetimes[step].list.front()?;
        self.stop_ageing(index);
        Some(index)
    }

    /// Why a connection may not be handed out any more, if so.
    #[inline]
    pub(crate) fn expiry(&self, index: u32, now: Instant) -> Option<CloseReason> {
        let slot = self.get(index)?;
        let lifetime = self.lifetimes[usize::from(slot.lifetime_step)].period;
        let idle = self.states[State::Idle as usize].period;
        if slot.established.after(lifetime) <= now {
            Some(CloseReason::Expired)
        } else if slot.state == State::Idle && slot.since.after(idle) <= now {
            Some(CloseReason::IdleTimeout)
        } else {
            None
        }
    }

    /// Whether a claim has lasted for the claim timeout. Each check puts the connection at the end of
    /// its list, so that the list alone does not tell.
    pub(crate) fn claim_is_over(&self, index: u32, now: Instant) -> bool {
        let since = self.get(index).and_then(|slot| slot.claimed);
        since.is_some_and(|at| at.after(self.states[State::Claimed as usize].period) <= now)
    }

    /// The earliest deadline of all lists.
    pub(crate) fn next_due(&self) -> Instant {
        self.next_lifetime_due.min(earliest(&self.state_due))
    }
}

/// The lifetime of each step of jitter.
fn lifetimes(most: Period, jitter: f64) -> [Period; STEPS] {
    core::array::from_fn(|step| {
        if most == Period::NEVER {
            return Period::NEVER;
        }
        // Whole thousandths, so that the core needs no float arithmetic after this line.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=1 times 1000 fits"
        )]
        let jitter = (jitter * 1000.0) as u128;
        let whole = u128::from(most.as_nanos());
        let cut = whole * jitter * step as u128 / (1000 * (STEPS as u128 - 1));
        Period::from_nanos(u64::try_from(whole - cut.min(whole)).unwrap_or(u64::MAX).max(1))
    })
}

fn earliest<const N: usize>(due: &[Instant; N]) -> Instant {
    due.iter().fold(Instant::NEVER, |least, due| least.min(*due))
}
