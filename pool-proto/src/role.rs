//! Roles: the differences between dialing and accepting.

mod accepting;
pub(crate) mod dialing;
mod hooks;
pub(crate) mod share;
pub(crate) mod sources;

pub use accepting::{Accepting, Server};
pub use dialing::{Client, Dialing};

use crate::state_key::RoleKey;

/// The source of a machine's connections: [`Dialing`] or [`Accepting`]. Sealed.
pub trait Role: hooks::Hooks + RoleKey + Send + 'static {}

impl Role for Dialing {}
impl Role for Accepting {}

/// The most claimed connections in a pool of this capacity, and the most finished ones.
///
/// Claimed connections do not count as stock, but a peer must not be able to pile them up. A claim
/// lasts for about a round trip, in which an honest load does not use up more than its stock. Twice
/// the capacity leaves room for that; the minimum of 64 is for small pools.
const fn max_claimed(capacity: u32) -> u32 {
    let twice = capacity.saturating_mul(2);
    if twice > 64 { twice } else { 64 }
}
