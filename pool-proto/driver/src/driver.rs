//! The one task of a pool that is always there: carries out what the machine orders, and owns every
//! other task.

use core::convert::Infallible;
use core::future::{Future, pending, poll_fn};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use std::boxed::Box;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::vec::Vec;

use async_channel::{Receiver, Sender, bounded, unbounded};
use futures_lite::FutureExt;
use futures_lite::future::yield_now;

use crate::keep_alive::KeepAlive;
use crate::shared::{Attempt, Clock};
use crate::transport::{self, Crew, Established, Failure, Handshake, Link, Pooled};
use crate::{MonotonicClock, Runtime, Socket};
use pool_proto::Instant;
use pool_proto::Role;
use pool_proto::Token;
use pool_proto::TokenMap;

pub(super) type PoolCrew<N, R> = Crew<Socket<N>, R>;
pub(super) type PoolTicket<N, R> = Attempt<Pooled<Socket<N>>, R>;

/// Held by what runs for a pool: when all are dropped, all has ended. Nothing is ever sent.
#[derive(Clone, Debug)]
pub struct ShutdownGuard(#[expect(dead_code, reason = "to be dropped")] Sender<Infallible>);

impl ShutdownGuard {
    /// And what fails to receive when all has ended.
    pub(super) fn new() -> (Self, Receiver<Infallible>) {
        let (alive, ended) = bounded(1);
        (Self(alive), ended)
    }
}

/// Where connections come from.
pub(super) trait Supply<N: Runtime, R: Role>: Send + 'static {
    /// Connects to the peer and shakes hands.
    fn dial(
        &self,
        runtime: &N,
        attempt: PoolTicket<N, R>,
        crew: Arc<PoolCrew<N, R>>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Waits for a peer whose handshake is to be run as a task. Never ready where nobody comes.
    /// Cancel safe.
    fn accept(
        &mut self,
        runtime: &N,
        crew: &Arc<PoolCrew<N, R>>,
    ) -> impl Future<Output = (Token, impl Future<Output = ()> + Send + 'static)> + Send;
}

/// The dials and handshakes under way. Dropped, it ends them.
struct Tasks<N: Runtime> {
    executor: N::Executor,
    handles: TokenMap<N::Task>,
    /// Each task has one, and tells when it is over.
    tell: Sender<TaskEnded>,
    told: Receiver<TaskEnded>,
}

/// A task has ended, but not by being dropped.
struct TaskEnded {
    token: Token,
    panicked: bool,
}

impl<N: Runtime> Tasks<N> {
    fn new(executor: N::Executor) -> Self {
        let (tell, told) = unbounded();
        Self { executor, handles: TokenMap::new(), tell, told }
    }

    fn spawn(&mut self, token: Token, task: impl Future<Output = ()> + Send + 'static) {
        let (tell, task) = (self.tell.clone(), CatchPanic(Some(Box::pin(task))));
        let task = async move {
            let panicked = task.run().await;
            // It fails when the driver has ended: then nobody wants to know.
            let _ = tell.try_send(TaskEnded { token, panicked });
        };
        // Ends a task that was evicted to make room for this one; the order to end it finds it no
        // more.
        drop(self.handles.insert(token, N::spawn(&self.executor, task)));
    }

    fn end(&mut self, token: Token) {
        drop(self.handles.remove(token));
    }

    /// Forgets the next task that has ended; a handle that is kept would keep the task's memory.
    /// Returns whether it has panicked: the user's dialer has, or the user's part of rustls'
    /// configuration.
    async fn reap(&mut self) -> bool {
        match self.told.recv().await {
            Ok(TaskEnded { token, panicked }) => {
                self.end(token);
                panicked
            }
            Err(_) => pending().await,
        }
    }

    /// Ends all, and waits until that is done, while there is an executor: one that is dropped may lose a
    /// task that something wakes at that moment (as async-executor 1.14 does), and never drop it.
    async fn shutdown(self) {
        let Self { executor: _executor, handles, tell, told } = self;
        drop((handles, tell));
        while told.recv().await.is_ok() {}
    }
}

/// A future of a user's, in part. A panic while it is dropped would end the process, if its executor
/// were to see it.
struct CatchPanic<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()>> CatchPanic<F> {
    /// Returns whether it has panicked.
    async fn run(mut self) -> bool {
        match &mut self.0 {
            // What a task shares with others is behind mutexes that do not mind.
            Some(future) => AssertUnwindSafe(future).catch_unwind().await.is_err(),
            None => false,
        }
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        // The panic has been reported when it happened.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

/// Closes the pool when its driver ends, however that happens: an executor that shuts down drops it,
/// perhaps before it has run at all.
struct CloseOnDrop<N: Runtime, R: Role + Send + 'static> {
    crew: Arc<PoolCrew<N, R>>,
    /// Dropped after that.
    _alive: ShutdownGuard,
}

impl<N: Runtime, R: Role + Send + 'static> Drop for CloseOnDrop<N, R> {
    fn drop(&mut self) {
        self.crew.end();
    }
}

/// What the driver waits for.
enum Wakeup<H> {
    /// There is work, or the time has come.
    Due,
    /// A task has ended.
    Ended { panicked: bool },
    /// A peer, and its handshake.
    Came(Token, H),
}

/// What the driver has. Its fields are dropped in this order, whether it has run or not.
pub(super) struct Driver<N: Runtime, R: Role + Send + 'static, S> {
    supply: S,
    clock: MonotonicClock,
    /// After the listener.
    finally: CloseOnDrop<N, R>,
}

impl<N: Runtime, R: Role + Send + 'static, S: Supply<N, R>> Driver<N, R, S> {
    pub(super) const fn new(
        crew: Arc<PoolCrew<N, R>>,
        clock: MonotonicClock,
        supply: S,
        alive: ShutdownGuard,
    ) -> Self {
        Self { supply, clock, finally: CloseOnDrop { crew, _alive: alive } }
    }
}

