//! Idle connections that nobody has used for long: they go one after another.

use std::time::Duration;

use pool_proto::State::Idle;
use pool_proto::{CloseReason, Instant, Token};

use super::Naive;

impl Naive {
    /// Half of the time for which a connection may be idle.
    fn half(&self) -> Option<Duration> {
        self.setup.idle_timeout.map(|whole| whole / 2)
    }

    /// Idle connections whose time is half over, the oldest first.
    pub(super) fn ageing(&self) -> Vec<Token> {
        let Some(half) = self.half() else { return Vec::new() };
        let mut ageing: Vec<_> = self
            .all(Idle)
            .filter(|c| c.since + half <= self.now)
            .map(|c| (c.entry, c.token))
            .collect();
        ageing.sort_unstable_by_key(|(entry, _)| *entry);
        ageing.into_iter().map(|(_, token)| token).collect()
    }

    /// When the next one may go: its time is half over, and since the last one an even share of a
    /// quarter of the time has passed.
    pub(super) fn retire_due(&self) -> Option<Instant> {
        let oldest = self.first(Idle).and_then(|token| self.find(token))?;
        let half = self.half().filter(|_| !self.is_ending())?;
        let share = (half / 2 / self.count(Idle)).max(Duration::from_nanos(1));
        Some((oldest.since + half).max(self.retired + share))
    }

    pub(super) fn retire(&mut self) {
        if self.retire_due().is_some_and(|due| due <= self.now) {
            self.retired = self.now;
            let oldest = self.ageing()[0];
            if self.may_retire() {
                self.close_one(oldest, CloseReason::IdleTimeout);
            }
        }
    }
}
