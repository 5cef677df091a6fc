//! The driver: the one task of a pool that always runs. It carries out the machine's commands, and
//! owns all other tasks.

use core::convert::Infallible;
use core::future::{Future, pending, poll_fn};
use core::pin::Pin;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use async_channel::{Receiver, Sender, bounded};
use futures_lite::FutureExt;
use futures_lite::future::poll_once;
use pool_proto::{Instant, Role, Token};
use tracing::field::debug;
use tracing::{Instrument, Span};

use super::tasks::Tasks;
use crate::connection::{Connection, Socket, TcpSocket};
use crate::events;
use crate::runtime::Runtime;
use crate::shared::{Attempt, Command, SharedMachine, Turn};

/// The connections of a pool on runtime `N`.
pub(crate) type PoolConnectionOf<N> = Box<Connection<TcpSocket<N>>>;
pub(super) type PoolMachine<N, R> = SharedMachine<PoolConnectionOf<N>, R>;
pub(crate) type PoolAttempt<N, R> = Attempt<PoolConnectionOf<N>, R>;

/// Held by everything that runs for a pool: the pool has ended when all clones are dropped.
#[derive(Clone, Debug)]
pub struct ShutdownGuard(#[expect(dead_code, reason = "only its drop matters")] Sender<Infallible>);

impl ShutdownGuard {
    /// Returns a guard, and a receiver that fails when all clones are dropped.
    pub(super) fn new() -> (Self, Receiver<Infallible>) {
        let (guard, ended) = bounded(1);
        (Self(guard), ended)
    }
}

/// The source of a pool's connections.
pub(super) trait Supply<N: Runtime, R: Role>: Send + 'static {
    /// Connects to the peer and shakes hands.
    fn dial(
        &self,
        runtime: &N,
        attempt: PoolAttempt<N, R>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Waits for a peer, and returns its handshake, to be spawned as a task. Never ready for a pool
    /// that does not accept. Cancel safe.
    fn accept(
        &mut self,
        runtime: &N,
        shared: &Arc<PoolMachine<N, R>>,
    ) -> impl Future<Output = (Token, impl Future<Output = ()> + Send + 'static)> + Send;
}

impl<S: Socket, R: Role> SharedMachine<Box<Connection<S>>, R> {
    /// Closes the pool because its driver ends, for any cause. Where the runtime shuts down with the pool
    /// in use, this closes every connection at once: its tasks do not run any more.
    pub fn close_with_driver(&self) {
        self.run(|machine, now| machine.close(now));
        self.end();
        let mut commands = Vec::new();
        while self.turn(&mut commands).is_full {}
        for command in commands {
            match command {
                Command::Close { connection, reason } => connection.close(reason),
                Command::Interrupt { token, revoker } => self.interrupt(token, &revoker),
                // The machine has ended all dials and handshakes; their tasks end with the driver.
                Command::Dial { .. } | Command::Abort { .. } => {}
            }
        }
    }
}

/// Closes the pool when its driver ends: an executor that shuts down drops the driver, perhaps
/// before its first poll.
struct CloseOnDrop<N: Runtime, R: Role> {
    shared: Arc<PoolMachine<N, R>>,
    /// Dropped afterwards.
    _guard: ShutdownGuard,
}

impl<N: Runtime, R: Role> Drop for CloseOnDrop<N, R> {
    fn drop(&mut self) {
        let cause = if self.shared.is_closed() { "closed" } else { "its runtime or task ended" };
        self.shared.close_with_driver();
        self.shared.tell_end(cause);
    }
}

/// The most peers that are accepted in a row, before handshakes under way go on. They take about a
/// millisecond. In a crowd, most of them are evicted before their handshakes have cost anything, so the
/// queue of the listener stays short.
pub(super) const BURST: usize = 32;

/// The events that wake a driver.
enum Wakeup<H> {
    /// There is work, a deadline has passed, or a task has ended.
    Due,
    /// A peer was accepted.
    Accepted(Token, H),
}

/// The state of a driver. Its fields are dropped in this order, whether or not it has run.
pub(super) struct Driver<N: Runtime, R: Role, S> {
    supply: S,
    /// After the listener.
    close_on_drop: CloseOnDrop<N, R>,
}

impl<N: Runtime, R: Role, S: Supply<N, R>> Driver<N, R, S> {
    pub(super) const fn new(
        shared: Arc<PoolMachine<N, R>>,
        supply: S,
        guard: ShutdownGuard,
    ) -> Self {
        Self { supply, close_on_drop: CloseOnDrop { shared, _guard: guard } }
    }

    /// Runs until the pool is closed.
    pub(super) async fn run(self, runtime: N, executor: N::Executor) {
        let Self { close_on_drop, supply } = self;
        let mut supply = Some(supply);
        let shared = &close_on_drop.shared;
        let mut alarm = Alarm(None);
        let mut tasks = Tasks::<N>::new(executor);
        let mut commands = Vec::new();
        loop {
            // Asked before the turn: a turn after the close has the last commands.
            let closed = shared.is_closed();
            let Turn { due, is_full } = shared.turn(&mut commands);
            for command in commands.drain(..) {
                match command {
                    Command::Dial { token } => {
                        // A dial that a shutdown has overtaken is not begun.
                        if let Some(supply) = &supply {
                            let dial = supply.dial(&runtime, Attempt::dial(shared, token));
                            tasks.spawn(token, dial.instrument(span(shared, token)));
                        }
                    }
                    Command::Close { connection, reason } => connection.close(reason),
                    Command::Abort { token, reason } => {
                        shared.note_abort(token, reason);
                        tasks.end(token);
                    }
                    Command::Interrupt { token, revoker } => shared.interrupt(token, &revoker),
                }
            }
            let news = shared.tell_news();
            let due = due.into_iter().chain(news).min();
            if is_full {
                N::yield_now().await;
            }
            match (closed, is_full) {
                (true, true) => continue,
                (true, false) => return tasks.shutdown().await,
                (false, _) => {}
            }
            if shared.is_shutting_down() {
                // With the listener.
                supply = None;
            }
            // The first ready future wins. Due work comes last, as each turn does it anyway.
            let ended = async {
                tasks.reap().await;
                Wakeup::Due
            };
            let accepted = async {
                let Some(supply) = &mut supply else { return pending().await };
                let (token, handshake) = supply.accept(&runtime, shared).await;
                Wakeup::Accepted(token, handshake)
            };
            let due = async {
                poll_fn(|cx| shared.poll_work(cx)).or(alarm.ring(&runtime, shared, due)).await;
                Wakeup::Due
            };
            match ended.or(accepted).or(due).await {
                Wakeup::Due => {}
                Wakeup::Accepted(token, handshake) => {
                    tasks.spawn(token, handshake.instrument(span(shared, token)));
                    for _ in 1..BURST {
                        let Some(supply) = &mut supply else { break };
                        let next = poll_once(supply.accept(&runtime, shared)).await;
                        let Some((token, handshake)) = next else { break };
                        tasks.spawn(token, handshake.instrument(span(shared, token)));
                    }
                    // So that a busy listener does not starve other tasks.
                    N::yield_now().await;
                }
            }
        }
    }
}

/// The span of a dial or a handshake.
fn span<N: Runtime, R: Role>(shared: &PoolMachine<N, R>, token: Token) -> Span {
    events::attempt_span(shared.label(), debug(token))
}

/// The timer of a driver, and the time at which it rings.
///
/// Most turns put the next deadline off: that of a dial that has succeeded gives way to a later one. Then
/// the timer stays as it is, and a turn too many comes of it. A new one for each turn would wake the thread
/// of the timers each time (`async-io` has one).
struct Alarm<'r>(Option<(Instant, Timer<'r>)>);

type Timer<'r> = Pin<Box<dyn Future<Output = ()> + Send + 'r>>;

impl<'r> Alarm<'r> {
    /// Waits until this time at the latest. Cancel safe.
    async fn ring<N: Runtime, R: Role>(
        &mut self,
        runtime: &'r N,
        shared: &PoolMachine<N, R>,
        due: Option<Instant>,
    ) {
        let Some(due) = due else { return pending().await };
        let timer = match &mut self.0 {
            Some((at, timer)) if *at <= due => timer,
            armed => {
                let timer = Box::pin(runtime.sleep(due.since(shared.now())));
                &mut armed.insert((due, timer)).1
            }
        };
        timer.await;
        self.0 = None;
    }
}
