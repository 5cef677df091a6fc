//! What every adapter needs around a machine, without any I/O: a mutex, a table of wakers, acquire
//! futures, held connections, and a thread parker. Feature `std`.
//!
//! ```text
//!   user tasks ──acquire/put──►┌───────────────┐──Dial/Close/Abort──► driver (one task or thread)
//!   reactor ──Watch wakes─────►│ Shell{Machine}│◄─Event─────────────  dials, handshakes, accepts
//!   user tasks ◄──────wake─────└───────────────┘──deadline──────────► its timer
//! ```
//!
//! Rules that the shell keeps, so that no adapter has to:
//! - Under the mutex only the machine runs: no syscall, no waker, no drop of a connection.
//! - The caller that made a [`Check`](Action::Check) necessary carries it out itself, after
//!   unlocking; everything else that is I/O goes, in order, to the one driver.
//! - The driver is woken only when there is something for it to do, or when the next deadline has
//!   come nearer than the one that it sleeps towards.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::net::IpAddr;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use thiserror::Error;

use crate::error::{PutError, Refusal, Rejected};
use crate::event::{
    Acquire as Answer, Action, CloseReason, Collected, Event, Finding, HandshakeFailure, Lease,
    Purpose, Stock, Token, WaitOutcome, WaitReason, WaiterId,
};
use crate::id::ConnId;
use crate::machine::{Machine, Role};
use crate::server::{Accepting, Admission};
use crate::stats::Stats;
use crate::time::Instant;

/// The adapter's connection, as far as the shell has to know it. Neither call may block.
pub trait Connection: Send + 'static {
    /// Looks whether the peer has closed the connection or sent something, keeps what has arrived
    /// for the next holder, and sees to it that [`Watch`] is woken when more arrives.
    ///
    /// Must see a close that has reached this host, whether a reactor has reported it or not.
    fn check(&mut self) -> Finding;

    /// Throws away what has arrived, and watches on as [`check`](Self::check) does.
    /// [`Finding::Data`] means that there was more than the adapter's limit.
    fn drain(&mut self) -> Finding;
}

/// The adapter's clock.
pub trait Clock: Send + Sync + 'static {
    /// Time since the epoch of the adapter's choosing; never goes back.
    fn now(&self) -> Instant;

    /// The same up to a few milliseconds late, where that is cheaper.
    fn coarse(&self) -> Instant {
        self.now()
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The time was up.
    #[error("no connection in time: {why}{}", LastFailure(last_failure.as_deref()))]
    Timeout {
        /// What the wait was waiting for.
        why: WaitReason,
        /// The last failed dial or handshake, if none has succeeded since.
        last_failure: Option<Arc<str>>,
    },
    /// There is nothing to wait for.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

struct LastFailure<'a>(Option<&'a str>);

impl fmt::Display for LastFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |failure| {
            write!(f, "; the last failure was: {failure}")
        })
    }
}

/// What the driver is to do, in order.
#[derive(Debug)]
#[must_use]
pub enum Order<C> {
    /// Connect to the peer; a [`Ticket`] reports how it goes.
    Dial {
        /// Names the new connection.
        token: Token,
    },
    /// Close this connection.
    Close {
        /// The connection.
        connection: C,
        /// Why.
        reason: CloseReason,
    },
    /// End what the driver holds under this token: a dial, a handshake or a lease.
    Abort {
        /// The dial, handshake or lease.
        token: Token,
        /// Why.
        reason: CloseReason,
    },
}

/// A machine that many tasks and threads share.
pub struct Shell<C, R> {
    state: Mutex<State<C, R>>,
    clock: std::boxed::Box<dyn Clock>,
}

struct State<C, R> {
    machine: Machine<C, R>,
    /// By [`WaiterId::slot`].
    wakers: Vec<Option<Waker>>,
    /// For the driver.
    orders: VecDeque<Order<C>>,
    /// Connections whose [`Watch`] was woken.
    readable: Vec<Token>,
    driver: Option<Waker>,
    /// What the driver sleeps towards.
    armed: Option<Instant>,
    last_failure: Option<Arc<str>>,
}

