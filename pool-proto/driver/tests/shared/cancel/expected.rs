//! The expected outcome for a rival after the subject is dropped: rules that do not use the machine.

use pool_proto::{CloseReason, ConnId, Refusal};

use crate::rig::Kind;

/// Another task, which competes with the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) kind: Kind,
    /// Whether it queues right behind the subject. A late rival queues just before the drop.
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

/// The state in which the subject leaves the connection or the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aftermath {
    /// The connection is not established yet.
    InFlight,
    /// The drop of the subject returns the connection to the pool.
    Freed,
    /// The connection was in the pool all the time.
    Pooled,
    /// The connection is in use, and will be put back.
    Leased,
    /// The connection has ended.
    Ended(CloseReason),
    /// The connection has ended, but it was ready for a while, and all waiters for stock were woken.
    EndedInStock(CloseReason),
    /// The drop of the subject reveals that the connection has ended.
    EndsNow(CloseReason),
    /// The peer has used the connection, or ended it: only an acquire by id can take it, until it
    /// ends with its claim, for this reason.
    Kept(CloseReason),
    PoolClosed,
}

/// The time at which the rival is served: at its first poll, or at its only wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At its first poll, without waiting.
    AtOnce,
    /// Before the subject is dropped.
    Before,
    /// When the subject is dropped.
    Drop,
    /// Later: when the connection is established or put back, or another one is established.
    Later,
}

/// The result of the rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The connection for which the subject waited.
    Same,
    /// The connection that is established after that one.
    Next,
    Stock,
    Refused(Refusal),
}

pub(super) fn expected(left: Aftermath, rival: Rival, id: ConnId) -> (When, Outcome) {
    let Rival { kind, early } = rival;
    let same = if kind == Kind::Stock { Outcome::Stock } else { Outcome::Same };
    let next = if kind == Kind::Stock { Outcome::Stock } else { Outcome::Next };
    let already = if early { When::Before } else { When::AtOnce };
    match left {
        Aftermath::InFlight | Aftermath::Leased => (When::Later, same),
        Aftermath::Freed => (When::Drop, same),
        Aftermath::Pooled => (already, same),
        Aftermath::Kept(_) if kind == Kind::ById => (already, same),
        Aftermath::Kept(_) => (When::Later, next),
        Aftermath::EndedInStock(_) if kind == Kind::Stock && early => {
            (When::Before, Outcome::Stock)
        }
        Aftermath::EndedInStock(reason) => expected(Aftermath::Ended(reason), rival, id),
        Aftermath::PoolClosed => (already, Outcome::Refused(Refusal::PoolClosed)),
        Aftermath::EndsNow(reason) if kind == Kind::ById => {
            (When::Drop, Outcome::Refused(Refusal::Gone { id, reason }))
        }
        Aftermath::Ended(reason) if kind == Kind::ById => {
            (already, Outcome::Refused(Refusal::Gone { id, reason }))
        }
        Aftermath::Ended(_) | Aftermath::EndsNow(_) => (When::Later, next),
    }
}
