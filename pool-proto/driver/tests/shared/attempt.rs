//! Attempts: every dial and handshake must be reported, even if it is dropped.

use std::net::SocketAddr;

use pool_proto::{CheckResult, CloseReason, HandshakeFailure};

use crate::rig::{InFlight, Plan, client, secs, server};

#[test]
fn an_attempt_dropped_while_dialling_reports_a_failed_dial() {
    let mut rig = client(Plan::ONE);
    drop(rig.begin());
    let stats = rig.stats();
    assert_eq!((stats.dialing, stats.totals.dial_failures), (0, 1));
    assert_eq!((stats.totals.transport_failures, stats.totals.stale_events), (0, 0));
}

#[test]
fn an_attempt_dropped_in_the_handshake_reports_a_transport_failure() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    assert_eq!((rig.stats().dialing, rig.stats().handshaking), (0, 1));
    drop(in_flight);
    let stats = rig.stats();
    assert_eq!((stats.handshaking, stats.totals.transport_failures), (0, 1));
    assert_eq!((stats.totals.dial_failures, stats.totals.stale_events), (0, 0));

    let mut rig = server(Plan::ONE);
    drop(rig.begin());
    let stats = rig.stats();
    assert_eq!((stats.handshaking, stats.totals.transport_failures), (0, 1));
    assert_eq!(stats.totals.stale_events, 0);
}

#[test]
fn a_dropped_attempt_keeps_the_last_failure() {
    let mut rig = client(Plan::ONE);
    rig.shared.note_failure(&"the last one");
    drop(rig.begin());
    assert_eq!(rig.shared.last_failure().as_deref(), Some("the last one"));
}

#[test]
fn a_failure_counts_by_its_kind_once_the_transport_is_connected() {
    let mut rig = client(Plan::ONE);
    rig.begin().attempt.failed(HandshakeFailure::Tls, &"no route");
    let totals = rig.stats().totals;
    assert_eq!((totals.dial_failures, totals.tls_failures), (1, 0));
    let mut expected = [0; 3];
    for (index, failure) in
        [HandshakeFailure::Tls, HandshakeFailure::Id, HandshakeFailure::Transport]
            .into_iter()
            .enumerate()
    {
        let mut in_flight = rig.begin();
        in_flight.attempt.dialed();
        in_flight.attempt.failed(failure, &"intended failure");
        expected[index] += 1;
        let totals = rig.stats().totals;
        let counted = [totals.tls_failures, totals.id_failures, totals.transport_failures];
        assert_eq!(counted, expected, "{failure:?}");
        assert_eq!(rig.shared.last_failure().as_deref(), Some("intended failure"));
    }
    assert_eq!((rig.stats().totals.dial_failures, rig.stats().totals.stale_events), (1, 0));
}

#[test]
fn a_second_dialed_is_not_reported() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    in_flight.attempt.dialed();
    assert_eq!((rig.stats().handshaking, rig.stats().totals.stale_events), (1, 0));
}

