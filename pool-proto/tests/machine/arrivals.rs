//! Data that arrives while its connection cannot be checked is checked later; a connection that the
//! driver has drained itself is not checked again.

use core::time::Duration;

use pool_proto::{
    Acquired, Action, CheckKind, CheckResult, Client, ClientConfig, CloseReason, ConnId, Event,
    Instant, Lease, Token, WaitOutcome,
};

const NOW: Instant = Instant::EPOCH;

fn client(reuse_delay: Duration) -> Client<u32> {
    let config = ClientConfig::builder().capacity(1..=1).seed(1).reuse_delay(reuse_delay);
    Client::new(&config.build().unwrap(), NOW)
}

fn dialed(pool: &mut Client<u32>) -> Token {
    let Some(Action::Dial { token }) = pool.poll_action() else { panic!("no dial") };
    pool.handle_event(NOW, Event::Dialed { token });
    token
}

fn established(pool: &mut Client<u32>, token: Token) {
    let id = Some(ConnId::from_bytes([1, 2, 3, 4]));
    pool.handle_event(NOW, Event::Established { token, connection: 7, id });
}

/// A lease on the only connection. (Its replacement is being dialled meanwhile.)
fn leased(reuse_delay: Duration) -> (Client<u32>, Lease<u32>) {
    let mut pool = client(reuse_delay);
    let token = dialed(&mut pool);
    established(&mut pool, token);
    let Acquired::Ready(lease) = pool.acquire(NOW) else { panic!("nothing ready") };
    let Some(Action::Dial { token: replacement }) = pool.poll_action() else { panic!("no dial") };
    pool.handle_event(NOW, Event::DialFailed { token: replacement });
    (pool, lease)
}

#[track_caller]
fn assert_checked(pool: &mut Client<u32>, expected: CheckKind) -> Token {
    match pool.poll_action() {
        Some(Action::Check { token, connection: 7, kind }) if kind == expected => token,
        other => panic!("expected a check to {expected:?}, not {other:?}"),
    }
}

fn find(pool: &mut Client<u32>, token: Token, result: CheckResult) {
    pool.handle_event(NOW, Event::Checked { token, connection: 7, result });
}

#[test]
fn data_that_arrives_during_a_check_leads_to_another() {
    let (mut pool, lease) = leased(Duration::ZERO);
    pool.put(NOW, lease.token, lease.connection).unwrap();
    let token = assert_checked(&mut pool, CheckKind::Drain);
    pool.handle_event(NOW, Event::Readable { token });
    find(&mut pool, token, CheckResult::Quiet);
    assert_checked(&mut pool, CheckKind::Inspect);
    find(&mut pool, token, CheckResult::Closed);
    assert_eq!((pool.poll_action(), pool.idle(), pool.stats().finished), (None, 0, 1));
}

#[test]
fn an_arrival_leads_to_one_check() {
    let (mut pool, lease) = leased(Duration::ZERO);
    pool.put(NOW, lease.token, lease.connection).unwrap();
    let token = assert_checked(&mut pool, CheckKind::Drain);
    pool.handle_event(NOW, Event::Readable { token });
    find(&mut pool, token, CheckResult::Quiet);
    assert_checked(&mut pool, CheckKind::Inspect);
    find(&mut pool, token, CheckResult::Quiet);
    assert_eq!((pool.poll_action(), pool.idle()), (None, 1));
}

#[test]
fn data_that_arrives_before_the_connection_is_established_is_looked_at_then() {
    let mut pool = client(Duration::ZERO);
    let token = dialed(&mut pool);
    pool.handle_event(NOW, Event::Readable { token });
    established(&mut pool, token);
    assert_checked(&mut pool, CheckKind::Inspect);
}

#[test]
fn data_that_arrives_on_a_granted_connection_is_looked_at_when_the_grant_is_cancelled() {
    let mut pool = client(Duration::ZERO);
    let Acquired::Queued(waiter) = pool.acquire(NOW) else { panic!("served from nothing") };
    let token = dialed(&mut pool);
    established(&mut pool, token);
    assert_eq!(pool.poll_action(), Some(Action::Wake { waiter }));
    pool.handle_event(NOW, Event::Readable { token });
    assert_eq!(pool.cancel(NOW, waiter), WaitOutcome::Granted);
    assert_checked(&mut pool, CheckKind::Inspect);
}

#[test]
fn data_that_arrived_during_the_lease_is_drained_and_not_looked_at_again() {
    let (mut pool, lease) = leased(Duration::ZERO);
    pool.handle_event(NOW, Event::Readable { token: lease.token });
    pool.put(NOW, lease.token, lease.connection).unwrap();
    let token = assert_checked(&mut pool, CheckKind::Drain);
    find(&mut pool, token, CheckResult::Quiet);
    assert_eq!((pool.poll_action(), pool.idle()), (None, 1));
}

#[test]
fn a_drained_connection_is_idle_at_once() {
    let (mut pool, lease) = leased(Duration::ZERO);
    pool.put_drained(NOW, lease.token, lease.connection, CheckResult::Quiet).unwrap();
    assert_eq!((pool.poll_action(), pool.idle()), (None, 1));
}

#[test]
fn a_drained_connection_that_is_closed_or_has_too_much_left_is_closed() {
    for (result, reason) in
        [(CheckResult::Closed, CloseReason::PeerClosed), (CheckResult::Data, CloseReason::Leftover)]
    {
        let (mut pool, lease) = leased(Duration::ZERO);
        let token = lease.token;
        pool.put_drained(NOW, token, lease.connection, result).unwrap();
        assert_eq!(pool.poll_action(), Some(Action::Close { token, connection: 7, reason }));
        assert_eq!(pool.idle(), 0);
    }
}

#[test]
fn a_reuse_delay_has_even_a_drained_connection_drained_at_its_end() {
    let delay = Duration::from_millis(50);
    let (mut pool, lease) = leased(delay);
    pool.put_drained(NOW, lease.token, lease.connection, CheckResult::Data).unwrap();
    assert_eq!((pool.poll_action(), pool.stats().returning), (None, 1));
    pool.handle_timeout(NOW + delay);
    assert_checked(&mut pool, CheckKind::Drain);
}
