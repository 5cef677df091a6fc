//! The graceful shutdown: nothing new begins, and connections in use go on to their
//! end.

use pool_proto::{
    Acquired, Action, CheckKind, CheckResult, CloseReason, Collected, ConnId, PutError, Refusal,
    Rejected, State, Stock, WaitOutcome,
};
use pool_testkit::harness::*;

const A: &str = "10.0.0.1";
const REFUSED: Acquired<u32> = Acquired::Refused(Refusal::ShuttingDown);

fn server() -> ServerHarness {
    ServerHarness::server(4, |config| config)
}

/// A server whose peer has begun to use a connection.
fn claimed(pool: &mut ServerHarness) -> Admission {
    let peer = pool.join(A);
    pool.readable(peer.token);
    pool.checked(CheckResult::Data);
    peer
}

#[test]
fn leases_go_on_and_everything_else_ends() {
    let mut pool = ClientHarness::client(6, 8, |config| config.reuse_delay(ms(50)));
    let tokens = pool.dialing();
    for token in &tokens[..4] {
        pool.connect(*token);
    }
    pool.dialed(tokens[4]);
    let (lease, rests) = (pool.take(), pool.take());
    pool.put(rests).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.returning, stats.handshaking), (2, 1, 1));
    let unused = pool.live().len() - 1;
    pool.graceful_shutdown(None);
    let ends = pool.did().iter().filter_map(|action| match action {
        Action::Abort { reason, .. } | Action::Close { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), vec![CloseReason::ShutDown; unused]);
    assert_eq!(pool.live(), [lease.token]);
    assert!(pool.machine.is_shutting_down() && !pool.machine.is_closed());
    assert_eq!(pool.machine.poll_timeout(), None);
    pool.dial_now();
    assert_eq!(pool.dialing(), []);
    pool.release(lease);
    assert!(pool.machine.is_closed() && !pool.machine.is_shutting_down());
}

#[test]
fn a_pool_without_leases_is_closed_at_once() {
    let mut pool = filled(3, |config| config);
    pool.graceful_shutdown(None);
    assert!(pool.machine.is_closed());
    assert_eq!(pool.ended(CloseReason::ShutDown), 3);
}

#[test]
fn waiters_and_callers_are_refused_with_a_reason_of_its_own() {
    let mut pool = filled(1, |config| config.max_connections(1));
    let lease = pool.take_by_id(id(1));
    let any = pool.queue();
    let by_id = [pool.queue_by_id(lease.id), pool.queue_by_id(id(99))];
    let Stock::Queued(stock) = pool.wait_ready(1) else { panic!() };
    pool.graceful_shutdown(None);
    for waiter in by_id.into_iter().chain([any, stock]) {
        assert!(pool.did().contains(&Action::Wake { waiter }));
    }
    for waiter in by_id.into_iter().chain([any, stock]) {
        assert_eq!(pool.collect(waiter), Collected::Refused(Refusal::ShuttingDown));
    }
    assert_eq!(pool.acquire(), REFUSED);
    assert_eq!(pool.acquire_again(), REFUSED);
    assert_eq!(pool.acquire_by_id(lease.id), REFUSED);
    assert_eq!(pool.acquire_by_id(id(99)), REFUSED);
    assert_eq!(pool.wait_ready(0), Stock::Refused(Refusal::ShuttingDown));
    pool.release(lease);
    assert_eq!(pool.acquire(), Acquired::Refused(Refusal::PoolClosed));
}

#[test]
fn a_server_accepts_nobody_and_forgets_handshakes() {
    let mut pool = server();
    pool.join(A);
    let lease = pool.take();
    let silent = pool.accept(A).unwrap();
    let admitted = pool.admit(A).unwrap();
    pool.graceful_shutdown(None);
    assert_eq!(pool.live(), [lease.token]);
    assert_eq!(pool.accept(A), Err(Rejected::ShuttingDown));
    assert_eq!(pool.prove(silent, None), Err(Rejected::HandshakeEnded));
    let connection = pool.established(admitted.token, None);
    let (token, reason) = (admitted.token, CloseReason::Stale);
    assert_eq!(pool.did(), [Action::Close { token, connection, reason }]);
}

