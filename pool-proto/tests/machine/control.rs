//! The control connection: the one that both ends know by the zero id.

use std::collections::HashSet;

use pool_proto::{
    Acquired, Action, CheckResult, CloseReason, Collected, ConnId, Event, HandshakeFailure,
    Refusal, State, Stock, WaitReason, WaiterId,
};
use pool_testkit::harness::*;

const A: &str = "10.0.0.1";

fn server(capacity: u32) -> ServerHarness {
    ServerHarness::server(capacity, |config| config.control_connection(true))
}

#[test]
fn the_first_connection_has_the_zero_id_and_the_others_have_not() {
    let mut pool = server(8);
    assert_eq!(pool.join(A).id, ConnId::ZERO);
    let mut seen = HashSet::new();
    for _ in 0..8 {
        assert!(seen.insert(pool.join(A).id), "an id twice");
    }
    assert!(!seen.contains(&ConnId::ZERO));
}

#[test]
fn without_the_option_no_connection_has_the_zero_id() {
    let mut pool = ServerHarness::server(8, |config| config);
    assert_ne!(pool.join(A).id, ConnId::ZERO);
    let refused = Acquired::Refused(Refusal::UnknownId { id: ConnId::ZERO });
    assert_eq!(pool.acquire_by_id(ConnId::ZERO), refused);
}

#[test]
fn only_an_acquire_by_its_id_takes_it() {
    let mut pool = server(8);
    pool.join(A);
    let any = pool.queue();
    let Acquired::Ready(control) = pool.acquire_by_id(ConnId::ZERO) else { panic!() };
    assert_eq!(control.id, ConnId::ZERO);
    // Nor once it is back.
    pool.put(control).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.machine.why(any), Some(WaitReason::Claimed { claimed: 1 }));
    let other = pool.join(A);
    assert_eq!(pool.collect_lease(any).id, other.id);
}

#[test]
fn it_is_no_part_of_the_stock() {
    let mut pool = server(1);
    pool.join(A);
    assert!(matches!(pool.wait_ready(1), Stock::Queued(_)));
    // It takes up no capacity either.
    pool.join(A);
    assert_eq!((pool.stats().idle, pool.stats().claimed), (1, 1));
    assert_eq!(pool.clean(), 1);
    assert!(matches!(pool.acquire_by_id(ConnId::ZERO), Acquired::Ready(_)));
}

#[test]
fn an_early_acquire_waits_for_it() {
    let mut pool = server(8);
    let waiter = pool.queue_by_id(ConnId::ZERO);
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::IdNotSeen));
    pool.join(A);
    assert_eq!(pool.collect_lease(waiter).id, ConnId::ZERO);
}

#[test]
fn after_one_has_failed_or_ended_the_next_connection_is_it() {
    let mut pool = server(8);
    let waiter = pool.queue_by_id(ConnId::ZERO);
    let failing = pool.admit(A).unwrap();
    assert_eq!(failing.id, ConnId::ZERO);
    pool.handshake_failed(failing.token, HandshakeFailure::Tls);
    // The waiter is still there: another may come.
    assert_eq!(pool.join(A).id, ConnId::ZERO);
    let control = pool.collect_lease(waiter);
    assert_ne!(pool.join(A).id, ConnId::ZERO);
    pool.release(control);
    assert_eq!(pool.join(A).id, ConnId::ZERO);
}

#[test]
fn a_waiter_that_has_been_given_it_waits_for_the_next_when_it_ends() {
    let mut pool = server(8);
    let waiter = pool.queue_by_id(ConnId::ZERO);
    let first = pool.join(A);
    assert_eq!(pool.machine.state_of(first.token), Some(State::Granted));
    pool.closed(first.token);
    let second = pool.join(A);
    assert_eq!(second.id, ConnId::ZERO);
    assert_eq!(pool.collect_lease(waiter).token, second.token);
}

#[test]
fn nobody_waits_for_it_when_no_peer_can_come() {
    let mut pool = server(8);
    pool.event(Event::AcceptEnded);
    let refused = Acquired::Refused(Refusal::AcceptEnded);
    assert_eq!(pool.acquire_by_id(ConnId::ZERO), refused);
}

