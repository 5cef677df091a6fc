//! A new configuration for a machine that runs.

use pool_proto::{
    Acquired, Acquirer, Action, CheckResult, Client, ClientConfig, CloseReason, Collected,
    ConfigError, IdFormat, Instant, Refusal, Rejected, Stock, Tuning, WaitOutcome,
};
use pool_testkit::call::{Answer, Call, TestRole};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;
use proptest::prelude::*;

/// Changes the configuration to one that is made from this one.
fn set<R: TestRole>(pool: &mut Harness<R>, setup: Setup) -> Result<(), ConfigError> {
    match pool.make(Call::SetConfig(Box::new(setup))) {
        Answer::Configured(result) => result,
        other => panic!("{other:?}"),
    }
}

/// Some settings, and a pool with them.
fn client(capacity: u32, config: impl FnOnce(Setup) -> Setup) -> (Setup, ClientHarness) {
    let setup = config(Setup::DEFAULT.capacity(capacity, capacity));
    let mut pool = ClientHarness::new(&setup);
    pool.fill();
    (setup, pool)
}

/// A server with `peers` ready connections, each from a source of its own, or all from one.
fn server(capacity: u32, peers: &[&str]) -> (Setup, ServerHarness, Vec<Admission>) {
    let setup = Setup::DEFAULT.capacity(capacity, capacity);
    let mut pool = ServerHarness::new(&setup);
    let joined = peers.iter().map(|peer| pool.join(peer)).collect();
    (setup, pool, joined)
}

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const FAR: &str = "192.0.2.1";

#[test]
fn a_shorter_idle_timeout_ends_those_that_are_idle_for_longer_and_arms_the_rest() {
    let (setup, mut pool) = client(2, |setup| setup);
    pool.wait(ms(700));
    assert_eq!(pool.machine.poll_timeout(), None);
    assert_eq!(set(&mut pool, setup.idle_timeout(ms(1000))), Ok(()));
    assert_eq!(pool.stats().totals.idle_timeouts, 0);
    // Half of the time is over, so the first of them may go now.
    pool.pass(ms(300));
    assert_eq!(pool.ended(CloseReason::IdleTimeout), 2);
    pool.fill();
    pool.wait(ms(700));
    assert_eq!(set(&mut pool, setup.idle_timeout(ms(600))), Ok(()));
    assert_eq!(pool.ended(CloseReason::IdleTimeout), 4, "at once");
    pool.fill();
    assert_eq!(set(&mut pool, setup), Ok(()));
    assert_eq!(pool.machine.poll_timeout(), None);
}

#[test]
fn a_lifetime_counts_from_when_the_connection_was_established() {
    let (setup, mut pool) = client(3, |setup| setup.lifetime_jitter(0.0));
    pool.wait(ms(500));
    let lease = pool.take();
    pool.fill();
    assert_eq!(set(&mut pool, setup.max_lifetime(ms(800))), Ok(()));
    pool.pass(ms(299));
    assert_eq!(pool.ended(CloseReason::Expired), 0);
    pool.pass(ms(1));
    assert_eq!(pool.ended(CloseReason::Expired), 2, "the two old ones, and not the one in use");
    pool.put(lease).unwrap();
    assert_eq!(pool.ended(CloseReason::Expired), 3);
    pool.fill();
    // Without a limit they stay.
    assert_eq!(set(&mut pool, setup), Ok(()));
    pool.pass(ms(10_000));
    assert_eq!(pool.ended(CloseReason::Expired), 3);
    // And with one, all are too old at once.
    assert_eq!(set(&mut pool, setup.max_lifetime(ms(800))), Ok(()));
    assert_eq!(pool.ended(CloseReason::Expired), 6);
}

