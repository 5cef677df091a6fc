//! What a model checker's hasher is fed with: what a later call could show, and nothing else. Each test
//! has two pools, which differ in one thing.

use std::hash::Hasher;
use std::time::Duration;

use crate::harness::*;
use pool_proto::{
    Acquire, ClientConfigBuilder, ConnId, Event, Finding, Names, Role, ServerConfigBuilder, Token,
    WaiterId,
};

const NANOSECOND: Duration = Duration::from_nanos(1);

/// Keeps all that it is fed with.
#[derive(Default)]
struct Tape(Vec<u8>);

impl Hasher for Tape {
    fn finish(&self) -> u64 {
        unreachable!("the tape itself is looked at")
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Connections and waiters are called by their age, ids by their place in a list.
struct Called {
    connections: Vec<Token>,
    waiters: Vec<WaiterId>,
    ids: Vec<ConnId>,
}

fn place<T: PartialEq>(all: &[T], one: &T) -> Option<u32> {
    all.iter().position(|other| other == one).map(|at| u32::try_from(at).unwrap())
}

impl Names<u32> for Called {
    fn connection(&self, token: Token) -> u32 {
        place(&self.connections, &token).expect("it lives")
    }

    fn held(&self, _token: Token, _held: &u32) -> u32 {
        0
    }

    fn waiter(&self, waiter: WaiterId) -> u32 {
        place(&self.waiters, &waiter).expect("it waits")
    }

    fn id(&self, id: ConnId) -> Option<u32> {
        place(&self.ids, &id)
    }
}

/// What a hasher is fed with, where these ids may still be asked for.
fn fed<R: Role>(pool: &Harness<R>, ids: &[ConnId]) -> Vec<u8> {
    let called = Called { connections: pool.live(), waiters: pool.waiters(), ids: ids.to_vec() };
    let mut tape = Tape::default();
    pool.machine.hash_state(&called, &mut tape);
    tape.0
}

#[track_caller]
fn assert_apart<R: Role>(one: &Harness<R>, other: &Harness<R>) {
    assert_ne!(fed(one, &[]), fed(other, &[]));
}

#[track_caller]
fn assert_alike<R: Role>(one: &Harness<R>, other: &Harness<R>) {
    assert_eq!(fed(one, &[]), fed(other, &[]));
}

/// Without the timeouts that can be switched off.
fn server(config: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder) -> ServerHarness {
    ServerHarness::server(8, |c| config(c.idle_timeout(None).max_lifetime(None)))
}

/// The same, a minute after its first dials began.
fn client(
    count: u32,
    config: impl FnOnce(ClientConfigBuilder) -> ClientConfigBuilder,
) -> ClientHarness {
    let mut pool = ClientHarness::client(count, count, |c| {
        let c = c.idle_timeout(None).max_lifetime(None).dial_timeout(ms(36_000_000));
        config(c.max_connections(count))
    });
    pool.wait(ms(60_000));
    pool
}

/// A server with connections from these hosts of one network.
fn joined(hosts: &[u8]) -> ServerHarness {
    let mut pool = server(|config| config);
    for host in hosts {
        pool.join(&format!("10.0.0.{host}"));
    }
    pool
}

/// A connection is taken and closed.
fn use_up(pool: &mut ServerHarness, id: ConnId) {
    let Acquire::Ready(lease) = pool.acquire_by_id(id) else { panic!("it is not ready") };
    pool.release(lease);
}

#[test]
fn two_numbers_are_no_names() {
    assert_eq!(<Called as Names<u32>>::LIMIT, u32::MAX - 1);
}

// --- what must not matter -----------------------------------------------------------------------

#[test]
fn names_counters_and_the_time_are_left_out() {
    let one = joined(&[1, 1]);
    let mut other = server(|config| config);
    let gone = [other.join("10.0.0.1"), other.join("10.0.0.2")];
    other.wait(ms(3_600_000));
    for admission in gone {
        use_up(&mut other, admission.id);
    }
    other.machine.add_error();
    other.join("10.0.0.1");
    other.join("10.0.0.1");
    assert_ne!(one.live(), other.live());
    assert_alike(&one, &other);
}

#[test]
fn ages_are_left_out_where_there_is_no_timeout() {
    let pool = |pause| {
        let mut pool = joined(&[1]);
        pool.wait(pause);
        pool.join("10.0.0.1");
        pool
    };
    assert_alike(&pool(ms(1)), &pool(ms(2)));
}

#[test]
fn the_generator_is_left_out_where_all_that_it_chooses_between_is_equal() {
    let pool = |more: bool, jitter| {
        let mut pool = ServerHarness::server(8, |config| {
            config.idle_timeout(None).max_lifetime(ms(3_600_000)).lifetime_jitter(jitter)
        });
        pool.join("10.0.0.1");
        if more {
            let admission = pool.join("10.0.0.1");
            use_up(&mut pool, admission.id);
        }
        pool
    };
    assert_alike(&pool(false, 0.0), &pool(true, 0.0));
    assert_apart(&pool(false, 0.5), &pool(true, 0.5));
}

#[test]
fn a_closed_pool_has_no_role_any_more() {
    let pool = |ended: bool, closed: bool| {
        let mut pool = joined(&[]);
        if ended {
            pool.event(Event::AcceptEnded);
        }
        if closed {
            pool.close();
        }
        pool
    };
    assert_apart(&pool(false, false), &pool(true, false));
    assert_apart(&pool(false, false), &pool(false, true));
    assert_alike(&pool(false, true), &pool(true, true));
}

// --- one connection -----------------------------------------------------------------------------

#[test]
fn its_state_counts() {
    let mut handshaking = joined(&[]);
    handshaking.admit("10.0.0.1").unwrap();
    let mut taken = joined(&[1]);
    let _lease = taken.take();
    let mut stirred = joined(&[]);
    let token = stirred.admit("10.0.0.1").unwrap().token;
    stirred.readable(token);
    let pools = [joined(&[]), handshaking, joined(&[1]), taken, stirred];
    for (at, one) in pools.iter().enumerate() {
        for other in &pools[..at] {
            assert_apart(one, other);
        }
    }
}

#[test]
fn whether_it_was_used_counts() {
    let mut used = joined(&[1]);
    let lease = used.take();
    used.put_drained(lease, Finding::Quiet).unwrap();
    assert_apart(&joined(&[1]), &used);
}

#[test]
fn what_it_is_looked_at_for_counts_while_that_lasts() {
    let [mut watched, mut drained] = [(); 2].map(|()| joined(&[1]));
    let lease = watched.take();
    let token = lease.token;
    watched.put_drained(lease, Finding::Quiet).unwrap();
    watched.readable(token);
    let lease = drained.take();
    drained.put(lease).unwrap();
    assert_apart(&watched, &drained);
    watched.checked(Finding::Quiet);
    drained.checked(Finding::Quiet);
    assert_alike(&watched, &drained);
}

#[test]
fn its_id_counts_by_its_name() {
    let mut pool = joined(&[]);
    let ids = [pool.join("10.0.0.1").id, pool.join("10.0.0.1").id];
    let [first, second] = ids;
    assert_ne!(fed(&pool, &[first, second]), fed(&pool, &[second, first]));
    assert_ne!(fed(&pool, &[first]), fed(&pool, &[]));
}

#[test]
fn how_long_it_has_been_in_its_state_counts_where_that_ends() {
    let pool = |pauses: [u64; 2]| {
        let mut pool = server(|config| config.idle_timeout(ms(10_000)));
        for pause in pauses {
            pool.join("10.0.0.1");
            pool.wait(ms(pause));
        }
        // Makes it known what time it is.
        pool.timeout();
        pool
    };
    // The first is of one age, and what is due next the same.
    assert_apart(&pool([1, 2]), &pool([2, 1]));
}

#[test]
fn how_old_it_is_counts_where_that_ends() {
    let pool = |pauses: [u64; 2]| {
        let mut pool = server(|config| config.max_lifetime(ms(3_600_000)).lifetime_jitter(0.0));
        for pause in pauses {
            pool.join("10.0.0.1");
            pool.wait(ms(pause));
        }
        pool.timeout();
        pool
    };
    assert_apart(&pool([1, 2]), &pool([2, 1]));
}

#[test]
fn the_order_of_those_that_are_ready_counts() {
    let pool = |order: [usize; 4]| {
        let mut pool = joined(&[1; 4]);
        let mut leases: Vec<_> = (0..4).map(|_| Some(pool.take())).collect();
        leases.sort_by_key(|lease| lease.as_ref().map(|lease| lease.connection));
        for at in order {
            pool.put_drained(leases[at].take().unwrap(), Finding::Quiet).unwrap();
        }
        pool
    };
    // The ends are the same.
    assert_apart(&pool([0, 1, 2, 3]), &pool([0, 2, 1, 3]));
    assert_apart(&pool([0, 1, 2, 3]), &pool([3, 1, 2, 0]));
}

// --- a server -----------------------------------------------------------------------------------

#[test]
fn where_it_came_from_counts_when_it_is_in_use_too() {
    let pool = |hosts: [u8; 4]| {
        let mut pool = joined(&[]);
        let ids = hosts.map(|host| pool.join(&format!("10.0.0.{host}")).id);
        for id in ids {
            assert!(matches!(pool.acquire_by_id(id), Acquire::Ready(_)));
        }
        pool
    };
    // Each has two in use, and the second source lost its last one after the first.
    assert_apart(&pool([1, 2, 1, 2]), &pool([2, 1, 1, 2]));
}

#[test]
fn handshakes_count_for_their_sources() {
    let pool = |hosts: [u8; 2]| {
        let mut pool = joined(&[1, 2]);
        for host in hosts {
            pool.admit(&format!("10.0.0.{host}")).unwrap();
        }
        pool
    };
    assert_apart(&pool([1, 1]), &pool([1, 2]));
}

#[test]
fn which_source_is_to_make_room_first_counts() {
    let pool = |host: u8| {
        let mut pool = joined(&[1, 2]);
        // It goes up a rank, and comes back as the last.
        let more = pool.join(&format!("10.0.0.{host}"));
        use_up(&mut pool, more.id);
        pool
    };
    assert_apart(&pool(1), &pool(2));
    // That there was such a rank does not.
    assert_alike(&pool(2), &joined(&[1, 2]));
}

// --- a client -----------------------------------------------------------------------------------

/// A dial fails, and the next is under way after the wait.
fn fail(pool: &mut ClientHarness) {
    let token = pool.dialing()[0];
    pool.dial_failed(token);
    while pool.dialing().is_empty() {
        pool.now = pool.machine.poll_timeout().expect("a wait");
        pool.timeout();
    }
}

#[test]
fn failures_count() {
    let pool = |failures| {
        let mut pool = client(1, |config| config);
        (0..failures).for_each(|_| fail(&mut pool));
        pool
    };
    assert_apart(&pool(1), &pool(2));
}

#[test]
fn whether_a_dial_is_of_before_the_last_failure_counts() {
    let pool = |both_fail: bool| {
        let mut pool = client(2, |config| config);
        let [first, second] = pool.dialing()[..] else { panic!() };
        pool.dial_failed(first);
        if both_fail {
            pool.dial_failed(second);
        }
        pool.now = pool.machine.poll_timeout().expect("a wait");
        pool.timeout();
        let [left] = pool.dialing()[..] else { panic!("{:?}", pool.dialing()) };
        pool.dialed(left);
        pool
    };
    assert_apart(&pool(false), &pool(true));
}

#[test]
fn the_age_of_a_connection_counts_until_it_has_settled() {
    let pool = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        pool.wait(ms(age));
        pool.timeout();
        pool
    };
    assert_apart(&pool(500), &pool(999));
    assert_apart(&pool(999), &pool(1000));
    assert_alike(&pool(1000), &pool(2000));
}

#[test]
fn the_age_of_a_connection_does_not_count_once_either_end_has_used_it() {
    let used = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        let lease = pool.take();
        pool.put_drained(lease, Finding::Quiet).unwrap();
        pool.wait(ms(age));
        pool.timeout();
        pool
    };
    assert_alike(&used(100), &used(200));
    let claimed = |age| {
        let mut pool = client(1, |config| config);
        pool.fill();
        pool.wait(ms(age));
        let token = pool.pooled()[0];
        pool.readable(token);
        pool.checked(Finding::Data);
        pool
    };
    assert_alike(&claimed(100), &claimed(200));
}

