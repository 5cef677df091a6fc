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

mod acquire;
mod acquire_any;
mod attempt;
mod handle;
mod leased;
mod parker;

use core::fmt;
use core::net::IpAddr;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

pub use acquire::{Acquire, AcquireError, Deadline, WaitReady};
pub use acquire_any::{AcquireAny, RoundRobin};
pub use attempt::Attempt;
pub use handle::Handle;
pub use leased::{Leased, ReadinessWaker};
pub use parker::block_on;

use pool_proto::ConnId;
use pool_proto::Instant;
use pool_proto::Machine;
use pool_proto::Role;
use pool_proto::Stats;
use pool_proto::{Accepting, Admission};
use pool_proto::{Action, CheckKind, CheckResult, CloseReason, Event, Token, WaiterId};
use pool_proto::{PutError, Rejected};

/// The adapter's connection, as far as the shell has to know it. Neither call may block.
pub trait Connection: Send + 'static {
    /// Looks whether the peer has closed the connection or sent something, keeps what has arrived
    /// for the next holder, and sees to it that [`ReadinessWaker`] is woken when more arrives.
    ///
    /// Must see a close that has reached this host, whether a reactor has reported it or not.
    fn check(&mut self) -> CheckResult;

    /// Throws away what has arrived, and watches on as [`check`](Self::check) does.
    /// [`CheckResult::Data`] means that there was more than the adapter's limit.
    fn drain(&mut self) -> CheckResult;
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

/// What the driver is to do, in order.
#[derive(Debug)]
#[must_use]
pub enum Command<C> {
    /// Connect to the peer; a [`Attempt`] reports how it goes.
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
pub struct SharedMachine<C, R> {
    state: Mutex<State<C, R>>,
    clock: Box<dyn Clock>,
    /// Whether a connection that is put back is drained at once.
    drains_at_put: bool,
}

struct State<C, R> {
    machine: Machine<C, R>,
    /// By [`WaiterId::slot`].
    wakers: Vec<Option<Waker>>,
    /// For the driver.
    commands: VecDeque<Command<C>>,
    /// Connections whose [`ReadinessWaker`] was woken.
    readable: Vec<Token>,
    driver: Option<Waker>,
    /// What the driver sleeps towards.
    armed: Option<Instant>,
    last_failure: Option<Arc<str>>,
    /// There is no driver any more.
    ended: bool,
}

/// What is to be done after unlocking.
struct Deferred<C> {
    wakers: Few<Waker>,
    checks: Few<(Token, C, CheckKind)>,
    /// Connections that no driver is left to close.
    orphans: Few<C>,
}

/// Mostly none or one, without allocating for them.
enum Few<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    fn push(&mut self, item: T) {
        *self = match core::mem::replace(self, Self::None) {
            Self::None => Self::One(item),
            Self::One(first) => Self::Many(std::vec![first, item]),
            Self::Many(mut items) => {
                items.push(item);
                Self::Many(items)
            }
        };
    }

    /// One by one. (An iterator over the three cases would cost as much as a mutex.)
    #[inline]
    fn each(self, mut act: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(item) => act(item),
            Self::Many(items) => items.into_iter().for_each(act),
        }
    }
}

impl<C, R: Role> State<C, R> {
    /// Whether the last call has left nothing to do, as most calls do.
    #[inline]
    fn is_settled(&self) -> bool {
        !self.machine.has_actions() && (self.driver.is_none() || !self.has_work())
    }

    /// Sorts the machine's actions by who carries them out.
    #[inline(never)]
    fn sort(&mut self) -> Deferred<C> {
        let mut deferred = Deferred { wakers: Few::None, checks: Few::None, orphans: Few::None };
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Wake { waiter } => {
                    let waker = self.wakers.get_mut(waiter.slot()).and_then(Option::take);
                    waker.into_iter().for_each(|waker| deferred.wakers.push(waker));
                }
                Action::Check { token, connection, kind } => {
                    deferred.checks.push((token, connection, kind));
                }
                Action::Dial { token } => self.commands.push_back(Command::Dial { token }),
                Action::Close { connection, .. } if self.ended => deferred.orphans.push(connection),
                Action::Close { connection, reason, .. } => {
                    self.commands.push_back(Command::Close { connection, reason });
                }
                Action::Abort { token, reason } => {
                    self.commands.push_back(Command::Abort { token, reason });
                }
            }
        }
        // A check's deadline is mostly the nearest of all, but its answer follows at once: what is
        // due is weighed then, or every put would wake the driver.
        let due = || deferred.checks.is_empty() && self.is_due_earlier();
        if self.driver.is_some() && (self.has_orders() || due()) {
            self.driver.take().into_iter().for_each(|waker| deferred.wakers.push(waker));
        }
        deferred
    }

    fn has_work(&self) -> bool {
        self.has_orders() || self.is_due_earlier()
    }

    /// A close is an order of its own: with nothing in the pool, it makes no other.
    fn has_orders(&self) -> bool {
        !self.commands.is_empty() || !self.readable.is_empty() || self.machine.is_closed()
    }

    /// Whether something is due before the driver wakes by itself.
    fn is_due_earlier(&self) -> bool {
        match (self.machine.poll_timeout(), self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, _) => due.is_some(),
        }
    }

    /// Returns the waker that was there before.
    fn remember(&mut self, waiter: WaiterId, waker: &Waker) -> Option<Waker> {
        if self.wakers.len() <= waiter.slot() {
            self.wakers.resize_with(waiter.slot() + 1, || None);
        }
        let handle = self.wakers.get_mut(waiter.slot())?;
        if handle.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        handle.replace(waker.clone())
    }

    fn forget(&mut self, waiter: WaiterId) -> Option<Waker> {
        self.wakers.get_mut(waiter.slot()).and_then(Option::take)
    }
}

