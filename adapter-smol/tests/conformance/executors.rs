//! The executors on which the scenarios run.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed scenario")]

use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;

use smol::channel::{Sender, unbounded};
use smol::future::Boxed;

/// An executor for the pools, and its `block_on` for the callers.
pub(crate) trait Executor: Send + Sync + 'static {
    const NAME: &'static str;

    /// For the builders' `on`, which is not called for `None`.
    const SPAWN: Option<fn(Boxed<()>)>;

    fn block_on<F: Future>(future: F) -> F::Output;
}

/// Smol's global executor, the default.
pub(crate) struct Global;

impl Executor for Global {
    const NAME: &'static str = "smol";
    const SPAWN: Option<fn(Boxed<()>)> = None;

    fn block_on<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// async-std is discontinued, but programs still run on it.
pub(crate) struct AsyncStd;

impl Executor for AsyncStd {
    const NAME: &'static str = "async-std";
    const SPAWN: Option<fn(Boxed<()>)> = Some(|future| drop(async_std::task::spawn(future)));

    fn block_on<F: Future>(future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

/// A minimal executor of this test: a queue and two threads.
pub(crate) struct Own;

/// A future, and the queue to which it returns when it is woken.
struct Task {
    future: Mutex<Option<Boxed<()>>>,
    queue: Sender<Arc<Self>>,
}

static QUEUE: LazyLock<Sender<Arc<Task>>> = LazyLock::new(|| {
    let (queue, woken) = unbounded::<Arc<Task>>();
    for _ in 0..2 {
        let woken = woken.clone();
        thread::spawn(move || {
            while let Ok(task) = woken.recv_blocking() {
                task.run();
            }
        });
    }
    queue
});

impl Task {
    fn run(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut future = self.future.lock().unwrap();
        let polled =
            future.as_mut().map(|future| future.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled.is_some_and(|polled| polled.is_ready()) {
            *future = None;
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let queue = self.queue.clone();
        queue.try_send(self).unwrap();
    }
}

impl Executor for Own {
    const NAME: &'static str = "own";
    const SPAWN: Option<fn(Boxed<()>)> = Some(|future| {
        Arc::new(Task { future: Mutex::new(Some(future)), queue: QUEUE.clone() }).wake();
    });

    fn block_on<F: Future>(future: F) -> F::Output {
        smol::future::block_on(future)
    }
}
