//! The machine that tasks and threads share, without I/O: a mutex, a table of wakers, the futures of
//! callers, leases.
//!
//! ```text
//!   callers ──acquire, put──────────►┌───────────────┐──Dial, Close, Abort──► driver (one task)
//!   reactor ──ReadinessWaker────────►│ SharedMachine │◄─Event───────────────  dials, handshakes
//!   callers ◄─wake, connection───────└───────────────┘──deadline────────────► its timer
//! ```
//!
//! [`SharedMachine`] keeps three rules, so adapters need not:
//! - Only the machine runs under the mutex: no system call, no waker, no drop of a connection.
//! - The caller whose call made a [`Check`](pool_proto::Action::Check) necessary carries the check
//!   out, after unlocking. Leases that its call ended are revoked under the mutex, and the caller ends
//!   the pending reads and writes of a few of them. All other I/O goes, in order, to the one driver.
//! - The driver is woken only when there is work for it, or when the next deadline has come nearer
//!   than the one that it sleeps towards.
//!
//! | file | contents |
//! |---|---|
//! | `state.rs` | the state under the mutex, and the work that is left for after unlocking |
//! | `acquire.rs` | the futures of callers: a connection, or stock |
//! | `acquire_any.rs` | the same at several pools |
//! | `attempt.rs` | the duty to report a dial or a handshake |
//! | `leased.rs` | a connection in a caller's hands |
//! | `news.rs` | the events that are told once, or counted and told from time to time |
//! | `recording.rs` | the tape of the machine, and the thread that writes it |
//! | `readiness.rs` | the waker that an idle connection leaves with its reactor |
//! | `revoker.rs` | the mark by which the pool revokes its leases, and the end of their pending calls |
//! | `block_on.rs` | waiting on a thread |

mod acquire;
mod acquire_any;
mod attempt;
mod block_on;
mod leased;
mod news;
mod readiness;
mod recording;
mod revoker;
mod state;

use core::fmt;
use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use acquire::Wanted;
pub use acquire::{Acquire, AcquireError, Deadline, WaitReady};
pub use acquire_any::{AcquireAny, RoundRobin};
pub use attempt::Attempt;
use attempt::{Peer, given_up};
pub use block_on::block_on;
pub use leased::Leased;
pub(crate) use news::Kind;
use pool_proto::tape::Recorded;
use pool_proto::{
    CheckKind, CheckResult, CloseReason, ConnId, Event, Histogram, Instant, PutError, Role, Stats,
    Token,
};
pub use readiness::ReadinessWaker;
pub use recording::Recording;
pub(crate) use recording::{OpenTape, TAPE_BUFFER};
pub use revoker::{Interrupt, Revocation, Revoker};
use state::{Deferred, State};
use tracing::field::{debug, display};

use crate::clock::Clock;
use crate::events::{self, Label};
#[cfg(feature = "metrics")]
use crate::metrics::Published;
use crate::sync::{Mutex, MutexGuard};

/// A connection that a [`SharedMachine`] holds. No method may block.
pub trait PoolConnection: Send + 'static {
    /// Checks whether the peer has closed the connection or sent data, keeps that data for the next
    /// holder, and arms the [`ReadinessWaker`] for later arrivals.
    ///
    /// Must notice a close that has reached this host, whether or not a reactor has reported it. A
    /// connection that has ended may still be handed out by its id: an error must be kept for its holder.
    fn check(&mut self) -> CheckResult;

    /// Discards the data that has arrived, and arms the [`ReadinessWaker`] as
    /// [`check`](Self::check) does. [`CheckResult::Data`] means that there was more than the limit.
    fn drain(&mut self) -> CheckResult;

    /// Sends the [opening byte](pool_proto::OPENING_BYTE) at once. Returns whether it has left: it finds
    /// nothing before it in the buffer of a connection that is fit for use.
    fn open(&mut self) -> bool;

    /// Takes the opening byte of the peer out of the data that [`check`](Self::check) has found. Returns
    /// false if they begin with something else.
    fn take_opening(&mut self) -> bool;

    /// Returns why the peer has rejected the handshake after this end's part of it was over, if that
    /// made the last check [`CheckResult::Closed`]. The text names the peer.
    fn late_rejection(&mut self) -> Option<String> {
        None
    }

    /// Returns the address of the peer, for the texts of failures.
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Returns the handle by which the pool ends the pending calls of a holder whose lease it has revoked.
    ///
    /// Called once, under the mutex, when the connection is established. All reads and writes of a holder
    /// must fail once `revocation` is set.
    fn revoker(&self, revocation: &Revocation) -> Revoker;
}