/// What is to be done after unlocking.
struct Errands<C> {
    wakers: Few<Waker>,
    checks: Few<(Token, C, Purpose)>,
}

/// Mostly none or one, without allocating for them.
struct Few<T> {
    first: Option<T>,
    rest: Vec<T>,
}

impl<T> Few<T> {
    const fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    fn push(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push(item),
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = core::iter::Chain<core::option::IntoIter<T>, alloc::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

impl<C, R: Role> State<C, R> {
    /// Sorts the machine's actions by who carries them out.
    fn sort(&mut self, errands: &mut Errands<C>) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Wake { waiter } => {
                    let waker = self.wakers.get_mut(waiter.slot()).and_then(Option::take);
                    waker
                        .into_iter()
                        .for_each(|waker| errands.wakers.push(waker));
                }
                Action::Check {
                    token,
                    connection,
                    purpose,
                } => {
                    errands.checks.push((token, connection, purpose));
                }
                Action::Dial { token } => self.orders.push_back(Order::Dial { token }),
                Action::Close {
                    connection, reason, ..
                } => {
                    self.orders.push_back(Order::Close { connection, reason });
                }
                Action::Abort { token, reason } => {
                    self.orders.push_back(Order::Abort { token, reason });
                }
            }
        }
        // A check's deadline is mostly the nearest of all, but its answer follows at once: what is
        // due is weighed then, or every put would wake the driver.
        let due = || errands.checks.first.is_none() && self.is_due_earlier();
        if self.driver.is_some() && (self.has_orders() || due()) {
            self.driver
                .take()
                .into_iter()
                .for_each(|waker| errands.wakers.push(waker));
        }
    }

    fn has_work(&self) -> bool {
        self.has_orders() || self.is_due_earlier()
    }

    fn has_orders(&self) -> bool {
        !self.orders.is_empty() || !self.readable.is_empty()
    }

    /// Whether something is due before the driver wakes by itself.
    fn is_due_earlier(&self) -> bool {
        match (self.machine.poll_timeout(), self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, _) => due.is_some(),
        }
    }

    fn remember(&mut self, waiter: WaiterId, waker: &Waker) {
        if self.wakers.len() <= waiter.slot() {
            self.wakers.resize_with(waiter.slot() + 1, || None);
        }
        if let Some(place) = self.wakers.get_mut(waiter.slot()) {
            match place {
                Some(known) => known.clone_from(waker),
                None => *place = Some(waker.clone()),
            }
        }
    }
}

impl<C: Connection, R: Role> Shell<C, R> {
    /// A shell around `machine`, whose time `clock` tells.
    pub fn new(machine: Machine<C, R>, clock: impl Clock) -> Arc<Self> {
        let state = State {
            machine,
            wakers: Vec::new(),
            orders: VecDeque::new(),
            readable: Vec::new(),
            driver: None,
            armed: None,
            last_failure: None,
        };
        let shell = Self {
            state: Mutex::new(state),
            clock: std::boxed::Box::new(clock),
        };
        shell.with(shell.clock.now(), |_, _| ());
        Arc::new(shell)
    }

