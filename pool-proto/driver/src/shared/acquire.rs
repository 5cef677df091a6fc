//! The futures of callers: a connection, or stock.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use pool_proto::tape::Recorded;
use pool_proto::{
    Acquired, CheckResult, CloseReason, Collected, ConnId, Instant, Lease, Refusal, Role, Stock,
    WaitOutcome, WaitReason, WaiterId,
};
use thiserror::Error;
use tracing::field::display;

use super::leased::Hold;
use super::state::State;
use super::{Leased, PoolConnection, SharedMachine};
use crate::events;

/// The reason why a caller gets no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The caller's deadline passed.
    #[error("no connection in time: {why}{}", LastFailure(last_failure.as_deref()))]
    Timeout {
        /// The cause of the wait.
        why: WaitReason,
        /// The reason of the last failed dial or handshake, if none has succeeded since.
        last_failure: Option<Arc<str>>,
    },
    /// Waiting is useless: no connection can come.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

struct LastFailure<'a>(Option<&'a str>);

impl fmt::Display for LastFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |failure| write!(f, "; the last failure was: {failure}"))
    }
}

/// A future of a caller that can be told that its deadline has passed. The timer is the adapter's.
pub trait Deadline: Future + Unpin {
    /// Marks the deadline as passed: the next poll is ready, with a connection that is there or with
    /// [`AcquireError::Timeout`]. (An acquire by id still waits for a check of its connection that a
    /// thread is carrying out; a check never blocks.)
    fn expire(&mut self);
}

/// A turn in the queue; cancelled when dropped.
struct Wait<C: PoolConnection, R: Role> {
    /// `None` when its connection was handed out: the lease has it then.
    shared: Option<Arc<SharedMachine<C, R>>>,
    waiter: Option<WaiterId>,
    /// When the caller was queued first. It has been served at once until then.
    since: Option<Instant>,
    /// Whether it waits for a user of the peer, and not for a connection.
    accepts: bool,
    expired: bool,
}

impl<C: PoolConnection, R: Role> Wait<C, R> {
    fn new(shared: &Arc<SharedMachine<C, R>>, accepts: bool) -> Self {
        let shared = Some(Arc::clone(shared));
        Self { shared, waiter: None, since: None, accepts, expired: false }
    }

    /// Asks the machine: at first by `at_once`, and if that fails by `begin`, which may queue the caller;
    /// later by collecting. A connection that is there comes back in registers, everything else in `step`:
    /// to pass a lease on through memory costs as much as a mutex.
    #[inline(always)]
    fn ask(
        &mut self,
        cx: &Context<'_>,
        at_once: impl FnOnce(&mut Recorded<C, R>, Instant) -> Option<Lease<C>>,
        begin: impl FnOnce(&mut Recorded<C, R>, Instant) -> Step<C>,
        step: &mut Step<C>,
    ) -> Option<Lease<C>> {
        let shared = self.shared.as_ref()?;
        let waiter = self.waiter;
        shared.with(shared.clock.coarse(), |state, now| {
            if waiter.is_none()
                && let Some(lease) = at_once(&mut state.machine, now)
            {
                return Some(lease);
            }
            *step = self.ask_slowly(cx, shared, state, now, begin);
            None
        })
    }

    #[inline(never)]
    fn ask_slowly(
        &self,
        cx: &Context<'_>,
        shared: &SharedMachine<C, R>,
        state: &mut State<C, R>,
        now: Instant,
        begin: impl FnOnce(&mut Recorded<C, R>, Instant) -> Step<C>,
    ) -> Step<C> {
        let waiter = match self.waiter {
            Some(waiter) => waiter,
            None => match begin(&mut state.machine, now) {
                Step::Waiting(waiter, _) => waiter,
                step => return step,
            },
        };
        // By the precise clock, which costs little next to a wake.
        let waited = self.since.map_or(Duration::ZERO, |since| shared.now().since(since));
        let waited = (!self.accepts).then_some(waited);
        state.collect(cx, waiter, self.expired, waited, now)
    }

    /// The outcome of a step, if the wait is over: a connection, or stock.
    #[inline(never)]
    fn conclude(&mut self, step: Step<C>) -> Poll<Result<Option<Lease<C>>, AcquireError>> {
        let Some(shared) = &self.shared else { return Poll::Pending };
        let answer = match step {
            Step::Taken(lease) => Ok(Some(lease)),
            Step::Stocked => Ok(None),
            Step::Failed(error, old_waker) => {
                drop(old_waker);
                tell(shared, &error);
                Err(error)
            }
            Step::Waiting(waiter, old_waker) => {
                drop(old_waker);
                self.waiter = Some(waiter);
                if self.since.is_none() {
                    self.since = Some(shared.now());
                }
                return Poll::Pending;
            }
        };
        self.waiter = None;
        Poll::Ready(answer)
    }
}

