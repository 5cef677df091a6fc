//! Tasks of the engine, their handles, and their sleep.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pool_driver::pool_proto::Instant;

use crate::engine::{Owner, Purpose, Side, Sim, State};

pub(crate) struct Task {
    pub(crate) number: u64,
    pub(crate) owner: Owner,
    pub(crate) sim: Sim,
    pub(crate) future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    pub(crate) queued: AtomicBool,
    pub(crate) cancelled: AtomicBool,
}

/// The handle of a task, which ends it when it is dropped.
pub struct TaskHandle(pub(crate) Option<Arc<Task>>);

impl Task {
    pub(crate) fn run(self: &Arc<Self>) {
        self.sim.with(|state| state.begin_poll(self));
        self.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(self));
        let mut slot = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        let mut future = slot.take().filter(|_| !self.cancelled.load(Ordering::Relaxed));
        let ended = future
            .as_mut()
            .is_none_or(|future| future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        if ended || self.cancelled.load(Ordering::Relaxed) {
            drop(slot);
            drop(future);
            self.end();
        } else {
            *slot = future;
        }
        self.sim.with(State::end_poll);
    }

    fn end(&self) {
        self.sim.with(|state| state.live.remove(&self.number));
    }

    /// As runtimes do: the task is dropped when its turn comes.
    fn cancel(self: Arc<Self>) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.wake();
    }

    pub(crate) fn drop_now(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        // Held while the task is polled, and so ends itself.
        let Ok(mut slot) = self.future.try_lock() else { return };
        let future = slot.take();
        drop(slot);
        drop(future);
        self.end();
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.sim.lock().ready.push(Arc::clone(&self));
        }
    }
}

impl TaskHandle {
    /// Lets the task run to its end.
    pub fn detach(mut self) {
        self.forget();
    }

    fn forget(&mut self) -> Option<Arc<Task>> {
        let task = self.0.take()?;
        task.sim.with(|state| {
            if let Some(count) = state.handles.get_mut(&task.owner) {
                *count -= 1;
            }
        });
        Some(task)
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if let Some(task) = self.forget() {
            task.cancel();
        }
    }
}

pub(crate) struct Sleep {
    pub(crate) sim: Sim,
    pub(crate) until: Instant,
    pub(crate) key: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (sim, until, key) = (self.sim.clone(), self.until, self.key);
        sim.with(|state| {
            if let Some(key) = key {
                let former = state.timers.remove(&(until, key));
                state.discard(former.map(|(_, waker)| waker));
            }
            if state.violation.is_some() {
                // A task that goes round and round is stopped here.
                return Poll::Pending;
            }
            if until <= state.now() {
                self.key = None;
                return Poll::Ready(());
            }
            let key = state.number();
            let owner = state.current.unwrap_or((Side::Stranger, Purpose::User));
            state.timers.insert((until, key), (owner, cx.waker().clone()));
            self.key = Some(key);
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.sim.with(|state| {
                let timer = state.timers.remove(&(self.until, key));
                state.discard(timer.map(|(_, waker)| waker));
            });
        }
    }
}
