//! Admission: the peers that are admitted, and the connections that make room for them.

use std::collections::HashSet;

use pool_proto::{
    Acquired, Action, CheckResult, CloseReason, Rejected, ServerConfig, TakeOrder, Token,
    WaitReason,
};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const C: &str = "10.0.0.3";

fn server(capacity: u32, config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(capacity, config)
}

/// Connections that the last step evicted.
fn evicted(pool: &ServerHarness) -> Vec<Token> {
    let reason = CloseReason::Evicted;
    let actions = pool.did().iter();
    let tokens = actions.filter_map(|action| match *action {
        Action::Abort { token, reason: why } | Action::Close { token, reason: why, .. } => {
            assert_eq!(why, reason);
            Some(token)
        }
        _ => None,
    });
    tokens.collect()
}

/// Makes an idle connection one that its peer has begun to use.
fn claim(pool: &mut ServerHarness, token: Token) {
    pool.readable(token);
    assert_eq!(pool.checked(CheckResult::Data), token);
}

#[test]
fn only_addresses_on_the_allow_list_come_in_mapped_or_not() {
    let allow = "10.0.0.0/24 2001:db8::/32".parse().unwrap();
    let config = ServerConfig::builder().seed(1).capacity(8).allow(allow).build().unwrap();
    let mut pool = ServerHarness::of(&config, &Setup::DEFAULT.capacity(8, 8));
    for address in ["10.0.0.9", "::ffff:10.0.0.9", "2001:db8::1"] {
        pool.admit(address).unwrap();
    }
    for (address, canonical) in
        [("10.0.1.9", "10.0.1.9"), ("::ffff:10.0.1.9", "10.0.1.9"), ("2001:db9::1", "2001:db9::1")]
    {
        let address = pool.admit(address);
        assert_eq!(address, Err(Rejected::NotAllowed { address: ip(canonical) }));
    }
    assert_eq!(pool.stats().totals.rejected_address, 3);
    assert_eq!(pool.stats().totals.admitted, 3);
}

#[test]
fn ids_are_unique_never_zero_and_differ_between_lives() {
    let mut pool = server(16, |config| config.max_connections(16));
    let mut seen = HashSet::new();
    for _ in 0..2000 {
        let peer = pool.join(A);
        assert!(seen.insert(peer.id), "{} twice", peer.id);
        assert_ne!(peer.id, id(0));
        if pool.stats().idle == 16 {
            pool.clean();
        }
    }
}

#[test]
fn a_seed_gives_these_ids() {
    // As they were when this was written: they tell when the way from a seed to ids changes.
    let mut pool = server(4, |config| config.seed(1));
    let ids = [(); 4].map(|()| pool.admit(A).unwrap().id.to_string());
    assert_eq!(ids, ["d567f377", "5c36b5a8", "d5ee529f", "729779c2"]);
}

#[test]
fn a_source_has_a_limit_that_leases_do_not_count_for() {
    let mut pool = server(8, |config| config.max_per_source(2).take_order(TakeOrder::OldestFirst));
    pool.join(A);
    pool.admit(A).unwrap();
    let full = Err(Rejected::SourceFull { source_address: ip(A), limit: 2 });
    assert_eq!(pool.admit(A), full);
    pool.join(B);
    let Acquired::Ready(lease) = pool.acquire() else { panic!() };
    pool.admit(A).unwrap();
    assert_eq!(pool.admit(A), full);
    pool.release(lease);
    assert_eq!(pool.admit(A), full);
    assert_eq!(pool.stats().totals.rejected_source, 3);
}

#[test]
fn an_ipv6_source_is_a_64_bit_network_and_a_mapped_one_is_ipv4() {
    let mut pool = server(8, |config| config.max_per_source(1));
    pool.admit("2001:db8:1:2::1").unwrap();
    let source_address = ip("2001:db8:1:2::");
    let full = Err(Rejected::SourceFull { source_address, limit: 1 });
    assert_eq!(pool.admit("2001:db8:1:2:ffff::9"), full);
    pool.admit("2001:db8:1:3::1").unwrap();
    pool.admit("::ffff:10.0.0.1").unwrap();
    let full = Err(Rejected::SourceFull { source_address: ip(A), limit: 1 });
    assert_eq!(pool.admit(A), full);
}

