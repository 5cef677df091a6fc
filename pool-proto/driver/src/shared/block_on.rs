//! Waiting for a future on a thread.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, PoisonError};
use std::task::Wake;

use crate::clock::Clock;
use crate::sync::{Condvar, Mutex};

/// Polls a future on the calling thread, which sleeps meanwhile.
///
/// Returns [`Poll::Pending`] when `timeout` has passed by `clock` and the future is not ready.
pub fn block_on<F: Future + Unpin>(
    future: &mut F,
    clock: &dyn Clock,
    timeout: Duration,
) -> Poll<F::Output> {
    let deadline = clock.now() + timeout;
    let parker = Arc::new(Parker { notified: Mutex::new(false), condvar: Condvar::new() });
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return Poll::Ready(output);
        }
        if !parker.park(deadline.since(clock.now())) {
            return Poll::Pending;
        }
    }
}

/// Puts one thread to sleep until it is woken.
struct Parker {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl Parker {
    /// Returns whether the thread was woken before `timeout` had passed.
    fn park(&self, timeout: Duration) -> bool {
        let notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.condvar.wait_timeout_while(notified, timeout, |notified| !*notified);
        let (mut notified, _) = slept.unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut *notified)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_one();
    }
}
