//! The table of edges: which way a connection can go from one state to another.

use pool_proto::State;

use crate::setup::Side;

/// Every edge that there is, as it is seen between two calls of a machine: a call may take a
/// connection through several of the internal ones at once.
///
/// The first column is where it comes from, the second where it goes; then who has the edge.
pub const EDGES: [(Option<State>, Option<State>, Owner); 31] = {
    use Owner::{Both, Client, Server};
    use State::{Checking, Claimed, Dialing, Granted, Handshaking, Idle, Leased, Resting};
    [
        (None, Some(Dialing), Client),
        (None, Some(Handshaking), Server),
        (Some(Dialing), Some(Handshaking), Client),
        (Some(Dialing), None, Client),
        (Some(Handshaking), Some(Idle), Both),
        (Some(Handshaking), Some(Granted), Both),
        (Some(Handshaking), Some(Checking), Both),
        (Some(Handshaking), None, Both),
        (Some(Idle), Some(Checking), Both),
        (Some(Idle), Some(Granted), Both),
        (Some(Idle), Some(Leased), Both),
        (Some(Idle), None, Both),
        (Some(Claimed), Some(Leased), Both),
        (Some(Claimed), None, Both),
        (Some(Granted), Some(Idle), Both),
        (Some(Granted), Some(Claimed), Both),
        (Some(Granted), Some(Checking), Both),
        (Some(Granted), Some(Leased), Both),
        (Some(Granted), None, Both),
        (Some(Leased), Some(Idle), Both),
        (Some(Leased), Some(Claimed), Both),
        (Some(Leased), Some(Granted), Both),
        (Some(Leased), Some(Resting), Both),
        (Some(Leased), Some(Checking), Both),
        (Some(Leased), None, Both),
        (Some(Resting), Some(Checking), Both),
        (Some(Resting), None, Both),
        (Some(Checking), Some(Idle), Both),
        (Some(Checking), Some(Claimed), Both),
        (Some(Checking), Some(Granted), Both),
        (Some(Checking), None, Both),
    ]
};

/// Ownerse edge it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Client,
    Server,
    Both,
}

impl Owner {
    pub fn has(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::Client => side == Side::Client,
            Self::Server => side == Side::Server,
        }
    }
}

/// Whether a connection of this side can go this way.
pub fn is_edge(side: Side, from: Option<State>, to: Option<State>) -> bool {
    EDGES.iter().any(|(a, b, owner)| *a == from && *b == to && owner.has(side))
}
