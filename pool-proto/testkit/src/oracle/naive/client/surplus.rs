//! Ready connections that are too many, and when they are closed.

use std::time::Duration;

use pool_proto::State::Idle;
use pool_proto::{CloseReason, Instant};

use crate::oracle::naive::Naive;

/// The acquires with which the proof that nobody needs them takes a quarter of the time.
pub(super) const MANY: u32 = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Surplus {
    /// The fewest since there are any.
    pub fewest: u32,
    pub since: Instant,
    /// Counted up to [`MANY`].
    pub acquires: u32,
}

impl Surplus {
    pub(super) fn ends(self, keep: Duration) -> Instant {
        let time = keep / if self.acquires == MANY { 128 } else { 32 };
        self.since + time.max(Duration::from_nanos(1))
    }
}

impl Naive {
    pub(super) fn note_surplus(&mut self) {
        let (now, more) = (self.now, self.count(Idle).saturating_sub(self.wanted()));
        let Some(dialer) = self.dialer_mut().filter(|dialer| !dialer.paced()) else { return };
        match &mut dialer.surplus {
            _ if more == 0 => dialer.surplus = None,
            Some(surplus) => surplus.fewest = surplus.fewest.min(more),
            none => *none = Some(Surplus { fewest: more, since: now, acquires: 0 }),
        }
    }

    pub(super) fn close_surplus(&mut self) {
        let (now, keep) = (self.now, self.setup.keep);
        let Some(dialer) = self.dialer_mut() else { return };
        let ended = dialer.surplus.take_if(|surplus| surplus.ends(keep) <= now);
        for _ in 0..ended.map_or(0, |surplus| surplus.fewest) {
            if let Some(oldest) = self.first(Idle) {
                self.close_one(oldest, CloseReason::Surplus);
            }
        }
    }
}
