//! Errors: what was expected, what came, what to do.

use core::net::IpAddr;

use thiserror::Error;

use crate::event::CloseReason;
use crate::id::ConnId;

/// Why an acquire has nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The pool was closed.
    #[error("the pool is closed; build a new one")]
    PoolClosed,
    /// No live connection has this id, and none can come with it.
    #[error("no connection has the id {id}: it has ended, or the id belongs to another pool{}", half_hint(*.id))]
    UnknownId {
        /// The id asked for.
        id: ConnId,
    },
    /// The connection with this id ended before it could be handed over.
    #[error(
        "the connection {id} has ended ({reason}); take another one and tell its id to the peer"
    )]
    Gone {
        /// The id asked for.
        id: ConnId,
        /// Why it ended.
        reason: CloseReason,
    },
    /// The queue of waiters is full.
    #[error("callers that wait: {limit}, which is the limit; raise max_waiters or acquire less")]
    TooManyWaiters {
        /// The configured limit.
        limit: u32,
    },
    /// Nothing is ready, and the listener is gone, so nothing will come.
    #[error(
        "nothing is ready and the listener has ended, so no peer can connect; build a new pool on a new listener"
    )]
    AcceptEnded,
    /// More ready connections were waited for than the pool may ever hold.
    #[error(
        "{wanted} ready connections were waited for, but the capacity is {capacity} at most; raise it or wait for fewer"
    )]
    StockBeyondCapacity {
        /// Waited for.
        wanted: u32,
        /// The most ready connections there may be.
        capacity: u32,
    },
}

/// Why a connection could not be put back. It has been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PutError {
    /// The pool was closed.
    #[error("the pool is closed, so the connection was closed too")]
    PoolClosed,
    /// This pool has no such lease (any more): it was flushed, or put back before.
    #[error(
        "this pool has no such lease any more: it was flushed or put back before; the connection was closed"
    )]
    NotLeased,
    /// The connection was taken from another pool.
    #[error("the connection was taken from another pool; put it back there. It was closed")]
    Foreign,
}

/// Why a server turned a peer away before its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The pool was closed.
    #[error("the pool is closed")]
    PoolClosed,
    /// The peer's address is not on the allow list.
    #[error("{address} is not on the allow list; add it if it is one of yours")]
    NotAllowed {
        /// The peer's address, in canonical form.
        address: IpAddr,
    },
    /// Its source holds as many connections as one source may.
    #[error(
        "{source_address} holds {limit} connections already, the most that one source may; raise max_per_source if it is honest"
    )]
    SourceFull {
        /// The source, in canonical form (IPv6: its /64 network).
        source_address: IpAddr,
        /// The configured limit.
        limit: u32,
    },
    /// The pool holds as many ready connections as it may.
    #[error(
        "{limit} connections are ready or in their handshakes already; raise the server's capacity if that is too few"
    )]
    CapacityReached {
        /// The configured capacity.
        limit: u32,
    },
    /// The pool holds as many connections as it may, those in use included.
    #[error("{limit} connections are open already, those in use included; raise max_connections")]
    ConnectionsReached {
        /// The configured limit.
        limit: u32,
    },
    /// As many handshakes are under way as may be.
    #[error(
        "{limit} handshakes are under way already; raise max_handshakes if the machine can do more"
    )]
    HandshakesReached {
        /// The configured limit.
        limit: u32,
    },
}

/// Why a configuration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number that must be at least one is zero.
    #[error("{setting} is zero; it must be at least 1")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// A period that must be longer than zero is not.
    #[error("{setting} is zero; it must be longer than that")]
    NoTime {
        /// The setting's name.
        setting: &'static str,
    },
    /// A range whose lower end is above its upper end.
    #[error("{setting} has its lower bound above its upper bound; swap them")]
    Inverted {
        /// The setting's name.
        setting: &'static str,
    },
    /// A period that does not fit into 64 bits of nanoseconds.
    #[error("{setting} is longer than 584 years, the longest period there is; shorten it")]
    TooLong {
        /// The setting's name.
        setting: &'static str,
    },
    /// A fraction that is not between 0 and 1.
    #[error("{setting} is not a number between 0 and 1; it is a fraction")]
    NoFraction {
        /// The setting's name.
        setting: &'static str,
    },
    /// A number above another setting, or above what the machine can hold.
    #[error("{setting} is {value}, but {limit} is the most because of {bound}; lower it")]
    TooLarge {
        /// The setting's name.
        setting: &'static str,
        /// The value given.
        value: u64,
        /// The most it may be.
        limit: u64,
        /// What limits it.
        bound: &'static str,
    },
}

/// A peer that reads `Raw4` from a server that writes `Hex8` takes the first 4 characters for the
/// 4 bytes of an id, and tells their hex.
fn half_hint(id: ConnId) -> &'static str {
    if id.to_bytes().iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        ", or the other end reads Raw4 ids where Hex8 ones are sent: it names half an id then"
    } else {
        ""
    }
}
