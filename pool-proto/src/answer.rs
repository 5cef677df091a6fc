//! The answers of a machine to calls that take a connection or wait for stock.

use core::fmt;

use crate::error::Refusal;
use crate::event::{Token, WaiterId};
use crate::id::ConnId;

/// A connection in use: it leaves the pool by value, so it cannot be handed out twice.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is dropped must be reported with Event::Closed"]
pub struct Lease<C> {
    /// Names the lease at [`put`](crate::Machine::put), [`Event::Closed`] and [`Action::Abort`].
    pub token: Token,
    /// The connection's id, equal on both ends where ids are exchanged.
    pub id: ConnId,
    /// The connection.
    pub connection: C,
}

/// The answer to an acquire.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired<C> {
    /// Here it is.
    Ready(Lease<C>),
    /// The caller stands in the queue; [`Action::Wake`] calls it to
    /// [`collect`](crate::Machine::collect).
    Queued(WaiterId),
    /// There is nothing to wait for.
    Refused(Refusal),
}

/// The answer to [`wait_ready`](crate::Machine::wait_ready).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Stock {
    /// There are as many ready connections as asked for.
    Ready,
    /// The caller stands in the queue.
    Queued(WaiterId),
    /// There is nothing to wait for.
    Refused(Refusal),
}

/// What a waiter finds when it looks.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Collected<C> {
    /// Its connection. The waiter is over.
    Ready(Lease<C>),
    /// The stock it waited for is there. The waiter is over.
    Stocked,
    /// Nothing yet.
    Waiting,
    /// There is nothing to wait for any more. The waiter is over.
    Refused(Refusal),
    /// The waiter was over before.
    Unknown,
}

/// What a waiter was waiting for when it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// It had nothing yet, for this reason.
    Waiting(WaitReason),
    /// It had been given a connection, which goes to the next waiter or back into the pool; or the
    /// stock that it waited for was there.
    Granted,
    /// It had been refused.
    Refused(Refusal),
    /// The waiter was over before.
    Unknown,
}

/// Why a waiter has nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitReason {
    /// Client: dials or handshakes are under way.
    Dialing {
        /// How many.
        in_flight: u32,
    },
    /// Client: the last attempts failed; the next one waits for the backoff.
    BackingOff {
        /// Failures in a row.
        failures: u32,
    },
    /// Client: nothing may be dialled, as all connections allowed are in use.
    AllInUse {
        /// Connections in use.
        leased: u32,
        /// Connections that the peer has begun to use.
        claimed: u32,
    },
    /// Client under [`Tuning::NodePass`](crate::Tuning::NodePass): the next round has not begun.
    NextRound,
    /// Client: connections are on their way back into the pool, or promised to others.
    Returning {
        /// How many.
        returning: u32,
    },
    /// Server: peers are in their handshakes.
    Handshaking {
        /// How many.
        in_flight: u32,
    },
    /// Server: no peer is connecting.
    NoPeer,
    /// By id: no connection with this id has come.
    IdNotSeen,
    /// By id: the connection is in its handshake.
    IdHandshaking,
    /// By id: the connection is in use here, or was promised to another waiter.
    IdLeased,
    /// By id: the connection was put back, and its reuse delay is not over.
    IdResting,
    /// By id: the connection is being drained or looked at, which takes a moment.
    IdChecking,
    /// Fewer connections are ready than were waited for.
    Stock {
        /// Ready connections.
        idle: u32,
        /// Waited for.
        wanted: u32,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialing { in_flight } => {
                write!(f, "dials and handshakes under way: {in_flight}")
            }
            Self::BackingOff { failures } => {
                write!(f, "dials or handshakes that failed in a row: {failures}")
            }
            Self::AllInUse { leased, claimed } => write!(
                f,
                "all connections allowed were in use (leased: {leased}, begun to be used by the \
                 peer: {claimed}); raise max_connections, or return them sooner"
            ),
            Self::Returning { returning } => {
                write!(
                    f,
                    "connections on their way back into the pool, or promised to others: {returning}"
                )
            }
            Self::NextRound => f.write_str("the next refill round had not begun"),
            Self::Handshaking { in_flight } => {
                write!(f, "peers in their handshakes: {in_flight}")
            }
            Self::NoPeer => f.write_str("no peer was connecting"),
            Self::IdNotSeen => f.write_str("no connection with this id had come"),
            Self::IdHandshaking => f.write_str("the connection was still in its handshake"),
            Self::IdLeased => f.write_str("the connection was in use at this end"),
            Self::IdResting => f.write_str("the connection was resting for its reuse delay"),
            Self::IdChecking => f.write_str("the connection was being drained"),
            Self::Stock { idle, wanted } => {
                write!(f, "{idle} of the {wanted} connections waited for were ready")
            }
        }
    }
}
