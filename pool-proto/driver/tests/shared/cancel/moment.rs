//! The moments at which the subject is dropped, and the steps that lead to them.

use super::expected::{Aftermath, Rival};
use super::scene::Scene;
use crate::rig::{Kind, Side, secs};
use pool_proto::{CheckResult, CloseReason};

/// The state of the subject when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    NeverPolled,
    NeverPolledPoolClosed,
    /// Polled once; no attempt has begun, unless the subject's id needs one.
    Queued,
    /// A dial has begun, or a peer was admitted.
    QueuedAttemptBegun,
    QueuedHandshaking,
    QueuedAttemptFailed,
    QueuedTimeUp,
    /// A connection was assigned to it, and it has been woken.
    Granted,
    /// Granted by another holder's put.
    GrantedByAPut,
    GrantedThenClosedByPeer,
    /// The connection's lifetime has ended, which has not been noticed yet.
    GrantedThenExpired,
    GrantedThenFlushed,
    GrantedThenPoolClosed,
    /// The driver has ended, but the pool is open.
    GrantedDriverEnded,
    GrantedDriverEndedThenExpired,
    Refused,
    RefusedDriverEnded,
    Stocked,
    StockedThenFlushed,
    /// Queued again at the front, because the check found its connection closed.
    FoundClosed,
    /// Queued again at the front, because the peer had claimed its connection.
    FoundClaimed,
    /// Queued again, and granted another connection.
    FoundClosedThenGranted,
    /// Ended with its connection, or with stock.
    Returned,
    /// Ended with a timeout.
    TimedOut,
    /// Ended because the pool is closed.
    ReturnedPoolClosed,
}

impl Moment {
    pub(super) const ALL: [Self; 25] = [
        Self::NeverPolled,
        Self::NeverPolledPoolClosed,
        Self::Queued,
        Self::QueuedAttemptBegun,
        Self::QueuedHandshaking,
        Self::QueuedAttemptFailed,
        Self::QueuedTimeUp,
        Self::Granted,
        Self::GrantedByAPut,
        Self::GrantedThenClosedByPeer,
        Self::GrantedThenExpired,
        Self::GrantedThenFlushed,
        Self::GrantedThenPoolClosed,
        Self::GrantedDriverEnded,
        Self::GrantedDriverEndedThenExpired,
        Self::Refused,
        Self::RefusedDriverEnded,
        Self::Stocked,
        Self::StockedThenFlushed,
        Self::FoundClosed,
        Self::FoundClaimed,
        Self::FoundClosedThenGranted,
        Self::Returned,
        Self::TimedOut,
        Self::ReturnedPoolClosed,
    ];

    pub(super) const fn exists(self, kind: Kind, server: bool) -> bool {
        match self {
            // A server's attempt begins in its handshake, and only an admitted peer has an id.
            Self::QueuedHandshaking => !server,
            Self::QueuedAttemptBegun => !(server && matches!(kind, Kind::ById)),
            Self::Stocked | Self::StockedThenFlushed => matches!(kind, Kind::Stock),
            Self::Granted
            | Self::GrantedThenClosedByPeer
            | Self::GrantedThenExpired
            | Self::GrantedThenFlushed
            | Self::GrantedThenPoolClosed
            | Self::GrantedDriverEnded
            | Self::GrantedDriverEndedThenExpired
            | Self::FoundClosed
            | Self::FoundClaimed => !matches!(kind, Kind::Stock),
            // An id has only one connection.
            Self::FoundClosedThenGranted => matches!(kind, Kind::Any),
            _ => true,
        }
    }

    /// Returns whether a connection was assigned to the subject first.
    const fn was_served(self) -> bool {
        matches!(
            self,
            Self::Granted
                | Self::GrantedByAPut
                | Self::GrantedThenClosedByPeer
                | Self::GrantedThenExpired
                | Self::GrantedThenFlushed
                | Self::GrantedThenPoolClosed
                | Self::GrantedDriverEnded
                | Self::GrantedDriverEndedThenExpired
                | Self::Stocked
                | Self::StockedThenFlushed
                | Self::FoundClosed
                | Self::FoundClaimed
                | Self::FoundClosedThenGranted
                | Self::Returned
        )
    }

