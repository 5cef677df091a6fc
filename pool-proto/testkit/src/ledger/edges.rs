//! The core's table of edges, as a ledger sees it.

use pool_proto::{EDGES, Edge, State};

use crate::setup::Side;

/// Whether a connection of this side can go from one state to another.
pub fn is_edge(side: Side, (from, to): Edge) -> bool {
    let owner = match (from, to) {
        (Some(State::Dialing), _) | (_, Some(State::Dialing)) => side == Side::Client,
        (Some(State::Accepted | State::Admitted), _)
        | (_, Some(State::Accepted | State::Admitted)) => side == Side::Server,
        (Some(State::Handshaking), Some(_)) => side == Side::Client,
        _ => true,
    };
    owner && EDGES.contains(&(from, to))
}

/// The edges that can be seen between two calls. A connection that leaves a state and comes back
/// within one call is not seen to move.
pub fn visible_edges() -> impl Iterator<Item = Edge> {
    EDGES.iter().copied().filter(|(from, to)| from != to)
}
