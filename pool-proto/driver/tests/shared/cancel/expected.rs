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
pub(super) enum Aftermath {
    /// The connection is yet to come.
    InFlight,
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
pub(super) enum Outcome {
    /// The connection that the subject was after.
    Same,
    /// The one that comes after that.
    Next,
    Stock,
    Refused(Refusal),
}

pub(super) fn expected(left: Aftermath, rival: Rival, id: ConnId, server: bool) -> (When, Outcome) {
    let Rival { kind, early } = rival;
    let same = if kind == Kind::Stock { Outcome::Stock } else { Outcome::Same };
    let next = if kind == Kind::Stock { Outcome::Stock } else { Outcome::Next };
    let already = if early { When::Before } else { When::AtOnce };
    match left {
        Aftermath::InFlight | Aftermath::Leased => (When::Later, same),
        Aftermath::Freed => (When::Drop, same),
        Aftermath::Pooled => (already, same),
        Aftermath::Claimed if kind == Kind::ById => (already, same),
        Aftermath::Claimed => (When::Later, next),
        Aftermath::EndedInStock(_) if kind == Kind::Stock && early => {
            (When::Before, Outcome::Stock)
        }
        Aftermath::EndedInStock(reason) => expected(Aftermath::Ended(reason), rival, id, server),
        Aftermath::PoolClosed => (already, Outcome::Refused(Refusal::PoolClosed)),
        Aftermath::EndsNow(reason) if kind == Kind::ById => {
            (When::Drop, Outcome::Refused(Refusal::Gone { id, reason }))
        }
        // A server has forgotten an id that has ended: it has made it, and could make it again.
        Aftermath::Ended(_) if kind == Kind::ById && server && !early => {
            (already, Outcome::Refused(Refusal::UnknownId { id }))
        }
        Aftermath::Ended(reason) if kind == Kind::ById => {
            (already, Outcome::Refused(Refusal::Gone { id, reason }))
        }
        Aftermath::Ended(_) | Aftermath::EndsNow(_) => (When::Later, next),
    }
}