    /// Returns whether the moment can happen with this rival, which must not be served before the
    /// subject.
    pub(super) const fn allows(self, kind: Kind, rival: Rival) -> bool {
        if !rival.early || !self.was_served() {
            return true;
        }
        // Waiters by id are served before waiters for any connection, and both before waiters for
        // stock.
        match (kind, rival.kind) {
            (Kind::ById, _) | (Kind::Stock, Kind::Stock) => true,
            (Kind::Any, rival) => !matches!(rival, Kind::ById),
            (Kind::Stock, _) => false,
        }
    }

    pub(super) const fn ends_with_its_wake(self, kind: Kind, server: bool) -> bool {
        match self {
            Self::Granted
            | Self::GrantedByAPut
            | Self::Refused
            | Self::Stocked
            | Self::FoundClosedThenGranted => true,
            Self::QueuedAttemptFailed => server && matches!(kind, Kind::ById),
            _ => false,
        }
    }

    /// Returns the number of wakes of the subject.
    pub(super) const fn wakes(self, kind: Kind, server: bool) -> u32 {
        match self {
            Self::NeverPolled
            | Self::NeverPolledPoolClosed
            | Self::Queued
            | Self::QueuedAttemptBegun
            | Self::QueuedHandshaking
            | Self::QueuedTimeUp
            | Self::TimedOut
            | Self::ReturnedPoolClosed => 0,
            Self::QueuedAttemptFailed => (server && matches!(kind, Kind::ById)) as u32,
            Self::FoundClosedThenGranted => 2,
            _ => 1,
        }
    }

    /// Returns whether the drop counts as a cancellation: it gives up a place in the queue, or a
    /// connection that was assigned to the subject.
    pub(super) const fn is_cancelled(self, kind: Kind, server: bool) -> bool {
        match self {
            Self::Queued
            | Self::QueuedAttemptBegun
            | Self::QueuedHandshaking
            | Self::QueuedTimeUp
            | Self::TimedOut
            | Self::Granted
            | Self::GrantedThenExpired
            | Self::GrantedDriverEnded
            | Self::GrantedDriverEndedThenExpired
            | Self::FoundClosedThenGranted => true,
            Self::QueuedAttemptFailed => !(server && matches!(kind, Kind::ById)),
            // Stock is not assigned.
            Self::GrantedByAPut => !matches!(kind, Kind::Stock),
            // By id, the acquire has ended with an error or a connection.
            Self::GrantedThenClosedByPeer
            | Self::GrantedThenFlushed
            | Self::FoundClosed
            | Self::FoundClaimed => matches!(kind, Kind::Any),
            _ => false,
        }
    }

    /// Returns the state that the subject leaves behind.
    pub(super) const fn left(self, kind: Kind, server: bool) -> Aftermath {
        let stock = matches!(kind, Kind::Stock);
        match self {
            Self::NeverPolled
            | Self::Queued
            | Self::QueuedAttemptBegun
            | Self::QueuedHandshaking
            | Self::QueuedTimeUp
            | Self::TimedOut => Aftermath::InFlight,
            // The next attempt of a client may have the same id. A server's id ends with the
            // attempt.
            Self::QueuedAttemptFailed if server => Aftermath::Ended(CloseReason::HandshakeFailed),
            Self::QueuedAttemptFailed => Aftermath::InFlight,
            Self::Granted | Self::GrantedDriverEnded | Self::FoundClosedThenGranted => {
                Aftermath::Freed
            }
            Self::GrantedByAPut if stock => Aftermath::Pooled,
            Self::GrantedByAPut => Aftermath::Freed,
            Self::Stocked => Aftermath::Pooled,
            Self::Returned if stock => Aftermath::Pooled,
            Self::Returned => Aftermath::Leased,
            Self::GrantedThenClosedByPeer => Aftermath::Ended(CloseReason::PeerClosed),
            Self::GrantedThenFlushed => Aftermath::Ended(CloseReason::Flushed),
            Self::StockedThenFlushed => Aftermath::EndedInStock(CloseReason::Flushed),
            Self::GrantedThenExpired | Self::GrantedDriverEndedThenExpired => {
                Aftermath::EndsNow(CloseReason::Expired)
            }
            Self::FoundClosed | Self::FoundClaimed => match (kind, self) {
                (Kind::Any, Self::FoundClosed) => Aftermath::Kept(CloseReason::PeerClosed),
                (Kind::Any, _) => Aftermath::Kept(CloseReason::Unclaimed),
                (Kind::ById | Kind::Stock, _) => Aftermath::Leased,
            },
            Self::NeverPolledPoolClosed
            | Self::GrantedThenPoolClosed
            | Self::Refused
            | Self::RefusedDriverEnded
            | Self::ReturnedPoolClosed => Aftermath::PoolClosed,
        }
    }