#[test]
fn a_waiter_for_it_is_refused_when_the_listener_ends() {
    let refused = Collected::Refused(Refusal::AcceptEnded);
    // None has come yet.
    let mut pool = server(8);
    let waiter = pool.queue_by_id(ConnId::ZERO);
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.did(), [Action::Wake { waiter }]);
    assert_eq!(pool.collect(waiter), refused);
    // The control connection was granted, and ends before it is collected.
    let mut pool = server(8);
    let waiter = pool.queue_by_id(ConnId::ZERO);
    let control = pool.join(A);
    pool.event(Event::AcceptEnded);
    pool.closed(control.token);
    assert_eq!(pool.collect(waiter), refused);
}

#[test]
fn when_the_listener_ends_a_waiter_for_it_waits_as_long_as_one_lives() {
    let mut pool = server(8);
    pool.join(A);
    let Acquired::Ready(control) = pool.acquire_by_id(ConnId::ZERO) else { panic!() };
    let waiters = [pool.queue_by_id(ConnId::ZERO), pool.queue_by_id(ConnId::ZERO)];
    pool.event(Event::AcceptEnded);
    assert_eq!(pool.collect(waiters[0]), Collected::Waiting);
    pool.put(control).unwrap();
    pool.checked(CheckResult::Quiet);
    let control = pool.collect_lease(waiters[0]);
    pool.release(control);
    assert_eq!(pool.collect(waiters[1]), Collected::Refused(Refusal::AcceptEnded));
}

#[test]
fn an_unclaimed_one_ends_and_the_next_connection_takes_its_name() {
    let mut pool =
        ServerHarness::server(8, |config| config.control_connection(true).claim_timeout(ms(300)));
    pool.join(A);
    pool.pass(ms(300));
    assert_eq!(pool.ended(CloseReason::Unclaimed), 1);
    assert_eq!(pool.join(A).id, ConnId::ZERO);
}

#[test]
fn who_asks_for_one_whose_lifetime_is_over_waits_for_the_next() {
    let mut pool = ServerHarness::server(8, |config| {
        config.control_connection(true).max_lifetime(ms(300)).lifetime_jitter(0.0)
    });
    pool.join(A);
    // The timer is late.
    pool.wait(ms(300));
    let waiter = pool.queue_by_id(ConnId::ZERO);
    assert_eq!(pool.ended(CloseReason::Expired), 1);
    assert_eq!(pool.join(A).id, ConnId::ZERO);
    assert_eq!(pool.collect_lease(waiter).id, ConnId::ZERO);
}

#[test]
fn who_asks_for_one_whose_lifetime_is_over_is_refused_during_a_shutdown() {
    let mut pool = ServerHarness::server(8, |config| {
        config.control_connection(true).max_lifetime(ms(300)).lifetime_jitter(0.0)
    });
    let control = pool.join(A);
    pool.join(A);
    let _in_use = pool.take();
    // The peer has begun to use it, so that it outlives the begin of the shutdown.
    pool.readable(control.token);
    pool.checked(CheckResult::Data);
    pool.graceful_shutdown(None);
    pool.wait(ms(300));
    let refused = Acquired::Refused(Refusal::ShuttingDown);
    assert_eq!(pool.acquire_by_id(ConnId::ZERO), refused);
}

#[test]
fn a_client_keeps_it_for_its_id_too() {
    let mut pool = ClientHarness::client(2, 2, |config| config.control_connection(true));
    let waiter = pool.queue_by_id(ConnId::ZERO);
    let tokens = pool.dialing();
    for (token, given) in tokens.into_iter().zip([ConnId::ZERO, id(7)]) {
        pool.dialed(token);
        pool.established(token, Some(given));
    }
    assert_eq!(pool.take().id, id(7));
    let control = pool.collect_lease(waiter);
    assert_eq!(control.id, ConnId::ZERO);
    pool.release(control);
    // It is waited for again, not refused as gone.
    pool.queue_by_id(ConnId::ZERO);
}

