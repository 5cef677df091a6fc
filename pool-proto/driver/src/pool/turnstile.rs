//! The order of work in a crowd: accepting before cryptography.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_channel::{Receiver, Sender, bounded};

/// The handshakes that may go on after each burst of accepts, while more peers are waiting to be
/// accepted. The cryptography of four handshakes takes about as long as a burst.
const TICKETS: usize = 4;

/// Lets handshakes pass at once, except in a crowd.
///
/// A `ClientHello` costs a server some 200 µs, and an accept a tenth of that. If a crowd's handshakes
/// were served as they come, the queue of the listener would stay full, and everybody would wait a
/// second in it. So while peers are waiting to be accepted, only a few handshakes pass; the rest wait,
/// and most of a crowd's are evicted before they have cost anything.
#[derive(Clone, Debug)]
pub(super) struct Turnstile {
    crowded: Arc<AtomicBool>,
    admit: Sender<()>,
    admitted: Receiver<()>,
}

impl Turnstile {
    pub(super) fn new() -> Self {
        let (admit, admitted) = bounded(TICKETS);
        Self { crowded: Arc::default(), admit, admitted }
    }

    /// Peers are waiting to be accepted: lets a few handshakes pass.
    pub(super) fn crowded(&self) {
        self.crowded.store(true, Ordering::Relaxed);
        while self.admit.try_send(()).is_ok() {}
    }

    /// Nobody is waiting to be accepted: lets every handshake pass.
    pub(super) fn open(&self) {
        if self.crowded.swap(false, Ordering::Relaxed) {
            // The first one that passes admits the next. Full if tickets are left, which serve as well.
            let _ = self.admit.try_send(());
        }
    }

    /// Waits for a turn.
    pub(super) async fn pass(&self) {
        if self.crowded.load(Ordering::Relaxed) {
            // Cannot fail: a sender is held here.
            let _ = self.admitted.recv().await;
            if !self.crowded.load(Ordering::Relaxed) {
                let _ = self.admit.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn handshakes_pass_at_once_where_there_is_no_crowd() {
        let turnstile = Turnstile::new();
        for _ in 0..=TICKETS {
            assert_eq!(block_on(poll_once(turnstile.pass())), Some(()));
        }
    }

    #[test]
    fn a_few_pass_in_a_crowd_and_all_when_it_is_over() {
        let turnstile = Turnstile::new();
        turnstile.crowded();
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(turnstile.pass())).collect();
        let passed = |waiting: &mut Vec<_>| {
            let before = waiting.len();
            waiting.retain_mut(|pass| block_on(poll_once(pass)).is_none());
            before - waiting.len()
        };
        assert_eq!(passed(&mut waiting), TICKETS);
        assert_eq!(passed(&mut waiting), 0);
        turnstile.crowded();
        assert_eq!(passed(&mut waiting), TICKETS);
        turnstile.open();
        assert_eq!(passed(&mut waiting), 10 - 2 * TICKETS);
    }

    #[test]
    fn an_evicted_handshake_leaves_its_ticket_to_the_next() {
        let turnstile = Turnstile::new();
        turnstile.crowded();
        for _ in 0..TICKETS {
            block_on(turnstile.pass());
        }
        let (mut evicted, mut next) = (Box::pin(turnstile.pass()), Box::pin(turnstile.pass()));
        assert_eq!(block_on(poll_once(&mut evicted)), None);
        assert_eq!(block_on(poll_once(&mut next)), None);
        turnstile.open();
        drop(evicted);
        assert_eq!(block_on(poll_once(&mut next)), Some(()));
    }
}