impl<C: Connection, R: Role> SharedMachine<C, R> {
    /// A shell around `machine`, whose time `clock` tells.
    pub fn new(machine: Machine<C, R>, clock: impl Clock) -> Arc<Self> {
        let drains_at_put = machine.reuse_delay().is_zero();
        let state = State {
            machine,
            wakers: Vec::new(),
            commands: VecDeque::new(),
            readable: Vec::new(),
            driver: None,
            armed: None,
            last_failure: None,
            ended: false,
        };
        let shared = Self { state: Mutex::new(state), clock: Box::new(clock), drains_at_put };
        shared.with(shared.clock.now(), |_, _| ());
        Arc::new(shared)
    }

    fn lock(&self) -> MutexGuard<'_, State<C, R>> {
        // The machine does not panic; and if it did, a pool that limps beats one that is gone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` under the mutex, then what follows from it outside. Inlined, because a result that
    /// is passed through memory costs more than all the rest.
    #[inline(always)]
    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut State<C, R>, Instant) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state, now);
        if state.is_settled() {
            return result;
        }
        let deferred = state.sort();
        drop(state);
        self.run_deferred(deferred, now);
        result
    }

    #[inline(never)]
    fn run_deferred(&self, deferred: Deferred<C>, now: Instant) {
        deferred.wakers.each(Waker::wake);
        deferred.orphans.each(drop);
        deferred.checks.each(|(token, mut connection, kind)| {
            let result = match kind {
                CheckKind::Inspect => connection.check(),
                CheckKind::Drain => connection.drain(),
            };
            self.checked(now, token, connection, result);
        });
    }

    /// [`event`](Self::event) for the answer to a check, which took no time: another look at the
    /// clock would cost more than it tells.
    fn checked(&self, now: Instant, token: Token, connection: C, result: CheckResult) {
        self.with(now, |state, now| {
            state.machine.handle_event(now, Event::Checked { token, connection, result });
        });
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
        self.with(self.clock.coarse(), |state, now| act(&mut state.machine, now))
    }

    /// Puts a lease back. Where it was `drained` just before, instead of in a check, that saves a lock.
    fn put(
        &self,
        token: Token,
        connection: C,
        drained: Option<CheckResult>,
    ) -> Result<(), PutError> {
        self.run(|machine, now| match drained {
            Some(result) => machine.put_drained(now, token, connection, result),
            None => machine.put(now, token, connection),
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

    /// One turn of the driver: does what is due, moves what the driver is to do into `commands`, and
    /// returns when the next turn is due at the latest.
    pub fn turn(&self, commands: &mut Vec<Command<C>>) -> Option<Instant> {
        let readable = self.with(self.clock.now(), |state, now| {
            if state.machine.poll_timeout().is_some_and(|due| due <= now) {
                state.machine.handle_timeout(now);
            }
            let readable = core::mem::take(&mut state.readable);
            for token in &readable {
                state.machine.handle_event(now, Event::Readable { token: *token });
            }
            readable
        });
        let mut state = self.lock();
        if state.readable.is_empty() {
            // Gives the allocation back for the next time.
            state.readable = readable;
            state.readable.clear();
        }
        commands.extend(state.commands.drain(..));
        state.armed = state.machine.poll_timeout();
        state.armed
    }

    /// Says that the driver has ended: after one last [`turn`](Self::turn), connections that are to
    /// be closed are dropped instead, by whoever made that necessary.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// Ready when the next [`turn`](Self::turn) is due earlier than the last one said, and at once
    /// when the pool is closed.
    pub fn poll_work(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.has_work() {
            return Poll::Ready(());
        }
        let former = state.driver.replace(waker);
        drop(state);
        drop(former);
        Poll::Pending
    }

    // --- taking and giving back -----------------------------------------------------------------

    /// Takes any connection, as soon as there is one.
    pub fn acquire(self: &Arc<Self>) -> Acquire<C, R> {
        Acquire::new(self, None)
    }

    /// Takes the connection with this id, as soon as it is there.
    pub fn acquire_by_id(self: &Arc<Self>, id: ConnId) -> Acquire<C, R> {
        Acquire::new(self, Some(id))
    }

    /// Waits until `ready` connections are in the pool at once.
    pub fn wait_ready(self: &Arc<Self>, ready: u32) -> WaitReady<C, R> {
        WaitReady::new(self, ready)
    }
}

impl<C: Connection> SharedMachine<C, Accepting> {
    /// [`Server::admit`](pool_proto::Server::admit).
    ///
    /// # Errors
    ///
    /// [`Rejected`] says which limit or list turned the peer away.
    pub fn admit(&self, address: IpAddr) -> Result<Admission, Rejected> {
        self.run(|machine, now| machine.admit(now, address))
    }
}
