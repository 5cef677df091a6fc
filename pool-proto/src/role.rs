//! Roles: the differences between dialing and accepting.

pub(crate) mod accepting;
pub(crate) mod dialing;
pub(crate) mod sources;

pub use accepting::{Accepting, Admission, Server};
pub use dialing::{Client, Dialing};

use crate::state_key::RoleKey;

/// The source of a machine's connections: [`Dialing`] or [`Accepting`]. Sealed.
pub trait Role: hooks::Hooks + RoleKey + Send + 'static {}

impl Role for Dialing {}
impl Role for Accepting {}

/// The seed of a machine whose configuration has none. The adapters always set one.
const DEFAULT_SEED: u64 = 0x706f_6f6c;

/// The most claimed connections in a pool of this capacity.
///
/// Claimed connections do not count as stock, but a peer must not be able to pile them up. A claim
/// lasts for about a round trip, in which an honest load does not use up more than its stock. Twice
/// the capacity leaves room for that; the minimum of 64 is for small pools.
const fn max_claimed(capacity: u32) -> u32 {
    let twice = capacity.saturating_mul(2);
    if twice > 64 { twice } else { 64 }
}

pub(crate) mod hooks {
    //! The calls of a machine to its role.

    use crate::answer::WaitReason;
    use crate::error::Refusal;
    use crate::event::CloseReason;
    use crate::machine::Machine;
    use crate::state::State;
    use crate::stats::Stats;
    use crate::time::Instant;

    /// The hooks of a role. Public only as a bound of [`Role`](super::Role), which it seals: nobody
    /// outside the crate can name it.
    pub trait Hooks: Sized {
        /// Begins to fill the pool, as far as the role may now. Called after every change.
        fn refill<C>(machine: &mut Machine<C, Self>, now: Instant);

        /// Does everything of the role that is due by `now`.
        fn handle_timeout<C>(machine: &mut Machine<C, Self>, now: Instant);

        /// Returns the earliest deadline of the role's own; [`Instant::NEVER`] if it has none.
        fn next_deadline<C>(machine: &Machine<C, Self>) -> Instant;

        /// A connection has moved from one state to another.
        fn moved<C>(machine: &mut Machine<C, Self>, index: u32, from: State, to: State);

        /// A connection is about to end.
        fn ending<C>(machine: &mut Machine<C, Self>, index: u32, reason: CloseReason);

        /// Returns the claimed connection to close because there are too many of them, if so.
        fn surplus_claim<C>(_machine: &Machine<C, Self>) -> Option<u32> {
            None
        }

        /// Returns the reason why a waiter for any connection has nothing yet.
        fn wait_reason<C>(machine: &Machine<C, Self>) -> WaitReason;

        /// Returns the most ready connections that the pool may hold.
        fn max_capacity(&self) -> u32;

        /// A caller found nothing ready, or took the last ready connection.
        fn missed(&mut self) {}

        /// A caller waits for this number of ready connections.
        fn require(&mut self, _ready: u32) {}

        /// Returns why no connection can come any more, if so.
        fn supply_ended(&self) -> Option<Refusal> {
            None
        }

        /// The listener has ended. Returns `false` in a role without a listener.
        fn accept_ended(&mut self) -> bool {
            false
        }

        /// The user flushed the pool.
        fn flushed(&mut self, _now: Instant) {}

        /// Fills in the role's part of the statistics.
        fn report(&self, stats: &mut Stats);
    }
}
