//! The moments at which the subject is dropped, and how they are come to.

use super::expected::{Aftermath, Rival};
use super::scene::Scene;
use crate::rig::{Kind, Side, secs};
use pool_proto::{CheckResult, CloseReason};

/// How far the subject has come, or what has happened to it, when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    NeverPolled,
    NeverPolledPoolClosed,
    /// Polled once; nobody has begun to bring a connection where that is possible.
    Queued,
    /// A connection is being dialled, or a peer was admitted.
    QueuedAttemptBegun,
    QueuedHandshaking,
    QueuedAttemptFailed,
    QueuedTimeUp,
    /// Its connection is there, and it has been woken.
    Granted,
    /// The same, by another holder's put.
    GrantedByAPut,
    GrantedThenClosedByPeer,
    /// The lifetime is over, and nobody has noticed.
    GrantedThenExpired,
    GrantedThenFlushed,
    GrantedThenPoolClosed,
    /// The driver has ended, and the pool is open.
    GrantedDriverEnded,
    GrantedDriverEndedThenExpired,
    Refused,
    RefusedDriverEnded,
    Stocked,
    StockedThenFlushed,
    /// Queued again at the front, because its connection was closed when it looked at it.
    FoundClosed,
    /// The same, because the peer had begun to use it.
    FoundClaimed,
    /// Queued again, and granted another.
    FoundClosedThenGranted,
    /// Over: it has its connection, or its stock.
    Returned,
    /// Over: it was told that the time is up.
    TimedOut,
    /// Over: it was told that the pool is closed.
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
            // An admitted peer is in its handshake, and only an admitted one has an id.
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
            // By id there is no other.
            Self::FoundClosedThenGranted => matches!(kind, Kind::Any),
            _ => true,
        }
    }

    /// Whether there was a connection that the subject was the first to be served with.
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

    /// Whether this rival leaves the subject what the moment is about.
    pub(super) const fn allows(self, kind: Kind, rival: Rival) -> bool {
        if !rival.early || !self.was_served() {
            return true;
        }
        // Who waits by id goes before who waits for any, and stock is what both have left over.
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

    /// How often the subject has been woken.
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

    /// Whether the subject gives up something when it is dropped (or has done so): a place in the
    /// queue, or a connection that it was promised.
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
            // Stock is no promise.
            Self::GrantedByAPut => !matches!(kind, Kind::Stock),
            // By id, that was the end of it.
            Self::GrantedThenClosedByPeer
            | Self::GrantedThenFlushed
            | Self::FoundClosed
            | Self::FoundClaimed => matches!(kind, Kind::Any),
            _ => false,
        }
    }

    /// How the world is left.
    pub(super) const fn left(self, kind: Kind, server: bool) -> Aftermath {
        let stock = matches!(kind, Kind::Stock);
        match self {
            Self::NeverPolled
            | Self::Queued
            | Self::QueuedAttemptBegun
            | Self::QueuedHandshaking
            | Self::QueuedTimeUp
            | Self::TimedOut => Aftermath::InFlight,
            // The next attempt of a client may bring the same id; a server made the id, and it is
            // gone.
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
            Self::GrantedThenClosedByPeer | Self::FoundClosed => {
                Aftermath::Ended(CloseReason::PeerClosed)
            }
            Self::GrantedThenFlushed => Aftermath::Ended(CloseReason::Flushed),
            Self::StockedThenFlushed => Aftermath::EndedInStock(CloseReason::Flushed),
            Self::GrantedThenExpired | Self::GrantedDriverEndedThenExpired => {
                Aftermath::EndsNow(CloseReason::Expired)
            }
            Self::FoundClaimed => match kind {
                Kind::Any => Aftermath::Claimed,
                Kind::ById | Kind::Stock => Aftermath::Leased,
            },
            Self::NeverPolledPoolClosed
            | Self::GrantedThenPoolClosed
            | Self::Refused
            | Self::RefusedDriverEnded
            | Self::ReturnedPoolClosed => Aftermath::PoolClosed,
        }
    }

    /// Whether a driver is there to close what ends.
    pub(super) const fn has_driver(self) -> bool {
        !matches!(
            self,
            Self::GrantedDriverEnded
                | Self::GrantedDriverEndedThenExpired
                | Self::RefusedDriverEnded
        )
    }

    /// Plays the scene up to this moment. With [`Way::InItsOwnWake`](super::Way), the last step of it
    /// drops the subject.
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
                scene.arrive();
                let holder = scene.rig.any().take();
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
