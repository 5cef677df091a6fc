//! The one task of a pool: carries out what the machine orders, and owns every other task.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use pool_proto::shell::Ticket;
use pool_proto::transport::{Crew, Pooled, Task};
use pool_proto::{ByToken, Instant, Role, Token};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

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

/// The dials and handshakes under way. Dropped, it ends them.
struct Tasks {
    set: JoinSet<Token>,
    handles: ByToken<AbortHandle>,
}

impl Tasks {
    fn spawn(&mut self, token: Token, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(async move {
            task.await;
            token
        });
        if let Some(former) = self.handles.insert(token, handle) {
            // Evicted to make room for this one; the order to end it finds it no more.
            former.abort();
        }
    }

    fn abort(&mut self, token: Token) {
        self.handles.remove(token).iter().for_each(AbortHandle::abort);
    }

    /// Forgets the next task that has ended; a handle that is kept would keep the task's memory.
    /// Returns whether it has panicked: the user's dialer has, or the user's part of rustls'
    /// configuration.
    async fn reap(&mut self) -> bool {
        match self.set.join_next().await {
            Some(Ok(token)) => {
                self.handles.remove(token);
                false
            }
            // Aborted or panicked: its ticket has reported that.
            Some(Err(error)) => error.is_panic(),
            None => std::future::pending().await,
        }
    }
}

/// Closes the pool when its driver ends, however that happens: a runtime that shuts down drops it,
/// perhaps before it has run at all.
pub(crate) struct Finally<R: Role + Send + 'static> {
    pub(crate) crew: Arc<PoolCrew<R>>,
    /// Dropped after that, it tells that all has ended.
    pub(crate) _alive: watch::Sender<()>,
}

impl<R: Role + Send + 'static> Drop for Finally<R> {
    fn drop(&mut self) {
        self.crew.end();
    }
}

/// Runs until the pool is closed. The first argument is dropped last: after the listener.
pub(crate) async fn drive<R: Role + Send + 'static>(
    finally: Finally<R>,
    clock: MonotonicClock,
    mut supply: impl Supply<R>,
) {
    let crew = &finally.crew;
    let shell = crew.shell();
    let mut tasks = Tasks { set: JoinSet::new(), handles: ByToken::new() };
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
            return tasks.set.shutdown().await;
        }
        tokio::select! {
            () = poll_fn(|cx| shell.poll_work(cx)) => {}
            () = sleep(&clock, due) => {}
            panicked = tasks.reap() => if panicked {
                shell.note_failure(&"a dial or a handshake panicked");
            },
            (token, handshake) = supply.accept(crew) => tasks.spawn(token, handshake),
        }
    }
}

async fn sleep(clock: &MonotonicClock, due: Option<Instant>) {
    match due.and_then(|due| clock.deadline(due)) {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
