//! The one task of a pool: carries out what the machine orders, and owns every other task.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use pool_proto::shell::{Order, Shell, Ticket, Watch};
use pool_proto::{ByToken, CloseReason, Instant, Role, Token};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::clock::MonotonicClock;
use crate::connection::{Connection, Pooled};
use crate::handshake::{Failure, Shaken};
use crate::socket::Links;

pub(crate) type PoolShell<R> = Shell<Pooled, R>;

/// Where connections come from.
pub(crate) trait Supply<R: Role>: Send + 'static {
    /// Connects to the peer and shakes hands.
    fn dial(
        &self,
        ticket: Ticket<Pooled, R>,
        job: Job<R>,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Waits for a peer whose handshake is to be run as a task. Never ready where nobody comes.
    /// Cancel safe.
    fn accept(
        &mut self,
        job: &Job<R>,
    ) -> impl Future<Output = (Token, impl Future<Output = ()> + Send + 'static)> + Send;
}

/// What the tasks of a pool share.
pub(crate) struct Job<R: Role> {
    pub(crate) shell: Arc<PoolShell<R>>,
    pub(crate) links: Arc<Links>,
}

impl<R: Role> Clone for Job<R> {
    fn clone(&self) -> Self {
        Self { shell: Arc::clone(&self.shell), links: Arc::clone(&self.links) }
    }
}

impl<R: Role + Send + 'static> Job<R> {
    /// Reports how a handshake went.
    pub(crate) fn report(&self, ticket: Ticket<Pooled, R>, outcome: Result<Shaken, Failure>) {
        let token = ticket.token();
        match outcome {
            Ok(Shaken { layer, id, surplus }) => {
                self.links.insert(token, layer.link());
                let watch = Watch::new(&self.shell, token);
                let claims = self.shell.run(|machine, _| machine.peer_claims());
                ticket.established(Connection::new(layer, surplus, watch, claims), id);
            }
            Err(failure) => {
                tracing::debug!(?token, %failure, "dial or handshake failed");
                ticket.failed(failure.kind(), &failure);
            }
        }
    }
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
    /// Returns whether it has panicked: then the user's dialer has.
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
    pub(crate) job: Job<R>,
    /// Dropped after that, it tells that all has ended.
    pub(crate) _alive: watch::Sender<()>,
}

impl<R: Role + Send + 'static> Drop for Finally<R> {
    fn drop(&mut self) {
        self.job.shell.run(|machine, now| machine.close(now));
        self.job.shell.end();
        let mut orders = Vec::new();
        self.job.shell.turn(&mut orders);
        for order in orders {
            if let Some((token, reason)) = carry_out(&self.job.shell, order) {
                self.job.links.revoke(token, reason);
            }
        }
    }
}

/// Carries out what needs no tasks; gives back what is to be aborted.
fn carry_out<R: Role>(shell: &PoolShell<R>, order: Order<Pooled>) -> Option<(Token, CloseReason)> {
    match order {
        Order::Close { connection, reason } => {
            let peer = connection.layer.link().peer_addr();
            tracing::debug!(%peer, %reason, "connection closed");
            connection.close();
            None
        }
        Order::Abort { token, reason } => {
            tracing::debug!(?token, %reason, "connection ended");
            if matches!(reason, CloseReason::DialTimeout | CloseReason::HandshakeTimeout) {
                shell.note_failure(&format_args!("a connection was given up: {reason}"));
            }
            Some((token, reason))
        }
        // The pool is closing; the machine has ended the dial already.
        Order::Dial { .. } => None,
    }
}

/// Runs until the pool is closed. The first argument is dropped last: after the listener.
pub(crate) async fn drive<R: Role + Send + 'static>(
    finally: Finally<R>,
    clock: MonotonicClock,
    mut supply: impl Supply<R>,
) {
    let job = &finally.job;
    let mut tasks = Tasks { set: JoinSet::new(), handles: ByToken::new() };
    let mut orders = Vec::new();
    loop {
        let due = job.shell.turn(&mut orders);
        for order in orders.drain(..) {
            if let Order::Dial { token } = order {
                let ticket = Ticket::dial(&job.shell, token);
                tasks.spawn(token, supply.dial(ticket, job.clone()));
            } else if let Some((token, reason)) = carry_out(&job.shell, order) {
                tasks.abort(token);
                job.links.revoke(token, reason);
            }
        }
        if job.shell.is_closed() {
            return tasks.set.shutdown().await;
        }
        tokio::select! {
            () = poll_fn(|cx| job.shell.poll_work(cx)) => {}
            () = sleep(&clock, due) => {}
            panicked = tasks.reap() => if panicked {
                job.shell.note_failure(&"the dialer panicked");
            },
            (token, handshake) = supply.accept(job) => tasks.spawn(token, handshake),
        }
    }
}

async fn sleep(clock: &MonotonicClock, due: Option<Instant>) {
    match due.and_then(|due| clock.deadline(due)) {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