/// A client with a full stock of two, whose control connection has ended.
fn bereft() -> ClientHarness {
    let mut pool = ClientHarness::client(2, 2, |config| config.control_connection(true));
    let control = pool.dialing()[0];
    pool.dialed(control);
    pool.established(control, Some(ConnId::ZERO));
    pool.fill();
    let Acquired::Ready(lease) = pool.acquire_by_id(ConnId::ZERO) else { panic!("it is there") };
    pool.release(lease);
    assert_eq!((pool.stats().idle, pool.dialing().len()), (2, 0));
    pool.pass(ms(5000));
    pool
}

/// A caller waits for it. The pause after the last one is long over.
fn call(pool: &mut ClientHarness) -> WaiterId {
    let waiter = pool.queue_by_id(ConnId::ZERO);
    pool.timeout();
    waiter
}

#[test]
fn a_client_with_a_full_stock_dials_it_for_a_caller() {
    let mut pool = bereft();
    let waiter = call(&mut pool);
    let [next] = pool.dialing()[..] else { panic!("one is dialled") };
    pool.dialed(next);
    pool.established(next, Some(ConnId::ZERO));
    assert_eq!(pool.collect_lease(waiter).id, ConnId::ZERO);
    assert_eq!((pool.stats().idle, pool.dialing().len()), (2, 0));
    pool.pass(ms(60_000));
    assert_eq!(pool.dialing(), [], "it is there");
}

#[test]
fn a_client_dials_it_for_nobody() {
    let mut pool = bereft();
    let waiter = call(&mut pool);
    pool.cancel(waiter);
    let dials = pool.stats().totals.dials;
    pool.fill();
    pool.pass(ms(60_000));
    assert_eq!((pool.dialing(), pool.stats().totals.dials), (vec![], dials));
}

#[test]
fn a_server_that_does_not_know_of_the_loss_is_asked_again_after_waits_that_double() {
    let mut pool = bereft();
    let waiter = call(&mut pool);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let [next] = pool.dialing()[..] else { panic!("one is dialled") };
        pool.connect(next);
        let since = pool.now;
        while pool.dialing().is_empty() {
            pool.now = pool.machine.poll_timeout().unwrap();
            pool.timeout();
        }
        waits.push(pool.now.since(since));
    }
    assert_eq!(waits[..4], [ms(200), ms(400), ms(800), ms(1600)]);
    assert_eq!(waits[11], ms(30_000));
    let [next] = pool.dialing()[..] else { panic!("one is dialled") };
    pool.dialed(next);
    pool.established(next, Some(ConnId::ZERO));
    let control = pool.collect_lease(waiter);
    pool.release(control);
    // A call to dial now ends such a wait, too.
    let mut pool = bereft();
    call(&mut pool);
    for _ in 0..8 {
        pool.fill();
        pool.dial_now();
        assert_eq!(pool.dialing().len(), 1);
    }
}

#[test]
fn one_that_ends_again_and_again_is_dialled_once_a_second() {
    let mut pool = bereft();
    let (start, before) = (pool.now, pool.stats().totals.dials);
    let waiter = call(&mut pool);
    while pool.now < start + ms(10_000) {
        for token in pool.dialing() {
            pool.dialed(token);
            pool.established(token, Some(ConnId::ZERO));
            pool.closed(token);
        }
        pool.pass(ms(10));
    }
    let dials = pool.stats().totals.dials - before;
    assert!((9..=11).contains(&dials), "{dials} in ten seconds");
    pool.cancel(waiter);
}

#[test]
fn a_full_server_lets_the_next_one_in() {
    let mut pool = server(2);
    let Acquired::Ready(control) = ({
        pool.join(A);
        pool.acquire_by_id(ConnId::ZERO)
    }) else {
        panic!("it is there")
    };
    pool.join(A);
    pool.join(A);
    assert_eq!(pool.stats().idle, 2);
    pool.release(control);
    // In place of one that has been unused for a second.
    pool.pass(ms(1000));
    assert_eq!(pool.join(A).id, ConnId::ZERO);
    assert_eq!(pool.ended(CloseReason::Replaced), 1);
}
