//! The errors of acquires that fail.

use std::sync::atomic::Ordering;

use std::error::Error;
use std::sync::Arc;

use pool_driver::shared::AcquireError;
use pool_proto::{CheckResult, CloseReason, HandshakeFailure, Refusal, WaitReason};

use crate::rig::{Plan, client, filled, id, ms, secs, server};

fn timeout(why: WaitReason, last_failure: Option<&str>) -> AcquireError {
    AcquireError::Timeout { why, last_failure: last_failure.map(Arc::from) }
}

#[test]
fn a_timeout_names_the_reason_of_the_wait() {
    let rig = client(Plan::of(2));
    for (task, why) in [
        (rig.any(), WaitReason::Dialing { in_flight: 2 }),
        (rig.by_id(id(9)), WaitReason::IdNotSeen),
        (rig.stock(), WaitReason::Stock { idle: 0, wanted: 1 }),
    ] {
        task.queue();
        task.expire();
        assert_eq!(task.fail(), timeout(why, None));
        assert_eq!((task.wakes(), task.counter.wakers()), (0, 0));
    }
    assert_eq!((rig.stats().waiters, rig.stats().totals.cancelled), (0, 3));
}

#[test]
fn a_zero_timeout_is_answered_at_the_first_poll() {
    let mut rig = server(Plan::ONE);
    let task = rig.any();
    task.expire();
    assert_eq!(task.fail(), timeout(WaitReason::NoPeer, None));
    assert_eq!((task.counter.wakers(), rig.stats().waiters), (0, 0));
    let stock = rig.stock();
    stock.expire();
    assert_eq!(stock.fail(), timeout(WaitReason::Stock { idle: 0, wanted: 1 }, None));

    rig.connect();
    let stock = rig.stock();
    stock.expire();
    assert!(stock.finish().is_ok());
    let task = rig.any();
    task.expire();
    drop(task.take());
}

#[test]
fn a_connection_granted_in_time_is_not_lost_to_a_late_poll() {
    let mut rig = client(Plan::ONE);
    let task = rig.any();
    task.queue();
    rig.connect();
    task.expire();
    drop(task.take());
    assert_eq!(rig.stats().totals.cancelled, 0);
}

#[test]
fn a_timeout_includes_the_last_failure() {
    let mut rig = client(Plan::ONE);
    rig.begin().attempt.failed(HandshakeFailure::Transport, &"no route");
    rig.shared.note_failure(&format_args!("no route for {}", 3));
    assert_eq!(rig.shared.last_failure().as_deref(), Some("no route for 3"));
    let task = rig.any();
    task.expire();
    let why = WaitReason::BackingOff { failures: 1 };
    assert_eq!(task.fail(), timeout(why, Some("no route for 3")));
    let stock = rig.stock();
    stock.expire();
    let why = WaitReason::Stock { idle: 0, wanted: 1 };
    assert_eq!(stock.fail(), timeout(why, Some("no route for 3")));
}

#[test]
fn only_a_success_clears_the_last_failure() {
    let mut rig = client(Plan::ONE);
    assert_eq!(rig.shared.last_failure(), None);
    rig.shared.note_failure(&"once");
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    assert!(rig.shared.last_failure().is_some(), "a connected transport is not a success yet");
    let conn = rig.establish(in_flight);
    assert_eq!(rig.shared.last_failure(), None);
    rig.shared.note_failure(&"again");
    drop(rig.any().take());
    rig.peer_closes(conn);
    rig.flush();
    assert_eq!(rig.shared.last_failure().as_deref(), Some("again"));
}

/// The address of a peer (RFC 5737).
const PEER: &str = "192.0.2.1:9";
const ADVICE: &str = "speak up";

#[test]
fn a_failure_names_the_peer_that_has_connected() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.dials("tunnel.example:9".into());
    in_flight.attempt.dialed();
    in_flight.attempt.connected_to(PEER.parse().unwrap(), ADVICE);
    in_flight.attempt.failed(HandshakeFailure::Tls, &"no certificate");
    assert_eq!(rig.shared.last_failure().as_deref(), Some("192.0.2.1:9: no certificate"));
}

#[test]
fn a_dial_given_up_names_what_was_dialled() {
    let mut rig = client(Plan::ONE);
    let in_flight = rig.begin();
    in_flight.attempt.dials("tunnel.example:9".into());
    rig.shared.note_abort(in_flight.attempt.token(), CloseReason::DialTimeout);
    let text = "a connection to tunnel.example:9 was given up: it was not dialled in time";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
}

