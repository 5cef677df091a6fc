//! 8: flush, close, and the end of a life.

use pool_proto::{Acquired, Action, Collected, Stats, Stock};

use super::Ledger;
use crate::call::{Answer, Call, Did, Pool};
use crate::violation::{Verdict, ensure};

impl Ledger {
    pub(super) fn check_closing(
        &mut self,
        call: &Call,
        answer: &Answer,
        actions: &[Did],
        stats: &Stats,
        pool: &impl Pool,
    ) -> Verdict {
        // With its last connection, a shutdown is over.
        let over = self.shutdown.is_some() && self.lives.len() == 0;
        self.closed |= over;
        let closed = pool.is_closed();
        let shuts_down = self.shutdown.is_some() && !self.closed;
        let told = pool.is_shutting_down();
        ensure!(told == shuts_down, "8: a shutdown lasts until it is over", "{call:?}: {told}");
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
        if shuts_down {
            return self.check_shutdown(stats, pool);
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

    /// 8: a pool that shuts down holds the connections in use, and nobody waits for
    /// others.
    fn check_shutdown(&self, stats: &Stats, pool: &impl Pool) -> Verdict {
        let unused = stats.idle + stats.dialing + stats.handshaking;
        ensure!(unused == 0, "8: a shutdown ends what is unused", "{unused} are left");
        let supply = self.waiting.for_supply();
        ensure!(supply == 0, "8: waiters are answered by a shutdown", "{supply} wait");
        let (due, deadline) = (pool.poll_timeout(), self.shutdown.flatten());
        let timely = deadline.is_none_or(|deadline| due.is_some_and(|due| due <= deadline));
        ensure!(timely, "6: the deadline of a shutdown is known", "{due:?}, not {deadline:?}");
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
