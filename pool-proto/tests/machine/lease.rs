//! A connection between its establishment and its end: leases, putting back, claims and
//! lifetimes.

use pool_proto::{
    Acquired, Acquirer, Action, CheckKind, CheckResult, CloseReason, IdExchange, PutError, Refusal,
    TakeOrder,
};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

fn server(config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(4, config)
}

// --- putting back -------------------------------------------------------------------------------

#[test]
fn a_connection_that_is_put_back_is_drained_and_then_idle_again() {
    let mut pool = server(|config| config);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take();
    assert_eq!((lease.token, lease.id), (peer.token, peer.id));
    let (token, connection) = (lease.token, lease.connection);
    pool.put(lease).unwrap();
    let kind = CheckKind::Drain;
    let check = Action::Check { token, connection, kind };
    assert_eq!(pool.did(), [check]);
    assert_eq!((pool.stats().returning, pool.stats().idle), (1, 0));
    pool.checked(CheckResult::Quiet);
    assert_eq!((pool.stats().returning, pool.stats().idle), (0, 1));
    assert_eq!(pool.take().token, token);
    let totals = pool.stats().totals;
    assert_eq!((totals.leases, totals.reused, totals.put), (2, 1, 1));
    assert_eq!((totals.served_at_once, totals.served_after_waiting), (2, 0));
}

#[test]
fn every_connection_of_another_pool_is_counted() {
    let mut pool = server(|config| config);
    for count in 1..=2 {
        assert_eq!(pool.machine.put_foreign(), PutError::Foreign);
        assert_eq!(pool.stats().totals.put_unknown, count);
    }
}

#[test]
fn a_connection_that_cannot_be_drained_is_closed() {
    for (result, reason) in
        [(CheckResult::Data, CloseReason::Leftover), (CheckResult::Closed, CloseReason::PeerClosed)]
    {
        let mut pool = server(|config| config);
        let token = pool.join("10.0.0.1").token;
        let lease = pool.take();
        let connection = lease.connection;
        pool.put(lease).unwrap();
        pool.checked(result);
        let close = Action::Close { token, connection, reason };
        assert_eq!(pool.did(), [close]);
    }
}

#[test]
fn a_check_that_does_not_come_back_in_time_is_given_up() {
    let mut pool = server(|config| config.drain_timeout(ms(30)));
    let token = pool.join("10.0.0.1").token;
    pool.readable(token);
    assert_eq!(pool.machine.poll_timeout(), Some(pool.now + ms(30)));
    pool.wait(ms(30));
    pool.timeout();
    assert_eq!(pool.did(), [], "the driver has the connection");
    assert_eq!(pool.stats().totals.drain_timeouts, 1);
    let connection = pool.checks[0].1;
    pool.checked(CheckResult::Quiet);
    let reason = CloseReason::Stale;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
}

#[test]
fn a_connection_that_is_put_back_into_a_full_pool_is_closed() {
    let mut pool = filled(2, |config| config);
    let lease = pool.take();
    let (token, connection) = (lease.token, lease.connection);
    pool.fill();
    assert_eq!(pool.put(lease), Ok(()));
    let reason = CloseReason::Overflow;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did(), [close]);
}

#[test]
fn a_full_pool_takes_back_what_somebody_waits_for() {
    let mut pool = filled(1, |config| config);
    let (a, token) = (pool.take(), pool.dialing()[0]);
    let waiter = pool.queue();
    pool.dialed(token);
    pool.put(a).unwrap();
    assert_eq!(pool.stats().returning, 1, "in spite of the handshake");
    pool.cancel(waiter);
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::Overflow), 1, "nobody waits any more");
}

#[test]
fn nothing_is_put_back_twice_or_after_its_end() {
    let mut pool = server(|config| config);
    pool.join("10.0.0.1");
    let lease = pool.take();
    let (token, first) = (lease.token, lease.connection);
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    let closed = |connection| {
        let reason = CloseReason::Stale;
        [Action::Close { token, connection, reason }]
    };
    let second = pool.new_connection();
    assert_eq!(pool.put_raw(token, second), Err(PutError::NotLeased));
    assert_eq!(pool.did(), closed(second));
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.take().connection, first);
    pool.flush();
    assert_eq!(pool.put_raw(token, first), Err(PutError::NotLeased));
    assert_eq!(pool.did(), closed(first));
    pool.close();
    let third = pool.new_connection();
    assert_eq!(pool.put_raw(token, third), Err(PutError::PoolClosed));
    assert_eq!(pool.stats().totals.put_unknown, 3);
    assert_eq!(pool.stats().totals.put, 1);
}

