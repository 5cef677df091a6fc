//! The driver and its tasks: commands, reports, the end of the driver, and admission.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use pool_driver::connection::SharedSocket;
use pool_driver::shared::AcquireError;
use pool_driver::{AcceptFailure, AcceptPacer};
use pool_proto::{Accepting, CloseReason, Dialing, PutError, Refusal};

use crate::rig::{AnyPool, Kind, PEER, Pool, Side, take};

fn last_failure<R: Side>(pool: &Pool<R>) -> String {
    pool.shared().last_failure().map(|text| text.to_string()).unwrap_or_default()
}

// --- commands -----------------------------------------------------------------------------------

#[test]
fn a_turn_begins_a_dial() {
    let mut pool = Pool::<Dialing>::new(false);
    pool.turn();
    assert_eq!((pool.begun.len(), pool.ended.len()), (1, 0));
    let token = pool.begun[0].token();
    drop(pool.begun.pop_front());
    assert_eq!(pool.shared().stats().totals.dial_failures, 1);
    assert!(pool.shared().run(|machine, _| machine.state_of(token)).is_none());
}

#[test]
fn a_dial_past_its_deadline_is_aborted_and_reported() {
    let mut pool = Pool::<Dialing>::new(false);
    pool.turn();
    let token = pool.begun[0].token();
    pool.clock.pass(Duration::from_secs(10));
    pool.turn();
    assert_eq!(
        (pool.ended.as_slice(), pool.reasons.as_slice()),
        ([token].as_slice(), [CloseReason::DialTimeout].as_slice())
    );
    assert_eq!(last_failure(&pool), "a connection was given up: it was not dialled in time");
}

#[test]
fn a_handshake_past_its_deadline_is_aborted_and_reported() {
    let mut pool = Pool::<Accepting>::new(false);
    let (attempt, _handshake) = Accepting::begin(&mut pool);
    pool.clock.pass(Duration::from_secs(3600));
    pool.turn();
    assert_eq!(pool.ended, [attempt.token()]);
    let text = "a connection was given up: its handshake was not over in time";
    assert_eq!(last_failure(&pool), text);
}

#[test]
fn a_flushed_handshake_is_aborted_without_a_failure() {
    let mut pool = Pool::<Accepting>::new(false);
    let (attempt, _handshake) = Accepting::begin(&mut pool);
    pool.flush();
    pool.turn();
    assert_eq!(pool.ended, [attempt.token()]);
    assert_eq!(last_failure(&pool), "");
}

#[test]
fn a_flush_revokes_leases_at_once_and_no_later_connection() {
    let mut pool = Pool::<Accepting>::new(false);
    let (near, _peer, (socket, _)) = pool.connect_with_socket();
    let Poll::Ready(Ok(_leased)) = take(pool.shared().acquire()) else {
        panic!("no connection is ready")
    };
    pool.flush();
    // The driver has not taken a turn yet.
    assert_eq!(socket.revoked(), Some(CloseReason::Flushed));
    let (other_near, _other_peer, (other, _)) = pool.connect_with_socket();
    pool.turn();
    pool.flush();
    assert_eq!(other.revoked(), None, "an idle connection is closed, not revoked");
    let shut = |near: &crate::wire::End| near.get(|kernel| kernel.shut_boths);
    assert_eq!((shut(&near), shut(&other_near)), (1, 0));
}

#[test]
fn a_flush_closes_an_idle_connection_in_good_order_beside_a_lease() {
    for tls in [false, true] {
        let mut pool = Pool::<Accepting>::new(tls);
        let (_near, _peer, (leased_socket, _)) = pool.connect_with_socket();
        let Poll::Ready(Ok(_leased)) = take(pool.shared().acquire()) else {
            panic!("no connection is ready")
        };
        let (near, mut peer) = pool.connect();
        pool.flush();
        pool.turn();
        assert_eq!(leased_socket.revoked(), Some(CloseReason::Flushed));
        assert!(peer.received_close(), "closed without close_notify");
        assert_eq!(near.get(|kernel| (kernel.shut_writes, kernel.shut_boths)), (1, 0));
    }
}

// --- reports ------------------------------------------------------------------------------------