#[test]
fn an_admitted_peer_reports_no_dial() {
    let mut rig = server(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    assert_eq!((rig.stats().handshaking, rig.stats().totals.stale_events), (1, 0));
}

#[test]
fn an_established_attempt_reports_only_its_success() {
    let mut rig = client(Plan::ONE);
    let conn = rig.connect();
    let stats = rig.stats();
    assert_eq!((stats.idle, stats.totals.established, stats.totals.stale_events), (1, 1, 0));
    assert_eq!((stats.totals.transport_failures, stats.totals.dial_failures), (0, 0));
    assert_eq!((rig.book.checked(conn.number), rig.book.drained(conn.number)), (1, 0));
}

#[test]
fn a_connection_that_is_closed_at_once_is_named_and_kept_for_its_id() {
    let mut rig = client(Plan::ONE);
    let InFlight { mut attempt, id } = rig.begin();
    attempt.dialed();
    let connection = rig.book.open_with(CheckResult::Closed);
    rig.book.next_check(0, CheckResult::Closed);
    attempt.established(connection, Some(id));
    let stats = rig.stats();
    assert_eq!((stats.handshaking, stats.idle, stats.finished), (0, 0, 1));
    assert_eq!((stats.totals.established, stats.totals.transport_failures), (1, 0));
    let text = "the peer closed the connection as soon as it was established";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
    assert_eq!(rig.by_id(id).take().id(), id);
}

#[test]
fn a_connection_that_is_closed_at_once_is_not_ready_for_a_moment() {
    let mut rig = server(Plan::ONE);
    let stock = rig.stock();
    stock.queue();
    let InFlight { attempt, .. } = rig.begin();
    let connection = rig.book.open_with(CheckResult::Closed);
    rig.book.next_check(0, CheckResult::Closed);
    attempt.established(connection, None);
    assert_eq!((rig.stats().finished, stock.wakes()), (1, 0));
    stock.cancel();
}

#[test]
fn without_ids_a_connection_that_is_closed_at_once_ends() {
    let mut rig = client(Plan { ids: false, ..Plan::ONE });
    let InFlight { mut attempt, .. } = rig.begin();
    attempt.dialed();
    let connection = rig.book.open_with(CheckResult::Closed);
    rig.book.next_check(0, CheckResult::Closed);
    attempt.established(connection, None);
    rig.turn();
    assert_eq!((rig.stats().idle, rig.stats().finished), (0, 0));
    assert_eq!(rig.book.reason(0), Some(CloseReason::PeerClosed));
}

#[test]
fn a_connection_that_the_peer_uses_at_once_is_kept_for_its_id() {
    for (result, kept) in [(CheckResult::Data, (0, 1, 0)), (CheckResult::Finished, (0, 0, 1))] {
        let mut rig = server(Plan::ONE);
        let InFlight { attempt, id } = rig.begin();
        let connection = rig.book.open_with(result);
        rig.book.next_check(0, result);
        attempt.established(connection, None);
        let stats = rig.stats();
        assert_eq!((stats.idle, stats.claimed, stats.finished), kept, "{result:?}");
        assert_eq!(rig.by_id(id).take().id(), id, "{result:?}");
    }
}

#[test]
fn an_attempt_has_the_token_of_its_connection() {
    let mut rig = client(Plan::of(2));
    let (first, second) = (rig.begin(), rig.begin());
    let token = first.attempt.token();
    assert_ne!(token, second.attempt.token());
    assert_eq!(rig.establish(first).token, token);
}

#[test]
fn a_report_after_the_abort_changes_nothing() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    let token = in_flight.attempt.token();
    rig.pass(secs(10));
    assert_eq!(rig.aborted, [(token, CloseReason::DialTimeout)]);
    let before = rig.stats();
    in_flight.attempt.dialed();
    assert_eq!(rig.stats().totals.stale_events, before.totals.stale_events + 1);
    drop(in_flight);
    let after = rig.stats();
    assert_eq!(after.totals.stale_events, before.totals.stale_events + 2);
    assert_eq!(after.totals.transport_failures, 0);
    assert_eq!((after.dialing, after.handshaking), (before.dialing, before.handshaking));
}

/// Both have begun their handshakes while there was a place.
#[test]
fn a_peer_that_is_rejected_behind_its_handshake_is_counted_once() {
    let rig = server(Plan::ONE);
    let peer: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let mut attempts = [(); 2].map(|()| rig.shared.accept(peer).unwrap());
    let [first, second] = &mut attempts;
    first.admit(None).unwrap();
    assert!(second.admit(None).is_err());
    let [_first, second] = attempts;
    second.failed(HandshakeFailure::Transport, &"turned away");
    let totals = rig.stats().totals;
    assert_eq!((totals.rejected_full, totals.rejected_source), (1, 0));
    assert_eq!((totals.transport_failures, totals.stale_events), (0, 0));
}

#[test]
fn a_connection_established_after_the_abort_is_closed_as_stale() {
    let mut rig = server(Plan::ONE);
    let in_flight = rig.begin();
    rig.flush();
    rig.turn();
    assert_eq!(rig.aborted, [(in_flight.attempt.token(), CloseReason::Flushed)]);
    let conn = rig.establish(in_flight);
    rig.turn();
    assert_eq!(rig.book.reason(conn.number), Some(CloseReason::Stale));
    assert_eq!((rig.stats().idle, rig.stats().totals.stale_events), (0, 1));
}