#[test]
fn a_sources_account_survives_rejected_leases_that_are_closed() {
    // Rejected into a full pool: the connection overflows, and its source holds nothing of it.
    let mut pool = server(1, |config| config.max_per_source(1));
    pool.join(A);
    let lease = pool.take();
    pool.join(B);
    pool.reject(lease, CheckResult::Quiet);
    assert_eq!(pool.ended(CloseReason::Overflow), 1);
    pool.clean();
    pool.join(A);
    assert_eq!(pool.admit(A), Err(Rejected::SourceFull { source_address: ip(A), limit: 1 }));
    // The same for one whose lifetime is over.
    let mut pool =
        server(4, |config| config.max_per_source(1).max_lifetime(ms(10)).lifetime_jitter(0.0));
    pool.join(A);
    let lease = pool.take();
    pool.pass(ms(10));
    pool.reject(lease, CheckResult::Data);
    assert_eq!(pool.ended(CloseReason::Expired), 1);
    pool.admit(A).unwrap();
}

// --- the capacity -------------------------------------------------------------------------------

#[test]
fn a_full_pool_evicts_the_oldest_of_the_heaviest_source() {
    let mut pool = server(5, |config| config);
    let b = pool.join(B);
    let oldest = pool.join(A);
    let second = pool.join(A);
    pool.join(A);
    pool.admit(A).unwrap();
    pool.admit(C).unwrap();
    assert_eq!(evicted(&pool), [oldest.token]);
    // Now 3 of A, 1 of B and C each: a second one of B's is still below A's.
    pool.admit(B).unwrap();
    assert_eq!(evicted(&pool), [second.token]);
    // 2, 2, 1: nobody holds 2 more than C's one, whose id is still on the way.
    let full = Err(Rejected::CapacityReached { limit: 5 });
    assert_eq!(pool.admit(C), full);
    assert_eq!(pool.stats().totals.evicted, 2);
    assert_eq!(pool.stats().totals.rejected_full, 1);
    assert!(pool.pooled().contains(&b.token));
}

#[test]
fn equal_sources_do_not_evict_each_other() {
    let mut pool = server(4, |config| config);
    for address in [A, A, B, B] {
        pool.join(address);
    }
    pool.pass(ms(1_000));
    for address in [A, B, A, B] {
        pool.join(address);
    }
    assert_eq!((pool.stats().totals.evicted, pool.stats().totals.replaced), (0, 4));
}

#[test]
fn a_peer_comes_back_in_place_of_its_own_oldest_connections() {
    let mut pool = server(3, |config| config);
    let old = [pool.join(A), pool.join(A)];
    let other = pool.join(B);
    pool.pass(ms(999));
    assert_eq!(pool.admit(A), Err(Rejected::CapacityReached { limit: 3 }), "they are new");
    pool.pass(ms(1));
    for old in old {
        pool.join(A);
        assert_eq!(
            pool.log.iter().rev().find_map(closed),
            Some((old.token, CloseReason::Replaced))
        );
    }
    assert!(pool.pooled().contains(&other.token));
}

fn closed(action: &Did) -> Option<(Token, CloseReason)> {
    match *action {
        Action::Close { token, reason, .. } => Some((token, reason)),
        _ => None,
    }
}

#[test]
fn a_peer_replaces_as_many_connections_as_it_holds_in_a_minute() {
    let mut pool = server(2, |config| config);
    pool.join(A);
    pool.join(A);
    pool.pass(ms(1_000));
    pool.join(A);
    pool.join(A);
    let full = Err(Rejected::CapacityReached { limit: 2 });
    assert_eq!(pool.admit(A), full);
    pool.pass(ms(59_999));
    assert_eq!(pool.admit(A), full, "unused for long, but not a minute has passed");
    pool.pass(ms(1));
    pool.join(A);
    pool.join(A);
    assert_eq!(pool.admit(A), full);
    assert_eq!(pool.stats().totals.replaced, 4);
}

