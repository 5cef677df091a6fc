//! A new configuration for a client that runs.

use core::time::Duration;

use super::Client;
use super::calls::cap_with_waiters;
use crate::config::ClientConfig;
use crate::error::ConfigError;
use crate::machine::unchanged;
use crate::state::State;
use crate::time::{Instant, Period};

impl<C> Client<C> {
    /// Changes the configuration. The client goes on, and does new things as one that was built with
    /// this configuration.
    ///
    /// | setting | what its change applies to |
    /// |---|---|
    /// | `capacity` | At once: what is missing is dialled. Ready connections beyond it are closed after a 32nd of `keep`, or a 128th where 16 callers came meanwhile. Callers that wait for a larger stock are refused |
    /// | `max_connections`, `max_dials` | The next dials. Connections and dials beyond it go on to their ends |
    /// | `max_waiters` | The next callers. Those that wait go on waiting |
    /// | `take_order` | The next acquire |
    /// | `dial_timeout`, `handshake_timeout`, `idle_timeout`, `max_lifetime`, `lifetime_jitter`, `claim_timeout`, `reuse_delay`, `drain_timeout` | All connections. The time counts from when it began, not from the change. A connection whose time is over ends now; one in use whose lifetime is over, when it is put back |
    /// | `keep` | Demand that is remembered already, too. The time to the end of a surplus begins anew |
    /// | `interval` | The next pause between rounds. The one that goes on is cut to the new one if that is shorter |
    /// | `backoff` | The next wait. One that goes on for longer than the new cap is drawn anew, up to the cap |
    /// | `ids`, `acquirer`, `control_connection`, `opening_byte`, `tuning`, `seed` | Cannot change. A configuration without a seed leaves it as it is |
    ///
    /// The configuration is complete: omitted settings have their defaults. So keep the builder, or the
    /// file, that the pool was built from. The capacity is that of the configuration, whatever
    /// [`set_capacity`](Self::set_capacity) has made of it. Where the configuration is the same as
    /// before, nothing changes.
    ///
    /// The time is O(n log n) in the number of connections if lifetimes change, and otherwise that of a
    /// timeout.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Fixed`] names the first setting that cannot change. Then nothing changes.
    pub fn set_config(&mut self, now: Instant, config: &ClientConfig) -> Result<(), ConfigError> {
        self.check_config(now, config)?;
        self.apply_config(config);
        Ok(())
    }

    /// Returns the timeout of a dial.
    #[must_use]
    pub fn dial_timeout(&self) -> Duration {
        self.slots.period(State::Dialing).duration()
    }

    /// Refuses a configuration that changes what cannot change.
    pub(crate) fn check_config(
        &mut self,
        now: Instant,
        config: &ClientConfig,
    ) -> Result<(), ConfigError> {
        self.advance(now);
        unchanged("ids", config.ids == self.role.ids)?;
        unchanged("tuning", config.tuner.tuning() == self.role.tuner.tuning())?;
        self.check_fixed(&config.common)
    }

    /// Takes over a configuration that was checked.
    pub(crate) fn apply_config(&mut self, config: &ClientConfig) {
        let now = self.now;
        self.take_over(&config.common, config.dial_timeout);
        let role = &mut self.role;
        role.max_dials = config.max_dials;
        let (base, cap) = config.backoff;
        role.backoff.set_bounds(base, cap);
        role.probes.set_bounds(base, cap);
        role.cap_with_waiters = cap_with_waiters(base, cap);
        if role.tuner.keep() != config.tuner.keep() {
            role.surplus = None;
        }
        role.tuner.configure_as(&config.tuner);
        let soonest = now.after(role.tuner.period());
        role.next_round = role.next_round.map(|at| at.min(soonest));
        // Spread, as the same change may come to many clients at the same time.
        let cap = Period::saturating(cap);
        if role.retry_at.is_some_and(|at| at > now.after(cap)) {
            let wait = role.backoff.within(cap);
            role.wait(wait, now);
        }
        self.settle_settings(now);
    }
}