    fn lock(&self) -> MutexGuard<'_, State<C, R>> {
        // The machine does not panic; and if it did, a pool that limps beats one that is gone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` under the mutex, then what follows from it outside.
    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut State<C, R>, Instant) -> T) -> T {
        let mut errands = Errands {
            wakers: Few::new(),
            checks: Few::new(),
        };
        let result = {
            let mut state = self.lock();
            let result = act(&mut state, now);
            state.sort(&mut errands);
            result
        };
        for waker in errands.wakers {
            waker.wake();
        }
        for (token, mut connection, purpose) in errands.checks {
            let finding = match purpose {
                Purpose::Watch => connection.check(),
                Purpose::Drain => connection.drain(),
            };
            let answer = Event::Checked {
                token,
                connection,
                finding,
            };
            self.checked(now, answer);
        }
        result
    }

    /// [`event`](Self::event) for the answer to a check, which took no time: another look at the
    /// clock would cost more than it tells.
    fn checked(&self, now: Instant, answer: Event<C>) {
        self.with(now, |state, now| state.machine.handle_event(now, answer));
    }

    /// Tells the machine what happened.
    pub fn event(&self, event: Event<C>) {
        self.with(self.clock.coarse(), |state, now| {
            if matches!(event, Event::Established { .. }) {
                state.last_failure = None;
            }
            state.machine.handle_event(now, event);
        });
    }

    /// Remembers why a dial or handshake failed, for [`AcquireError::Timeout`].
    pub fn note_failure(&self, failure: &dyn fmt::Display) {
        let text: Arc<str> = std::format!("{failure}").into();
        self.lock().last_failure = Some(text);
    }

    /// The last failed dial or handshake, if none has succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.lock().last_failure.clone()
    }

    /// Runs `act` on the machine: for what needs no waker, such as
    /// [`flush`](Machine::flush), [`clean`](Machine::clean), [`close`](Machine::close) and the
    /// error counter.
    pub fn run<T>(&self, act: impl FnOnce(&mut Machine<C, R>, Instant) -> T) -> T {
        self.with(self.clock.coarse(), |state, now| {
            act(&mut state.machine, now)
        })
    }

    /// A snapshot of what the pool can tell about itself.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().machine.stats()
    }

    /// Whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().machine.is_closed()
    }

    // --- the driver -----------------------------------------------------------------------------

    /// One turn of the driver: does what is due, moves what the driver is to do into `orders`, and
    /// returns when the next turn is due at the latest.
    pub fn turn(&self, orders: &mut Vec<Order<C>>) -> Option<Instant> {
        let readable = self.with(self.clock.now(), |state, now| {
            if state.machine.poll_timeout().is_some_and(|due| due <= now) {
                state.machine.handle_timeout(now);
            }
            let readable = core::mem::take(&mut state.readable);
            for token in &readable {
                state
                    .machine
                    .handle_event(now, Event::Readable { token: *token });
            }
            readable
        });
        let mut state = self.lock();
        if state.readable.is_empty() {
            // Gives the allocation back for the next time.
            state.readable = readable;
            state.readable.clear();
        }
        orders.extend(state.orders.drain(..));
        state.armed = state.machine.poll_timeout();
        state.armed
    }

    /// Ready when the next [`turn`](Self::turn) is due earlier than the last one said.
    pub fn poll_work(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.has_work() {
            return Poll::Ready(());
        }
        match &mut state.driver {
            Some(known) => known.clone_from(cx.waker()),
            None => state.driver = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    // --- taking and giving back -----------------------------------------------------------------

    /// Takes any connection, as soon as there is one.
    pub fn acquire(self: &Arc<Self>) -> Acquire<C, R> {
        Acquire {
            wait: Wait::new(self),
            wanted: None,
            again: false,
        }
    }

    /// Takes the connection with this id, as soon as it is there.
    pub fn acquire_by_id(self: &Arc<Self>, id: ConnId) -> Acquire<C, R> {
        Acquire {
            wait: Wait::new(self),
            wanted: Some(id),
            again: false,
        }
    }

    /// Waits until `ready` connections are in the pool at once.
    pub fn wait_ready(self: &Arc<Self>, ready: u32) -> WaitReady<C, R> {
        WaitReady {
            wait: Wait::new(self),
            ready,
        }
    }
}

impl<C: Connection> Shell<C, Accepting> {
    /// [`Server::admit`](crate::Server::admit).
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which limit or list turned the peer away.
    pub fn admit(&self, address: IpAddr) -> Result<Admission, Rejected> {
        self.run(|machine, now| machine.admit(now, address))
    }
}

/// Where a connection belongs, whatever the pool's role.
trait Home<C>: Send + Sync {
    fn readable(&self, token: Token);
    fn put(&self, token: Token, connection: C) -> Result<(), PutError>;
    fn released(&self, token: Token);
}

impl<C: Connection, R: Role + Send + 'static> Home<C> for Shell<C, R> {
    fn readable(&self, token: Token) {
        let driver = {
            let mut state = self.lock();
            state.readable.push(token);
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    fn put(&self, token: Token, connection: C) -> Result<(), PutError> {
        self.run(|machine, now| machine.put(now, token, connection))
    }

    fn released(&self, token: Token) {
        self.event(Event::Closed { token });
    }
}

/// A connection taken from a pool. Dropped, it is closed; [`put`](Self::put) returns it.
pub struct Held<C> {
    home: Arc<dyn Home<C>>,
    token: Token,
    id: ConnId,
    /// Present until it is put back or dropped.
    connection: Option<C>,
}

impl<C> Held<C> {
    /// The connection's id.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// The connection; `None` only while this value is being taken apart.
    #[must_use]
    pub const fn get(&self) -> Option<&C> {
        self.connection.as_ref()
    }

    /// The connection; `None` only while this value is being taken apart.
    pub const fn get_mut(&mut self) -> Option<&mut C> {
        self.connection.as_mut()
    }

    /// Whether it comes from this pool.
    #[must_use]
    pub fn is_from<R>(&self, shell: &Arc<Shell<C, R>>) -> bool {
        core::ptr::addr_eq(Arc::as_ptr(&self.home), Arc::as_ptr(shell))
    }

    /// Puts it back. What has arrived by now and was not read is thrown away.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the pool was closed or flushed meanwhile; the connection is closed then.
    pub fn put(mut self) -> Result<(), PutError> {
        match self.connection.take() {
            Some(connection) => self.home.put(self.token, connection),
            None => Ok(()),
        }
    }
}

impl<C> Drop for Held<C> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.home.released(self.token);
        }
    }
}