/// An instruction to the driver. The driver carries instructions out in order.
#[derive(Debug)]
#[must_use]
pub enum Command<C> {
    /// Connect to the peer; an [`Attempt`] reports the outcome.
    Dial {
        /// Names the new connection.
        token: Token,
    },
    /// Close a connection.
    Close {
        /// The connection.
        connection: C,
        /// Why it is closed.
        reason: CloseReason,
    },
    /// End a dial or a handshake.
    Abort {
        /// Names the dial or the handshake.
        token: Token,
        /// Why it is ended.
        reason: CloseReason,
    },
    /// [End the pending calls](Revoker::interrupt) of a revoked lease.
    Interrupt {
        /// The lease.
        token: Token,
        /// Its revoker.
        revoker: Revoker,
    },
}

/// The most steps of one kind in a turn of the driver: commands, and checks of connections. To close a
/// TLS connection takes some 40 µs, and a check with the end of a TLS session in it 20 µs. Other tasks of
/// the thread wait for a turn, so it should be short compared with the millisecond of a timer.
pub const TURN: usize = 8;

/// The most revoked leases whose pending calls the caller ends itself, at 13 µs each.
const INTERRUPTS: usize = 16;

/// The outcome of a turn of the driver.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The time of the next turn, at the latest.
    pub due: Option<Instant>,
    /// Whether the turn has reached a limit and left work, for a turn at once.
    pub is_full: bool,
}

/// A machine that many tasks and threads share.
pub struct SharedMachine<C, R> {
    state: Mutex<State<C, R>>,
    clock: Box<dyn Clock>,
    label: Label,
    /// Whether `put` drains a connection at once, without a reuse delay.
    drains_at_put: bool,
    /// Whether the end that acquires sends an opening byte. It cannot change.
    has_opening_byte: bool,
}

/// The machine as its connections know it, without its role.
trait AnyRole: Send + Sync {
    /// Data or a close has arrived on a connection.
    fn readable(&self, token: Token);

    /// A lease was dropped.
    fn released(&self, token: Token);

    /// As [`SharedMachine::note_failure`].
    fn note(&self, failure: &dyn fmt::Display);

    /// The pool in its events.
    fn label(&self) -> &Label;
}