#[test]
fn a_connection_in_the_slot_of_a_flushed_lease_is_not_revoked() {
    for tls in [false, true] {
        let mut pool = Pool::<Accepting>::new(tls);
        let (_near, _peer, (socket, token)) = pool.connect_with_socket();
        let Poll::Ready(Ok(leased)) = take(pool.shared().acquire()) else {
            panic!("no connection is ready")
        };
        let mut stream = leased;
        pool.flush();
        // The driver has not taken a turn yet, but the slot is free.
        let (_new_near, _new_peer, (new_socket, new_token)) = pool.connect_with_socket();
        assert_eq!((token.slot(), token == new_token), (new_token.slot(), false));
        assert_eq!(socket.revoked(), Some(CloseReason::Flushed));
        assert!(stream.read(crate::wire::Io, &mut [0]).is_err());
        pool.turn();
        assert_eq!(new_socket.revoked(), None, "the revocation was for the flushed lease");
        assert_eq!(pool.stats().idle, 1);
    }
}

#[test]
fn a_connection_in_the_slot_of_a_closed_one_is_not_revoked() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, _peer, (_, token)) = pool.connect_with_socket();
    assert_eq!(pool.shared().run(|machine, now| machine.clean(now)), 1);
    pool.turn();
    let (new_near, _new_peer, (new_socket, new_token)) = pool.connect_with_socket();
    assert_eq!(token.slot(), new_token.slot());
    assert_eq!(new_socket.revoked(), None);
    assert_eq!(new_near.get(|kernel| kernel.shut_boths), 0);
}

#[test]
fn a_peer_that_closes_at_once_is_named_and_its_connection_is_for_its_id() {
    for tls in [false, true] {
        let mut pool = Pool::<Dialing>::new(tls);
        let (near, far) = crate::wire::End::pair();
        let mut peer = pool.peer(far);
        let (attempt, handshake) = Dialing::begin(&mut pool);
        let established = pool.complete_handshake(handshake, &near, &mut peer);
        peer.close();
        attempt.complete(Ok((SharedSocket::new(near), established)));
        assert_eq!((pool.stats().idle, pool.stats().finished), (0, 1));
        let failure = pool.shared().last_failure().unwrap();
        assert!(failure.contains("as soon as it was established"), "{failure}");
    }
}

#[test]
fn a_peer_that_closes_soon_after_is_named() {
    let acquires = |pool: &mut Pool<Dialing>| {
        assert!(take(pool.shared().acquire()).is_pending());
    };
    for report in [Pool::<Dialing>::turn, acquires] {
        let mut pool = Pool::<Dialing>::new(false);
        let (near, mut peer) = pool.connect();
        pool.turn();
        assert_eq!(pool.shared().last_failure(), None);
        peer.close();
        near.wake();
        report(&mut pool);
        let failure = pool.shared().last_failure().unwrap();
        assert!(failure.contains("soon after it was established"), "{failure}");
    }
}

// --- the end ------------------------------------------------------------------------------------

#[test]
fn a_pool_closes_with_its_driver() {
    for tls in [false, true] {
        let mut pool = Pool::<Accepting>::new(tls);
        let (_near, _peer, (socket, _)) = pool.connect_with_socket();
        let Poll::Ready(Ok(leased)) = take(pool.shared().acquire()) else {
            panic!("no connection is ready")
        };
        let stream = leased;
        let (near, mut peer) = pool.connect();
        let (attempt, _handshake) = Accepting::begin(&mut pool);
        pool.shared().close_with_driver();
        assert!(pool.shared().is_closed());
        assert_eq!(socket.revoked(), Some(CloseReason::PoolClosed));
        assert!(peer.received_close(), "closed without close_notify");
        assert_eq!(near.get(|kernel| kernel.shut_writes), 1);
        // Later puts and reports are refused, and their connections dropped in place.
        assert_eq!(pool.put(stream), Err(PutError::PoolClosed));
        drop(attempt);
        let stats = pool.stats();
        assert_eq!((stats.idle, stats.leased, stats.handshaking), (0, 0, 0));
        let mut commands = Vec::new();
        pool.shared().turn(&mut commands);
        assert!(commands.is_empty(), "{} commands are left without a driver", commands.len());
    }
}

/// The caller of a close ends the pending calls of some holders, and the driver those of the others.
#[test]
fn the_pending_calls_of_all_holders_end_with_the_driver() {
    let mut pool = Pool::<Accepting>::new(false);
    let mut held = Vec::new();
    for _ in 0..40 {
        let (near, peer) = pool.connect();
        let Poll::Ready(Ok(leased)) = take(pool.shared().acquire()) else {
            panic!("no connection is ready")
        };
        held.push((near, peer, leased));
    }
    pool.shared().close_with_driver();
    for (near, ..) in &held {
        assert_eq!(near.get(|kernel| kernel.shut_boths), 1);
    }
}

