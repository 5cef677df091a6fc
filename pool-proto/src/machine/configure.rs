//! A new configuration for a machine that runs: the part that both roles share.

use super::{Machine, periods};
use crate::config::Common;
use crate::error::{ConfigError, Refusal};
use crate::role::Role;
use crate::state::State;
use crate::time::{Instant, Period};

/// Refuses a change of a setting that cannot change.
pub(crate) const fn unchanged(setting: &'static str, same: bool) -> Result<(), ConfigError> {
    if same { Ok(()) } else { Err(ConfigError::Fixed { setting }) }
}

impl<C, R: Role> Machine<C, R> {
    /// Refuses settings that cannot change: they are agreed upon with the peer, or made into the ids and
    /// keys of this machine.
    pub(crate) fn check_fixed(&self, new: &Common) -> Result<(), ConfigError> {
        unchanged("seed", new.seed.is_none_or(|seed| seed == self.entropy))?;
        unchanged("acquirer", new.acquirer == self.acquirer)?;
        unchanged("control_connection", new.control_connection == self.slots.control)?;
        unchanged("opening_byte", new.opening_byte == self.opening)
    }

    /// Takes over the shared settings.
    pub(crate) fn take_over(&mut self, new: &Common, dial_timeout: Period) {
        let Common { max_connections, max_waiters, take_order, reuse_delay, .. } = *new;
        self.slots.set_periods(periods(new, dial_timeout), new.max_lifetime, new.lifetime_jitter);
        self.waiters.set_limit(max_waiters);
        self.max_connections = max_connections;
        self.take_order = take_order;
        self.reuse_delay = reuse_delay;
    }

    /// Ends what new settings leave no room or time for, and serves the waiters that they concern.
    pub(crate) fn settle_settings(&mut self, now: Instant) {
        for state in [State::Claimed, State::Finished] {
            while let Some(surplus) = R::surplus_claim(self, state) {
                self.close_one(surplus, Self::unwanted(state == State::Finished));
            }
        }
        self.refuse_beyond_capacity();
        self.handle_timeout(now);
    }

    /// Refuses the waiters for a larger stock than there may be now.
    pub(crate) fn refuse_beyond_capacity(&mut self) {
        let capacity = self.role.max_capacity();
        while let Some((waiter, wanted)) = self.waiters.first_beyond(capacity) {
            self.refuse(waiter, Refusal::StockBeyondCapacity { wanted, capacity });
        }
    }

    /// Whether the allow list was changed, and does not admit the peer of a connection any more.
    pub(super) fn is_barred(&self, index: u32) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.barred)
    }
}