#[test]
fn a_handshake_given_up_names_its_peer_and_gives_advice() {
    let mut rig = server(Plan::of(2));
    for (reason, advice, end) in [
        (CloseReason::HandshakeTimeout, ADVICE, "; speak up"),
        (CloseReason::Silent, ADVICE, "; speak up"),
        (CloseReason::HandshakeTimeout, "", ""),
    ] {
        let mut in_flight = rig.begin();
        let token = in_flight.attempt.token();
        in_flight.attempt.connected_to(PEER.parse().unwrap(), advice);
        rig.shared.note_abort(token, reason);
        let text = format!("the connection with 192.0.2.1:9 was given up: {reason}{end}");
        assert_eq!(rig.shared.last_failure().as_deref(), Some(text.as_str()));
        // The peer of an attempt that is over is forgotten.
        drop(in_flight);
        rig.shared.note_abort(token, CloseReason::HandshakeTimeout);
        let text = "a connection was given up: its handshake was not over in time";
        assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
    }
}

#[test]
fn a_client_names_a_peer_that_has_been_silent_for_a_second() {
    let mut rig = client(Plan::of(3));
    let mut silent = rig.begin();
    // The dial itself takes its time.
    rig.clock.pass(ms(5000));
    silent.attempt.dialed();
    let heard = silent.attempt.listens_to(PEER.parse().unwrap(), ADVICE);
    rig.clock.pass(ms(999));
    assert_eq!(rig.shared.last_failure(), None);
    rig.clock.pass(ms(1));
    let text = "192.0.2.1:9 has connected, but has sent nothing for 1s; speak up";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
    // Callers wait for this one now, in spite of former failures.
    rig.begin().attempt.failed(HandshakeFailure::Tls, &"no certificate");
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
    // The first word, after all.
    heard.store(true, Ordering::Relaxed);
    assert_eq!(rig.shared.last_failure().as_deref(), Some("no certificate"));
    heard.store(false, Ordering::Relaxed);
    // Others get through since then: it is not the reason for anything.
    rig.connect();
    assert_eq!(rig.shared.last_failure(), None);
}

#[test]
fn a_peer_that_is_silent_after_a_success_is_named() {
    let mut rig = client(Plan::of(2));
    rig.connect();
    rig.clock.pass(ms(10));
    let mut silent = rig.begin();
    let _heard = silent.attempt.listens_to(PEER.parse().unwrap(), ADVICE);
    rig.clock.pass(ms(2000));
    let text = "192.0.2.1:9 has connected, but has sent nothing for 1s; speak up";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
}

#[test]
fn a_peer_of_which_nothing_is_expected_is_not_silent() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.listens_to(PEER.parse().unwrap(), "");
    rig.clock.pass(ms(2000));
    assert_eq!(rig.shared.last_failure(), None);
}

#[test]
fn a_peer_that_was_silent_is_not_named_once_its_attempt_is_over() {
    let mut rig = client(Plan::of(2));
    let mut silent = rig.begin();
    silent.attempt.listens_to(PEER.parse().unwrap(), ADVICE);
    rig.clock.pass(ms(2000));
    silent.attempt.failed(HandshakeFailure::Transport, &"it broke");
    assert_eq!(rig.shared.last_failure().as_deref(), Some("192.0.2.1:9: it broke"));
}

#[test]
fn a_server_names_a_peer_that_has_been_silent_for_a_second() {
    let mut rig = server(Plan::of(2));
    let mut silent = rig.shared.accept(PEER.parse().unwrap()).unwrap();
    silent.connected_to(PEER.parse().unwrap(), ADVICE);
    rig.clock.pass(ms(999));
    assert_eq!(rig.shared.last_failure(), None);
    rig.clock.pass(ms(1));
    let text = "192.0.2.1:9 has connected, but has sent nothing for 1s; speak up";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
    let task = rig.any();
    task.expire();
    assert_eq!(task.fail(), timeout(WaitReason::Handshaking { in_flight: 1 }, Some(text)));
    // Others get through since then: it is not the reason for anything.
    rig.connect();
    assert_eq!(rig.shared.last_failure(), None);
}

