//! A server's handshakes: their budget, evictions, and the places that they get at their end.

use pool_proto::{Action, CloseReason, HandshakeFailure, Rejected, State, Token};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const C: &str = "10.0.0.3";

fn server(capacity: u32, config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(capacity, config)
}

/// The handshake that the last step evicted.
fn evicted(pool: &ServerHarness) -> Token {
    match pool.did() {
        [Action::Abort { token, reason: CloseReason::HandshakeEvicted }] => *token,
        other => panic!("{other:?}"),
    }
}

fn speaking(pool: &mut ServerHarness, address: &str) -> Token {
    let token = pool.accept(address).unwrap();
    pool.first_byte(token);
    token
}

#[test]
fn a_peer_is_accepted_speaks_is_admitted_and_established() {
    let mut pool = server(1, |config| config);
    let token = pool.accept(A).unwrap();
    assert_eq!(pool.machine.state_of(token), Some(State::Accepted));
    pool.first_byte(token);
    assert_eq!(pool.machine.state_of(token), Some(State::Handshaking));
    let id = pool.prove(token, None).unwrap();
    assert_eq!(pool.machine.state_of(token), Some(State::Admitted));
    pool.established(token, None);
    assert_eq!(pool.take().id, id);
    let totals = pool.stats().totals;
    assert_eq!((totals.accepted, totals.admitted, totals.established), (1, 1, 1));
}

#[test]
fn a_handshake_takes_no_place_in_the_stock() {
    let mut pool = server(2, |config| config.max_connections(2).certificates(true));
    let handshakes = [(); 5].map(|()| speaking(&mut pool, A));
    pool.join(B);
    pool.join(C);
    assert_eq!((pool.stats().idle, pool.stats().handshaking), (2, 5));
    let full = Err(Rejected::CapacityReached { limit: 2 });
    assert_eq!(pool.prove(handshakes[0], Some(1)), full);
    assert_eq!(pool.machine.state_of(handshakes[0]), None, "it is over");
    assert_eq!((pool.stats().idle, pool.stats().totals.evicted), (2, 0));
}

#[test]
fn a_peer_without_a_place_is_rejected_before_its_handshake_where_its_address_tells() {
    let mut pool = server(1, |config| config);
    pool.join(A);
    assert_eq!(pool.accept(B), Err(Rejected::CapacityReached { limit: 1 }));
    let mut pool = server(1, |config| config.certificates(true));
    pool.join(A);
    pool.accept(B).unwrap();
}

#[test]
fn a_crowd_that_says_nothing_costs_nobody_anything() {
    for certificates in [false, true] {
        let mut pool = server(100, |config| config.certificates(certificates));
        let honest = [(); 16].map(|()| pool.join(A).token);
        for stranger in 0..8_000u32 {
            let [_, _, high, low] = stranger.to_be_bytes();
            // From addresses of their own, and from the honest client's.
            pool.accept(&format!("10.1.{high}.{low}")).unwrap();
            pool.accept(A).unwrap();
            if stranger % 100 == 0 {
                let token = speaking(&mut pool, A);
                let certificate = certificates.then_some(7);
                pool.accept(B).unwrap();
                pool.prove(token, certificate).unwrap();
                pool.established(token, None);
                let lease = pool.take();
                pool.release(lease);
            }
        }
        assert_eq!((pool.stats().idle, pool.stats().totals.evicted), (16, 0));
        assert!(honest.iter().all(|token| {
            let reason = pool.log.iter().find_map(|action| match action {
                Action::Close { token: closed, reason, .. } if closed == token => Some(*reason),
                _ => None,
            });
            reason.is_none()
        }));
        assert!(pool.stats().handshaking <= 512);
    }
}

#[test]
fn the_silent_go_before_those_that_have_spoken() {
    let mut pool = server(8, |config| config.max_handshakes(4));
    let spoken = [speaking(&mut pool, A), speaking(&mut pool, A)];
    let silent = [pool.accept(B).unwrap(), pool.accept(C).unwrap()];
    pool.accept(A).unwrap();
    assert_eq!(evicted(&pool), silent[0]);
    assert!(spoken.iter().all(|token| pool.handshaking().contains(token)));
}

#[test]
fn a_crowd_that_speaks_leaves_others_the_moment_to_do_so() {
    let mut pool = server(8, |config| config.max_handshakes(4));
    let crowd = [(); 3].map(|()| speaking(&mut pool, A));
    // The youngest quarter of four: one.
    let silent = pool.accept(B).unwrap();
    pool.accept(A).unwrap();
    assert_eq!(evicted(&pool), crowd[0]);
    pool.first_byte(silent);
    pool.prove(silent, None).unwrap();
}

