//! Events (in) and actions (out) of a machine.

use core::fmt;

use crate::id::ConnId;
use crate::slab::Key;

/// The name of one connection of one machine, from its dial or admission to its end.
///
/// Tokens are never reused: the machine recognises the token of an ended connection as stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) Key);

impl Token {
    /// Returns the slot of the token: small, dense, reused.
    ///
    /// A driver may index a table with it, but must compare the whole token before it trusts the
    /// entry; [`TokenMap`](crate::TokenMap) does both.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0.index as usize
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.{})", self.0.index, self.0.generation)
    }
}

/// The name of one waiter of one machine. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaiterId(pub(crate) Key);

impl WaiterId {
    /// Returns the slot of the waiter, to index a table of wakers with. No two live waiters share
    /// one.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.0.index as usize
    }
}

impl fmt::Debug for WaiterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaiterId({}.{})", self.0.index, self.0.generation)
    }
}

/// A message from the driver to the machine.
///
/// An event is stale if its connection has ended meanwhile or is not in a state that the event fits.
/// A stale event only counts in [`Totals::stale_events`](crate::Totals::stale_events); a connection
/// that comes with it goes out again as [`Action::Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<C> {
    /// The transport of an [`Action::Dial`] is connected; TLS and id exchange come next. Client only.
    Dialed {
        /// The token of the dial.
        token: Token,
    },
    /// An [`Action::Dial`] failed. Client only.
    DialFailed {
        /// The token of the dial.
        token: Token,
    },
    /// The first byte has come from a peer, whose handshake goes first from now on. Server only.
    FirstByte {
        /// The token of the peer.
        token: Token,
    },
    /// The handshake is over, and the id was read (client) or flushed to the peer (server, after
    /// [`admit`](crate::Server::admit)). The machine takes over the connection.
    Established {
        /// The token of the dial or the peer.
        token: Token,
        /// The connection.
        connection: C,
        /// The id that the peer sent; `None` if this end made it (a server, or a client without id
        /// exchange).
        id: Option<ConnId>,
    },
    /// The handshake or the id exchange failed; the driver has closed the transport.
    HandshakeFailed {
        /// The token of the dial or the peer.
        token: Token,
        /// The part that failed.
        failure: HandshakeFailure,
    },
    /// Data or EOF has arrived on a connection that the pool holds.
    ///
    /// The machine answers with [`Action::Check`]: at once if the connection is idle, otherwise as
    /// soon as it would become idle.
    Readable {
        /// The connection.
        token: Token,
    },
    /// The answer to an [`Action::Check`].
    Checked {
        /// The token of the check.
        token: Token,
        /// The connection that was checked.
        connection: C,
        /// The result of the check.
        result: CheckResult,
    },
    /// The holder of a lease has closed the connection instead of putting it back, or a connection
    /// that the pool holds is known to be dead.
    Closed {
        /// The connection.
        token: Token,
    },
    /// The listener has ended: no new peer can connect. Server only.
    AcceptEnded,
}

/// The part of a handshake that failed, as the counters distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// TLS: version, certificate, name or alert.
    Tls,
    /// The id exchange: the id was short or wrong, or could not be sent.
    Id,
    /// The transport, or the task of the handshake, which ended early.
    Transport,
}

/// The result of a check, which never blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// The connection is open and has nothing to read.
    Quiet,
    /// Data of the peer's user has arrived. [`CheckKind::Inspect`]: the connection keeps it.
    /// [`CheckKind::Drain`]: it was more than the drain limit.
    Data,
    /// Data of the peer's user has arrived, and after it EOF or a failure. [`CheckKind::Inspect`] only.
    Finished,
    /// The peer has closed the connection or it has failed, and it has no data left to deliver.
    /// [`CheckKind::Inspect`]: where ids are exchanged, the machine keeps the connection for an acquire
    /// by its id, whose holder must learn of the EOF or the failure: keep an error that the system
    /// reports once.
    Closed,
}

/// The kind of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// The connection became readable in the pool: keep the data for the next holder, and watch the
    /// connection again.
    Inspect,
    /// The connection was put back: discard the data that has arrived by now, and watch the
    /// connection again.
    Drain,
}

