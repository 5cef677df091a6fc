//! Errors. Each message says what is wrong and what to do.

use core::net::IpAddr;

use thiserror::Error;

use crate::event::CloseReason;
use crate::id::ConnId;

/// The reason why a caller has nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The pool was closed.
    #[error("the pool is closed; build a new one")]
    PoolClosed,
    /// The pool is in its graceful shutdown.
    #[error("the pool is shutting down and hands nothing out any more; build a new one")]
    ShuttingDown,
    /// No live connection has this id, and none with it can come.
    #[error("no connection has the id {id}: it has ended, or the id belongs to another pool{}", half_hint(*.id))]
    UnknownId {
        /// The requested id.
        id: ConnId,
    },
    /// The connection with this id ended before it could be handed over.
    #[error(
        "the connection {id} has ended ({reason}); take another one and tell its id to the peer"
    )]
    Gone {
        /// The requested id.
        id: ConnId,
        /// The reason of its end.
        reason: CloseReason,
    },
    /// This end has acquired the connection with this id itself, and not by its id: both ends have
    /// acquired it, one for each of two requests. See [`Acquirer`](crate::Acquirer).
    #[error(
        "this end has acquired the connection {id} itself, for another request: set acquirer at both ends if both acquire any connection; now take another one and tell its id to the peer"
    )]
    AcquiredHere {
        /// The requested id.
        id: ConnId,
    },
    /// The peer has begun to use the connection with this id without an
    /// [opening byte](crate::OPENING_BYTE), so its data cannot be interpreted. The connection was
    /// closed. The drivers refuse it, not the machine.
    #[error(
        "the connection {id} began without the opening byte: set opening_byte at both ends or at neither"
    )]
    NoOpeningByte {
        /// The requested id.
        id: ConnId,
    },
    /// The configuration says that only the peer acquires any connection.
    #[error(
        "only the peer acquires any connection (acquirer is Peer); accept or acquire by id here, or set acquirer to Both at both ends"
    )]
    PeerAcquires,
    /// The peer acquires no connection, so none can be accepted: the configuration says that only this
    /// end acquires, or that no ids are exchanged, so that the peer is not a pool.
    #[error(
        "the peer acquires no connection, so that none can be accepted (acquirer is ThisEnd, or ids are not exchanged); acquire any connection here, or set acquirer to Peer or Both"
    )]
    PeerNeverAcquires,
    /// The queue of waiters is full.
    #[error("callers that wait: {limit}, which is the limit; raise max_waiters or acquire less")]
    TooManyWaiters {
        /// The configured limit.
        limit: u32,
    },
    /// No connection is ready, and the listener has ended, so none will come.
    #[error(
        "nothing is ready and the listener has ended, so no peer can connect; build a new pool on a new listener"
    )]
    AcceptEnded,
    /// The caller waits for more ready connections than the pool may ever hold.
    #[error(
        "{wanted} ready connections were waited for, but the capacity is {capacity} at most; raise it or wait for fewer"
    )]
    StockBeyondCapacity {
        /// The number of ready connections wanted.
        wanted: u32,
        /// The most ready connections that the pool may hold.
        capacity: u32,
    },
}

/// The reason why a connection could not be put back. It has been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PutError {
    /// The pool was closed.
    #[error("the pool is closed, so the connection was closed too")]
    PoolClosed,
    /// This pool has no such lease (any more): it was flushed or put back before.
    #[error(
        "this pool has no such lease any more: it was flushed or put back before; the connection was closed"
    )]
    NotLeased,
    /// The connection was taken from another pool.
    #[error("the connection was taken from another pool; put it back there. It was closed")]
    Foreign,
}

/// The reason why a server rejected a peer, before or after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The pool was closed.
    #[error("the pool is closed")]
    PoolClosed,
    /// The pool is in its graceful shutdown.
    #[error("the pool is shutting down")]
    ShuttingDown,
    /// The peer's address is not on the allow list.
    #[error("{address} is not on the allow list; add it if it is one of yours")]
    NotAllowed {
        /// The peer's address, in canonical form.
        address: IpAddr,
    },
    /// The peer's source, or its certificate, holds the most connections that one may.
    #[error(
        "{source_address}, or the certificate that it has presented, holds {limit} connections already, the most that one peer may; raise max_per_source if it is honest"
    )]
    SourceFull {
        /// The source, in canonical form (IPv6: its /64 network).
        source_address: IpAddr,
        /// The configured limit.
        limit: u32,
    },
    /// The pool holds the most connections that may be ready.
    #[error(
        "{limit} connections are ready already; raise the server's capacity if that is too few"
    )]
    CapacityReached {
        /// The configured capacity.
        limit: u32,
    },
    /// The pool holds the most connections that it may, including those in use.
    #[error("{limit} connections are open already, including those in use; raise max_connections")]
    ConnectionsReached {
        /// The configured limit.
        limit: u32,
    },
    /// The peer is not in its handshake any more: its time was over, or it was evicted.
    #[error("the handshake has ended before")]
    HandshakeEnded,
}

/// The reason why a configuration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is zero that must be at least one.
    #[error("{setting} is zero; it must be at least 1")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// A period is zero that must be longer.
    #[error("{setting} is zero; it must be longer than that")]
    ZeroDuration {
        /// The setting's name.
        setting: &'static str,
    },
    /// The lower bound of a range is above its upper bound.
    #[error("{setting} has its lower bound above its upper bound; swap them")]
    Inverted {
        /// The setting's name.
        setting: &'static str,
    },
    /// A period does not fit into 64 bits of nanoseconds.
    #[error("{setting} is longer than 584 years, the longest period there is; shorten it")]
    TooLong {
        /// The setting's name.
        setting: &'static str,
    },
    /// A fraction is not between 0 and 1.
    #[error("{setting} is not a number between 0 and 1; it is a fraction")]
    NotAFraction {
        /// The setting's name.
        setting: &'static str,
    },
    /// A setting needs another one.
    #[error("{setting} needs {needed}; set that too, or leave it out")]
    Needs {
        /// The setting's name.
        setting: &'static str,
        /// The other setting.
        needed: &'static str,
    },
    /// A running pool cannot change this setting.
    #[error(
        "{setting} cannot change while the pool runs; leave it as it was built, or build a new pool"
    )]
    Fixed {
        /// The setting's name.
        setting: &'static str,
    },
    /// A number is above another setting, or above a limit of the machine.
    #[error("{setting} is {value}, but {limit} is the most because of {bound}; lower it")]
    TooLarge {
        /// The setting's name.
        setting: &'static str,
        /// The given value.
        value: u64,
        /// The highest value allowed.
        limit: u64,
        /// The name of the setting or constant that limits it.
        bound: &'static str,
    },
}

/// A hint for an id that may be half of one: a peer that reads `Raw4` from a server that writes
/// `Hex8` takes the first 4 characters for the 4 bytes of an id, and tells their hex.
fn half_hint(id: ConnId) -> &'static str {
    if id.to_bytes().iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        ", or the other end reads Raw4 ids where Hex8 ones are sent: it names half an id then"
    } else {
        ""
    }
}
