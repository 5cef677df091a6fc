//! The input of a model checker's hasher: everything that a later call could show, and nothing else.
//! Each test has two pools, which differ in one thing.

mod roles;

use std::hash::Hasher;

use pool_proto::{Acquired, CanonicalNames, CheckResult, ConnId, Event, Token, WaiterId};
use pool_testkit::call::TestRole;
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

/// Keeps everything that it is fed with.
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

impl CanonicalNames<u32> for Called {
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

/// The bytes that a hasher is fed with, where callers may still ask for these ids.
fn fed<R: TestRole>(pool: &Harness<R>, ids: &[ConnId]) -> Vec<u8> {
    let called = Called { connections: pool.live(), waiters: pool.waiters(), ids: ids.to_vec() };
    let mut tape = Tape::default();
    pool.machine.hash_state(&called, &mut tape);
    tape.0
}

#[track_caller]
fn assert_apart<R: TestRole>(one: &Harness<R>, other: &Harness<R>) {
    assert_ne!(fed(one, &[]), fed(other, &[]));
}

#[track_caller]
fn assert_alike<R: TestRole>(one: &Harness<R>, other: &Harness<R>) {
    assert_eq!(fed(one, &[]), fed(other, &[]));
}

/// Without the timeouts that can be switched off.
fn server(config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(8, |c| config(c.idle_timeout(None).max_lifetime(None)))
}

/// The same, a minute after its first dials began.
fn client(count: u32, config: impl FnOnce(Setup) -> Setup) -> ClientHarness {
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
    let Acquired::Ready(lease) = pool.acquire_by_id(id) else { panic!("it is not ready") };
    pool.release(lease);
}

#[test]
fn two_numbers_are_no_names() {
    assert_eq!(<Called as CanonicalNames<u32>>::LIMIT, u32::MAX - 1);
}

// --- what must not matter -----------------------------------------------------------------------

#[test]
fn names_counters_and_the_time_are_left_out() {
    let mut one = joined(&[]);
    let gone = one.join("10.0.0.2");
    use_up(&mut one, gone.id);
    one.join("10.0.0.1");
    one.join("10.0.0.1");
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

#[test]
fn a_shutdown_and_its_deadline_count() {
    let pool = |shutdown: Option<Option<u64>>, waited: u64| {
        let mut pool = joined(&[1]);
        let lease = pool.take();
        if let Some(timeout) = shutdown {
            pool.graceful_shutdown(timeout.map(ms));
        }
        pool.wait(ms(waited));
        pool.readable(lease.token);
        (pool, lease)
    };
    let (open, _) = &pool(None, 0);
    let (endless, _) = &pool(Some(None), 0);
    let (later, _) = &pool(Some(Some(500)), 0);
    assert_apart(open, endless);
    assert_apart(open, later);
    assert_apart(endless, later);
    assert_alike(endless, &pool(Some(None), 300).0);
    assert_alike(&pool(Some(Some(200)), 0).0, &pool(Some(Some(500)), 300).0);
}

#[test]
fn the_age_of_a_grant_counts_and_whether_it_has_lapsed() {
    let pool = |waits: u64, collects: bool| {
        let mut pool = joined(&[]);
        let waiter = pool.queue();
        let peer = pool.join("10.0.0.1");
        pool.pass(ms(waits));
        pool.readable(peer.token);
        if collects {
            pool.checked(CheckResult::Closed);
            assert_eq!(pool.collect(waiter), pool_proto::Collected::Waiting);
        }
        pool
    };
    assert_apart(&pool(0, false), &pool(9_000, false));
    assert_apart(&pool(9_000, false), &pool(10_000, false));
    let lapsed = || {
        let mut pool = pool(10_000, false);
        pool.checked(CheckResult::Closed);
        pool
    };
    assert_alike(&lapsed(), &lapsed());
    assert_apart(&lapsed(), &pool(10_000, true));
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
    used.put_drained(lease, CheckResult::Quiet).unwrap();
    assert_apart(&joined(&[1]), &used);
}

#[test]
fn the_kind_of_a_check_counts_while_it_lasts() {
    let [mut watched, mut drained] = [(); 2].map(|()| joined(&[1]));
    let lease = watched.take();
    let token = lease.token;
    watched.put_drained(lease, CheckResult::Quiet).unwrap();
    watched.readable(token);
    let lease = drained.take();
    drained.put(lease).unwrap();
    assert_apart(&watched, &drained);
    watched.checked(CheckResult::Quiet);
    drained.checked(CheckResult::Quiet);
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

/// Asserts that two pools are told apart which have the same first connection and next deadline, but
/// second connections of different ages.
fn assert_ages_apart(config: fn(Setup) -> Setup) {
    let pool = |pauses: [u64; 2]| {
        let mut pool = server(config);
        for pause in pauses {
            pool.join("10.0.0.1");
            pool.wait(ms(pause));
        }
        // Makes it known what time it is.
        pool.timeout();
        pool
    };
    assert_apart(&pool([1, 2]), &pool([2, 1]));
}

#[test]
fn how_long_it_has_been_in_its_state_counts_where_that_ends() {
    assert_ages_apart(|config| config.idle_timeout(ms(10_000)));
}

#[test]
fn how_old_it_is_counts_where_that_ends() {
    assert_ages_apart(|config| config.max_lifetime(ms(3_600_000)).lifetime_jitter(0.0));
}

#[test]
fn the_order_of_those_that_are_ready_counts() {
    let pool = |order: [usize; 4]| {
        let mut pool = joined(&[1; 4]);
        let mut leases: Vec<_> = (0..4).map(|_| Some(pool.take())).collect();
        leases.sort_by_key(|lease| lease.as_ref().map(|lease| lease.connection));
        for at in order {
            pool.put_drained(leases[at].take().unwrap(), CheckResult::Quiet).unwrap();
        }
        pool
    };
    // The ends are the same.
    assert_apart(&pool([0, 1, 2, 3]), &pool([0, 2, 1, 3]));
    assert_apart(&pool([0, 1, 2, 3]), &pool([3, 1, 2, 0]));
}