/// A message from the machine to the driver. Actions must be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action<C> {
    /// Connect to the peer; answer with [`Event::Dialed`] or [`Event::DialFailed`].
    Dial {
        /// The token of the new connection.
        token: Token,
    },
    /// Check a connection without blocking; answer with [`Event::Checked`]. Data that arrives after
    /// that must lead to [`Event::Readable`].
    Check {
        /// The connection's token.
        token: Token,
        /// The connection.
        connection: C,
        /// Whether to keep or to discard data that has arrived.
        kind: CheckKind,
    },
    /// Close a connection that the machine held. No later action names it.
    Close {
        /// The connection's token.
        token: Token,
        /// The connection.
        connection: C,
        /// Why it ended.
        reason: CloseReason,
    },
    /// Abort a dial or a handshake, or revoke a lease: its next read or write must fail with the
    /// reason. No later action names it.
    ///
    /// Leases are revoked all at once: a call that revokes one ([`flush`](crate::Machine::flush),
    /// [`close`](crate::Machine::close), or the deadline of a graceful shutdown) leaves none.
    Abort {
        /// The dial, handshake or lease.
        token: Token,
        /// Why it ended.
        reason: CloseReason,
    },
    /// Wake a waiter: its outcome can be collected.
    ///
    /// The outcome may have been collected already, if the connection that was granted first expired
    /// just then and another one was granted in its place.
    Wake {
        /// The waiter.
        waiter: WaiterId,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The dial failed.
    DialFailed,
    /// The dial timed out.
    DialTimeout,
    /// The handshake or the id exchange failed.
    HandshakeFailed,
    /// Handshake and id exchange timed out.
    HandshakeTimeout,
    /// The peer connected and sent nothing in time.
    Silent,
    /// Its handshake was over, but there was no place for it in the stock.
    Rejected,
    /// Its handshake made room for that of another peer.
    HandshakeEvicted,
    /// The peer sent the id of another live connection.
    DuplicateId,
    /// The driver reported no id although ids are exchanged.
    MissingId,
    /// The peer closed it in the pool, or it failed there. Where ids are exchanged, it ends with this
    /// reason at the claim timeout, if no acquire by its id has come.
    PeerClosed,
    /// It was idle for the idle timeout.
    IdleTimeout,
    /// It was ready beyond the capacity for some time: see [`Tuning::Demand`](crate::Tuning::Demand). At a
    /// server: it was ready beyond a limit that was lowered.
    Surplus,
    /// It reached its maximum lifetime.
    Expired,
    /// The peer began to use it, but no acquire by its id came in time.
    Unclaimed,
    /// It was put back into a full pool, by the end that acquires it.
    Overflow,
    /// It was put back with more unread data than the drain limit, or with unsent data.
    Leftover,
    /// It was put back and not drained in time.
    DrainTimeout,
    /// It made room for a peer that holds fewer connections.
    Evicted,
    /// It made room for a newer connection of the same peer.
    Replaced,
    /// It made room for one that the peer may acquire: see [`Acquirer::Both`](crate::Acquirer::Both).
    Yielded,
    /// The user cleaned the pool.
    Cleaned,
    /// The user flushed the pool.
    Flushed,
    /// The pool was closed.
    PoolClosed,
    /// The pool shuts down: the connection was not in use, or its use had not run out at the deadline.
    ShutDown,
    /// Its holder closed it.
    Released,
    /// It came back after the machine had ended it.
    Stale,
    /// The allow list was changed, and does not admit its peer any more.
    NotAllowed,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DialFailed => "it could not be dialled",
            Self::DialTimeout => "it was not dialled in time",
            Self::HandshakeFailed => "its handshake failed",
            Self::HandshakeTimeout => "its handshake was not over in time",
            Self::DuplicateId => "the peer gave it the id of another live connection",
            Self::MissingId => "it came without an id",
            Self::PeerClosed => "the peer closed it",
            Self::IdleTimeout => "it was idle for too long",
            Self::Surplus => "it was not needed any more",
            Self::Expired => "it reached its maximum lifetime",
            Self::Unclaimed => "the peer began to use it, but nobody here asked for it in time",
            Self::Overflow => "it was put back into a full pool",
            Self::Leftover => "it was put back with too much data unread or unsent",
            Self::DrainTimeout => "it was not drained in time",
            Self::Silent => "the peer connected and sent nothing in time",
            Self::Rejected => "there was no place for it in the stock",
            Self::HandshakeEvicted => "its handshake made room for that of another peer",
            Self::Evicted => "it made room for a peer with fewer connections",
            Self::Replaced => "it made room for a newer connection of the same peer",
            Self::Yielded => "it made room for one that the peer may acquire",
            Self::Cleaned => "the pool was cleaned",
            Self::Flushed => "the pool was flushed",
            Self::PoolClosed => "the pool was closed",
            Self::ShutDown => "the pool shut down",
            Self::Released => "its holder closed it",
            Self::Stale => "it was given up before it was ready",
            Self::NotAllowed => "its peer is not on the allow list any more",
        })
    }
}