impl<C> fmt::Debug for Held<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("id", &self.id)
            .field("token", &self.token)
            .finish()
    }
}

/// The duty to report how a dial and its handshake, or an admitted peer's handshake, go. Dropped
/// before the end (the task was aborted, or the user's dialer panicked), it reports a failure.
#[must_use]
pub struct Ticket<C: Connection, R: Role> {
    shell: Arc<Shell<C, R>>,
    token: Token,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialing,
    Handshaking,
    Over,
}

impl<C: Connection, R: Role> Ticket<C, R> {
    /// For an [`Order::Dial`].
    pub fn dial(shell: &Arc<Shell<C, R>>, token: Token) -> Self {
        Self {
            shell: Arc::clone(shell),
            token,
            stage: Stage::Dialing,
        }
    }

    /// For an [`Admission`].
    pub fn handshake(shell: &Arc<Shell<C, R>>, token: Token) -> Self {
        Self {
            shell: Arc::clone(shell),
            token,
            stage: Stage::Handshaking,
        }
    }

    /// Names the connection.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The transport is connected.
    pub fn dialed(&mut self) {
        if self.stage == Stage::Dialing {
            self.stage = Stage::Handshaking;
            self.shell.event(Event::Dialed { token: self.token });
        }
    }

    /// The connection is ready. It is looked at once, so that it is being watched from now on, and
    /// so that one which the peer has closed or begun to use already is known as such.
    pub fn established(mut self, mut connection: C, id: Option<ConnId>) {
        let finding = connection.check();
        if finding == Finding::Closed {
            let error = "the peer closed the connection as soon as it was established";
            return self.failed(HandshakeFailure::Transport, &error);
        }
        self.stage = Stage::Over;
        let token = self.token;
        self.shell.event(Event::Established {
            token,
            connection,
            id,
        });
        if finding == Finding::Data {
            self.shell.event(Event::Readable { token });
        }
    }

    /// It came to nothing; `failure` counts if the transport was connected.
    pub fn failed(mut self, failure: HandshakeFailure, error: &dyn fmt::Display) {
        self.shell.note_failure(error);
        self.report(failure);
    }

    fn report(&mut self, failure: HandshakeFailure) {
        let token = self.token;
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Dialing => self.shell.event(Event::DialFailed { token }),
            Stage::Handshaking => self.shell.event(Event::HandshakeFailed { token, failure }),
            Stage::Over => {}
        }
    }
}

impl<C: Connection, R: Role> Drop for Ticket<C, R> {
    fn drop(&mut self) {
        self.report(HandshakeFailure::Transport);
    }
}

/// A place in the queue; given up when dropped.
struct Wait<C: Connection, R: Role> {
    shell: Arc<Shell<C, R>>,
    waiter: Option<WaiterId>,
    expired: bool,
}

