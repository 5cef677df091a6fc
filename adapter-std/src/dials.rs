//! The threads of a pool besides its driver's: they look names up, and call a user's dialer, both of
//! which may block.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use async_channel::bounded;
use async_lock::Semaphore;

/// The threads under way.
#[derive(Debug)]
pub(crate) struct Dials {
    /// How many more there may be.
    places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Dials {
    /// At most `limit` threads at a time.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        let places = Semaphore::new(usize::try_from(limit).unwrap_or(usize::MAX));
        Arc::new(Self { places: Arc::new(places), threads: Mutex::default() })
    }

    /// Calls `act` on a thread of its own, as soon as there may be one more. Dropped, it is not called
    /// any more, or what comes of it is dropped.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = self.places.acquire_arc().await;
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
        match told.recv().await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(gone) => Err(io::Error::other(gone)),
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