#[cold]
fn tell<C: PoolConnection, R: Role>(shared: &SharedMachine<C, R>, error: &AcquireError) {
    if let AcquireError::Timeout { why, last_failure } = error {
        events::acquire_timed_out(shared.label(), display(why), last_failure.as_deref());
    }
}

/// The progress of a wait.
pub(super) enum Step<C> {
    Taken(Lease<C>),
    Stocked,
    /// With a replaced waker, to be dropped outside the mutex: it may be the last reference to a task
    /// whose drop calls this machine.
    Failed(AcquireError, Option<Waker>),
    Waiting(WaiterId, Option<Waker>),
}

impl<C, R: Role> State<C, R> {
    /// Collects the outcome of a waiter; registers the waker if there is none yet.
    #[inline(never)]
    fn collect(
        &mut self,
        cx: &Context<'_>,
        waiter: WaiterId,
        expired: bool,
        waited: Option<Duration>,
        now: Instant,
    ) -> Step<C> {
        match self.machine.collect(now, waiter) {
            Collected::Ready(lease) => {
                if let Some(waited) = waited {
                    self.waits.record(waited);
                }
                Step::Taken(lease)
            }
            Collected::Stocked => Step::Stocked,
            Collected::Refused(refusal) => Step::Failed(refusal.into(), None),
            Collected::Unknown => Step::Failed(Refusal::PoolClosed.into(), None),
            Collected::Waiting => {
                let why = self.machine.why(waiter).unwrap_or(WaitReason::NoPeer);
                // A check never blocks, and its result is the true answer: wait for it even after
                // the deadline, unless it may be one that the driver has still to begin.
                if !expired || (why == WaitReason::IdChecking && self.checks.is_empty()) {
                    return Step::Waiting(waiter, self.remember(waiter, cx.waker()));
                }
                let outcome = self.machine.time_out(now, waiter);
                debug_assert_eq!(outcome, WaitOutcome::Waiting(why));
                self.news.call_driver();
                let last_failure = self.last_failure(now);
                Step::Failed(AcquireError::Timeout { why, last_failure }, self.forget(waiter))
            }
        }
    }
}

impl<C: PoolConnection, R: Role> Drop for Wait<C, R> {
    fn drop(&mut self) {
        if let (Some(waiter), Some(shared)) = (self.waiter.take(), &self.shared) {
            let _old_waker = shared.with(shared.clock.coarse(), |state, now| {
                state.machine.cancel(now, waiter);
                state.forget(waiter)
            });
        }
    }
}

/// The connection that a caller wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any that is ready.
    Any,
    /// The one with this id.
    Id(ConnId),
    /// Any that the peer has begun to use.
    Claimed,
}

impl Wanted {
    /// Takes the connection if it is there; otherwise nothing happens.
    #[inline(always)]
    fn try_acquire<C, R: Role>(
        self,
        machine: &mut Recorded<C, R>,
        now: Instant,
        again: bool,
    ) -> Option<Lease<C>> {
        match self {
            Self::Id(id) => machine.try_acquire_by_id(now, id),
            Self::Any if !again => machine.try_acquire(now),
            Self::Any | Self::Claimed => None,
        }
    }

    fn acquire<C, R: Role>(
        self,
        machine: &mut Recorded<C, R>,
        now: Instant,
        again: bool,
    ) -> Acquired<C> {
        match self {
            Self::Id(id) => machine.acquire_by_id(now, id),
            Self::Claimed => machine.acquire_claimed(now),
            Self::Any if again => machine.acquire_again(now),
            Self::Any => machine.acquire(now),
        }
    }
}

/// Acquires a connection; made by [`SharedMachine::acquire`], [`SharedMachine::acquire_by_id`] and
/// [`SharedMachine::acquire_claimed`].
///
/// The caller queues at the first poll. Cancel safe: dropping the future cancels the wait, and a
/// connection already granted to it goes to the next waiter or back to the pool. The same happens after 10
/// seconds if the future is not polled; polled later, it asks again, at the front of its queue.
///
/// Each connection is checked before it is handed out. For an acquire of any connection, a connection that
/// the peer has closed or begun to use is replaced by another, and the caller keeps its turn. An acquire
/// by id gets it, and an accept too. Polled again after it was ready with a connection, it stays pending.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<C: PoolConnection, R: Role> {
    wait: Wait<C, R>,
    wanted: Wanted,
    again: bool,
}

impl<C: PoolConnection, R: Role> Acquire<C, R> {
    pub(super) fn new(shared: &Arc<SharedMachine<C, R>>, wanted: Wanted) -> Self {
        Self { wait: Wait::new(shared, wanted == Wanted::Claimed), wanted, again: false }
    }
}

impl<C: PoolConnection, R: Role> Deadline for Acquire<C, R> {
    fn expire(&mut self) {
        self.wait.expired = true;
    }
}