impl<C: Connection, R: Role> Wait<C, R> {
    fn new(shell: &Arc<Shell<C, R>>) -> Self {
        Self {
            shell: Arc::clone(shell),
            waiter: None,
            expired: false,
        }
    }

    /// Asks the machine: at first by `begin`, which queues, then by collecting.
    fn poll(
        &mut self,
        cx: &Context<'_>,
        begin: impl FnOnce(&mut Machine<C, R>, Instant) -> Begun<C>,
    ) -> Poll<Result<Option<Lease<C>>, AcquireError>> {
        let (waiter, expired) = (self.waiter, self.expired);
        let (waiter, answer) = self.shell.with(self.shell.clock.coarse(), |state, now| {
            let waiter = match waiter {
                Some(waiter) => waiter,
                None => match begin(&mut state.machine, now) {
                    Begun::Queued(waiter) => waiter,
                    Begun::Over(answer) => return (None, Poll::Ready(answer)),
                },
            };
            let answer = match state.machine.collect(now, waiter) {
                Collected::Ready(lease) => Ok(Some(lease)),
                Collected::Stocked => Ok(None),
                Collected::Refused(refusal) => Err(refusal.into()),
                Collected::Unknown => Err(Refusal::PoolClosed.into()),
                Collected::Waiting => {
                    let why = state.machine.why(waiter).unwrap_or(WaitReason::NoPeer);
                    // A check under way never blocks: its answer is worth waiting for even when
                    // the time is up, and is the true one.
                    if !expired || why == WaitReason::IdChecking {
                        state.remember(waiter, cx.waker());
                        return (Some(waiter), Poll::Pending);
                    }
                    let outcome = state.machine.cancel(now, waiter);
                    debug_assert_eq!(outcome, WaitOutcome::Waiting(why));
                    Err(AcquireError::Timeout {
                        why,
                        last_failure: state.last_failure.clone(),
                    })
                }
            };
            (None, Poll::Ready(answer))
        });
        self.waiter = waiter;
        answer
    }
}

enum Begun<C> {
    Queued(WaiterId),
    Over(Result<Option<Lease<C>>, AcquireError>),
}

impl<C: Connection, R: Role> Drop for Wait<C, R> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.shell.run(|machine, now| machine.cancel(now, waiter));
        }
    }
}

/// Takes a connection; made by [`Shell::acquire`] and [`Shell::acquire_by_id`].
///
/// The place in the queue is taken at the first poll. Cancel safe: dropped, it gives up its place;
/// a connection that was already promised to it goes to the next in the queue or back to the pool.
///
/// A connection is looked at before it is handed out; one that the peer has closed, or begun to
/// use, is replaced by another without losing the turn.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<C: Connection, R: Role> {
    wait: Wait<C, R>,
    wanted: Option<ConnId>,
    again: bool,
}

impl<C: Connection, R: Role> Acquire<C, R> {
    /// Says that the time is up: the next poll answers with a connection or
    /// [`AcquireError::Timeout`]. (By id, when the connection is just being looked at, it still
    /// waits for that look, which never blocks.)
    pub const fn expire(&mut self) {
        self.wait.expired = true;
    }
}

impl<C: Connection, R: Role + Send + 'static> Future for Acquire<C, R> {
    type Output = Result<Held<C>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let (wanted, again) = (this.wanted, this.again);
            let polled = this.wait.poll(cx, |machine, now| {
                let answer = match wanted {
                    Some(id) => machine.acquire_by_id(now, id),
                    None if again => machine.acquire_again(now),
                    None => machine.acquire(now),
                };
                match answer {
                    Answer::Ready(lease) => Begun::Over(Ok(Some(lease))),
                    Answer::Queued(waiter) => Begun::Queued(waiter),
                    Answer::Refused(refusal) => Begun::Over(Err(refusal.into())),
                }
            });
            let lease = match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(None)) => continue,
                Poll::Ready(Ok(Some(lease))) => lease,
            };
            match this.admit(lease) {
                Ok(held) => return Poll::Ready(Ok(held)),
                Err(Some(error)) => return Poll::Ready(Err(error)),
                Err(None) => this.again = true,
            }
        }
    }
}