#[test]
fn a_foreign_lease_is_closed() {
    let mut other = filled(3, |config| config);
    let _ = (other.take(), other.take());
    let foreign = other.take();
    let mut pool = server(|config| config);
    pool.join("10.0.0.1");
    let connection = pool.new_connection();
    let result = pool.put_raw(foreign.token, connection);
    assert_eq!(result, Err(PutError::NotLeased));
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn a_connection_that_was_put_back_rests_for_the_reuse_delay_before_it_is_drained() {
    let mut pool = server(|config| config.reuse_delay(ms(50)));
    let token = pool.join("10.0.0.1").token;
    let lease = pool.take();
    pool.put(lease).unwrap();
    assert_eq!(pool.did(), []);
    assert_eq!(pool.stats().returning, 1);
    pool.readable(token);
    assert_eq!(pool.did(), [], "the drain will see it");
    pool.wait(ms(49));
    pool.timeout();
    assert_eq!(pool.did(), []);
    pool.wait(ms(1));
    pool.timeout();
    let drain = |action: &Did| matches!(action, Action::Check { kind: CheckKind::Drain, .. });
    assert!(drain(&pool.did()[0]));
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn the_end_that_acquires_lets_a_connection_rest_for_50_ms_more_than_its_peer() {
    for (acquirer, rest) in [
        (Acquirer::ThisEnd, 100),
        (Acquirer::Peer, 50),
        (Acquirer::Both, 50),
        (Acquirer::Either, 50),
    ] {
        let mut pool = server(|config| config.reuse_delay(ms(50)).acquirer(acquirer));
        let id = pool.join("10.0.0.1").id;
        let lease = pool.take_by_id(id);
        pool.put(lease).unwrap();
        pool.wait(ms(rest - 1));
        pool.timeout();
        assert_eq!(pool.stats().returning, 1, "{acquirer:?}");
        assert_eq!(pool.did(), [], "{acquirer:?}");
        pool.wait(ms(1));
        pool.timeout();
        assert_eq!(pool.did().len(), 1, "{acquirer:?}");
    }
    // Without a delay there is nothing to add to.
    let mut pool = server(|config| config.acquirer(Acquirer::ThisEnd));
    pool.join("10.0.0.1");
    let lease = pool.take();
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn a_connection_that_the_driver_has_drained_can_be_taken_again_at_once() {
    let mut pool = server(|config| config);
    let token = pool.join("10.0.0.1").token;
    let lease = pool.take();
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    assert_eq!(pool.did(), []);
    assert_eq!(pool.stats().idle, 1);
    for (result, reason) in
        [(CheckResult::Data, CloseReason::Leftover), (CheckResult::Closed, CloseReason::PeerClosed)]
    {
        let lease = pool.take();
        let connection = lease.connection;
        assert_eq!(lease.token.slot(), token.slot());
        let token = lease.token;
        pool.put_drained(lease, result).unwrap();
        assert_eq!(pool.did(), [Action::Close { token, connection, reason }]);
        if pool.stats().totals.leftover + pool.stats().totals.peer_closed < 2 {
            pool.join("10.0.0.1");
        }
    }
}

#[test]
fn a_connection_drained_too_early_for_the_reuse_delay_rests_all_the_same() {
    let mut pool = server(|config| config.reuse_delay(ms(50)));
    for result in [CheckResult::Quiet, CheckResult::Data] {
        let lease = match pool.acquire() {
            Acquired::Ready(lease) => lease,
            _ => {
                let waiter = pool.waiters()[0];
                pool.join("10.0.0.1");
                pool.collect_lease(waiter)
            }
        };
        pool.put_drained(lease, result).unwrap();
        assert_eq!(pool.stats().returning, 1);
        pool.pass(ms(50));
        assert_eq!(pool.checks.len(), 1);
        pool.checked(CheckResult::Quiet);
        assert_eq!(pool.stats().idle, 1);
    }
    let lease = pool.take();
    pool.put_drained(lease, CheckResult::Closed).unwrap();
    assert_eq!(pool.stats().totals.peer_closed, 1);
}

#[test]
fn a_connection_readable_during_its_lease_is_looked_at_before_it_is_idle() {
    let mut pool = server(|config| config);
    let token = pool.join("10.0.0.1").token;
    // During the lease: the driver's own draining may have been before it.
    let lease = pool.take();
    pool.readable(token);
    assert_eq!(pool.did(), []);
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    assert!(matches!(pool.did(), [Action::Check { kind: CheckKind::Inspect, .. }]));
    // During the check, once more.
    pool.readable(token);
    pool.checked(CheckResult::Quiet);
    assert!(matches!(pool.did(), [Action::Check { kind: CheckKind::Inspect, .. }]));
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.stats().totals.stale_events, 0);
}

// --- lifetimes ----------------------------------------------------------------------------------

#[test]
fn lifetimes_end_in_16_even_steps_below_the_maximum() {
    let mut pool = filled(400, |config| config.max_lifetime(ms(1500)).lifetime_jitter(0.5));
    let mut ends = Vec::new();
    for millis in 1..=1500 {
        pool.pass(ms(1));
        let before = ends.iter().map(|(_, count)| count).sum::<u64>();
        let now = pool.ended(CloseReason::Expired);
        if now > before {
            ends.push((millis, now - before));
        }
    }
    let times: Vec<u64> = ends.iter().map(|(millis, _)| *millis).collect();
    let steps: Vec<u64> = (0..16).map(|step| 750 + 50 * step).collect();
    assert_eq!(times, steps);
    assert!(ends.iter().all(|(_, count)| (8..60).contains(count)), "{ends:?}");
    assert_eq!(pool.stats().idle, 0);
}

fn mortal(config: Setup) -> Setup {
    config.max_lifetime(ms(100)).lifetime_jitter(0.0)
}

#[test]
fn a_lease_may_outlive_its_connections_lifetime_but_does_not_come_back() {
    let mut pool = filled(1, mortal);
    let lease = pool.take();
    let (token, connection) = (lease.token, lease.connection);
    pool.pass(ms(100));
    assert_eq!(pool.ended(CloseReason::Expired), 0);
    pool.put(lease).unwrap();
    let reason = CloseReason::Expired;
    let close = Action::Close { token, connection, reason };
    assert_eq!(pool.did()[0], close);
}

#[test]
fn an_expired_connection_is_not_handed_out_even_if_the_timeout_is_late() {
    for config in [mortal, |config: Setup| config.idle_timeout(ms(100))] {
        let mut pool = filled(2, config);
        pool.wait(ms(100));
        assert!(matches!(pool.acquire(), Acquired::Queued(_)));
        let totals = pool.stats().totals;
        assert_eq!(totals.expired + totals.idle_timeouts, 2);
        assert!(pool.dialing().len() >= 2);

        let mut pool = filled(2, config);
        pool.wait(ms(100));
        let refused = pool.acquire_by_id(id(2));
        let gone = |reason| Acquired::Refused(Refusal::Gone { id: id(2), reason });
        let ends = [CloseReason::Expired, CloseReason::IdleTimeout];
        assert!(ends.into_iter().any(|reason| refused == gone(reason)));
    }
}

#[test]
fn a_connection_that_expires_while_it_is_drained_is_closed() {
    let mut pool = filled(1, mortal);
    pool.wait(ms(99));
    let token = pool.pooled()[0];
    pool.readable(token);
    pool.pass(ms(1));
    assert_eq!(pool.ended(CloseReason::Expired), 0);
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::Expired), 1);
}