impl<C: PoolConnection, R: Role> Future for Acquire<C, R> {
    type Output = Result<Leased<C>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let (wanted, again) = (this.wanted, this.again);
            let mut step = Step::Stocked;
            let at_once =
                |machine: &mut Recorded<C, R>, now| wanted.try_acquire(machine, now, again);
            let begin =
                |machine: &mut Recorded<C, R>, now| match wanted.acquire(machine, now, again) {
                    Acquired::Ready(lease) => Step::Taken(lease),
                    Acquired::Queued(waiter) => Step::Waiting(waiter, None),
                    Acquired::Refused(refusal) => Step::Failed(refusal.into(), None),
                };
            let lease = match this.wait.ask(cx, at_once, begin, &mut step) {
                Some(lease) => lease,
                None => match this.wait.conclude(step) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(None)) => continue,
                    Poll::Ready(Ok(Some(lease))) => lease,
                },
            };
            match this.admit(lease) {
                Ok(leased) => return Poll::Ready(Ok(leased)),
                Err(Some(error)) => return Poll::Ready(Err(error)),
                Err(None) => this.again = true,
            }
        }
    }
}

impl<C: PoolConnection, R: Role> Acquire<C, R> {
    /// Checks a connection before it is handed out. `Err(None)`: it was unfit, take another.
    #[inline]
    fn admit(&mut self, lease: Lease<C>) -> Result<Leased<C>, Option<AcquireError>> {
        let Some(shared) = &self.wait.shared else { return Err(Some(Refusal::PoolClosed.into())) };
        // If the check panics, the connection is dropped, and then its lease is released and not lost.
        let hold = Hold::new(&**shared, lease.token);
        let Lease { token, id, mut connection } = lease;
        let result = connection.check();
        if self.is_unfit(shared, result) {
            hold.end();
            shared.reject(token, connection, result);
            let reason = CloseReason::PeerClosed;
            return Err(self.unfit(|id| Refusal::Gone { id, reason }));
        }
        if shared.has_opening_byte {
            let fits = match self.wanted {
                Wanted::Any => connection.open(),
                Wanted::Id(_) | Wanted::Claimed => connection.take_opening(),
            };
            if !fits {
                // Closed by its drop. Back in the pool, it would be accepted again.
                return Err(self.unfit(|id| Refusal::NoOpeningByte { id }));
            }
        }
        hold.end();
        let Some(shared) = self.wait.shared.take() else { return Err(None) };
        Ok(Leased::new(shared, token, id, connection))
    }

    /// The error for a caller whose connection is unfit; `None` if another connection does as well.
    fn unfit(&self, refusal: impl FnOnce(ConnId) -> Refusal) -> Option<AcquireError> {
        match self.wanted {
            Wanted::Id(id) => Some(refusal(id).into()),
            Wanted::Any | Wanted::Claimed => None,
        }
    }

    /// Whether the result of the check makes a connection useless to this caller. Where a peer can
    /// acquire, data or an end mean that the peer has used the connection.
    #[inline]
    fn is_unfit(&self, shared: &SharedMachine<C, R>, result: CheckResult) -> bool {
        let claims = || shared.lock().machine.peer_claims();
        match (result, self.wanted) {
            (CheckResult::Quiet, _) | (_, Wanted::Claimed) => false,
            (CheckResult::Closed, Wanted::Id(_)) => !claims(),
            (CheckResult::Closed, Wanted::Any) => true,
            (CheckResult::Data | CheckResult::Finished, Wanted::Id(_)) => false,
            (CheckResult::Data | CheckResult::Finished, Wanted::Any) => claims(),
        }
    }
}

/// Waits for idle connections; made by [`SharedMachine::wait_ready`]. Cancel safe.
#[must_use = "futures do nothing unless polled"]
pub struct WaitReady<C: PoolConnection, R: Role> {
    wait: Wait<C, R>,
    ready: u32,
}

impl<C: PoolConnection, R: Role> WaitReady<C, R> {
    pub(super) fn new(shared: &Arc<SharedMachine<C, R>>, ready: u32) -> Self {
        Self { wait: Wait::new(shared, false), ready }
    }
}

impl<C: PoolConnection, R: Role> Deadline for WaitReady<C, R> {
    fn expire(&mut self) {
        self.wait.expired = true;
    }
}

impl<C: PoolConnection, R: Role> Future for WaitReady<C, R> {
    type Output = Result<(), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self.ready;
        let mut step = Step::Stocked;
        let begin = |machine: &mut Recorded<C, R>, now| match machine.wait_ready(now, ready) {
            Stock::Ready => Step::Stocked,
            Stock::Queued(waiter) => Step::Waiting(waiter, None),
            Stock::Refused(refusal) => Step::Failed(refusal.into(), None),
        };
        self.wait.ask(cx, |_, _| None, begin, &mut step);
        self.wait.conclude(step).map_ok(|_| ())
    }
}
