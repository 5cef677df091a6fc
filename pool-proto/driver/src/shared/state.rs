//! The state under the mutex of a [`SharedMachine`](super::SharedMachine), and the work that is left
//! for after unlocking.

use core::net::SocketAddr;
use core::task::Waker;
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::Vec;

use pool_proto::tape::Recorded;
use pool_proto::{
    Action, CheckKind, CloseReason, Histogram, Instant, Role, Token, TokenMap, WaiterId,
};

use super::attempt::{Peer, SILENCE, given_up};
use super::news::{Kind, News};
use super::recording::Recording;
use super::{Command, INTERRUPTS, PoolConnection, Revocation, Revoker, TURN};
#[cfg(feature = "metrics")]
use crate::metrics::Published;
use crate::sync::Thread;

pub(super) struct State<C, R> {
    pub(super) machine: Recorded<C, R>,
    /// By [`WaiterId::slot`].
    wakers: Vec<Option<Waker>>,
    /// The mark that connections get when they are established. Replaced when the pool revokes its leases.
    pub(super) revocation: Revocation,
    /// By which the pending calls of a lease are ended when only its token is known.
    pub(super) revokers: TokenMap<Revoker>,
    /// For the driver, each with the connection that it concerns.
    commands: VecDeque<(Token, Command<C>)>,
    /// Connections whose [`ReadinessWaker`](super::ReadinessWaker) was woken.
    pub(super) readable: VecDeque<Token>,
    /// Checks that a turn of the driver has left for the next ones.
    pub(super) checks: VecDeque<(Token, C, CheckKind)>,
    pub(super) driver: Option<Waker>,
    /// The deadline that the driver sleeps towards.
    pub(super) armed: Option<Instant>,
    /// [`last_failure`](Self::last_failure) looks at silent peers, too.
    pub(super) last_failure: Option<Arc<str>>,
    /// The time at which a connection was established last.
    pub(super) established: Option<Instant>,
    /// The peers of dials and handshakes under way, for the texts of failures. Boxed, because the table has a
    /// place for each connection, and few of them are under way.
    peers: TokenMap<Box<Peer>>,
    /// The totals of limits that hold at the last report of them.
    limits_told: [u64; 2],
    /// The driver knows that the pool shuts down.
    pub(super) shutdown_seen: bool,
    /// The driver has ended.
    pub(super) ended: bool,
    /// The thread that writes the tape, while it sleeps.
    pub(super) writer: Option<Thread>,
    /// The outcome of a recording that is over.
    pub(super) recorded: Option<Recording>,
    /// The events that wait to be told.
    pub(super) news: News,
    /// The waits of callers that were not served at once, from their calls until they had connections.
    pub(super) waits: Histogram,
    /// The times from the begin of a dial, or from the accept, until the connection was established.
    pub(super) establishing: Histogram,
    #[cfg(feature = "metrics")]
    pub(super) published: Box<Published>,
}

/// Work for after unlocking.
pub(super) struct Deferred<C> {
    pub(super) wakers: Few<Waker>,
    pub(super) checks: Few<(Token, C, CheckKind)>,
    /// Leases that are revoked already, and whose pending calls are to be ended. The driver ends those
    /// beyond the first [`INTERRUPTS`].
    pub(super) interrupts: Few<(Token, Revoker)>,
    /// Connections to close that no driver is left to close.
    pub(super) orphans: Few<C>,
    /// The thread to wake because there is enough to write.
    pub(super) writer: Option<Thread>,
}

/// A list that is usually empty or has one item, and then does not allocate.
pub(super) enum Few<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    const fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(items) => items.len(),
        }
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

    /// Calls `act` with each item. (An iterator over the three cases costs as much as a mutex.)
    #[inline]
    pub(super) fn each(self, mut act: impl FnMut(T)) {
        match self {
            Self::None => {}
            Self::One(item) => act(item),
            Self::Many(items) => items.into_iter().for_each(act),
        }
    }
}

impl<C, R: Role> State<C, R> {
    pub(super) fn new(machine: Recorded<C, R>) -> Self {
        Self {
            machine,
            wakers: Vec::new(),
            revocation: Revocation::default(),
            revokers: TokenMap::new(),
            commands: VecDeque::new(),
            readable: VecDeque::new(),
            checks: VecDeque::new(),
            driver: None,
            armed: None,
            last_failure: None,
            established: None,
            peers: TokenMap::new(),
            limits_told: [0; 2],
            shutdown_seen: false,
            ended: false,
            writer: None,
            recorded: None,
            news: News::new(),
            waits: Histogram::new(),
            establishing: Histogram::new(),
            #[cfg(feature = "metrics")]
            published: Box::default(),
        }
    }