#[test]
fn new_lifetimes_are_spread_by_the_steps_of_the_old_ones() {
    let (setup, mut pool) = client(64, |setup| setup.max_dials(64));
    let jitter = setup.max_lifetime(ms(1000)).lifetime_jitter(0.5);
    assert_eq!(set(&mut pool, jitter), Ok(()));
    pool.pass(ms(499));
    assert_eq!(pool.ended(CloseReason::Expired), 0);
    pool.pass(ms(250));
    let half = pool.ended(CloseReason::Expired);
    assert!((16..=48).contains(&half), "{half}");
    pool.pass(ms(251));
    assert!(pool.ended(CloseReason::Expired) >= 64);
}

#[test]
fn timeouts_of_all_states_are_armed_anew() {
    let (setup, mut pool) = client(4, |setup| setup.capacity(4, 8));
    let lease = pool.take();
    assert_eq!(pool.dialing().len(), 1);
    // A connection in its handshake, a dial, a claimed connection, and a resting one.
    let dialing = pool.dialing()[0];
    pool.dialed(dialing);
    let claimed = pool.idle()[0];
    pool.readable(claimed);
    pool.checked(CheckResult::Data);
    assert_eq!(set(&mut pool, setup.reuse_delay(ms(50))), Ok(()));
    pool.put(lease).unwrap();
    assert_eq!(pool.stats().returning, 1);
    pool.wait(ms(40));
    let quick = setup
        .dial_timeout(ms(100))
        .handshake_timeout(ms(90))
        .claim_timeout(ms(80))
        .reuse_delay(ms(70));
    assert_eq!(set(&mut pool, quick), Ok(()));
    let due = |pool: &ClientHarness| pool.machine.poll_timeout().unwrap().since(pool.now);
    assert_eq!(due(&pool), ms(30), "the rest");
    pool.auto = Some(CheckResult::Quiet);
    pool.pass(ms(30));
    assert_eq!(due(&pool), ms(10), "the claim");
    pool.pass(ms(10));
    assert_eq!(pool.ended(CloseReason::Unclaimed), 1);
    assert_eq!(due(&pool), ms(10), "the handshake");
    pool.pass(ms(10));
    assert_eq!(pool.ended(CloseReason::HandshakeTimeout), 1);
}

#[test]
fn a_raised_limit_serves_those_that_wait() {
    let (setup, mut pool) = client(1, |setup| setup.max_connections(1));
    let _lease = pool.take();
    let waiter = pool.queue();
    assert!(pool.dialing().is_empty());
    assert_eq!(set(&mut pool, setup.max_connections(2)), Ok(()));
    pool.fill();
    assert!(matches!(pool.collect(waiter), Collected::Ready(_)));
}

#[test]
fn the_limit_of_waiters_holds_for_the_next_ones() {
    let (setup, mut pool) = client(1, |setup| setup.max_connections(1).max_waiters(2));
    let _lease = pool.take();
    let waiters = [pool.queue(), pool.queue()];
    assert_eq!(set(&mut pool, setup.max_waiters(1)), Ok(()));
    let full = Acquired::Refused(Refusal::TooManyWaiters { limit: 1 });
    assert_eq!(pool.acquire(), full);
    for waiter in waiters {
        assert!(matches!(pool.cancel(waiter), WaitOutcome::Waiting(_)), "it goes on waiting");
    }
}

#[test]
fn a_lower_limit_on_dials_ends_none() {
    let (setup, mut pool) = client(8, |setup| setup.max_dials(8));
    pool.flush();
    assert_eq!(pool.dialing().len(), 8);
    assert_eq!(set(&mut pool, setup.max_dials(2)), Ok(()));
    let dialing = pool.dialing();
    assert_eq!(dialing.len(), 8);
    dialing.iter().take(6).for_each(|token| pool.dial_failed(*token));
    assert_eq!(pool.dialing().len(), 2);
}