#[test]
fn a_connection_that_is_put_back_is_closed_which_is_no_error() {
    let mut pool = filled(2, |config| config);
    let (one, other) = (pool.take(), pool.take());
    pool.graceful_shutdown(None);
    let (token, connection, reason) = (one.token, one.connection, CloseReason::ShutDown);
    assert_eq!(pool.put(one), Ok(()));
    assert_eq!(pool.did(), [Action::Close { token, connection, reason }]);
    assert_eq!(pool.put_raw(token, connection + 100), Err(PutError::NotLeased));
    assert_eq!(pool.put_drained(other, CheckResult::Quiet), Ok(()));
    assert!(pool.machine.is_closed());
}

#[test]
fn a_grant_may_be_collected() {
    let mut pool = server();
    let waiters = [pool.queue(), pool.queue()];
    let peers = [pool.join(A), pool.join(A)];
    pool.graceful_shutdown(None);
    assert_eq!(pool.cancel(waiters[0]), WaitOutcome::Granted);
    let reason = CloseReason::ShutDown;
    assert!(matches!(pool.did(), [Action::Close { token, reason: told, .. }]
        if *token == peers[0].token && *told == reason));
    let lease = pool.collect_lease(waiters[1]);
    assert_eq!(lease.token, peers[1].token);
    pool.release(lease);
    assert!(pool.machine.is_closed());
}

#[test]
fn a_granted_connection_that_ends_is_not_replaced() {
    let mut pool = server();
    let waiter = pool.queue();
    let granted = pool.join(A);
    let other = claimed(&mut pool);
    pool.graceful_shutdown(None);
    pool.closed(granted.token);
    assert_eq!(pool.collect(waiter), Collected::Refused(Refusal::ShuttingDown));
    assert_eq!(pool.live(), [other.token]);
}

#[test]
fn an_acquire_by_id_takes_what_the_peer_has_begun_to_use() {
    let mut pool = server();
    let (first, second, third) = (claimed(&mut pool), claimed(&mut pool), claimed(&mut pool));
    pool.readable(second.token);
    pool.checked(CheckResult::Finished);
    // It is looked into at this moment.
    pool.readable(third.token);
    let before = pool.queue_by_id(third.id);
    pool.graceful_shutdown(None);
    assert_eq!(pool.live().len(), 3);
    let Acquired::Ready(one) = pool.acquire_by_id(first.id) else { panic!() };
    let Acquired::Ready(two) = pool.acquire_by_id(second.id) else { panic!() };
    let after = pool.queue_by_id(third.id);
    pool.checked(CheckResult::Data);
    let three = pool.collect_lease(before);
    assert_eq!(pool.collect(after), Collected::Waiting);
    for lease in [one, two, three] {
        pool.release(lease);
    }
    assert!(matches!(pool.collect(after), Collected::Refused(Refusal::Gone { .. })));
    assert!(pool.machine.is_closed());
}

#[test]
fn a_claim_that_nobody_asks_for_does_not_hold_the_shutdown_up() {
    let mut pool = ServerHarness::server(4, |config| config.claim_timeout(ms(80)));
    claimed(&mut pool);
    pool.graceful_shutdown(None);
    pool.pass(ms(79));
    assert!(!pool.machine.is_closed());
    pool.pass(ms(1));
    assert!(pool.machine.is_closed());
    assert_eq!(pool.ended(CloseReason::Unclaimed), 1);
}

#[test]
fn an_inspected_connection_that_the_peer_does_not_use_ends_with_its_check() {
    let mut pool = server();
    let peer = pool.join(A);
    pool.readable(peer.token);
    pool.graceful_shutdown(None);
    assert_eq!(pool.live(), [peer.token]);
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::ShutDown), 1);
    assert!(pool.machine.is_closed());
}

