//! 8: flush, close, and the end of a life.

use pool_proto::{Acquired, Action, Collected, Stats, Stock};

use super::Ledger;
use crate::call::{Answer, Call, Did, Pool};
use crate::violation::{Verdict, ensure};

impl Ledger {
    pub(super) fn check_closing(
        &self,
        call: &Call,
        answer: &Answer,
        actions: &[Did],
        stats: &Stats,
        pool: &impl Pool,
    ) -> Verdict {
        let closed = pool.is_closed();
        ensure!(closed == self.closed, "8: a pool is closed once it was", "{call:?}: {closed}");
        match call {
            Call::Close if self.step.was_closed => {
                let nothing = actions.is_empty() && *stats == self.before;
                ensure!(nothing, "8: close is idempotent", "{actions:?}");
            }
            Call::Flush if !self.closed => {
                let (live, dialled) = (self.lives.len(), self.step.dialled);
                ensure!(live == dialled, "8: flush ends everything", "{live}, {dialled} new");
                let flushed = stats.totals.flushed - self.before.totals.flushed;
                let lived = u64::from(self.step.lived);
                ensure!(flushed == lived, "8: flush ends everything", "{flushed} of {lived}");
            }
            _ => {}
        }
        if !self.closed {
            return Ok(());
        }
        let live = self.lives.len();
        ensure!(live == 0, "8: close ends everything", "{live} live");
        let queued = self.waiting.queued();
        ensure!(queued == 0, "8: waiters are answered by close", "{queued} wait");
        let due = pool.poll_timeout();
        ensure!(due.is_none(), "6: nothing is due after close", "{due:?}");
        if !self.step.was_closed {
            return Ok(());
        }
        let wakes = actions.iter().any(|action| matches!(action, Action::Wake { .. }));
        ensure!(!wakes, "8: waiters are answered by close", "{actions:?}");
        let begun = matches!(
            answer,
            Answer::Acquired(Acquired::Ready(_) | Acquired::Queued(_))
                | Answer::Stock(Stock::Ready | Stock::Queued(_))
                | Answer::Collected(Collected::Ready(_) | Collected::Waiting)
                | Answer::Accepted(Ok(_))
                | Answer::Admitted(Ok(_))
                | Answer::Put(Ok(()))
        );
        ensure!(!begun, "8: nothing begins after close", "{answer:?}");
        Ok(())
    }

    /// 1 and 8: everything that went in has come out, and everybody was answered.
    pub fn check_end(&self, pool: &impl Pool) -> Verdict {
        let live = self.lives.len();
        ensure!(live == 0, "8: close ends everything", "{live} live");
        ensure!(self.inside == 0, "1: everything comes out", "{} inside", self.inside);
        let due = pool.poll_timeout();
        ensure!(due.is_none(), "6: nothing is due after close", "{due:?}");
        let open = self.waiting.open().len();
        ensure!(open == 0, "8: waiters are answered by close", "{open} have not collected");
        Ok(())
    }
}
