//! The answers of a machine to calls that acquire a connection or wait for stock.

use core::fmt;

use crate::error::Refusal;
use crate::event::{Token, WaiterId};
use crate::id::ConnId;

/// A connection in use. It leaves the pool by value, so it cannot be handed out twice.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is dropped must be reported with Event::Closed"]
pub struct Lease<C> {
    /// The token of the connection, for [`put`](crate::Machine::put),
    /// [`Event::Closed`](crate::Event::Closed) and [`Action::Abort`](crate::Action::Abort).
    pub token: Token,
    /// The connection's id. It is the same on both ends if ids are exchanged.
    pub id: ConnId,
    /// The connection.
    pub connection: C,
}

/// The answer to an acquire.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired<C> {
    /// A connection was ready.
    Ready(Lease<C>),
    /// The caller is in the queue; [`Action::Wake`](crate::Action::Wake) tells it to
    /// [`collect`](crate::Machine::collect).
    Queued(WaiterId),
    /// No connection can come.
    Refused(Refusal),
}

/// The answer to [`wait_ready`](crate::Machine::wait_ready).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Stock {
    /// The stock is there.
    Ready,
    /// The caller is in the queue; [`Action::Wake`](crate::Action::Wake) tells it to
    /// [`collect`](crate::Machine::collect).
    Queued(WaiterId),
    /// No connection can come.
    Refused(Refusal),
}

/// The answer to [`collect`](crate::Machine::collect).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Collected<C> {
    /// The waiter's connection. The waiter is over.
    Ready(Lease<C>),
    /// The stock was there. The waiter is over.
    Stocked,
    /// The waiter has nothing yet.
    Waiting,
    /// No connection can come any more. The waiter is over.
    Refused(Refusal),
    /// The waiter was over before.
    Unknown,
}

/// The answer to [`cancel`](crate::Machine::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The waiter had nothing yet, for this reason.
    Waiting(WaitReason),
    /// The waiter had been granted a connection, which goes to the next waiter or back into the pool,
    /// if it has not been taken back before; or its stock was there.
    Granted,
    /// The waiter had been refused.
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
        /// Their number.
        in_flight: u32,
    },
    /// Client: the last attempts failed, and the next one waits for the backoff.
    BackingOff {
        /// The number of failures in a row.
        failures: u32,
    },
    /// Client: the peer turns connections away while it holds others of this pool, so it is full. The
    /// next dial waits, to try whether it has more room.
    Full {
        /// The number of this pool's connections, including those in use.
        held: u32,
    },
    /// Client: no dial is allowed, because all connections allowed are in use.
    AllInUse {
        /// The number of connections in use.
        leased: u32,
        /// The number of connections that the peer has begun to use.
        claimed: u32,
    },
    /// Client under [`Tuning::NodePass`](crate::Tuning::NodePass): the next round has not begun.
    NextRound,
    /// Client: connections are returning to the pool, or granted to other waiters.
    Returning {
        /// Their number.
        returning: u32,
    },
    /// Server: peers are in their handshakes.
    Handshaking {
        /// Their number.
        in_flight: u32,
    },
    /// Server: no peer is connecting, and only acquires by id take the connections that there are.
    /// Their peers have begun to use them, or have closed them, or one is the control connection. A
    /// peer that is configured unlike this end, for example with TLS while it has none, claims
    /// connections too.
    Claimed {
        /// The number of claimed and finished connections.
        claimed: u32,
    },
    /// The ready connections are the peer's to acquire, and no other one is on its way: see
    /// [`Acquirer::Both`](crate::Acquirer::Both).
    Reserved {
        /// Their number.
        reserved: u32,
    },
    /// Server: no peer is connecting.
    NoPeer,
    /// For an accept: the peer has not begun to use any of the ready connections.
    NotClaimed {
        /// The number of ready connections.
        ready: u32,
    },
    /// By id: no connection with this id has come.
    IdNotSeen,
    /// By id: the connection is in its handshake.
    IdHandshaking,
    /// By id: the connection is in use here, or granted to another waiter.
    IdLeased,
    /// By id: the connection was put back and waits for its reuse delay.
    IdResting,
    /// By id: the connection is ready, and the opening byte of the peer has not come.
    IdNotBegun,
    /// By id: the connection is being drained or inspected, which takes a moment.
    IdChecking,
    /// For stock: fewer connections are ready than wanted.
    Stock {
        /// The number of ready connections.
        idle: u32,
        /// The number wanted.
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
            Self::Full { held } => write!(
                f,
                "the peer is full: it holds {held} of this pool's connections and turns others away; \
                 raise its capacity or limits, or return connections sooner"
            ),
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
            Self::Claimed { claimed } => write!(
                f,
                "no peer was connecting, and the connections were for accepts and acquires by id: {claimed} \
                 (begun to be used, or closed, by their peers, or the control connection)"
            ),
            Self::Reserved { reserved } => write!(
                f,
                "all ready connections were the peer's to acquire: {reserved} (both ends acquire, and \
                 each has its own)"
            ),
            Self::NoPeer => f.write_str("no peer was connecting"),
            Self::NotClaimed { ready } => write!(
                f,
                "the peer had begun to use none of the {ready} ready connections: a byte from it says \
                 that it does"
            ),
            Self::IdNotSeen => f.write_str("no connection with this id had come"),
            Self::IdHandshaking => f.write_str("the connection was still in its handshake"),
            Self::IdLeased => f.write_str("the connection was in use at this end"),
            Self::IdResting => f.write_str("the connection was resting for its reuse delay"),
            Self::IdNotBegun => f.write_str(
                "the peer had not sent its opening byte: it has not acquired the connection, or \
                 opening_byte is set at this end only",
            ),
            Self::IdChecking => f.write_str("the connection was being drained"),
            Self::Stock { idle, wanted } => {
                write!(f, "{idle} of the {wanted} connections waited for were ready")
            }
        }
    }
}
