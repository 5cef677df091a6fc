//! What is due to a rival once the subject is gone: the rules, without the machine.

use pool_proto::{CloseReason, ConnId, Refusal};

use crate::rig::Kind;

/// Another task that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) kind: Kind,
    /// It queues right behind the subject; a late one just before the subject is dropped.
    pub(super) early: bool,
}

impl Rival {
    pub(super) const ALL: [Self; 6] = [
        Self { kind: Kind::Any, early: false },
        Self { kind: Kind::ById, early: false },
        Self { kind: Kind::Stock, early: false },
        Self { kind: Kind::Any, early: true },
        Self { kind: Kind::ById, early: true },
        Self { kind: Kind::Stock, early: true },
    ];
}

/// How the subject leaves the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The connection is yet to come.
    Coming,
    /// Its drop makes the connection free.
    Freed,
    /// The connection was in the pool all the time.
    Pooled,
    /// The connection is in use, and will be put back.
    Leased,
    /// The connection has ended.
    Ended(CloseReason),
    /// The same, but it was ready for a while, in which all that waited for stock were told.
    EndedInStock(CloseReason),
    /// Its drop shows that the connection has ended.
    EndsNow(CloseReason),
    /// The peer has begun to use the connection: it is there for who asks by id.
    Claimed,
    PoolClosed,
}

/// When the rival is served: at its first poll, or by its one wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// As soon as it asks; it never waits.
    AtOnce,
    /// Before the subject is dropped.
    Before,
    /// When the subject is dropped.
    Drop,
    /// When the world has gone on: the connection has come or was put back, or another has come.
    Later,
}

/// What the rival gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The connection that the subject was after.
    Same,
    /// The one that comes after that.
    Next,
    Stock,
    Refused(Refusal),
}

pub(super) fn due(left: Left, rival: Rival, id: ConnId, server: bool) -> (When, What) {
    let Rival { kind, early } = rival;
    let same = if kind == Kind::Stock { What::Stock } else { What::Same };
    let next = if kind == Kind::Stock { What::Stock } else { What::Next };
    let already = if early { When::Before } else { When::AtOnce };
    match left {
        Left::Coming | Left::Leased => (When::Later, same),
        Left::Freed => (When::Drop, same),
        Left::Pooled => (already, same),
        Left::Claimed if kind == Kind::ById => (already, same),
        Left::Claimed => (When::Later, next),
        Left::EndedInStock(_) if kind == Kind::Stock && early => (When::Before, What::Stock),
        Left::EndedInStock(reason) => due(Left::Ended(reason), rival, id, server),
        Left::PoolClosed => (already, What::Refused(Refusal::PoolClosed)),
        Left::EndsNow(reason) if kind == Kind::ById => {
            (When::Drop, What::Refused(Refusal::Gone { id, reason }))
        }
        // A server has forgotten an id that has ended: it has made it, and could make it again.
        Left::Ended(_) if kind == Kind::ById && server && !early => {
            (already, What::Refused(Refusal::UnknownId { id }))
        }
        Left::Ended(reason) if kind == Kind::ById => {
            (already, What::Refused(Refusal::Gone { id, reason }))
        }
        Left::Ended(_) | Left::EndsNow(_) => (When::Later, next),
    }
}
