//! Who waits, in order, and who has been called.

use pool_proto::{Collected, ConnId, WaiterId};

use crate::violation::{Verdict, ensure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Any,
    Id(ConnId),
    Stock(u32),
}

/// The driver's account of the waiters of one machine.
#[derive(Default)]
pub(crate) struct Waiting {
    /// In the order in which those of one kind are to be served.
    queue: Vec<(WaiterId, Want)>,
    /// Woken, in that order, and not collected.
    called: Vec<(WaiterId, Want)>,
    /// Whoever collected last. When what was promised to it expired, and it was promised another at
    /// once, a wake for it is on its way, which means nothing any more.
    last: Option<WaiterId>,
}

impl Waiting {
    pub(crate) fn queue(&mut self, waiter: WaiterId, want: Want, front: bool) {
        if front {
            self.queue.insert(0, (waiter, want));
        } else {
            self.queue.push((waiter, want));
        }
    }

    /// How many wait for any connection.
    pub(crate) fn any(&self) -> usize {
        self.queue.iter().filter(|(_, want)| *want == Want::Any).count()
    }

    /// The smallest stock that somebody waits for.
    pub(crate) fn least_stock(&self) -> Option<u32> {
        let stocks = self.queue.iter().filter_map(|(_, want)| match want {
            Want::Stock(ready) => Some(*ready),
            _ => None,
        });
        stocks.min()
    }

    /// Whether somebody waits for this id.
    pub(crate) fn wants(&self, id: ConnId) -> bool {
        self.queue.iter().any(|(_, want)| *want == Want::Id(id))
    }

    /// How many wait for any connection or for stock.
    pub(crate) fn for_supply(&self) -> usize {
        self.queue.iter().filter(|(_, want)| !matches!(want, Want::Id(_))).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// With those who have not collected their outcome.
    pub(crate) fn all(&self) -> usize {
        self.queue.len() + self.called.len()
    }

    /// A step begins: wakes that came for nothing in the last one are no excuse in this one.
    pub(crate) fn step(&mut self) {
        self.last = None;
    }

    pub(crate) fn called(&self) -> usize {
        self.called.len()
    }

    /// The machine wakes a waiter: it must be the first of those who want the same.
    ///
    /// One that was `bereft` of what it was promised may have been promised another in the same
    /// step, and is woken for that again.
    pub(crate) fn woken(&mut self, waiter: WaiterId, bereft: bool) -> Verdict {
        let at = self.queue.iter().position(|(queued, _)| *queued == waiter);
        let Some(at) = at else {
            let replaced = bereft && self.called.iter().any(|(called, _)| *called == waiter);
            let over = self.last == Some(waiter);
            ensure!(replaced || over, "5: who waits is woken once", "{waiter:?}");
            return Ok(());
        };
        let (_, want) = self.queue[at];
        let first = self.queue.iter().position(|(_, other)| *other == want);
        let in_turn = first == Some(at);
        ensure!(in_turn, "5: waiters are served in order", "{waiter:?} for {want:?}");
        self.called.push(self.queue.remove(at));
        Ok(())
    }

    /// A waiter that was called waits again: its connection ended before it was collected. It
    /// returns to the front.
    pub(crate) fn connection_lost(&mut self, waits: impl Fn(WaiterId) -> bool) {
        for at in (0..self.called.len()).rev() {
            if waits(self.called[at].0) {
                let waiter = self.called.remove(at);
                self.queue.insert(0, waiter);
            }
        }
    }

    /// A waiter has looked. Returns what it wanted.
    pub(crate) fn collected(
        &mut self,
        waiter: WaiterId,
        answer: &Collected<u32>,
    ) -> Verdict<Option<Want>> {
        let queued = self.queue.iter().find(|(other, _)| *other == waiter).map(|(_, want)| *want);
        let called = self.called.iter().position(|(other, _)| *other == waiter);
        match (answer, queued, called) {
            (Collected::Waiting, Some(want), None) => Ok(Some(want)),
            // The connection expired at the look: the waiter waits again, or has another.
            (Collected::Waiting, None, Some(at)) => {
                let entry = self.called.remove(at);
                self.queue.insert(0, entry);
                Ok(Some(entry.1))
            }
            (Collected::Unknown, None, None) => Ok(None),
            (Collected::Ready(_) | Collected::Refused(_) | Collected::Stocked, None, Some(at)) => {
                let (_, want) = self.called.remove(at);
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

    /// A waiter has given up; whether it was one.
    pub(crate) fn forget(&mut self, waiter: WaiterId) -> bool {
        let before = self.all();
        self.queue.retain(|(other, _)| *other != waiter);
        self.called.retain(|(other, _)| *other != waiter);
        self.all() < before
    }
}
