//! A client and a server with a network between them that delays, loses, resets and forges as the
//! bytes say: the world of the simulation, whose choices come from the bytes.

use super::choices::MOST_BYTES;
use crate::violation::hold;
use crate::world::live_bytes;

/// The bytes: the options of the world, then its choices in the order in which they come up.
pub fn pair_script(bytes: &[u8]) {
    let outcome = live_bytes(&bytes[..bytes.len().min(MOST_BYTES)], false);
    hold(outcome.violation.map_or(Ok(()), Err));
}