/// Runs until the pool is closed.
pub(super) async fn drive<N: Runtime, R: Role + Send + 'static>(
    driver: Driver<N, R, impl Supply<N, R>>,
    runtime: N,
    executor: N::Executor,
) {
    let Driver { finally, clock, mut supply } = driver;
    let crew = &finally.crew;
    let shared = crew.shared();
    let mut tasks = Tasks::<N>::new(executor);
    let mut commands = Vec::new();
    loop {
        let due = shared.turn(&mut commands);
        for command in commands.drain(..) {
            match crew.carry_out(command) {
                Some(transport::Task::Begin(attempt)) => {
                    let token = attempt.token();
                    tasks.spawn(token, supply.dial(&runtime, attempt, Arc::clone(crew)));
                }
                Some(transport::Task::End(token)) => tasks.end(token),
                None => {}
            }
        }
        if shared.is_closed() {
            return tasks.shutdown().await;
        }
        // The first that is ready wins. What is due comes last, as each turn sees to it anyway.
        let ended = async { Wakeup::Ended { panicked: tasks.reap().await } };
        let came = async {
            let (token, handshake) = supply.accept(&runtime, crew).await;
            Wakeup::Came(token, handshake)
        };
        let due = async {
            poll_fn(|cx| shared.poll_work(cx)).or(sleep(&runtime, &clock, due)).await;
            Wakeup::Due
        };
        let news = ended.or(came).or(due).await;
        match news {
            Wakeup::Due => {}
            Wakeup::Ended { panicked } => {
                if panicked {
                    shared.note_failure(&"a dial or a handshake panicked");
                }
            }
            Wakeup::Came(token, handshake) => {
                tasks.spawn(token, handshake);
                // While peers are waiting to be accepted, nothing else here would make a pause.
                yield_now().await;
            }
        }
    }
}

async fn sleep<N: Runtime>(runtime: &N, clock: &MonotonicClock, due: Option<Instant>) {
    match due {
        Some(due) => runtime.sleep(due.since(clock.now())).await,
        None => pending().await,
    }
}

/// Options, TLS and id, to the end.
pub(super) async fn handshake<N: Runtime>(
    dialled: N::Dialled,
    keep_alive: Option<KeepAlive>,
    handshake: impl FnOnce() -> Result<Handshake, Failure>,
) -> Result<(Arc<Link<Socket<N>>>, Established), Failure> {
    let link = Socket::link(dialled.into(), keep_alive).map_err(Failure::Options)?;
    let mut handshake = handshake()?;
    poll_fn(|cx| handshake.advance(&mut link.socket().polled(cx))).await?;
    Ok((link, handshake.finish()?))
}