#[test]
fn a_connection_that_expires_while_it_rests_is_closed() {
    let mut pool = ClientHarness::client(1, 4, |config| mortal(config).reuse_delay(ms(50)));
    pool.fill();
    let lease = pool.take();
    pool.wait(ms(80));
    pool.put(lease).unwrap();
    pool.pass(ms(19));
    assert_eq!(pool.stats().returning, 1);
    pool.pass(ms(1));
    assert_eq!(pool.ended(CloseReason::Expired), 1);
    assert_eq!(pool.stats().returning, 0);
}

#[test]
fn the_take_order_is_that_of_becoming_idle() {
    let mut pool = filled(3, |config| config.take_order(TakeOrder::OldestFirst));
    assert_eq!([pool.take().id, pool.take().id], [id(1), id(2)]);
    let mut pool = filled(3, |config| config.take_order(TakeOrder::NewestFirst));
    assert_eq!([pool.take().id, pool.take().id], [id(3), id(2)]);
}

#[test]
fn by_default_the_ends_of_a_connection_take_from_opposite_ends_of_the_stock() {
    let mut client = filled(3, |config| config);
    assert_eq!([client.take().id, client.take().id], [id(1), id(2)]);
    let mut server = server(|config| config);
    let joined = [(); 3].map(|()| server.join("10.0.0.1").id);
    assert_eq!([server.take().id, server.take().id], [joined[2], joined[1]]);
}

#[test]
fn a_client_without_ids_takes_the_newest_by_default() {
    let mut pool = ClientHarness::client(3, 3, |config| config.ids(IdExchange::None));
    let tokens = pool.dialing();
    for token in &tokens {
        pool.dialed(*token);
        pool.established(*token, None);
    }
    assert_eq!([pool.take().token, pool.take().token], [tokens[2], tokens[1]]);
}

#[test]
fn a_server_takes_again_first_what_was_put_back_last() {
    let mut pool = server(|config| config);
    pool.auto = Some(CheckResult::Quiet);
    let oldest = pool.join("10.0.0.1").token;
    let newest = pool.join("10.0.0.1").token;
    let (first, second) = (pool.take(), pool.take());
    assert_eq!((first.token, second.token), (newest, oldest));
    pool.put(first).unwrap();
    pool.put(second).unwrap();
    assert_eq!(pool.take().token, oldest);
}