#[test]
fn the_oldest_handshake_of_the_source_with_most_goes() {
    let mut pool = server(8, |config| config.max_handshakes(3));
    let light = speaking(&mut pool, B);
    let oldest = speaking(&mut pool, A);
    let second = speaking(&mut pool, A);
    speaking(&mut pool, C);
    assert!(!pool.handshaking().contains(&oldest));
    speaking(&mut pool, C);
    assert!(!pool.handshaking().contains(&light), "of one each, the oldest");
    assert!(pool.handshaking().contains(&second));
    assert_eq!(pool.stats().totals.handshakes_evicted, 2);
}

#[test]
fn strangers_go_before_handshakes_from_where_a_peer_has_proven_itself() {
    for certificates in [false, true] {
        let mut pool = server(8, |config| config.max_handshakes(8).certificates(certificates));
        let certificate = certificates.then_some(7);
        let proven = pool.accept(A).unwrap();
        pool.prove(proven, certificate).unwrap();
        pool.established(proven, None);
        // Its source has the most handshakes, and the oldest.
        let honest = [(); 6].map(|()| speaking(&mut pool, A));
        let crowd = [B, C].map(|address| speaking(&mut pool, address));
        for (number, stranger) in crowd.into_iter().enumerate() {
            speaking(&mut pool, &format!("10.0.1.{number}"));
            assert!(!pool.handshaking().contains(&stranger));
        }
        assert!(honest.iter().all(|token| pool.handshaking().contains(token)));
        // Also when nothing of it is left: all may be in use, or ended.
        let lease = pool.take();
        pool.release(lease);
        speaking(&mut pool, B);
        assert!(honest.iter().all(|token| pool.handshaking().contains(token)));
    }
}

#[test]
fn a_known_source_does_not_keep_out_a_stranger() {
    let mut pool = server(8, |config| config.max_handshakes(20));
    pool.join(A);
    let flood: Vec<Token> = (0..19).map(|_| speaking(&mut pool, A)).collect();
    let stranger = speaking(&mut pool, B);
    for oldest in &flood[..3] {
        speaking(&mut pool, A);
        assert!(!pool.handshaking().contains(oldest));
    }
    pool.prove(stranger, None).unwrap();
}

#[test]
fn only_unproven_handshakes_count_for_a_source() {
    let mut pool = server(8, |config| config.max_handshakes(2));
    for _ in 0..3 {
        pool.join(A);
        let failing = speaking(&mut pool, A);
        pool.handshake_failed(failing, HandshakeFailure::Tls);
        pool.admit(A).unwrap();
    }
    pool.join(B);
    let oldest = speaking(&mut pool, B);
    speaking(&mut pool, A);
    pool.accept(C).unwrap();
    assert_eq!(evicted(&pool), oldest, "one each");
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let mut pool = server(8, |config| config.first_byte_timeout(ms(70)));
    let token = pool.accept(A).unwrap();
    pool.pass(ms(69));
    assert_eq!(pool.handshaking(), [token]);
    pool.pass(ms(1));
    assert_eq!(pool.handshaking(), []);
    assert_eq!(pool.stats().totals.silent, 1);
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn a_slow_handshake_is_aborted() {
    let mut pool = server(8, |config| config.handshake_timeout(ms(70)));
    let token = pool.accept(A).unwrap();
    pool.pass(ms(100));
    pool.first_byte(token);
    pool.pass(ms(69));
    assert_eq!(pool.handshaking(), [token]);
    pool.pass(ms(1));
    assert_eq!(pool.handshaking(), []);
    assert_eq!(pool.stats().totals.handshake_timeouts, 1);
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn an_id_that_cannot_be_sent_in_time_gives_its_place_back() {
    let mut pool = server(1, |config| config.handshake_timeout(ms(70)));
    pool.admit(A).unwrap();
    assert_eq!(pool.admit(B), Err(Rejected::CapacityReached { limit: 1 }));
    pool.pass(ms(70));
    pool.admit(B).unwrap();
}

#[test]
fn a_handshake_that_has_ended_is_not_admitted() {
    let mut pool = server(8, |config| config.first_byte_timeout(ms(10)));
    let token = pool.accept(A).unwrap();
    pool.pass(ms(10));
    assert_eq!(pool.prove(token, None), Err(Rejected::HandshakeEnded));
    let token = pool.admit(A).unwrap().token;
    assert_eq!(pool.prove(token, None), Err(Rejected::HandshakeEnded));
}

#[test]
fn peers_are_told_apart_by_their_certificates() {
    let mut pool = server(4, |config| config.certificates(true).max_per_source(3));
    let mut join = |address: &str, certificate| {
        let token = pool.accept(address).unwrap();
        pool.prove(token, Some(certificate)).inspect(|_| {
            pool.established(token, None);
        })
    };
    // A peer from several addresses, and several peers from one.
    for address in [A, B, C] {
        join(address, 1).unwrap();
    }
    assert_eq!(join(A, 1), Err(Rejected::SourceFull { source_address: ip(A), limit: 3 }));
    join(A, 2).unwrap();
    // The first peer has 3 connections: it makes room for the third peer.
    join(A, 3).unwrap();
    assert_eq!(pool.stats().totals.evicted, 1);
}