#[test]
fn a_connection_that_its_peer_uses_is_not_replaced() {
    let mut pool = server(2, |config| config.max_connections(2));
    let used = pool.join(A);
    claim(&mut pool, used.token);
    let lease = {
        pool.join(A);
        pool.take()
    };
    pool.pass(ms(1_000));
    assert_eq!(pool.admit(A), Err(Rejected::ConnectionsReached { limit: 2 }));
    pool.release(lease);
}

#[test]
fn leases_do_not_count_for_the_weight_of_a_source() {
    let mut pool = server(2, |config| config);
    pool.join(A);
    pool.join(A);
    let lease = pool.take();
    pool.admit(B).unwrap();
    pool.admit(C).unwrap_err();
    assert_eq!(pool.stats().totals.evicted, 0);
    pool.release(lease);
    pool.admit(C).unwrap_err();
}

#[test]
fn a_connection_that_came_back_is_the_youngest_of_its_source() {
    let mut pool = server(3, |config| config.take_order(TakeOrder::OldestFirst));
    pool.auto = Some(CheckResult::Quiet);
    let (first, second) = (pool.join(A), pool.join(A));
    let lease = pool.take();
    assert_eq!(lease.token, first.token);
    pool.put(lease).unwrap();
    pool.join(A);
    pool.admit(B).unwrap();
    assert_eq!(evicted(&pool), [second.token]);
}

#[test]
fn granted_and_checked_connections_are_not_evicted() {
    let mut pool = server(3, |config| config);
    let waiter = pool.queue();
    let granted = pool.join(A);
    let checked = pool.join(A);
    let idle = pool.join(A);
    pool.readable(checked.token);
    pool.admit(B).unwrap();
    assert_eq!(evicted(&pool), [idle.token]);
    pool.admit(C).unwrap_err();
    assert_eq!(pool.collect_lease(waiter).token, granted.token);
}

#[test]
fn a_claimed_connection_is_not_evicted_where_its_end_makes_no_room() {
    let mut pool = server(2, |config| config);
    let claimed = pool.join(A);
    claim(&mut pool, claimed.token);
    let oldest = pool.join(A);
    pool.join(A);
    pool.admit(B).unwrap();
    assert_eq!(evicted(&pool), [oldest.token]);
    assert_eq!(pool.stats().claimed, 1);
    assert_eq!(pool.stats().idle + pool.stats().handshaking, 2);
}

#[test]
fn a_waiter_is_told_that_the_peers_have_claimed_the_connections() {
    let mut pool = server(4, |setup| setup);
    for _ in 0..2 {
        let token = pool.join(A).token;
        claim(&mut pool, token);
    }
    // A peer has left, and an acquire by its id still gets its data.
    let finished = pool.join(A).token;
    pool.readable(finished);
    pool.checked(CheckResult::Finished);
    let waiter = pool.queue();
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::Claimed { claimed: 3 }));
    // Another peer that is connecting is better news.
    let _connecting = pool.admit("10.0.0.3").unwrap();
    assert_eq!(pool.machine.why(waiter), Some(WaitReason::Handshaking { in_flight: 1 }));
}

#[test]
fn a_source_full_of_claims_does_not_shield_another_from_eviction() {
    let mut pool = server(4, |config| config);
    for _ in 0..6 {
        let token = pool.join(A).token;
        claim(&mut pool, token);
    }
    let oldest = pool.join(B);
    for _ in 0..3 {
        pool.join(B);
    }
    pool.admit(C).unwrap();
    assert_eq!(evicted(&pool), [oldest.token]);
}

#[test]
fn claims_cannot_be_piled_up_and_those_of_others_stay() {
    let mut pool = server(2, |config| config);
    let honest = pool.join(B);
    claim(&mut pool, honest.token);
    let mut tokens = Vec::new();
    for _ in 0..70 {
        let token = pool.join(A).token;
        claim(&mut pool, token);
        tokens.push(token);
    }
    assert_eq!(pool.stats().claimed, 64);
    assert_eq!(pool.ended(CloseReason::Unclaimed), 7);
    let lease = match pool.acquire_by_id(honest.id) {
        Acquired::Ready(lease) => lease,
        other => panic!("the claim of another was pushed out: {other:?}"),
    };
    pool.release(lease);
    assert!(matches!(pool.stats().claimed, 63));
}