#[test]
fn a_shorter_backoff_cuts_the_wait_that_goes_on() {
    let setup = Setup::SMALL.backoff(ms(60_000), ms(60_000));
    let mut pool = ClientHarness::new(&setup);
    let dialing = pool.dialing()[0];
    pool.dial_failed(dialing);
    let due = |pool: &ClientHarness| pool.machine.poll_timeout().unwrap().since(pool.now);
    assert!(due(&pool) >= ms(30_000), "{:?}", due(&pool));
    assert_eq!(set(&mut pool, setup.backoff(ms(100), ms(500))), Ok(()));
    assert!(due(&pool) <= ms(500), "{:?}", due(&pool));
    // A longer one begins with the next failure.
    let before = due(&pool);
    assert_eq!(set(&mut pool, setup), Ok(()));
    assert_eq!(due(&pool), before);
}

#[test]
fn a_shorter_interval_cuts_the_pause_between_rounds() {
    let setup = Setup::DEFAULT.capacity(2, 2).tuning(Tuning::NodePass);
    let mut pool = ClientHarness::new(&setup.interval(ms(60_000)..=ms(60_000)));
    pool.fill();
    let due = |pool: &ClientHarness| pool.machine.poll_timeout().unwrap().since(pool.now);
    assert_eq!(due(&pool), ms(60_000));
    assert_eq!(set(&mut pool, setup.interval(ms(200)..=ms(400))), Ok(()));
    assert_eq!((due(&pool), pool.stats().interval), (ms(400), ms(400)));
}

#[test]
fn a_shorter_keep_forgets_earlier_peaks() {
    let setup = Setup::DEFAULT.capacity(2, 64);
    let mut pool = ClientHarness::new(&setup);
    pool.fill();
    for _ in 0..20 {
        let lease = match pool.acquire() {
            Acquired::Ready(lease) => lease,
            _ => break,
        };
        pool.release(lease);
        pool.fill();
    }
    pool.wait(ms(5000));
    assert!(pool.stats().capacity > 2);
    assert_eq!(set(&mut pool, setup.keep(ms(4000))), Ok(()));
    assert_eq!(pool.stats().capacity, 2);
    pool.pass(ms(125));
    assert_eq!(pool.stats().idle, 2, "a 32nd of it later");
}

#[test]
fn a_capacity_that_was_set_is_overridden() {
    let (setup, mut pool) = client(3, |setup| setup);
    assert_eq!(pool.set_capacity(5, 5), Ok(()));
    assert_eq!(set(&mut pool, setup), Ok(()));
    assert_eq!(pool.stats().capacity, 3);
}

#[test]
fn settings_that_cannot_change_are_refused_and_nothing_changes() {
    let (setup, mut pool) = client(3, |setup| setup);
    for (setting, changed) in [
        ("ids", setup.id_format(IdFormat::Raw4)),
        ("tuning", setup.tuning(Tuning::NodePass)),
        ("seed", setup.seed(9)),
        ("acquirer", setup.acquirer(Acquirer::ThisEnd)),
        ("control_connection", setup.control_connection(true)),
        ("opening_byte", setup.opening_byte(true)),
    ] {
        let refused = set(&mut pool, changed.capacity(9, 9).idle_timeout(ms(1)));
        assert_eq!(refused, Err(ConfigError::Fixed { setting }));
        assert_eq!((pool.stats().capacity, pool.machine.poll_timeout()), (3, None));
    }
    let (setup, mut pool, _) = server(3, &[A]);
    for (setting, changed) in [
        ("id_format", setup.id_format(IdFormat::Raw4)),
        ("with_certificates", setup.certificates(true)),
        ("seed", setup.seed(9)),
    ] {
        let refused = set(&mut pool, changed.capacity(9, 9).listed(true));
        assert_eq!(refused, Err(ConfigError::Fixed { setting }));
        assert_eq!(pool.stats().capacity, 3);
    }
}

