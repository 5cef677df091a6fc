//! The idle timeout: connections that nobody uses go one after another, and a client replaces them
//! before.

use pool_proto::{Action, CheckResult, CloseReason, Tuning};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

/// The connections that the last step closed.
fn closed(pool: &[Did]) -> usize {
    let idle =
        |action: &&Did| matches!(action, Action::Close { reason: CloseReason::IdleTimeout, .. });
    pool.iter().filter(idle).count()
}

#[test]
fn the_idle_timeout_counts_from_when_a_connection_became_idle() {
    let mut pool = ServerHarness::server(4, |config| config.idle_timeout(ms(100)));
    pool.auto = Some(CheckResult::Quiet);
    pool.join("10.0.0.1");
    pool.wait(ms(40));
    let lease = pool.take();
    assert_eq!(pool.machine.poll_timeout(), None);
    pool.wait(ms(60));
    pool.put(lease).unwrap();
    pool.pass(ms(49));
    assert_eq!(pool.stats().idle, 1);
    pool.pass(ms(51));
    assert_eq!(pool.ended(CloseReason::IdleTimeout), 1);
}

#[test]
fn a_server_closes_idle_connections_one_after_another() {
    let mut pool = ServerHarness::server(8, |config| config.idle_timeout(ms(1600)));
    for _ in 0..8 {
        pool.join("10.0.0.1");
    }
    pool.wait(ms(799));
    pool.timeout();
    assert_eq!(pool.stats().idle, 8, "half of the time is not over");
    let mut longest_gap = 0;
    let mut gap = 0;
    for _ in 0..801 {
        pool.pass(ms(1));
        assert!(closed(pool.did()) <= 1, "two at once");
        gap = if closed(pool.did()) > 0 { 0 } else { gap + 1 };
        longest_gap = longest_gap.max(gap);
    }
    assert_eq!(pool.stats().idle, 0, "all have gone in time");
    assert!(longest_gap < 800 / 2, "evenly: {longest_gap}");
}

#[test]
fn a_client_replaces_idle_connections_before_it_closes_them() {
    for round_trip in [1, 40, 200] {
        let mut pool = ClientHarness::client(8, 8, |config| config.idle_timeout(ms(3000)));
        pool.fill();
        let first = pool.pooled();
        let mut dials: Vec<(u64, pool_proto::Token)> = Vec::new();
        for now in 0..12_000 {
            pool.pass(ms(1));
            for token in pool.dialing() {
                if !dials.iter().any(|(_, dialled)| *dialled == token) {
                    dials.push((now, token));
                }
            }
            dials.retain(|(since, token)| {
                let connected = now - since >= 2 * round_trip;
                if connected {
                    pool.connect(*token);
                }
                !connected
            });
            assert!(pool.stats().idle >= 8, "{} at {now} ms, {round_trip}", pool.stats().idle);
        }
        assert!(first.iter().all(|token| !pool.pooled().contains(token)), "none is older");
        let ends = pool.ended(CloseReason::IdleTimeout);
        assert!((24..=64).contains(&ends), "{ends} in four times the timeout, {round_trip}");
    }
}

#[test]
fn a_client_keeps_idle_connections_to_the_end_while_its_peer_is_down() {
    let mut pool = ClientHarness::client(2, 2, |config| config.idle_timeout(ms(1000)));
    pool.fill();
    pool.pass(ms(500));
    let dial = pool.dialing()[0];
    pool.dial_failed(dial);
    pool.pass(ms(499));
    assert_eq!(pool.stats().idle, 2);
    pool.pass(ms(1));
    assert_eq!(pool.stats().idle, 0);
}

#[test]
fn under_the_law_of_the_go_package_the_old_ones_go_first() {
    let rounds = |config: Setup| config.tuning(Tuning::NodePass).idle_timeout(ms(60_000));
    let mut pool = ClientHarness::client(2, 2, rounds);
    pool.fill();
    pool.pass(ms(30_000));
    assert_eq!((pool.stats().idle, closed(pool.did())), (1, 1));
}