#[test]
fn a_new_waiter_is_refused_after_the_drivers_end() {
    let pool = Pool::<Accepting>::new(false);
    pool.shared().close_with_driver();
    let refused = AcquireError::Refused(Refusal::PoolClosed);
    let Poll::Ready(Err(error)) = take(pool.shared().acquire()) else {
        panic!("the acquire waits")
    };
    assert_eq!(error, refused);
}

#[test]
fn every_kind_of_pool_closes_idle_connections_with_its_driver() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (_near, mut peer) = pool.connect();
        pool.end();
        assert!(peer.received_close(), "{kind:?}");
    }
}

// --- admission ----------------------------------------------------------------------------------

#[test]
fn each_admitted_peer_gets_its_own_id() {
    let pool = Pool::<Accepting>::new(false);
    let peer: SocketAddr = PEER.parse().unwrap();
    let mut first = pool.shared().accept(peer).unwrap();
    let mut second = pool.shared().accept(peer).unwrap();
    assert_ne!(first.token(), second.token());
    assert_ne!(first.admit(None).unwrap(), second.admit(None).unwrap());
    assert_eq!(pool.shared().stats().handshaking, 2);
    assert_eq!(last_failure(&pool), "");
}

#[test]
fn a_rejected_peer_is_reported() {
    let pool = Pool::<Accepting>::new(false);
    let stranger: SocketAddr = "198.51.100.1:99".parse().unwrap();
    assert!(pool.shared().accept(stranger).is_none());
    assert_eq!(
        last_failure(&pool),
        "198.51.100.1:99 was turned away: 198.51.100.1 is not on the allow list; add it if it is \
         one of yours"
    );
    let peer: SocketAddr = PEER.parse().unwrap();
    let mut attempts: Vec<_> = (0..4).map(|_| pool.shared().accept(peer).unwrap()).collect();
    for attempt in &mut attempts {
        attempt.admit(None).unwrap();
    }
    assert!(pool.shared().accept(peer).is_none());
    let failure = format!("{PEER} was turned away: 4 connections are ready already");
    assert!(last_failure(&pool).starts_with(&failure));
    assert_eq!(pool.shared().stats().handshaking, 4);
}

#[test]
fn a_failed_accept_of_one_peer_is_not_reported() {
    let pool = Pool::<Accepting>::new(false);
    let mut pacer = AcceptPacer::new(1);
    let error = ErrorKind::ConnectionAborted.into();
    assert_eq!(pool.shared().accept_failed(&mut pacer, &error), AcceptFailure::OfOnePeer);
    assert_eq!(last_failure(&pool), "");
    assert!(take(pool.shared().acquire()).is_pending());
}

#[test]
fn a_pause_is_reported_and_waiters_stay_queued() {
    let pool = Pool::<Accepting>::new(false);
    let mut pacer = AcceptPacer::new(1);
    let error = io::Error::other("no descriptors");
    let failure = pool.shared().accept_failed(&mut pacer, &error);
    assert!(matches!(failure, AcceptFailure::Pause(_)), "{failure:?}");
    assert_eq!(last_failure(&pool), "accept failed: no descriptors");
    assert!(take(pool.shared().acquire()).is_pending());
}

/// Each of them holds a descriptor, which a live one may need.
#[test]
fn a_pause_of_the_listener_ends_the_finished_connections() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, mut peer, _) = pool.connect_with_socket();
    let (_live_near, _live_peer, _) = pool.connect_with_socket();
    peer.close();
    pool.turn();
    assert_eq!((pool.stats().idle, pool.stats().finished), (1, 1));
    let error = io::Error::other("no descriptors");
    pool.shared().accept_failed(&mut AcceptPacer::new(1), &error);
    assert_eq!((pool.stats().idle, pool.stats().finished), (1, 0));
}

#[test]
fn waiters_are_refused_when_the_listener_fails() {
    let pool = Pool::<Accepting>::new(false);
    let mut pacer = AcceptPacer::new(1);
    let error = io::Error::new(ErrorKind::InvalidInput, "it does not listen");
    assert_eq!(pool.shared().accept_failed(&mut pacer, &error), AcceptFailure::OfTheListener);
    assert_eq!(last_failure(&pool), "the listener has failed: it does not listen");
    let Poll::Ready(Err(error)) = take(pool.shared().acquire()) else {
        panic!("the acquire waits")
    };
    assert_eq!(error, AcquireError::Refused(Refusal::AcceptEnded));
}
