//! The threads of a pool besides its driver's: they look names up, and call a user's dialer, both of
//! which may block.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use async_channel::{Receiver, Sender, bounded};

/// The threads under way.
#[derive(Debug)]
pub(crate) struct Dials {
    /// Full when there are as many as there may be.
    taken: Sender<()>,
    taking: Receiver<()>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A thread's place among those that there may be.
struct Taken(Receiver<()>);

impl Drop for Taken {
    fn drop(&mut self) {
        // What was put in when the place was taken is still there.
        let _ = self.0.try_recv();
    }
}

impl Dials {
    /// At most `limit` threads at a time.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        let (taken, taking) = bounded(usize::try_from(limit.max(1)).unwrap_or(usize::MAX));
        Arc::new(Self { taken, taking, threads: Mutex::default() })
    }

    /// Calls `act` on a thread of its own, as soon as there may be one more. Dropped, it is not called
    /// any more, or what comes of it is dropped.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let closing = || io::Error::new(io::ErrorKind::Interrupted, "the pool is closing");
        self.taken.send(()).await.map_err(|_| closing())?;
        let place = Taken(self.taking.clone());
        let (tell, told) = bounded(1);
        let thread = Builder::new().name("pool-dial".to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(act));
            // Before it is told: who is told may want the place.
            drop(place);
            // It fails when nobody waits for that any more.
            let _ = tell.try_send(outcome);
        });
        let thread = thread.map_err(|error| {
            let text = format!("no thread could be started to dial: {error}");
            io::Error::new(error.kind(), text)
        })?;
        self.keep(thread);
        match told.recv().await.map_err(|_| closing())? {
            Ok(outcome) => outcome,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn keep(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Waits for all.
    pub(crate) fn join(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // Their panics were caught.
        threads.into_iter().map(JoinHandle::join).for_each(drop);
    }
}