#[test]
fn a_cancelled_grant_on_which_data_has_arrived_is_looked_into() {
    let mut pool = server();
    let waiter = pool.queue();
    let peer = pool.join(A);
    pool.readable(peer.token);
    pool.graceful_shutdown(None);
    pool.cancel(waiter);
    assert!(matches!(pool.did(), [Action::Check { kind: CheckKind::Inspect, .. }]));
    pool.checked(CheckResult::Data);
    assert_eq!(pool.machine.state_of(peer.token), Some(State::Claimed));
}

#[test]
fn a_connection_that_is_being_drained_was_not_in_use() {
    let mut pool = server();
    pool.join(A);
    let lease = pool.take();
    pool.put(lease).unwrap();
    pool.graceful_shutdown(None);
    assert!(pool.machine.is_closed());
    pool.checked(CheckResult::Quiet);
    assert!(matches!(pool.did(), [Action::Close { reason: CloseReason::Stale, .. }]));
}

#[test]
fn the_control_connection_ends_unless_it_is_in_use() {
    let control = || ServerHarness::server(4, |config| config.control_connection(true));
    let mut pool = control();
    pool.join(A);
    pool.graceful_shutdown(None);
    assert!(pool.machine.is_closed());
    let mut pool = control();
    pool.join(A);
    let Acquired::Ready(lease) = pool.acquire_by_id(ConnId::ZERO) else { panic!() };
    let next = pool.queue_by_id(ConnId::ZERO);
    pool.graceful_shutdown(None);
    assert_eq!(pool.collect(next), Collected::Refused(Refusal::ShuttingDown));
    pool.release(lease);
    assert!(pool.machine.is_closed());
}

#[test]
fn the_deadline_ends_what_is_left() {
    let mut pool = filled(1, |config| config);
    let lease = pool.take();
    let deadline = pool.now + ms(500);
    pool.graceful_shutdown(Some(ms(500)));
    assert_eq!(pool.machine.poll_timeout(), Some(deadline));
    pool.pass(ms(499));
    assert!(!pool.machine.is_closed());
    pool.pass(ms(1));
    let (token, reason) = (lease.token, CloseReason::ShutDown);
    assert_eq!(pool.did(), [Action::Abort { token, reason }]);
    assert!(pool.machine.is_closed());
    assert_eq!(pool.put(lease), Err(PutError::PoolClosed));
}

#[test]
fn a_second_call_may_only_bring_the_deadline_nearer() {
    let mut pool = filled(1, |config| config);
    let lease = pool.take();
    let deadline = |pool: &ClientHarness| pool.machine.poll_timeout();
    pool.graceful_shutdown(None);
    pool.graceful_shutdown(Some(ms(500)));
    let first = Some(pool.now + ms(500));
    assert_eq!(deadline(&pool), first);
    for later in [None, Some(ms(900))] {
        pool.graceful_shutdown(later);
        assert_eq!(deadline(&pool), first);
    }
    pool.graceful_shutdown(Some(ms(200)));
    assert_eq!(deadline(&pool), Some(pool.now + ms(200)));
    pool.graceful_shutdown(Some(ms(0)));
    assert!(pool.machine.is_closed());
    assert_eq!(pool.put(lease), Err(PutError::PoolClosed));
}

#[test]
fn flush_and_close_cut_it_short_and_clean_finds_nothing() {
    for flush in [true, false] {
        let mut pool = filled(2, |config| config);
        let lease = pool.take();
        pool.graceful_shutdown(Some(ms(500)));
        assert_eq!(pool.clean(), 0);
        assert!(!pool.machine.is_closed());
        let (token, reason) = match flush {
            true => {
                assert_eq!(pool.flush(), 1);
                (lease.token, CloseReason::Flushed)
            }
            false => {
                pool.close();
                (lease.token, CloseReason::PoolClosed)
            }
        };
        assert_eq!(pool.did(), [Action::Abort { token, reason }]);
        assert!(pool.machine.is_closed());
        pool.graceful_shutdown(None);
        assert_eq!((pool.did(), pool.machine.poll_timeout()), (&[][..], None));
    }
}