#[test]
fn a_large_pool_keeps_twice_its_capacity_of_claims() {
    let mut pool = server(40, |config| config);
    for _ in 0..81 {
        let token = pool.join(A).token;
        claim(&mut pool, token);
    }
    assert_eq!(pool.stats().claimed, 80);
    assert_eq!(pool.ended(CloseReason::Unclaimed), 1);
}

#[test]
fn a_connection_that_was_put_back_counts_for_its_source_again() {
    let mut pool = server(4, |config| config.max_per_source(1));
    pool.join(A);
    let lease = pool.take();
    pool.put_drained(lease, CheckResult::Quiet).unwrap();
    assert!(matches!(pool.admit(A), Err(Rejected::SourceFull { limit: 1, .. })));
}

#[test]
fn each_established_connection_is_counted() {
    let mut pool = server(4, |config| config);
    pool.join(A);
    pool.join(B);
    pool.admit(C).unwrap();
    let totals = pool.stats().totals;
    assert_eq!((totals.admitted, totals.established), (3, 2));
}

#[test]
fn nothing_is_evicted_while_more_than_the_capacity_is_being_put_back() {
    let mut pool = server(2, |config| config.reuse_delay(ms(50)));
    let mut leases = Vec::new();
    for _ in 0..3 {
        pool.join(A);
        leases.push(pool.take());
    }
    let waiter = pool.queue();
    pool.admit(B).unwrap();
    pool.admit(B).unwrap();
    for lease in leases {
        pool.put(lease).unwrap();
    }
    assert_eq!((pool.stats().handshaking, pool.stats().returning), (2, 3));
    assert_eq!(pool.admit(C), Err(Rejected::CapacityReached { limit: 2 }));
    assert_eq!(evicted(&pool), []);
    pool.cancel(waiter);
}

// --- the other limits ---------------------------------------------------------------------------

#[test]
fn all_connections_have_a_limit_that_leases_and_claims_count_for() {
    let mut pool = server(3, |config| config.max_connections(3));
    let oldest = pool.join(A);
    claim(&mut pool, oldest.token);
    let lease = {
        pool.join(A);
        pool.take()
    };
    let second = pool.join(A);
    pool.admit(B).unwrap();
    assert_eq!(evicted(&pool), [oldest.token]);
    assert_eq!(pool.admit(C), Err(Rejected::ConnectionsReached { limit: 3 }));
    assert_eq!(pool.stats().totals.rejected_full, 1);
    pool.release(lease);
    pool.admit(C).unwrap();
    assert!(pool.pooled().contains(&second.token));
}

#[test]
fn a_closed_pool_admits_nobody() {
    let mut pool = server(8, |config| config);
    pool.close();
    assert_eq!(pool.admit(A), Err(Rejected::PoolClosed));
}

#[test]
fn no_source_locks_out_another_whatever_it_holds() {
    let mut pool = server(6, |config| config.max_handshakes(4));
    for flood in 0..50 {
        let _ = pool.admit(A);
        if flood % 3 == 0 {
            let _ = pool.admit(A);
            if let Some(token) = pool.handshaking().first() {
                pool.established(*token, None);
            }
        }
    }
    for _ in 0..2 {
        pool.join(B);
        pool.join(C);
    }
    assert_eq!(pool.stats().idle + pool.stats().handshaking, 6);
}

#[test]
fn no_handshake_makes_room_for_a_peer_that_is_turned_away_all_the_same() {
    let mut pool = ServerHarness::server(2, |config| config.max_handshakes(2));
    pool.join("10.0.0.3");
    let lease = pool.take();
    pool.admit("10.0.0.1").unwrap();
    pool.admit("10.0.0.1").unwrap();
    pool.queue();
    // It comes back for the waiter, beyond the capacity.
    pool.put(lease).unwrap();
    let admission = pool.admit("10.0.0.2");
    assert_eq!(admission, Err(Rejected::CapacityReached { limit: 2 }));
    assert_eq!(pool.did(), []);
    assert_eq!(pool.stats().handshaking, 2);
}
