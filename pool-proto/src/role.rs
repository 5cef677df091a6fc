//! What a client and a server differ in.

mod accepting;
mod dialing;
mod sources;

use core::hash::Hasher;

use crate::answer::WaitReason;
use crate::error::Refusal;
use crate::event::CloseReason;
use crate::machine::Machine;
use crate::state::State;
use crate::state_key::CanonicalNames;
use crate::stats::Stats;
use crate::time::Instant;

pub use accepting::{Accepting, Admission, Server};
pub use dialing::{Client, Dialing};

pub(crate) mod sealed {
    /// Keeps roles to those of this crate.
    pub trait Sealed {}
}

/// The most claimed connections of a pool of this capacity. They do not count as stock, but peers
/// must not be able to pile them up. A claim lasts for about a round trip, in which an honest load
/// does not use up more than its stock; twice that, and some for small pools, is room enough.
pub(crate) const fn max_claimed(capacity: u32) -> u32 {
    let twice = capacity.saturating_mul(2);
    if twice > 64 { twice } else { 64 }
}

/// Where a machine's connections come from: [`Dialing`](crate::Dialing) or
/// [`Accepting`](crate::Accepting). Sealed.
pub trait Role: Sized + sealed::Sealed {
    /// Begins what can be begun to fill the pool.
    #[doc(hidden)]
    fn refill<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// Does what is due by `now`.
    #[doc(hidden)]
    fn handle_timeout<C>(machine: &mut Machine<C, Self>, now: Instant);

    /// The earliest deadline that is the role's own.
    #[doc(hidden)]
    fn deadline<C>(machine: &Machine<C, Self>) -> Instant;

    /// The most ready connections there may be.
    #[doc(hidden)]
    fn limit(&self) -> u32;

    /// A taker found nothing ready, or took the last ready connection.
    #[doc(hidden)]
    fn missed(&mut self) {}

    /// So many ready connections are asked for.
    #[doc(hidden)]
    fn require(&mut self, _ready: u32) {}

    /// Why nothing can come any more.
    #[doc(hidden)]
    fn supply_ended(&self) -> Option<Refusal> {
        None
    }

    /// The listener is gone.
    #[doc(hidden)]
    fn accept_ended(&mut self) -> bool {
        false
    }

    /// A connection became ready for the first time.
    #[doc(hidden)]
    fn established<C>(_machine: &mut Machine<C, Self>, _index: u32) {}

    /// A connection has moved from one state to another.
    #[doc(hidden)]
    fn moved<C>(_machine: &mut Machine<C, Self>, _index: u32, _from: State, _to: State) {}

    /// A connection is about to end.
    #[doc(hidden)]
    fn ending<C>(machine: &mut Machine<C, Self>, index: u32, reason: CloseReason);

    /// Which claimed connection has to go because there are too many of them.
    #[doc(hidden)]
    fn surplus_claim<C>(_machine: &Machine<C, Self>) -> Option<u32> {
        None
    }

    /// The user flushed the pool.
    #[doc(hidden)]
    fn flushed(&mut self, _now: Instant) {}

    /// What a waiter for any connection waits for.
    #[doc(hidden)]
    fn wait_reason<C>(machine: &Machine<C, Self>) -> WaitReason;

    /// Feeds a model checker's hasher with what only the role knows of a connection.
    #[doc(hidden)]
    fn hash_slot<C, H: Hasher>(machine: &Machine<C, Self>, index: u32, hasher: &mut H);

    /// Feeds a model checker's hasher with what only the role knows.
    #[doc(hidden)]
    fn hash_state<C, N: CanonicalNames<C>, H: Hasher>(
        machine: &Machine<C, Self>,
        names: &N,
        hasher: &mut H,
    );

    /// Fills in what only the role knows.
    #[doc(hidden)]
    fn report(&self, stats: &mut Stats);
}
