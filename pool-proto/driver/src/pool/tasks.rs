//! The dials and handshakes that a driver has under way.

use core::future::{Future, pending};
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use std::boxed::Box;
use std::panic::catch_unwind;

use async_channel::{Receiver, Sender, unbounded};
use futures_lite::FutureExt;
use pool_proto::{Token, TokenMap};

use super::driver::BURST;
use crate::runtime::Runtime;

/// The tasks of a driver. Dropping it ends them.
pub(super) struct Tasks<N: Runtime> {
    executor: N::Executor,
    handles: TokenMap<N::Task>,
    /// Each task holds a sender, and reports its end.
    report: Sender<TaskEnded>,
    ended: Receiver<TaskEnded>,
}

/// A task has run to its end: it was not dropped.
struct TaskEnded {
    token: Token,
    panicked: bool,
}

impl<N: Runtime> Tasks<N> {
    pub(super) fn new(executor: N::Executor) -> Self {
        let (report, ended) = unbounded();
        Self { executor, handles: TokenMap::new(), report, ended }
    }

    pub(super) fn spawn(&mut self, token: Token, task: impl Future<Output = ()> + Send + 'static) {
        let (report, task) = (self.report.clone(), CatchPanic(Some(Box::pin(task))));
        let task = async move {
            let panicked = task.run().await;
            // Fails when the driver has ended, and then nobody listens.
            let _ = report.try_send(TaskEnded { token, panicked });
        };
        // The former handle in this slot is of a task that was evicted to make room for this one.
        // Dropping it ends that task; the command to abort it finds nothing later.
        drop(self.handles.insert(token, N::spawn(&self.executor, task)));
    }

    pub(super) fn end(&mut self, token: Token) {
        drop(self.handles.remove(token));
    }

    /// Waits for the next task to end and forgets it, with others that have ended meanwhile: a handle that
    /// is kept pins the task's memory, and a turn of the driver for each would cost more than it brings.
    /// Returns whether one of them panicked, which the user's dialer or the user's part of a rustls
    /// configuration can do. Cancel safe.
    pub(super) async fn reap(&mut self) -> bool {
        let Ok(first) = self.ended.recv().await else { return pending().await };
        let mut has_panicked = first.panicked;
        self.end(first.token);
        for _ in 1..BURST {
            let Ok(TaskEnded { token, panicked }) = self.ended.try_recv() else { break };
            has_panicked |= panicked;
            self.end(token);
        }
        has_panicked
    }

    /// Ends all tasks, and waits for their end while the executor still exists: an executor that is
    /// dropped may lose a task that is being woken at that moment, and never drop it
    /// (async-executor 1.14 does).
    pub(super) async fn shutdown(self) {
        let Self { executor: _executor, handles, report, ended } = self;
        drop((handles, report));
        while ended.recv().await.is_ok() {}
    }
}

/// A future with code of the user's in it. Its panics must not reach the executor: a panic while the
/// future is being dropped would end the process.
struct CatchPanic<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()>> CatchPanic<F> {
    /// Returns whether the future panicked.
    async fn run(mut self) -> bool {
        match &mut self.0 {
            // State that tasks share is behind mutexes that recover from a poisoning.
            Some(future) => AssertUnwindSafe(future).catch_unwind().await.is_err(),
            None => false,
        }
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        // The panic hook has reported the panic already.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}