#[test]
fn a_configuration_without_a_seed_leaves_the_seed() {
    let config = |seed: Option<u64>| {
        let builder = ClientConfig::builder().capacity(1);
        seed.into_iter().fold(builder, |builder, seed| builder.seed(seed)).build().unwrap()
    };
    let mut pool = Client::<u32>::new(&config(Some(4)), Instant::EPOCH);
    assert_eq!(pool.set_config(Instant::EPOCH, &config(None)), Ok(()));
    assert_eq!(pool.set_config(Instant::EPOCH, &config(Some(4))), Ok(()));
    let seed = Err(ConfigError::Fixed { setting: "seed" });
    assert_eq!(pool.set_config(Instant::EPOCH, &config(Some(5))), seed);
    let drawn = ClientConfig::builder().build().unwrap().or_entropy([3; 32]);
    let mut pool = Client::<u32>::new(&drawn, Instant::EPOCH);
    assert_eq!(pool.set_config(Instant::EPOCH, &config(None)), Ok(()));
    assert_eq!(pool.set_config(Instant::EPOCH, &config(Some(4))), seed);
    assert!(!format!("{pool:?}").contains("entropy"));
    pool.close(Instant::EPOCH);
    while pool.poll_action().is_some() {}
}

#[test]
fn the_ready_connections_beyond_a_new_capacity_are_closed_the_heaviest_peer_first() {
    let (setup, mut pool, joined) = server(8, &[A, B, A, A, B, A]);
    let lease = pool.take();
    assert_eq!(lease.token, joined[5].token);
    let waiting = |pool: &mut ServerHarness| match pool.wait_ready(7) {
        Stock::Queued(waiter) => waiter,
        other => panic!("{other:?}"),
    };
    let waiter = waiting(&mut pool);
    assert_eq!(set(&mut pool, setup.capacity(3, 3)), Ok(()));
    let closed: Vec<_> = pool
        .did()
        .iter()
        .filter_map(|action| match action {
            Action::Close { token, reason: CloseReason::Surplus, .. } => Some(*token),
            _ => None,
        })
        .collect();
    assert_eq!(closed[0], joined[0].token, "of A, which has three, the oldest");
    assert_eq!((closed.len(), pool.stats().idle, pool.stats().leased), (2, 3, 1));
    let beyond = Refusal::StockBeyondCapacity { wanted: 7, capacity: 3 };
    assert_eq!(pool.collect(waiter), Collected::Refused(beyond));
    assert!(matches!(pool.admit(A), Err(Rejected::CapacityReached { limit: 3 })));
    assert_eq!(pool.put(lease), Ok(()));
    assert_eq!(pool.ended(CloseReason::Overflow), 1);
}

#[test]
fn a_handshake_that_ends_after_the_capacity_was_lowered_is_kept() {
    let (setup, mut pool, _) = server(3, &[A]);
    let admitted = [pool.admit(B).unwrap(), pool.admit(B).unwrap()];
    assert_eq!(set(&mut pool, setup.capacity(1, 1)), Ok(()));
    assert_eq!(pool.ended(CloseReason::Surplus), 1);
    for peer in admitted {
        pool.established(peer.token, None);
    }
    assert_eq!(pool.stats().idle, 2, "the id is at the peer, which may have acquired it");
}

#[test]
fn a_lower_limit_of_one_peer_closes_its_oldest_ready_ones() {
    let (setup, mut pool, joined) = server(8, &[A, B, A, A]);
    assert_eq!(set(&mut pool, setup.max_per_source(2)), Ok(()));
    assert_eq!(pool.ended(CloseReason::Surplus), 1);
    assert!(pool.machine.state_of(joined[0].token).is_none());
    let full = Rejected::SourceFull { source_address: ip(A), limit: 2 };
    assert_eq!(pool.admit(A), Err(full));
}

#[test]
fn a_lower_limit_of_handshakes_evicts() {
    let setup = Setup::DEFAULT.capacity(8, 8);
    let mut pool = ServerHarness::new(&setup);
    for _ in 0..6 {
        pool.accept(A).unwrap();
    }
    assert_eq!(set(&mut pool, setup.max_handshakes(2)), Ok(()));
    assert_eq!((pool.handshaking().len(), pool.ended(CloseReason::HandshakeEvicted)), (2, 4));
}