impl<C: Connection, R: Role + Send + 'static> Acquire<C, R> {
    /// Looks at a connection before it is handed out. `Err(None)`: it was none, take another.
    fn admit(&self, lease: Lease<C>) -> Result<Held<C>, Option<AcquireError>> {
        let shell = &self.wait.shell;
        let Lease {
            token,
            id,
            mut connection,
        } = lease;
        let finding = connection.check();
        let rejected = match finding {
            Finding::Quiet => false,
            Finding::Closed => true,
            Finding::Data => self.wanted.is_none() && shell.lock().machine.peer_claims(),
        };
        if !rejected {
            let home: Arc<dyn Home<C>> = Arc::<Shell<C, R>>::clone(shell);
            return Ok(Held {
                home,
                token,
                id,
                connection: Some(connection),
            });
        }
        shell.run(|machine, now| machine.reject(now, token, connection, finding));
        Err(self.wanted.map(|id| {
            Refusal::Gone {
                id,
                reason: CloseReason::PeerClosed,
            }
            .into()
        }))
    }
}

/// Waits for stock; made by [`Shell::wait_ready`]. Cancel safe.
#[must_use = "futures do nothing unless polled"]
pub struct WaitReady<C: Connection, R: Role> {
    wait: Wait<C, R>,
    ready: u32,
}

impl<C: Connection, R: Role> WaitReady<C, R> {
    /// Says that the time is up: the next poll answers.
    pub const fn expire(&mut self) {
        self.wait.expired = true;
    }
}

impl<C: Connection, R: Role> Future for WaitReady<C, R> {
    type Output = Result<(), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self.ready;
        let polled = self
            .wait
            .poll(cx, |machine, now| match machine.wait_ready(now, ready) {
                Stock::Ready => Begun::Over(Ok(None)),
                Stock::Queued(waiter) => Begun::Queued(waiter),
                Stock::Refused(refusal) => Begun::Over(Err(refusal.into())),
            });
        polled.map_ok(|_| ())
    }
}

/// The waker that a connection leaves with its reactor while it is in the pool: it tells the driver
/// that something has arrived. One for each connection, made once.
pub struct Watch<C> {
    home: Weak<dyn Home<C>>,
    token: Token,
    armed: AtomicBool,
}

impl<C: Connection> Watch<C> {
    /// A watch over the connection `token`.
    #[must_use]
    pub fn new<R: Role + Send + 'static>(shell: &Arc<Shell<C, R>>, token: Token) -> Arc<Self> {
        let shell: Weak<Shell<C, R>> = Arc::downgrade(shell);
        Arc::new(Self {
            home: shell,
            token,
            armed: AtomicBool::new(false),
        })
    }

    /// Says that the reactor holds this waker now.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Says that the reactor may hold another one now: the holder reads.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }

    /// Whether the reactor holds this waker and has not woken it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }
}

impl<C: Connection> Wake for Watch<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.disarm();
        if let Some(home) = self.home.upgrade() {
            home.readable(self.token);
        }
    }
}

/// Waits for a future on the calling thread, which sleeps meanwhile.
///
/// Returns [`Poll::Pending`] when `timeout` is over by `clock` and the future is not.
pub fn block_on<F: Future + Unpin>(
    future: &mut F,
    clock: &dyn Clock,
    timeout: Duration,
) -> Poll<F::Output> {
    let deadline = clock.now() + timeout;
    let parker = Arc::new(Parker {
        notified: Mutex::new(false),
        condvar: Condvar::new(),
    });
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return Poll::Ready(output);
        }
        if !parker.park(deadline.since(clock.now())) {
            return Poll::Pending;
        }
    }
}

/// Puts one thread to sleep until it is woken.
struct Parker {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    /// Whether it was woken before `timeout` was over.
    fn park(&self, timeout: Duration) -> bool {
        let notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self
            .condvar
            .wait_timeout_while(notified, timeout, |notified| !*notified);
        let (mut notified, _) = slept.unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut *notified)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_one();
    }
}