    /// Names a peer that has sent nothing since it connected, if it might be the reason why callers wait, or
    /// else returns the reason of the last failure; a server, to which anybody may connect, the other way
    /// round. Looked up when it is asked for: a timer for each dial or peer would be costly.
    pub(super) fn last_failure(&self, now: Instant) -> Option<Arc<str>> {
        let counts =
            |noticed: Instant| noticed <= now && self.established.is_none_or(|last| last < noticed);
        let server = || {
            let mut peers = self.peers.values();
            peers.find(|peer| peer.silent_at().is_some_and(counts))?.silent()
        };
        let stranger = || {
            let (token, since) = self.machine.longest_silent()?;
            self.peer(token).filter(|_| counts(since + SILENCE))?.silent()
        };
        server().or_else(|| self.last_failure.clone()).or_else(stranger)
    }

    /// Keeps the end of a connection as the last failure, if the peer seems to be full and no other
    /// connection is idle.
    pub(super) fn note_rejection(&mut self, token: Token, peer: SocketAddr) {
        if self.machine.is_doubted(token) && self.machine.idle() == 0 {
            let text = format!(
                "{peer}: the connection ended soon after it was established, unused; the peer may be full"
            );
            self.last_failure = Some(text.into());
        }
    }

    /// Returns whether the last call has left no work, as most calls do.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        let wakes_in_time = match (self.machine.new_deadline(), self.armed) {
            (Some(new), Some(armed)) => armed <= new,
            (new, None) => new.is_none(),
            (None, Some(_)) => true,
        };
        !self.machine.has_actions()
            && (self.driver.is_none() || (wakes_in_time && !self.news.is_due))
            && !self.wakes_writer()
    }

    /// Returns whether the tape is to be written by a thread that sleeps.
    #[inline]
    fn wakes_writer(&self) -> bool {
        self.machine.is_tape_due() && self.writer.is_some()
    }

    /// Sorts the machine's actions by who carries them out: the driver, or the caller after
    /// unlocking.
    #[inline(never)]
    pub(super) fn sort_actions(&mut self) -> Deferred<C>
    where
        C: PoolConnection,
    {
        let mut deferred = Deferred {
            wakers: Few::None,
            checks: Few::None,
            interrupts: Few::None,
            orphans: Few::None,
            writer: if self.wakes_writer() { self.writer.take() } else { None },
        };
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Wake { waiter } => {
                    self.forget(waiter).into_iter().for_each(|waker| deferred.wakers.push(waker));
                }
                Action::Check { token, connection, kind } => {
                    deferred.checks.push((token, connection, kind));
                }
                Action::Dial { token } => self.command(token, Command::Dial { token }),
                Action::Close { token, connection, reason } => {
                    if matches!(reason, CloseReason::DuplicateId | CloseReason::MissingId) {
                        self.last_failure = Some(given_up(self.peer(token), reason));
                    }
                    if let Some(kind) = Kind::of_end(reason)
                        && let Some(peer) = connection.peer_addr()
                    {
                        self.news.met(kind, peer, None);
                    }
                    if self.ended {
                        self.forget_connection(token);
                        deferred.orphans.push(connection);
                    } else {
                        self.command(token, Command::Close { connection, reason });
                    }
                }
                // Only an established connection has a revoker; earlier, the driver holds a dial or
                // a handshake.
                Action::Abort { token, reason } => match self.revokers.remove(token) {
                    Some(revoker) => {
                        self.revocation.set(reason);
                        if deferred.interrupts.len() < INTERRUPTS {
                            deferred.interrupts.push((token, revoker));
                        } else {
                            self.command(token, Command::Interrupt { token, revoker });
                        }
                    }
                    None => {
                        let peer = self.peer(token).and_then(Peer::address);
                        if let (Some(kind), Some(peer)) = (Kind::of_end(reason), peer) {
                            self.news.met(kind, peer, None);
                        }
                        self.command(token, Command::Abort { token, reason });
                    }
                },
            }
        }
        if !deferred.interrupts.is_empty() {
            // The machine ends all leases or none. Later leases get a mark that is not set.
            debug_assert_eq!(self.machine.stats().leased, 0, "all leases end at once");
            self.revocation = Revocation::default();
        }
        // The deadline of a check is usually the nearest of all, but its answer follows at once.
        // The driver is woken after that answer, or every put would wake it.
        if self.driver.is_some()
            && (self.has_commands() || (deferred.checks.is_empty() && self.is_due_earlier()))
        {
            self.driver.take().into_iter().for_each(|waker| deferred.wakers.push(waker));
        }
        deferred
    }

    fn command(&mut self, token: Token, command: Command<C>) {
        self.commands.push_back((token, command));
    }

    /// Moves up to [`TURN`] commands into `commands`. A connection to close is forgotten only now: in the
    /// call that ends thousands, that would take a millisecond.
    pub(super) fn take_commands(&mut self, commands: &mut Vec<Command<C>>) {
        for _ in 0..TURN {
            let Some((token, command)) = self.commands.pop_front() else { return };
            if matches!(command, Command::Close { .. }) {
                self.forget_connection(token);
            }
            commands.push(command);
        }
    }

    fn forget_connection(&mut self, token: Token) {
        self.revokers.remove(token);
        self.forget_peer(token);
    }

    /// Returns the peer of a dial or a handshake under way.
    pub(super) fn peer(&self, token: Token) -> Option<&Peer> {
        self.peers.get(token).map(|peer| &**peer)
    }

    pub(super) fn note_peer(&mut self, token: Token, peer: Peer) {
        self.peers.insert(token, Box::new(peer));
    }

    pub(super) fn forget_peer(&mut self, token: Token) {
        self.peers.remove(token);
    }

    /// Chooses the deadline that the driver sleeps towards: the machine's next one, or the former one if
    /// that is nearer and was met in time.
    ///
    /// Most grants are collected at once. If the driver then slept longer, each new grant would wake it; so
    /// it wakes once in the lifetime of a grant.
    pub(super) fn arm(&mut self, now: Instant) {
        let former = self.armed.filter(|former| *former > now);
        self.armed = self.machine.poll_timeout().into_iter().chain(former).min();
    }

    /// Leaves the waker of the driver, unless there is work for it. Returns the former one if so.
    pub(super) fn sleep(&mut self, driver: Waker) -> Result<Option<Waker>, Waker> {
        if self.has_commands() || self.is_due_earlier() {
            return Err(driver);
        }
        Ok(self.driver.replace(driver))
    }

    /// A closed pool counts as a command: an empty pool has no other at its close. The begin of a shutdown
    /// counts, too: the driver then gives the port back.
    fn has_commands(&self) -> bool {
        self.has_more()
            || self.news.is_due
            || self.machine.is_closed()
            || (self.machine.is_shutting_down() && !self.shutdown_seen)
    }

    /// Returns whether the next turn of the driver has something to do.
    pub(super) fn has_more(&self) -> bool {
        !self.commands.is_empty() || !self.readable.is_empty() || !self.checks.is_empty()
    }

    /// Keeps the checks beyond the first [`TURN`], of the kept and the new ones, for the next turns of the
    /// driver.
    pub(super) fn limit_checks(&mut self, deferred: &mut Deferred<C>) {
        if self.checks.is_empty() && deferred.checks.len() <= TURN {
            return;
        }
        let new = core::mem::replace(&mut deferred.checks, Few::None);
        new.each(|check| self.checks.push_back(check));
        let count = self.checks.len().min(TURN);
        self.checks.drain(..count).for_each(|check| deferred.checks.push(check));
    }

    /// Returns whether a deadline is due before the driver wakes by itself.
    fn is_due_earlier(&mut self) -> bool {
        self.machine.note_deadline();
        match (self.machine.poll_timeout(), self.armed) {
            (Some(due), Some(armed)) => due < armed,
            (due, _) => due.is_some(),
        }
    }

    /// Returns the setting that has kept callers waiting, and for how many seconds in all, if that is to be
    /// reported: at first, and then each time that it has lasted twice as long.
    pub(super) fn news_of_limits(&mut self) -> Option<(&'static str, u64)> {
        let totals = self.machine.totals();
        let seconds = [totals.limited_by_dials, totals.limited_by_capacity];
        let told = core::mem::replace(&mut self.limits_told, seconds);
        let settings = ["max_dials", "the maximum of capacity"];
        let mut counters = settings.into_iter().zip(seconds).zip(told);
        counters.find_map(|((setting, now), before)| {
            (now > before && now.is_power_of_two()).then_some((setting, now))
        })
    }

    /// Stores the waker of a waiter. Returns the former one.
    pub(super) fn remember(&mut self, waiter: WaiterId, waker: &Waker) -> Option<Waker> {
        if self.wakers.len() <= waiter.slot() {
            self.wakers.resize_with(waiter.slot() + 1, || None);
        }
        let stored = self.wakers.get_mut(waiter.slot())?;
        if stored.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        stored.replace(waker.clone())
    }

    pub(super) fn forget(&mut self, waiter: WaiterId) -> Option<Waker> {
        self.wakers.get_mut(waiter.slot()).and_then(Option::take)
    }
}