    /// Returns whether a driver is there to close ended connections.
    pub(super) const fn has_driver(self) -> bool {
        !matches!(
            self,
            Self::GrantedDriverEnded
                | Self::GrantedDriverEndedThenExpired
                | Self::RefusedDriverEnded
        )
    }

    /// Plays the scene up to this moment. In the mode
    /// [`InItsOwnWake`](super::DropMode::InItsOwnWake), its last step drops the subject.
    pub(super) fn play<R: Side>(self, scene: &mut Scene<R>) {
        match self {
            Self::NeverPolled => scene.rival_joins_early(),
            Self::NeverPolledPoolClosed => {
                scene.rival_joins_early();
                scene.rig.close();
            }
            Self::Queued => scene.queue(),
            Self::QueuedAttemptBegun => {
                scene.queue();
                scene.begin();
            }
            Self::QueuedHandshaking => {
                scene.queue();
                scene.begin().attempt.dialed();
            }
            Self::QueuedAttemptFailed => {
                scene.queue();
                scene.begin();
                scene.last_step();
                scene.fail_attempt();
            }
            Self::QueuedTimeUp => {
                scene.queue();
                scene.subject.expire();
            }
            Self::Granted | Self::Stocked => {
                scene.queue();
                scene.last_step();
                scene.arrive();
            }
            Self::GrantedByAPut => {
                let holder = scene.hold();
                scene.queue();
                scene.last_step();
                holder.put(&scene.rig.shared).unwrap();
            }
            Self::GrantedThenClosedByPeer => {
                let conn = scene.grant();
                scene.rig.peer_closes(conn);
            }
            Self::GrantedThenExpired => {
                scene.grant();
                scene.rig.clock.pass(secs(3600));
            }
            Self::GrantedThenFlushed | Self::StockedThenFlushed => {
                scene.grant();
                assert_eq!(scene.rig.flush(), 1);
            }
            Self::GrantedThenPoolClosed => {
                scene.grant();
                scene.rig.close();
            }
            Self::GrantedDriverEnded => {
                scene.grant();
                scene.rig.shared.end();
            }
            Self::GrantedDriverEndedThenExpired => {
                scene.grant();
                scene.rig.shared.end();
                scene.rig.clock.pass(secs(3600));
            }
            Self::Refused => {
                scene.queue();
                scene.last_step();
                scene.rig.close();
            }
            Self::RefusedDriverEnded => {
                scene.queue();
                scene.rig.close();
                scene.rig.shared.end();
                scene.rig.turn();
            }
            Self::FoundClosed => {
                scene.find(CheckResult::Closed);
            }
            Self::FoundClaimed => {
                scene.find(CheckResult::Data);
            }
            Self::FoundClosedThenGranted => {
                scene.find(CheckResult::Closed);
                scene.lose();
                scene.last_step();
                scene.arrive();
            }
            Self::Returned => {
                scene.grant();
                scene.leased = scene.subject.finish().unwrap();
            }
            Self::TimedOut => {
                scene.queue();
                scene.subject.expire();
                scene.subject.fail();
            }
            Self::ReturnedPoolClosed => {
                scene.rival_joins_early();
                scene.rig.close();
                scene.subject.fail();
            }
        }
    }
}
