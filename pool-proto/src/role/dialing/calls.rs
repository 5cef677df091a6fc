//! The calls that only a client has.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::control::ControlDials;
use super::urgency::Urgency;
use super::{Client, Dialing, FIRST_WINDOW, LONGEST_WITH_WAITERS};
use crate::backoff::Backoff;
use crate::config::{Bounds, ClientConfig, sound_capacity};
use crate::entropy::Use;
use crate::error::ConfigError;
use crate::id::{HintReader, IdExchange};
use crate::ids::Ids;
use crate::role::share::Share;
use crate::time::{Instant, Period};

impl<C> Client<C> {
    /// Creates a client. Its first dials are in [`poll_action`](crate::Machine::poll_action) already.
    #[must_use]
    pub fn new(config: &ClientConfig, now: Instant) -> Self {
        let entropy = config.common.entropy();
        let exchanged = config.ids != IdExchange::None;
        let ids = if exchanged { Ids::received(&entropy) } else { Ids::issued(&entropy) };
        let (base, cap) = config.backoff;
        let mut random = entropy.generator(Use::Backoff);
        let role = Dialing {
            ids: config.ids,
            tuner: config.tuner.clone(),
            hints: HintReader::new(),
            backoff: Backoff::with_generator(base, cap, random.fork()),
            probes: Backoff::with_generator(base, cap, random),
            cap_with_waiters: cap_with_waiters(base, cap),
            max_dials: config.max_dials,
            window: FIRST_WINDOW,
            limited: None,
            urgency: Urgency::default(),
            retry_at: None,
            ceiling: None,
            allowance: 1,
            raised_at: now,
            epoch: 0,
            relapsed: false,
            recovered_at: now,
            next_round: None,
            control: ControlDials::default(),
            created: 0,
            surplus: None,
            share: Share::default(),
            yielded_at: now,
            quota: 0,
        };
        let mut client =
            Self::assemble(&config.common, config.dial_timeout, exchanged, ids, role, now);
        client.begin_round();
        client.dispatch(now);
        client
    }

    /// Ends the wait after failures, or for room at a full peer: the next dial begins at once, and
    /// later waits are as short as at first. For callers that know that the peer can be reached again,
    /// for example because a network interface is up.
    ///
    /// As after any wait, this is one dial, and the others follow when it has succeeded. Under
    /// [`Tuning::NodePass`](crate::Tuning::NodePass) it also brings the next round forward.
    pub fn dial_now(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.is_ending() {
            return;
        }
        let role = &mut self.role;
        role.retry_at = None;
        // Keep one failure: whether the peer is there is still unknown.
        role.backoff.failures = role.backoff.failures.min(1);
        role.probes.failures = 0;
        role.next_round = role.next_round.map(|_| now);
        role.control.next = None;
        self.dispatch(now);
    }

    /// Sets the [capacity](crate::ClientConfigBuilder::capacity) anew: a range within which the law moves
    /// it, or one number. It is short for [`set_config`](Self::set_config) with another capacity. For
    /// users who know more of their demand than the law can see, or have a law of their own: they read the
    /// [statistics](crate::Machine::stats), and set one number from time to time.
    ///
    /// Missing connections are dialled at once. Ready connections beyond the capacity are closed after
    /// a 32nd of [`keep`](crate::ClientConfigBuilder::keep), or a 128th where 16 callers came meanwhile.
    /// Callers that wait for a larger stock than the new maximum are refused.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as at the build of the configuration; the capacity stays as it was.
    pub fn set_capacity(
        &mut self,
        now: Instant,
        capacity: impl Into<Bounds<u32>>,
    ) -> Result<(), ConfigError> {
        let capacity = self.sound_capacity(now, capacity.into())?;
        self.bound_capacity(now, capacity);
        Ok(())
    }

    /// The bounds, if they make sense for this client. As each call, it tells the time in any case.
    pub(crate) fn sound_capacity(
        &mut self,
        now: Instant,
        capacity: Bounds<u32>,
    ) -> Result<RangeInclusive<u32>, ConfigError> {
        self.advance(now);
        sound_capacity(capacity, self.max_connections, self.acquirer)
    }

    pub(crate) fn bound_capacity(&mut self, now: Instant, capacity: RangeInclusive<u32>) {
        let now = self.advance(now);
        self.role.tuner.set_bounds(capacity);
        self.refuse_beyond_capacity();
        self.dispatch(now);
    }
}

/// The longest wait of a backoff while a caller waits.
pub(super) fn cap_with_waiters(base: Duration, cap: Duration) -> Period {
    Period::saturating(base).max(LONGEST_WITH_WAITERS).min(Period::saturating(cap))
}
