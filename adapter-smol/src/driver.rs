//! What a pool runs: the driver, which carries out what the machine orders, and every dial and
//! handshake, which the driver owns.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use pool_proto::shell::Ticket;
use pool_proto::transport::{Crew, Pooled, Task};
use pool_proto::{ByToken, Instant, Role, Token};
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::{Boxed, FutureExt, yield_now};
use smol::{Executor, Timer};

use crate::clock::MonotonicClock;
use crate::socket::Socket;

pub(crate) type PoolCrew<R> = Crew<Socket, R>;
pub(crate) type PoolTicket<R> = Ticket<Pooled<Socket>, R>;

/// Where connections come from.
pub(crate) trait Supply<R: Role>: Send + 'static {
    /// Connects to the peer and shakes hands.
    fn dial(
        &self,
        ticket: PoolTicket<R>,
        crew: Arc<PoolCrew<R>>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Waits for a peer whose handshake is to be run as a task. Never ready where nobody comes.
    /// Cancel safe.
    fn accept(
        &mut self,
        crew: &Arc<PoolCrew<R>>,
    ) -> impl Future<Output = (Token, impl Future<Output = ()> + Send + 'static)> + Send;
}

/// The pool's own executor, for its dials and handshakes: it ends a task whose handle is dropped,
/// which not every executor of a user can. Shared by what the user's executor runs.
struct Engine {
    executor: Executor<'static>,
    /// Dropped after that, it tells that all has ended.
    _alive: Sender<Infallible>,
}

/// The dials and handshakes under way. Dropped, it ends them.
struct Tasks {
    engine: Arc<Engine>,
    handles: ByToken<smol::Task<()>>,
    /// Each task has one, and tells when it is over.
    tell: Sender<Over>,
    told: Receiver<Over>,
}

/// A task has ended, but not by being dropped.
struct Over {
    token: Token,
    panicked: bool,
}

impl Tasks {
    fn spawn(&mut self, token: Token, task: impl Future<Output = ()> + Send + 'static) {
        let tell = self.tell.clone();
        let handle = self.engine.executor.spawn(async move {
            // What a task shares with others is behind mutexes that do not mind.
            let panicked = AssertUnwindSafe(task).catch_unwind().await.is_err();
            // It fails when the driver has ended: then nobody wants to know.
            let _ = tell.try_send(Over { token, panicked });
        });
        // Ends a task that was evicted to make room for this one; the order to end it finds it no
        // more.
        drop(self.handles.insert(token, handle));
    }

    fn abort(&mut self, token: Token) {
        drop(self.handles.remove(token));
    }

    /// Forgets the next task that has ended; a handle that is kept would keep the task's memory.
    /// Returns whether it has panicked: the user's dialer has, or the user's part of rustls'
    /// configuration.
    async fn reap(&mut self) -> bool {
        match self.told.recv().await {
            Ok(Over { token, panicked }) => {
                self.handles.remove(token);
                panicked
            }
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends all, and waits until that is done.
    async fn shutdown(self) {
        let Self { handles, tell, told, engine: _engine } = self;
        drop((handles, tell));
        while told.recv().await.is_ok() {}
    }
}

/// Closes the pool when its driver ends, however that happens: an executor that is dropped drops it,
/// perhaps before it has run at all.
struct Finally<R: Role + Send + 'static> {
    crew: Arc<PoolCrew<R>>,
    /// Dropped after that, it sends the runners home.
    _driving: Sender<Infallible>,
}

impl<R: Role + Send + 'static> Drop for Finally<R> {
    fn drop(&mut self) {
        self.crew.end();
    }
}

/// Gives `spawn` what is to be run until the pool is closed: the driver, and for each further
/// processor a runner of dials and handshakes. `alive` is dropped when all has ended. Nothing of
/// `spawn` is kept: an executor that its own futures hold would never be dropped.
pub(crate) fn start<R: Role + Send + 'static>(
    spawn: impl Fn(Boxed<()>),
    crew: Arc<PoolCrew<R>>,
    clock: MonotonicClock,
    supply: impl Supply<R>,
    alive: Sender<Infallible>,
) {
    let engine = Arc::new(Engine { executor: Executor::new(), _alive: alive });
    let (driving, driven) = bounded(1);
    let (tell, told) = unbounded();
    let tasks = Tasks { engine: Arc::clone(&engine), handles: ByToken::new(), tell, told };
    let driver = drive(Finally { crew, _driving: driving }, clock, supply, tasks);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    for _ in 1..processors {
        let (engine, driven) = (Arc::clone(&engine), driven.clone());
        spawn(Box::pin(async move { engine.executor.run(gone(&driven)).await }));
    }
    spawn(Box::pin(async move { engine.executor.run(driver).await }));
}

/// Waits until nobody is left who could send: nobody ever does.
pub(crate) async fn gone(receiver: &Receiver<Infallible>) {
    while receiver.recv().await.is_ok() {}
}

/// What the driver waits for.
enum News<H> {
    /// There is work, or the time has come.
    Due,
    /// A task has ended.
    Ended { panicked: bool },
    /// A peer, and its handshake.
    Came(Token, H),
}

/// Runs until the pool is closed. The first argument is dropped last: after the listener.
async fn drive<R: Role + Send + 'static>(
    finally: Finally<R>,
    clock: MonotonicClock,
    mut supply: impl Supply<R>,
    mut tasks: Tasks,
) {
    let crew = &finally.crew;
    let shell = crew.shell();
    let mut orders = Vec::new();
    loop {
        let due = shell.turn(&mut orders);
        for order in orders.drain(..) {
            match crew.carry_out(order) {
                Some(Task::Begin(ticket)) => {
                    tasks.spawn(ticket.token(), supply.dial(ticket, Arc::clone(crew)));
                }
                Some(Task::End(token)) => tasks.abort(token),
                None => {}
            }
        }
        if shell.is_closed() {
            return tasks.shutdown().await;
        }
        // The first that is ready wins. What is due comes last, as each turn sees to it anyway.
        let ended = async { News::Ended { panicked: tasks.reap().await } };
        let came = async {
            let (token, handshake) = supply.accept(crew).await;
            News::Came(token, handshake)
        };
        let due = async {
            poll_fn(|cx| shell.poll_work(cx)).or(sleep(&clock, due)).await;
            News::Due
        };
        let news = ended.or(came).or(due).await;
        match news {
            News::Due => {}
            News::Ended { panicked } => {
                if panicked {
                    shell.note_failure(&"a dial or a handshake panicked");
                }
            }
            News::Came(token, handshake) => {
                tasks.spawn(token, handshake);
                // While peers are waiting to be accepted, nothing else here would make a pause.
                yield_now().await;
            }
        }
    }
}

async fn sleep(clock: &MonotonicClock, due: Option<Instant>) {
    match due.and_then(|due| clock.deadline(due)) {
        Some(deadline) => {
            Timer::at(deadline).await;
        }
        None => std::future::pending().await,
    }
}