#[test]
fn connections_of_a_peer_that_is_not_allowed_any_more_end_when_they_are_not_in_use() {
    let (setup, mut pool, _) = server(8, &[FAR, FAR, FAR, FAR, A]);
    let id = pool.id_of(pool.idle()[0]);
    let lease = pool.take_by_id(id);
    let claimed = pool.idle()[0];
    pool.readable(claimed);
    pool.checked(CheckResult::Data);
    let checked = pool.idle()[0];
    pool.readable(checked);
    let silent = pool.accept(FAR).unwrap();
    assert_eq!(set(&mut pool, setup.listed(true)), Ok(()));
    // A handshake and a ready connection have ended. The connections in use at the peer and here have
    // not.
    assert_eq!(pool.ended(CloseReason::NotAllowed), 2);
    assert!(pool.machine.state_of(silent).is_none());
    assert_eq!((pool.stats().idle, pool.stats().claimed, pool.stats().leased), (1, 1, 1));
    // The inspected connection is unused.
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::NotAllowed), 3);
    // At the end of its use it does not come back.
    assert_eq!(pool.put(lease), Ok(()));
    assert_eq!(pool.ended(CloseReason::NotAllowed), 4);
    assert!(matches!(pool.accept(FAR), Err(Rejected::NotAllowed { .. })));
    let id = pool.id_of(claimed);
    let lease = pool.take_by_id(id);
    // Allowed again, it may come back.
    assert_eq!(set(&mut pool, setup), Ok(()));
    pool.auto = Some(CheckResult::Quiet);
    assert_eq!(pool.put(lease), Ok(()));
    assert_eq!((pool.stats().idle, pool.stats().totals.disallowed), (2, 4));
}

#[test]
fn an_address_decides_and_not_its_source_or_its_certificate() {
    let config = |allow: &str| {
        let config = pool_proto::ServerConfig::builder().seed(1).allow(allow.parse().unwrap());
        config.build().unwrap().with_certificates(true)
    };
    let now = Instant::EPOCH;
    let mut pool = pool_proto::Server::<u32>::new(&config("everyone"), now);
    // Of one /64 network, and with one certificate.
    let tokens = ["2001:db8::1", "2001:db8::2"].map(|address| {
        let token = pool.accept(now, ip(address)).unwrap();
        pool.admit(now, token, Some([1; 32])).unwrap();
        let event = pool_proto::Event::Established { token, connection: 1, id: None };
        pool.handle_event(now, event);
        token
    });
    assert_eq!(pool.set_config(now, &config("2001:db8::2")), Ok(()));
    assert_eq!(tokens.map(|token| pool.state_of(token).is_some()), [false, true]);
}

#[test]
fn a_closed_pool_takes_a_configuration_and_does_nothing() {
    let (setup, mut pool) = client(3, |setup| setup);
    pool.close();
    assert_eq!(set(&mut pool, setup.capacity(9, 9).idle_timeout(ms(5))), Ok(()));
    assert!(pool.did().is_empty());
}

/// A life of new connections, as the counters show it.
fn new_life<R: TestRole>(pool: &mut Harness<R>, act: impl Fn(&mut Harness<R>)) -> String {
    let before = pool.stats().totals;
    let began = pool.now;
    act(pool);
    let stats = pool.stats();
    let now = stats.totals;
    let due = pool.machine.poll_timeout().map(|due| due.since(began));
    let counts = [
        now.dials - before.dials,
        now.established - before.established,
        now.served_at_once - before.served_at_once,
        now.refused - before.refused,
        now.idle_timeouts - before.idle_timeouts,
        now.expired - before.expired,
        now.unclaimed - before.unclaimed,
        now.rejected_address - before.rejected_address,
        now.rejected_source - before.rejected_source,
        now.rejected_full - before.rejected_full,
        now.handshakes_evicted - before.handshakes_evicted,
        now.silent - before.silent,
    ];
    format!("{counts:?} {} {} {} {due:?}", stats.capacity, stats.idle, stats.handshaking)
}

