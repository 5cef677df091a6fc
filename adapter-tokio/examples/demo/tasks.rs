//! Tasks that can be awaited: only then is it certain that all descriptors are closed.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Locks a mutex, even if it is poisoned: it protects plain counters, which are always valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Services, which run until [`Tasks::stop`], and jobs, which end by themselves.
#[derive(Clone)]
pub(crate) struct Tasks {
    /// `None` once stopped.
    set: Arc<Mutex<Option<JoinSet<()>>>>,
    jobs: Arc<watch::Sender<usize>>,
}

struct Busy(Arc<watch::Sender<usize>>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            set: Arc::new(Mutex::new(Some(JoinSet::new()))),
            jobs: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Spawns a service.
    pub(crate) fn service(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(set) = lock(&self.set).as_mut() {
            while set.try_join_next().is_some() {}
            set.spawn(task);
        }
    }

    /// Spawns a job, such as serving one visitor.
    pub(crate) fn job(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.jobs.send_modify(|count| *count += 1);
        let busy = Busy(Arc::clone(&self.jobs));
        self.service(async move {
            task.await;
            drop(busy);
        });
    }

    /// Waits until all jobs have ended.
    pub(crate) async fn idle(&self) {
        // Fails only when the sender is dropped, and `self` holds it.
        let _ = self.jobs.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Aborts all tasks, and waits until they have been dropped.
    pub(crate) async fn stop(&self) {
        let set = lock(&self.set).take();
        if let Some(mut set) = set {
            set.shutdown().await;
        }
    }
}
