//! The client's supply: dials, their deadlines, and ids from the server.

use pool_proto::{
    Acquired, Action, CheckResult, CloseReason, Collected, Event, HandshakeFailure, IdExchange,
    Refusal, WaitReason,
};
use pool_testkit::harness::*;

pub(crate) fn client(min: u32, max: u32) -> ClientHarness {
    ClientHarness::client(min, max, |config| config)
}

/// A connection whose peer closes it while it is idle.
pub(crate) fn peer_closes(pool: &mut ClientHarness, token: pool_proto::Token) {
    pool.readable(token);
    assert_eq!(pool.checked(CheckResult::Closed), token);
}

// --- dialling -----------------------------------------------------------------------------------

#[test]
fn the_first_dials_fill_the_capacity() {
    let pool = client(4, 64);
    assert_eq!(pool.log.len(), 4);
    assert_eq!(pool.dialing().len(), 4);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(10_000)));
}

#[test]
fn no_more_than_max_dials_and_handshakes_are_under_way() {
    let mut pool = ClientHarness::client(5, 5, |config| config.max_dials(2));
    assert_eq!(pool.dialing().len(), 2);
    let first = pool.dialing()[0];
    pool.dialed(first);
    assert_eq!(pool.dialing().len(), 1, "a handshake counts too");
    pool.established(first, Some(id(9)));
    assert_eq!(pool.dialing().len(), 2);
    pool.fill();
    assert_eq!((pool.stats().idle, pool.dialing().len()), (5, 0));
}

#[test]
fn max_connections_counts_leases_too() {
    let mut pool = ClientHarness::client(2, 2, |config| config.max_connections(3));
    pool.fill();
    let leases = [pool.take(), pool.take()];
    assert_eq!(pool.dialing().len(), 1, "3 in all");
    pool.fill();
    let third = pool.take();
    let waiter = pool.queue();
    let why = pool.machine.why(waiter);
    assert_eq!(why, Some(WaitReason::AllInUse { leased: 3, claimed: 0 }));
    assert_eq!(pool.dialing().len(), 0);
    pool.release(third);
    assert_eq!(pool.dialing().len(), 1);
    drop(leases);
}

#[test]
fn nothing_is_due_when_nothing_can_happen() {
    let mut pool = client(2, 2);
    pool.fill();
    assert_eq!(pool.machine.poll_timeout(), None);
    let lease = pool.take();
    pool.fill();
    assert_eq!(pool.machine.poll_timeout(), None);
    pool.release(lease);
}

#[test]
fn a_dial_that_takes_too_long_is_aborted_and_counted() {
    let mut pool = ClientHarness::client(1, 1, |config| config.dial_timeout(ms(70)));
    let token = pool.dialing()[0];
    pool.wait(ms(69));
    pool.timeout();
    assert_eq!(pool.did(), []);
    pool.wait(ms(1));
    pool.timeout();
    let reason = CloseReason::DialTimeout;
    assert_eq!(pool.did()[0], Action::Abort { token, reason });
    assert_eq!(pool.stats().totals.dial_timeouts, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn the_handshake_deadline_is_one_for_all_of_it() {
    let mut pool =
        ClientHarness::client(1, 1, |config| config.dial_timeout(ms(70)).handshake_timeout(ms(50)));
    let token = pool.dialing()[0];
    pool.wait(ms(60));
    pool.dialed(token);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(50)));
    pool.wait(ms(50));
    pool.timeout();
    let reason = CloseReason::HandshakeTimeout;
    assert_eq!(pool.did()[0], Action::Abort { token, reason });
    assert_eq!(pool.stats().totals.handshake_timeouts, 1);
    // The driver comes late: its connection is closed.
    let connection = pool.established(token, Some(id(9)));
    let reason = CloseReason::Stale;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
    assert_eq!(pool.stats().totals.stale_events, 1);
}

#[test]
fn failures_are_counted_by_their_kind() {
    let mut pool = client(4, 4);
    let tokens = pool.dialing();
    pool.dial_failed(tokens[0]);
    for token in &tokens[1..] {
        pool.dialed(*token);
    }
    pool.handshake_failed(tokens[1], HandshakeFailure::Tls);
    pool.handshake_failed(tokens[2], HandshakeFailure::Id);
    pool.handshake_failed(tokens[3], HandshakeFailure::Transport);
    let totals = pool.stats().totals;
    assert_eq!((totals.dial_failures, totals.tls_failures), (1, 1));
    assert_eq!((totals.id_failures, totals.transport_failures), (1, 1));
    assert_eq!(totals.stale_events, 0);
}

// --- ids from the server ------------------------------------------------------------------------

#[test]
fn an_id_that_is_in_use_already_closes_the_newcomer() {
    let mut pool = client(2, 2);
    let [first, second] = pool.dialing()[..] else { panic!() };
    let old = pool.connect(first);
    pool.dialed(second);
    let connection = pool.established(second, Some(old));
    let (token, reason) = (second, CloseReason::DuplicateId);
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did()[0], close);
    assert_eq!(pool.stats().totals.duplicate_ids, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
    let Acquired::Ready(lease) = pool.acquire_by_id(old) else { panic!() };
    assert_eq!(lease.token, first);
    pool.release(lease);
    // Its id is free again now.
    pool.pass(ms(200));
    let third = pool.dialing()[0];
    pool.dialed(third);
    pool.established(third, Some(old));
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn a_missing_id_closes_the_connection() {
    let mut pool = client(1, 1);
    let token = pool.dialing()[0];
    pool.dialed(token);
    let connection = pool.established(token, None);
    let reason = CloseReason::MissingId;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
    assert_eq!(pool.stats().totals.id_failures, 1);
    assert_eq!(pool.stats().failures_in_a_row, 1);
}

#[test]
fn without_id_exchange_ids_are_made_here_and_known_or_unknown_at_once() {
    let mut pool = ClientHarness::client(2, 2, |config| config.ids(IdExchange::None));
    for token in pool.dialing() {
        pool.dialed(token);
        pool.established(token, None);
    }
    let (a, b) = (pool.take(), pool.take());
    assert_ne!(a.id, b.id);
    let unknown = id(u32::from_be_bytes(a.id.to_bytes()) ^ 0x5555);
    let refused = Acquired::Refused(Refusal::UnknownId { id: unknown });
    assert_eq!(pool.acquire_by_id(unknown), refused);
    let waiter = pool.queue_by_id(a.id);
    pool.put(a).unwrap();
    pool.checked(CheckResult::Quiet);
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
}

#[test]
fn only_a_server_has_a_listener() {
    let mut pool = client(1, 1);
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.stats().totals.stale_events, 1);
    pool.queue();
}