impl<C: PoolConnection, R: Role> AnyRole for SharedMachine<C, R> {
    fn readable(&self, token: Token) {
        let driver = {
            let mut state = self.lock();
            state.readable.push_back(token);
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    fn released(&self, token: Token) {
        events::released(&self.label, debug(token));
        self.event(Event::Closed { token });
    }

    fn note(&self, failure: &dyn fmt::Display) {
        self.note_failure(failure);
    }

    fn label(&self) -> &Label {
        &self.label
    }
}

impl<C: PoolConnection, R: Role> SharedMachine<C, R> {
    /// Shares `machine`, which gets its time from `clock`.
    pub fn new(machine: impl Into<Recorded<C, R>>, clock: impl Clock) -> Arc<Self> {
        Self::labelled(machine, clock, Label::default())
    }

    /// [`new`](Self::new) for the machine of a pool that tells its name in events.
    pub(crate) fn labelled(
        machine: impl Into<Recorded<C, R>>,
        clock: impl Clock,
        label: Label,
    ) -> Arc<Self> {
        let machine = machine.into();
        let drains_at_put = machine.reuse_delay().is_zero();
        let has_opening_byte = machine.has_opening_byte();
        let state = Mutex::new(State::new(machine));
        let clock = Box::new(clock);
        let shared = Self { state, clock, label, drains_at_put, has_opening_byte };
        shared.with(shared.now(), |_, _| ());
        Arc::new(shared)
    }

    fn lock(&self) -> MutexGuard<'_, State<C, R>> {
        // The machine does not panic. Should it ever, a damaged pool is better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pool as its events name it.
    pub(crate) const fn label(&self) -> &Label {
        &self.label
    }

    /// Returns the time by the machine's clock.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Runs `act` under the mutex, and the work that follows from it after unlocking. Inlined: a
    /// result that is returned through memory costs more than all the rest.
    #[inline(always)]
    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut State<C, R>, Instant) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state, now);
        if state.is_settled() {
            return result;
        }
        let deferred = state.sort_actions();
        drop(state);
        self.run_deferred(deferred, now);
        result
    }

    #[inline(never)]
    fn run_deferred(&self, deferred: Deferred<C>, now: Instant) {
        deferred.wakers.each(Waker::wake);
        deferred.orphans.each(drop);
        if let Some(writer) = deferred.writer {
            writer.unpark();
        }
        deferred.interrupts.each(|(token, revoker)| self.interrupt(token, &revoker));
        deferred.checks.each(|(token, mut connection, kind)| {
            let result = match kind {
                CheckKind::Inspect => connection.check(),
                CheckKind::Drain => connection.drain(),
            };
            if result == CheckResult::Closed
                && let Some(rejection) = connection.late_rejection()
            {
                events::rejected_late(&self.label, debug(token), display(&rejection));
                self.note_failure(&rejection);
            }
            // The check took no time: reading the clock again would cost more than it tells.
            self.tell_result(now, token, connection, result, |machine, now, connection| {
                machine.handle_event(now, Event::Checked { token, connection, result });
            });
        });
    }

    /// [Ends the pending calls](Revoker::interrupt) of a revoked lease.
    pub(crate) fn interrupt(&self, token: Token, revoker: &Revoker) {
        events::revoked(&self.label, debug(token), events::shown(revoker.reason()));
        revoker.interrupt();
    }

    /// Reports an event to the machine.
    pub fn event(&self, event: Event<C>) {
        self.with(self.clock.coarse(), |state, now| {
            let established = match &event {
                Event::Established { token, connection, .. } => {
                    let revoker = connection.revoker(&state.revocation);
                    state.revokers.insert(*token, revoker);
                    Some(*token)
                }
                Event::DialFailed { token } | Event::HandshakeFailed { token, .. } => {
                    state.forget_peer(*token);
                    None
                }
                Event::Closed { token } => {
                    state.revokers.remove(*token);
                    None
                }
                _ => None,
            };
            state.machine.handle_event(now, event);
            // Unless the machine has refused the connection: its id may be a duplicate.
            if let Some(token) = established
                && state.machine.state_of(token).is_some()
            {
                state.forget_peer(token);
                state.last_failure = None;
                state.established = Some(now);
            }
        });
    }

    /// Keeps the reason of a failed dial or handshake, for [`AcquireError::Timeout`].
    pub fn note_failure(&self, failure: &dyn fmt::Display) {
        let text: Arc<str> = std::format!("{failure}").into();
        self.lock().last_failure = Some(text);
    }

    /// Remembers the peer of a dial or a handshake, for the texts of failures.
    fn note_peer(&self, token: Token, peer: Peer) {
        self.lock().note_peer(token, peer);
    }

    /// Records why the machine has aborted a dial or a handshake.
    pub fn note_abort(&self, token: Token, reason: CloseReason) {
        events::attempt_aborted(&self.label, debug(token), display(reason));
        let late = [CloseReason::DialTimeout, CloseReason::Silent, CloseReason::HandshakeTimeout];
        if late.contains(&reason) {
            let mut inner = self.lock();
            inner.last_failure = Some(given_up(inner.peer(token), reason));
        }
    }

    /// Returns the reason of the last failed dial or handshake, or a likely cause of failure, if none has
    /// succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        let now = self.now();
        self.lock().last_failure(now)
    }

    /// Runs `act` on the machine, for calls that need no waker: [`flush`](Recorded::flush),
    /// [`clean`](Recorded::clean), [`close`](Recorded::close),
    /// [`graceful_shutdown`](Recorded::graceful_shutdown), the error counter.
    pub fn run<T>(&self, act: impl FnOnce(&mut Recorded<C, R>, Instant) -> T) -> T {
        self.with(self.clock.coarse(), |state, now| act(&mut state.machine, now))
    }

    /// Puts a lease back. Passing the result of a drain that was done just before spares a lock.
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

    /// Gives a lease back unused, because of the result of its check.
    fn reject(&self, token: Token, connection: C, result: CheckResult) {
        let now = self.clock.coarse();
        self.tell_result(now, token, connection, result, |machine, now, connection| {
            machine.reject(now, token, connection, result);
        });
    }

    /// Tells the machine the result of a check, and takes note of a connection that has ended.
    fn tell_result(
        &self,
        now: Instant,
        token: Token,
        connection: C,
        result: CheckResult,
        tell: impl FnOnce(&mut Recorded<C, R>, Instant, C),
    ) {
        let peer = connection.peer_addr().filter(|_| result == CheckResult::Closed);
        self.with(now, |state, now| {
            tell(&mut state.machine, now, connection);
            if let Some(peer) = peer {
                state.note_rejection(token, peer);
            }
        });
    }

    /// Returns a snapshot of the pool's states and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock().machine.stats()
    }

    /// Returns the figures of a report, of the same moment: the statistics, the waits, the times of
    /// establishing, and the user's error counter. Acquires that were served at once are not in the waits.
    pub(crate) fn figures(&self) -> (Stats, Histogram, Histogram, u64) {
        let state = self.lock();
        (state.machine.stats(), state.waits, state.establishing, state.machine.error_count())
    }

    /// Runs `act` on the durations that have been published.
    #[cfg(feature = "metrics")]
    pub(crate) fn publishing<T>(&self, act: impl FnOnce(&mut Published) -> T) -> T {
        act(&mut self.lock().published)
    }

    /// Returns whether the pool was closed, or its graceful shutdown is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().machine.is_closed()
    }

    /// Returns whether a graceful shutdown has begun and is not over. The driver then ends its listener.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.lock().machine.is_shutting_down()
    }

    // --- the driver's calls ---------------------------------------------------------------------

    /// Takes a turn of the driver: handles due deadlines and up to [`TURN`] reports of readiness, does up
    /// to `TURN` checks, and moves up to `TURN` pending commands into `commands`.
    pub fn turn(&self, commands: &mut Vec<Command<C>>) -> Turn {
        let now = self.now();
        let mut state = self.lock();
        state.news.is_due = false;
        if state.machine.poll_timeout().is_some_and(|due| due <= now) {
            state.machine.handle_timeout(now);
        }
        // The checks that are left from earlier turns come first.
        for _ in state.checks.len()..TURN {
            let Some(token) = state.readable.pop_front() else { break };
            state.machine.handle_event(now, Event::Readable { token });
        }
        let mut deferred = state.sort_actions();
        state.limit_checks(&mut deferred);
        drop(state);
        self.run_deferred(deferred, now);
        let mut state = self.lock();
        state.take_commands(commands);
        state.shutdown_seen = state.machine.is_shutting_down();
        state.arm(now);
        let turn = Turn { due: state.armed, is_full: state.has_more() };
        let limited = state.news_of_limits();
        drop(state);
        if let Some((setting, seconds)) = limited {
            events::limited(&self.label, setting, seconds);
        }
        turn
    }

    /// Marks the driver as ended. After the last [`turn`](Self::turn), connections to close are
    /// dropped by the caller whose call ended them.
    pub fn end(&self) {
        let writer = {
            let mut state = self.lock();
            state.ended = true;
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.unpark();
        }
    }

    /// Ready when the next [`turn`](Self::turn) is due earlier than the last turn returned, and at
    /// once when the pool is closed.
    pub fn poll_work(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        // Wakers are dropped after unlocking.
        let slept = self.lock().sleep(waker);
        match slept {
            Ok(_former) => Poll::Pending,
            Err(_unused) => Poll::Ready(()),
        }
    }

    // --- the callers' calls ---------------------------------------------------------------------

    /// Acquires any connection, as soon as one is ready.
    pub fn acquire(self: &Arc<Self>) -> Acquire<C, R> {
        Acquire::new(self, Wanted::Any)
    }

    /// Acquires the connection with this id, as soon as it is there.
    pub fn acquire_by_id(self: &Arc<Self>, id: ConnId) -> Acquire<C, R> {
        Acquire::new(self, Wanted::Id(id))
    }

    /// Acquires the next connection that the peer has begun to use.
    pub fn acquire_claimed(self: &Arc<Self>) -> Acquire<C, R> {
        Acquire::new(self, Wanted::Claimed)
    }

    /// Waits until `ready` connections are idle at once.
    pub fn wait_ready(self: &Arc<Self>, ready: u32) -> WaitReady<C, R> {
        WaitReady::new(self, ready)
    }
}
