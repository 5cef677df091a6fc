//! The waiters of one machine: in which order they are to be served, and which were woken.

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use pool_proto::{Collected, ConnId, WaiterId};

use crate::violation::{Verdict, ensure};

/// The request of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Any,
    /// Any that the peer has begun to use.
    Claimed,
    Id(ConnId),
    Stock(u32),
}

#[derive(Clone, Default)]
pub(super) struct Waiting {
    /// Waiters that have not collected their outcome, in the order in which they came.
    open: Vec<(WaiterId, Want)>,
    /// Without an outcome, each with its rank: of those of one kind, the lowest is to be served first.
    queue: Vec<(WaiterId, Want, i64)>,
    /// Woken, in that order, and not collected.
    called: Vec<(WaiterId, Want)>,
    /// The rank of the next waiter that goes to the front, or to the back, of its queue.
    front: i64,
    back: i64,
    /// The waiter that collected in this call. If its connection had expired and it was granted another
    /// at once, a wake for it follows, which means nothing any more.
    last: Option<WaiterId>,
    past: Vec<WaiterId>,
    used: HashSet<WaiterId, FixedState>,
}

impl Waiting {
    /// Begins a call: a stray wake is allowed in the call in which its waiter collected, and not later.
    pub(super) const fn begin(&mut self) {
        self.last = None;
    }

    pub(super) fn enqueue(&mut self, waiter: WaiterId, want: Want, front: bool) -> Verdict {
        let fresh = self.used.insert(waiter);
        ensure!(fresh, "5: each waiter is one", "{waiter:?} is used again");
        self.open.push((waiter, want));
        if front {
            self.put_in_front(waiter, want);
            self.front -= 1;
        } else {
            self.back += 1;
            self.queue.push((waiter, want, self.back));
        }
        Ok(())
    }

    fn put_in_front(&mut self, waiter: WaiterId, want: Want) {
        self.queue.push((waiter, want, self.front));
    }

    pub(super) fn open(&self) -> &[(WaiterId, Want)] {
        &self.open
    }

    pub(super) fn past(&self) -> &[WaiterId] {
        &self.past
    }

    /// How many have no outcome yet.
    pub(super) const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many have been woken and have not collected.
    pub(super) const fn called(&self) -> usize {
        self.called.len()
    }

    /// How many wait for one that the peer has begun to use.
    pub(super) fn for_claimed(&self) -> usize {
        self.queue.iter().filter(|(_, want, _)| *want == Want::Claimed).count()
    }

    /// How many wait for any connection.
    pub(super) fn for_any(&self) -> usize {
        self.queue.iter().filter(|(_, want, _)| *want == Want::Any).count()
    }

    /// How many wait for a connection that the peer has begun to use.
    pub(super) fn for_requests(&self) -> usize {
        self.queue.iter().filter(|(_, want, _)| *want == Want::Claimed).count()
    }

    /// How many wait for any connection or for stock.
    pub(super) fn for_supply(&self) -> usize {
        let supply = |want: &Want| matches!(want, Want::Any | Want::Stock(_));
        self.queue.iter().filter(|(_, want, _)| supply(want)).count()
    }

    /// The smallest stock that is waited for.
    pub(super) fn least_stock(&self) -> Option<u32> {
        self.stocks().min()
    }

    /// The largest stock that a caller waits for; zero without such a caller.
    pub(super) fn for_stock(&self) -> u32 {
        self.stocks().max().unwrap_or(0)
    }

    fn stocks(&self) -> impl Iterator<Item = u32> {
        self.queue.iter().filter_map(|(_, want, _)| match want {
            Want::Stock(ready) => Some(*ready),
            _ => None,
        })
    }

    /// Whether a waiter waits for this id.
    pub(super) fn wants(&self, id: ConnId) -> bool {
        self.queue.iter().any(|(_, want, _)| *want == Want::Id(id))
    }

    /// The machine wakes a waiter: it must be the first of its queue.
    ///
    /// A waiter whose grant was lost (`grant_lost`) may have been granted another connection in the
    /// same call, and is woken for that again.
    pub(super) fn woken(&mut self, waiter: WaiterId, grant_lost: bool) -> Verdict {
        let at = self.queue.iter().position(|(queued, ..)| *queued == waiter);
        let Some(at) = at else {
            let replaced = grant_lost && self.called.iter().any(|(called, _)| *called == waiter);
            let over = self.last == Some(waiter);
            ensure!(replaced || over, "5: each waiter is woken once", "{waiter:?}");
            return Ok(());
        };
        let (_, want, rank) = self.queue.remove(at);
        let passed = self.queue.iter().any(|(_, other, before)| *other == want && *before < rank);
        ensure!(!passed, "5: waiters are served in order", "{waiter:?} for {want:?}");
        self.called.push((waiter, want));
        Ok(())
    }

    /// Woken waiters that wait again, because their connection ended before they collected it: they
    /// return to the front. Of several in one call, the order in which their connections ended decides,
    /// which is not promised.
    pub(super) fn connection_lost(&mut self, waits: impl Fn(WaiterId) -> bool) {
        let mut lost = false;
        for at in (0..self.called.len()).rev() {
            if waits(self.called[at].0) {
                let (waiter, want) = self.called.remove(at);
                self.put_in_front(waiter, want);
                lost = true;
            }
        }
        if lost {
            self.front -= 1;
        }
    }

    /// Enters a collect. Returns the waiter's request, if it was a waiter.
    pub(super) fn collected(
        &mut self,
        waiter: WaiterId,
        answer: &Collected<u32>,
    ) -> Verdict<Option<Want>> {
        let queued = self.queue.iter().find(|(other, ..)| *other == waiter);
        let queued = queued.map(|(_, want, _)| *want);
        let called = self.called.iter().position(|(other, _)| *other == waiter);
        match (answer, queued, called) {
            (Collected::Waiting, Some(want), None) => Ok(Some(want)),
            // The connection expired at this moment: the waiter waits again, or has another.
            (Collected::Waiting, None, Some(at)) => {
                let (_, want) = self.called.remove(at);
                self.put_in_front(waiter, want);
                self.front -= 1;
                Ok(Some(want))
            }
            (Collected::Unknown, None, None) => Ok(None),
            (Collected::Ready(_) | Collected::Refused(_) | Collected::Stocked, None, Some(at)) => {
                let (_, want) = self.called[at];
                self.end(waiter);
                self.last = Some(waiter);
                let stock = matches!(want, Want::Stock(_));
                let fits = match answer {
                    Collected::Ready(_) => !stock,
                    Collected::Stocked => stock,
                    _ => true,
                };
                ensure!(fits, "5: one outcome for each waiter", "{want:?} got {answer:?}");
                Ok(Some(want))
            }
            _ => {
                ensure!(false, "5: one outcome for each waiter", "{waiter:?} got {answer:?}");
                Ok(None)
            }
        }
    }

    /// A waiter is cancelled. Returns whether it was one.
    pub(super) fn cancelled(&mut self, waiter: WaiterId) -> bool {
        let known = self.open.iter().any(|(other, _)| *other == waiter);
        if known {
            self.end(waiter);
        }
        known
    }

    fn end(&mut self, waiter: WaiterId) {
        for waiters in [&mut self.open, &mut self.called] {
            waiters.retain(|(other, _)| *other != waiter);
        }
        self.queue.retain(|(other, ..)| *other != waiter);
        self.past.push(waiter);
    }
}
