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
    /// Each task holds a sender, and reports that it has run to its end: it was not dropped.
    report: Sender<Token>,
    ended: Receiver<Token>,
}

impl<N: Runtime> Tasks<N> {
    pub(super) fn new(executor: N::Executor) -> Self {
        let (report, ended) = unbounded();
        Self { executor, handles: TokenMap::new(), report, ended }
    }

    pub(super) fn spawn(&mut self, token: Token, task: impl Future<Output = ()> + Send + 'static) {
        let (report, task) = (self.report.clone(), CatchPanic(Some(Box::pin(task))));
        let task = async move {
            task.run().await;
            // Fails when the driver has ended, and then nobody listens.
            let _ = report.try_send(token);
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
    /// Cancel safe.
    pub(super) async fn reap(&mut self) {
        let Ok(first) = self.ended.recv().await else { return pending().await };
        self.end(first);
        for _ in 1..BURST {
            let Ok(next) = self.ended.try_recv() else { break };
            self.end(next);
        }
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

/// A future with code of the user's in it: a dialer, or a part of a rustls configuration. Its panics must not
/// reach the executor: a panic while the future is being dropped would end the process. The panic hook has
/// reported them, and so has the [`Attempt`](crate::shared::Attempt) in the future.
struct CatchPanic<F>(Option<Pin<Box<F>>>);

impl<F: Future<Output = ()>> CatchPanic<F> {
    async fn run(mut self) {
        if let Some(future) = &mut self.0 {
            // State that tasks share is behind mutexes that recover from a poisoning.
            let _ = AssertUnwindSafe(future).catch_unwind().await;
        }
    }
}

impl<F> Drop for CatchPanic<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::task::Poll;
    use std::panic::resume_unwind;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    /// Panics when it is dropped, without the message of the panic hook.
    struct PanicsOnDrop;

    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            resume_unwind(Box::new("intended panic"));
        }
    }

    fn guarded(task: impl Future<Output = ()>) -> CatchPanic<impl Future<Output = ()>> {
        CatchPanic(Some(Box::pin(task)))
    }

    /// Runs until it is dropped, and panics then.
    fn panics_on_drop() -> CatchPanic<impl Future<Output = ()>> {
        let value = PanicsOnDrop;
        guarded(async move {
            let _value = value;
            pending::<()>().await;
        })
    }

    #[test]
    fn a_task_that_panics_while_it_is_dropped_harms_nobody() {
        drop(panics_on_drop());
        let begun = async { poll_once(panics_on_drop().run()).await };
        assert_eq!(block_on(begun), None);
    }

    #[test]
    fn a_task_that_panics_has_ended() {
        let panics = poll_fn(|_| -> Poll<()> { resume_unwind(Box::new("intended panic")) });
        block_on(guarded(panics).run());
    }
}