fn client_life(pool: &mut ClientHarness) {
    pool.auto = Some(CheckResult::Quiet);
    pool.fill();
    let lease = pool.acquire();
    let _ = pool.wait_ready(5);
    pool.fill();
    pool.pass(ms(3000));
    if let Acquired::Ready(lease) = lease {
        // Its lifetime may be over.
        let _ = pool.put(lease);
    }
    pool.pass(ms(1200));
    for waiter in pool.waiters() {
        pool.cancel(waiter);
    }
}

fn server_life(pool: &mut ServerHarness) {
    pool.auto = Some(CheckResult::Quiet);
    for peer in [A, B, FAR, A, A, B, "10.0.0.3", A] {
        if let Ok(peer) = pool.admit(peer) {
            pool.established(peer.token, None);
        }
    }
    for _ in 0..5 {
        // There may be no room.
        let _ = pool.accept(A);
    }
    let _ = pool.wait_ready(6);
    let lease = pool.acquire();
    pool.pass(ms(3000));
    if let Acquired::Ready(lease) = lease {
        // Its lifetime may be over.
        let _ = pool.put(lease);
    }
    pool.pass(ms(1200));
    for waiter in pool.waiters() {
        pool.cancel(waiter);
    }
}

/// Settings whose effect does not depend on the law or on a generator, since a machine that has lived has
/// learnt and drawn before.
fn setups() -> impl Strategy<Value = (Setup, Setup)> {
    let changes = || prop::collection::vec((0..24u8, any::<u8>()), 0..12);
    let made = |changes: Vec<(u8, u8)>| {
        let base = Setup::DEFAULT.capacity(1, 4).max_connections(12).lifetime_jitter(0.0);
        let changes = changes.into_iter().filter(|(which, _)| !matches!(which, 17 | 18));
        let setup = changes.fold(base, |setup, (which, to)| setup.changed(which, to));
        setup.capacity(setup.capacity.1, setup.capacity.1)
    };
    (changes(), changes()).prop_map(move |(a, b)| (made(a), made(b)))
}

/// Ends everything that there is, and lets a while pass.
fn renew<R: TestRole>(pool: &mut Harness<R>, fill: impl Fn(&mut Harness<R>)) {
    pool.flush();
    for _ in 0..300 {
        fill(pool);
        pool.pass(ms(100));
    }
    pool.flush();
    fill(pool);
}

proptest! {
    #[test]
    fn a_client_that_was_changed_lives_on_as_one_that_was_built_so((a, b) in setups()) {
        let mut changed = ClientHarness::new(&a);
        client_life(&mut changed);
        prop_assert_eq!(set(&mut changed, b), Ok(()));
        renew(&mut changed, ClientHarness::fill);
        let mut built = ClientHarness::new(&b);
        renew(&mut built, ClientHarness::fill);
        prop_assert_eq!(new_life(&mut changed, client_life), new_life(&mut built, client_life));
    }

    #[test]
    fn a_server_that_was_changed_lives_on_as_one_that_was_built_so((a, b) in setups()) {
        let mut changed = ServerHarness::new(&a);
        server_life(&mut changed);
        prop_assert_eq!(set(&mut changed, b), Ok(()));
        renew(&mut changed, |_| ());
        let mut built = ServerHarness::new(&b);
        renew(&mut built, |_| ());
        prop_assert_eq!(new_life(&mut changed, server_life), new_life(&mut built, server_life));
    }

    #[test]
    fn the_same_configuration_changes_nothing((a, _) in setups()) {
        let mut pool = ClientHarness::new(&a);
        client_life(&mut pool);
        pool.timeout();
        let (stats, due) = (pool.stats(), pool.machine.poll_timeout());
        prop_assert_eq!(set(&mut pool, a), Ok(()));
        prop_assert_eq!((pool.stats(), pool.machine.poll_timeout()), (stats, due));
        prop_assert!(pool.did().is_empty());
    }
}
