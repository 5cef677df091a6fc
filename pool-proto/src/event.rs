//! What goes into the machine and what comes out of it.

use core::fmt;

use crate::id::ConnId;
use crate::slab::Key;

/// Names one connection of one machine, from its dial or admission to its end.
///
/// Never reused: a token of a connection that has ended is recognised as stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) Key);

impl Token {
    /// The slot behind the token: small, dense, reused. A driver may index a table with it, and
    /// must compare the whole token before it believes what it finds there.
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

/// Names one waiter of one machine. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaiterId(pub(crate) Key);

impl WaiterId {
    /// The slot behind the waiter, to index a table of wakers with: no two live waiters share it.
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

/// What the driver tells the machine.
///
/// An event whose token is stale (the connection has ended meanwhile) or does not fit the
/// connection's state changes nothing but a counter; a connection that comes with it goes out
/// again as [`Action::Close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<C> {
    /// The transport of a [`Action::Dial`] is connected; TLS and id come next. Client only.
    Dialed {
        /// The token of the dial.
        token: Token,
    },
    /// An [`Action::Dial`] came to nothing. Client only.
    DialFailed {
        /// The token of the dial.
        token: Token,
    },
    /// The handshake is over, the id has been read (client) or flushed to the peer (server):
    /// the machine takes the connection over.
    Established {
        /// The token of the dial or admission.
        token: Token,
        /// The connection.
        connection: C,
        /// The id that the peer sent; `None` where this end made it (a server, or a client without
        /// id exchange).
        id: Option<ConnId>,
    },
    /// The handshake or the id exchange failed; the driver has closed the transport.
    HandshakeFailed {
        /// The token of the dial or admission.
        token: Token,
        /// What failed.
        failure: HandshakeFailure,
    },
    /// Something has arrived on a connection that the pool holds: data, or the peer's close.
    /// The machine answers with [`Action::Check`], at once if the connection is idle, else when it
    /// next becomes so.
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
        /// What was found.
        result: CheckResult,
    },
    /// A leased connection was closed by its holder instead of being put back, or a connection
    /// that the pool holds is known to be dead.
    Closed {
        /// The connection.
        token: Token,
    },
    /// The listener is gone for good: nobody new will come. Server only.
    AcceptEnded,
}

/// What failed in a handshake, as the counters tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// TLS: version, certificate, name, alert.
    Tls,
    /// The id was short, wrong or could not be sent.
    Id,
    /// The transport failed, or the task that did the handshake ended.
    Transport,
}

/// What a look at a connection found, without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// Open, and nothing to read.
    Quiet,
    /// Data of the peer's user: kept by the connection after a [`CheckKind::Inspect`], more than the
    /// drain limit after a [`CheckKind::Drain`].
    Data,
    /// The peer has closed it, or it failed, and no data is left to deliver.
    Closed,
}

/// Why a connection is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// It became readable while it was in the pool: keep what has arrived for the next holder, and
    /// watch it again.
    Inspect,
    /// It was put back: throw away what has arrived by now, and watch it again.
    Drain,
}

/// What the machine tells the driver. To be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action<C> {
    /// Connect to the peer; answer with [`Event::Dialed`] or [`Event::DialFailed`].
    Dial {
        /// Names the new connection.
        token: Token,
    },
    /// Look at a connection without blocking; answer with [`Event::Checked`], and see to it that
    /// [`Event::Readable`] follows when something arrives later.
    Check {
        /// The connection's token.
        token: Token,
        /// The connection.
        connection: C,
        /// What to do with data that has arrived.
        kind: CheckKind,
    },
    /// Close a connection that the machine held; no action names it afterwards.
    Close {
        /// The connection's token.
        token: Token,
        /// The connection.
        connection: C,
        /// Why.
        reason: CloseReason,
    },
    /// End what the driver holds under this token: a dial, a handshake, or a lease (whose next read
    /// or write is to fail with the reason); no action names it afterwards.
    Abort {
        /// The dial, handshake or lease.
        token: Token,
        /// Why.
        reason: CloseReason,
    },
    /// Wake a waiter: its outcome is ready to be collected. (It may have been collected already: when
    /// what it was given expired just then, and it was given another.)
    Wake {
        /// The waiter.
        waiter: WaiterId,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// It could not be dialled.
    DialFailed,
    /// It was not dialled in time.
    DialTimeout,
    /// Handshake or id exchange failed.
    HandshakeFailed,
    /// Handshake and id exchange were not over in time.
    HandshakeTimeout,
    /// The peer sent an id that a live connection has.
    DuplicateId,
    /// The driver reported no id although ids are exchanged.
    MissingId,
    /// The peer closed it while it was in the pool.
    PeerClosed,
    /// It was idle for longer than the idle timeout.
    IdleTimeout,
    /// It reached its maximum lifetime.
    Expired,
    /// Its peer began to use it, and nobody here asked for it in time.
    Unclaimed,
    /// It was put back into a full pool.
    Overflow,
    /// It was put back with more unread data than the drain limit, or with data that could not be
    /// sent yet.
    Leftover,
    /// It was put back and not drained in time.
    DrainTimeout,
    /// It made room for a connection from a source that holds fewer.
    Evicted,
    /// The user cleaned the pool.
    Cleaned,
    /// The user flushed the pool.
    Flushed,
    /// The pool was closed.
    PoolClosed,
    /// Its holder closed it.
    Released,
    /// The machine had given it up before it came.
    Stale,
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
            Self::Expired => "it reached its maximum lifetime",
            Self::Unclaimed => "the peer began to use it, but nobody here asked for it in time",
            Self::Overflow => "it was put back into a full pool",
            Self::Leftover => "it was put back with too much data unread or unsent",
            Self::DrainTimeout => "it was not drained in time",
            Self::Evicted => "it made room for a source with fewer connections",
            Self::Cleaned => "the pool was cleaned",
            Self::Flushed => "the pool was flushed",
            Self::PoolClosed => "the pool was closed",
            Self::Released => "its holder closed it",
            Self::Stale => "it was given up before it was ready",
        })
    }
}
