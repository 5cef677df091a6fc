//! Waking the holder of a connection that the pool revokes, on systems whose reactors do not do it.

use core::task::Waker;
#[cfg(any(not(unix), test))]
use std::sync::{Mutex, PoisonError};

use crate::runtime::Direction;

/// The calls that wait for a socket, as far as its reactor does not wake them.
#[cfg(not(unix))]
pub(crate) type Waiting = Wakers;
#[cfg(unix)]
pub(crate) type Waiting = InReactor;

/// On Unix, a socket that is shut down becomes ready, so its reactor wakes the calls.
#[cfg(unix)]
#[derive(Debug, Default)]
pub(crate) struct InReactor;

#[cfg(unix)]
impl InReactor {
    #[expect(clippy::unused_self, reason = "as for other systems")]
    pub(crate) const fn register(&self, _direction: Direction, _waker: &Waker) {}

    #[expect(clippy::unused_self, reason = "as for other systems")]
    pub(crate) const fn wake(&self) {}
}

/// On Windows, no reactor reports that a socket was shut down at this end: without these wakers, a read whose
/// peer stays silent would wait for ever. As in a reactor, the waker of the last call in each direction counts.
#[cfg(any(not(unix), test))]
#[derive(Debug, Default)]
pub(crate) struct Wakers(Mutex<[Option<Waker>; 2]>);

#[cfg(any(not(unix), test))]
impl Wakers {
    /// Remembers the waker of a call that waits. The caller looks at the mark of the revocation afterwards,
    /// because an interrupt may have come before.
    pub(crate) fn register(&self, direction: Direction, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [read, write] = &mut *wakers;
        let place = match direction {
            Direction::Read => read,
            Direction::Write => write,
        };
        match place {
            Some(known) => known.clone_from(waker),
            None => *place = Some(waker.clone()),
        }
    }

    /// Wakes the calls that wait, and forgets them.
    pub(crate) fn wake(&self) {
        let wakers = core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_waker_of_each_direction_is_woken_once() {
        let waiting = Wakers::default();
        let [first, read, write] = [(); 3].map(|()| Arc::<Count>::default());
        waiting.register(Direction::Read, &Arc::clone(&first).into());
        waiting.register(Direction::Read, &Arc::clone(&read).into());
        waiting.register(Direction::Write, &Arc::clone(&write).into());
        waiting.wake();
        waiting.wake();
        let woken = [first, read, write].map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1, 1]);
    }
}