#[test]
fn how_long_ago_failures_ended_counts_for_ten_seconds() {
    let pool = |age: Duration| {
        let mut pool = client(1, |config| config);
        fail(&mut pool);
        pool.fill();
        pool.wait(age);
        pool.timeout();
        pool
    };
    let last = ms(10_000);
    assert_apart(&pool(last - NANOSECOND), &pool(last));
    assert_apart(&pool(last), &pool(last + NANOSECOND));
    assert_alike(&pool(last + NANOSECOND), &pool(ms(3_600_000)));
}

/// Connections with these ids were used up one after the other, and one with the last is there.
fn after(ids: &[u32]) -> ClientHarness {
    let mut pool = client(1, |config| config);
    for number in ids {
        if !pool.pooled().is_empty() {
            let lease = pool.take();
            pool.release(lease);
        }
        let token = pool.dialing()[0];
        pool.dialed(token);
        pool.established(token, Some(id(*number)));
    }
    pool
}

#[test]
fn ids_that_have_ended_count_while_they_may_be_asked_for() {
    let fed = |ended: &[u32], names: &[u32]| {
        fed(&after(ended), &names.iter().copied().map(id).collect::<Vec<_>>())
    };
    assert_ne!(fed(&[7, 9], &[9, 7]), fed(&[8, 9], &[9, 7]));
    assert_ne!(fed(&[7, 6, 9], &[9, 6, 7]), fed(&[8, 6, 9], &[9, 6, 7]));
    // Nobody asks for 7 or 8.
    assert_eq!(fed(&[7, 9], &[9]), fed(&[8, 9], &[9]));
    // It lives again.
    assert_eq!(fed(&[7, 7], &[7]), fed(&[8, 7], &[7]));
    // Only how it ended last counts.
    assert_eq!(fed(&[7, 7, 9], &[9, 7]), fed(&[8, 7, 9], &[9, 7]));
}

// --- who waits ----------------------------------------------------------------------------------

#[test]
fn what_is_waited_for_and_in_which_order_counts() {
    let waiting = |wants: &[u32]| {
        let mut pool = joined(&[]);
        for want in wants {
            match want {
                0 => _ = pool.queue(),
                ready => _ = pool.wait_ready(*ready),
            }
        }
        pool
    };
    let pools = [&[][..], &[0], &[1], &[2], &[0, 1], &[1, 0], &[1, 2], &[2, 1]].map(waiting);
    for (at, one) in pools.iter().enumerate() {
        for other in &pools[..at] {
            assert_apart(one, other);
        }
    }
}