/// Anybody may connect to a server and say nothing.
#[test]
fn a_silent_stranger_does_not_hide_the_last_failure_of_a_server() {
    let mut rig = server(Plan::of(2));
    let mut silent = rig.shared.accept(PEER.parse().unwrap()).unwrap();
    silent.connected_to(PEER.parse().unwrap(), ADVICE);
    rig.begin().attempt.failed(HandshakeFailure::Tls, &"no certificate");
    rig.clock.pass(ms(2000));
    assert_eq!(rig.shared.last_failure().as_deref(), Some("no certificate"));
}

#[test]
fn a_duplicate_id_is_a_failure_with_its_peer() {
    let mut rig = client(Plan::of(3));
    let first = rig.connect();
    let text = "the peer gave it the id of another live connection";
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    in_flight.attempt.connected_to(PEER.parse().unwrap(), ADVICE);
    in_flight.attempt.established(rig.book.open(), Some(first.id));
    let named = format!("the connection with 192.0.2.1:9 was given up: {text}");
    assert_eq!(rig.shared.last_failure().as_deref(), Some(named.as_str()));
    // A second failure is not a success that would hide the cause.
    rig.clock.pass(secs(60));
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    in_flight.attempt.established(rig.book.open(), Some(first.id));
    let unnamed = format!("a connection was given up: {text}");
    assert_eq!(rig.shared.last_failure().as_deref(), Some(unnamed.as_str()));
    assert_eq!(rig.stats().totals.duplicate_ids, 2);
}

#[test]
fn a_connection_without_an_id_is_a_failure_where_ids_are_exchanged() {
    let mut rig = client(Plan::ONE);
    let mut in_flight = rig.begin();
    in_flight.attempt.dialed();
    in_flight.attempt.connected_to(PEER.parse().unwrap(), ADVICE);
    in_flight.attempt.established(rig.book.open(), None);
    let text = "the connection with 192.0.2.1:9 was given up: it came without an id";
    assert_eq!(rig.shared.last_failure().as_deref(), Some(text));
}

/// While other connections are idle, it is not a reason to wait, and no later dial would
/// clear it.
#[test]
fn a_close_at_once_is_a_failure_only_of_an_empty_pool() {
    let mut rig = server(Plan::of(3));
    let closed = |rig: &mut crate::rig::Rig<_>| {
        let in_flight = rig.begin();
        let connection = rig.book.open_with(CheckResult::Closed);
        rig.book.next_check(connection.number(), CheckResult::Closed);
        in_flight.attempt.established(connection, None);
    };
    rig.connect();
    closed(&mut rig);
    assert_eq!((rig.shared.last_failure(), rig.stats().finished), (None, 1));
    rig.flush();
    closed(&mut rig);
    assert!(rig.shared.last_failure().unwrap().contains("as soon as it was established"));
}

#[test]
fn the_errors_have_readable_texts() {
    let why = WaitReason::NoPeer;
    assert_eq!(timeout(why, None).to_string(), "no connection in time: no peer was connecting");
    assert_eq!(
        timeout(why, Some("TLS alert")).to_string(),
        "no connection in time: no peer was connecting; the last failure was: TLS alert"
    );
    let refused = AcquireError::from(Refusal::PoolClosed);
    assert_eq!(refused, AcquireError::Refused(Refusal::PoolClosed));
    assert_eq!(refused.to_string(), Refusal::PoolClosed.to_string());
    assert!(refused.source().is_none(), "the text is that of the refusal, so there is no source");
}

#[test]
fn refusals_reach_the_caller() {
    let rig = server(Plan { max_waiters: 1, ..Plan::ONE });
    let unknown = id(9);
    assert_eq!(rig.by_id(unknown).fail(), Refusal::UnknownId { id: unknown }.into());
    let first = rig.any();
    first.queue();
    assert_eq!(rig.any().fail(), Refusal::TooManyWaiters { limit: 1 }.into());
    assert_eq!(rig.stock().fail(), Refusal::TooManyWaiters { limit: 1 }.into());
    assert_eq!((first.wakes(), rig.stats().totals.refused), (0, 3));
}

#[test]
fn wait_ready_beyond_the_capacity_is_refused() {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    let (rig, _) = filled(Plan::ONE);
    let mut wait = rig.shared.wait_ready(2);
    let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()));
    let refusal = Refusal::StockBeyondCapacity { wanted: 2, capacity: 1 };
    assert_eq!(polled, Poll::Ready(Err(refusal.into())));
}
