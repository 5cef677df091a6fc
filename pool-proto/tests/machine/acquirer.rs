//! Which end acquires: each connection has one acquirer, and only that ends it for its age.

use pool_proto::{
    Acquired, Acquirer, CheckResult, CloseReason, ConfigError, ConnId, IdExchange, Refusal, State,
    WaitReason,
};
use pool_testkit::call::{Answer, Call};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

fn server(acquirer: Acquirer, config: impl FnOnce(Setup) -> Setup) -> ServerHarness {
    ServerHarness::server(8, |setup| config(setup.acquirer(acquirer)))
}

/// Ids by the end that may acquire their connections.
const SERVERS: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
const CLIENTS: [u8; 4] = [0x80, 0, 0, 0];

/// A client of two ends that both acquire, and the ids of its connections: the first is its own, the
/// second the server's.
fn client(config: impl FnOnce(Setup) -> Setup) -> (ClientHarness, [ConnId; 2]) {
    let both = |setup: Setup| config(setup.acquirer(Acquirer::Both));
    let mut pool = ClientHarness::client(2, 2, both);
    let ids = [CLIENTS, SERVERS].map(ConnId::from_bytes);
    for (token, id) in pool.dialing().into_iter().zip(ids) {
        pool.dialed(token);
        pool.established(token, Some(id));
    }
    (pool, ids)
}

// --- the peer is the acquirer -------------------------------------------------------------------

#[test]
fn where_the_peer_acquires_only_an_acquire_by_id_gets_a_connection() {
    let mut pool = server(Acquirer::Peer, |config| config);
    let peer = pool.join("10.0.0.1");
    assert_eq!((pool.stats().idle, pool.stats().reserved), (1, 1));
    assert_eq!(pool.acquire(), Acquired::Refused(Refusal::PeerAcquires));
    let lease = pool.take_by_id(peer.id);
    // It comes back to the stock of its acquirer.
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!((pool.stats().idle, pool.stats().reserved), (1, 1));
}

#[test]
fn a_reserved_connection_is_not_ended_for_its_age_nor_cleaned() {
    let aged = |config: Setup| config.idle_timeout(ms(5000)).max_lifetime(ms(5000));
    let mut pool = server(Acquirer::Peer, aged);
    let peer = pool.join("10.0.0.1");
    assert_eq!(pool.clean(), 0);
    pool.pass(ms(60_000));
    assert_eq!(pool.stats().reserved, 1);
    // Nor is an acquire by its id refused for its age.
    let lease = pool.take_by_id(peer.id);
    assert_eq!(lease.token, peer.token);
}

#[test]
fn a_reserved_connection_counts_as_ready() {
    let mut pool = server(Acquirer::Peer, |config| config);
    pool.join("10.0.0.1");
    assert_eq!(pool.wait_ready(1), pool_proto::Stock::Ready);
}

#[test]
fn a_reserved_connection_that_the_peer_begins_to_use_is_claimed() {
    let mut pool = server(Acquirer::Peer, |config| config);
    let peer = pool.join("10.0.0.1");
    pool.readable(peer.token);
    pool.checked(CheckResult::Data);
    assert_eq!((pool.stats().reserved, pool.stats().claimed), (0, 1));
}

#[test]
fn a_reserved_connection_makes_room_for_another_peer() {
    let mut pool = server(Acquirer::Peer, |config| config);
    for _ in 0..8 {
        pool.join("10.0.0.1");
    }
    pool.join("10.0.0.2");
    assert_eq!((pool.stats().idle, pool.ended(CloseReason::Evicted)), (8, 1));
}

#[test]
fn a_full_client_keeps_what_its_peer_may_have_acquired_again() {
    let mut pool = filled(2, |setup| setup.acquirer(Acquirer::Peer));
    let ids: Vec<ConnId> = pool.pooled().into_iter().map(|token| pool.id_of(token)).collect();
    // The replacements of the leased connections are ready when those are put back.
    let leases: Vec<_> = ids.iter().map(|id| pool.take_by_id(*id)).collect();
    pool.fill();
    for lease in leases {
        pool.put(lease).unwrap();
        pool.checked(CheckResult::Quiet);
    }
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Overflow)), (4, 0));
    // Their number falls as connections are closed instead of put back.
    let lease = pool.take_by_id(ids[0]);
    pool.release(lease);
    assert_eq!((pool.stats().reserved, pool.dialing()), (3, vec![]));
    pool.pass(ms(600_000));
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Surplus)), (3, 0));
}

#[test]
fn what_the_peer_may_acquire_stays_when_its_waiter_gives_up() {
    let mut pool = filled(1, |setup| setup.acquirer(Acquirer::Peer));
    let id = pool.id_of(pool.pooled()[0]);
    let lease = pool.take_by_id(id);
    pool.fill();
    let waiter = pool.queue_by_id(id);
    pool.put(lease).unwrap();
    pool.cancel(waiter);
    pool.checked(CheckResult::Quiet);
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Overflow)), (2, 0));
    // Nor when a check has found nothing to take.
    let lease = pool.take_by_id(id);
    pool.reject(lease, CheckResult::Quiet);
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Overflow)), (2, 0));
}

#[test]
fn a_server_with_more_than_its_capacity_makes_room_for_another_peer() {
    let setup = Setup::DEFAULT.capacity(8, 8).acquirer(Acquirer::Peer);
    let mut pool = ServerHarness::new(&setup);
    let peers: Vec<_> = (0..8).map(|_| pool.join("10.0.0.1")).collect();
    let leases: Vec<_> = peers[..2].iter().map(|peer| pool.take_by_id(peer.id)).collect();
    pool.join("10.0.0.1");
    pool.join("10.0.0.1");
    for lease in leases {
        pool.put(lease).unwrap();
        pool.checked(CheckResult::Quiet);
    }
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Overflow)), (10, 0));
    pool.join("10.0.0.2");
    assert_eq!((pool.stats().reserved, pool.ended(CloseReason::Evicted)), (10, 1));
    // A new configuration ends none of them, unless it lowers the capacity.
    for (capacity, reserved) in [(8, 10), (9, 10), (7, 7)] {
        let set = Call::SetConfig(Box::new(setup.capacity(capacity, capacity)));
        assert!(matches!(pool.make(set), Answer::Configured(Ok(()))));
        assert_eq!(pool.stats().reserved, reserved);
    }
}

// --- both are -----------------------------------------------------------------------------------

#[test]
fn of_two_ends_that_acquire_each_has_its_own_connections() {
    let (mut pool, [own, servers]) = client(|config| config);
    assert_eq!((pool.stats().idle, pool.stats().reserved), (2, 1));
    let lease = pool.take();
    assert_eq!(lease.id, own);
    let by_id = pool.take_by_id(servers);
    assert_eq!(by_id.id, servers);
}

#[test]
fn a_connection_that_is_put_back_has_the_same_acquirer() {
    let (mut pool, [own, servers]) = client(|config| config.max_connections(2));
    let leases = [pool.take(), pool.take_by_id(servers)];
    for lease in leases {
        pool.put(lease).unwrap();
        pool.checked(CheckResult::Quiet);
    }
    assert_eq!(pool.take().id, own);
    assert_eq!(pool.stats().reserved, 1);
}

#[test]
fn a_server_halves_the_stock_and_its_ids_say_how() {
    let mut pool = server(Acquirer::Both, |config| config);
    let ids: Vec<ConnId> = (0..8).map(|_| pool.join("10.0.0.1").id).collect();
    let servers = ids.iter().filter(|id| id.to_bytes()[0] < 128).count();
    assert_eq!((servers, pool.stats().reserved), (4, 4));
}

#[test]
fn each_peer_of_a_server_has_its_own_part() {
    let mut pool = server(Acquirer::Both, |config| config);
    for peer in ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"] {
        pool.join(peer);
    }
    assert_eq!(pool.stats().reserved, 2);
}

#[test]
fn a_server_whose_callers_wait_gets_what_replaces_its_own_if_the_peer_lacks_none() {
    let mut pool = server(Acquirer::Both, |config| config);
    for _ in 0..2 {
        pool.join("10.0.0.1");
    }
    // The peer has left one unused.
    pool.pass(ms(1000));
    let first = pool.take();
    let waiters = [pool.queue(), pool.queue()];
    for waiter in waiters {
        let next = pool.join("10.0.0.1");
        assert_eq!(pool.collect_lease(waiter).token, next.token);
    }
    drop(first);
}

#[test]
fn where_both_wait_they_are_given_connections_in_turn() {
    let mut pool = server(Acquirer::Both, |config| config);
    for _ in 0..2 {
        pool.join("10.0.0.1");
    }
    let first = pool.take();
    let waiters = [(); 4].map(|()| pool.queue());
    let mut own = 0;
    for _ in 0..8 {
        let peer = pool.join("10.0.0.1");
        match pool.machine.state_of(peer.token) {
            // Its users take it at once.
            Some(State::Reserved) => {
                pool.readable(peer.token);
                pool.checked(CheckResult::Data);
            }
            _ => {
                let _ = pool.collect_lease(waiters[own]);
                own += 1;
            }
        }
    }
    assert_eq!(own, 4);
    drop(first);
}

#[test]
fn of_two_ends_without_any_the_one_that_has_acquired_less_goes_first() {
    let mut pool = server(Acquirer::Both, |config| config);
    pool.join("10.0.0.1");
    let first = pool.take();
    let _ = pool.queue();
    pool.join("10.0.0.1");
    assert_eq!(pool.stats().reserved, 1);
    drop(first);
}

#[test]
fn the_only_end_that_acquires_soon_has_nearly_all_of_the_stock() {
    let mut pool = server(Acquirer::Both, |config| config);
    for _ in 0..8 {
        pool.join("10.0.0.1");
    }
    for _ in 0..64 {
        let lease = pool.take();
        pool.release(lease);
        pool.join("10.0.0.1");
    }
    // The client gives its part up when it sees the acquires: here the clients' stay, and all new ones
    // are the server's.
    assert_eq!(pool.stats().reserved, 4);
    assert_eq!(pool.ended(CloseReason::Yielded), 0);
}

#[test]
fn an_end_gives_connections_up_to_the_one_that_acquires() {
    let both = |setup: Setup| setup.acquirer(Acquirer::Both);
    let mut pool = ClientHarness::client(8, 8, both);
    let mut number = 0u8;
    let mut connect = |pool: &mut ClientHarness, servers: bool| {
        let Some(token) = pool.dialing().first().copied() else { return false };
        number += 1;
        let first = if servers { 0 } else { 128 };
        pool.dialed(token);
        pool.established(token, Some(ConnId::from_bytes([first, 0, 0, number])));
        true
    };
    for at in 0..8 {
        connect(&mut pool, at % 2 == 0);
    }
    assert_eq!(pool.stats().reserved, 4);
    for _ in 0..12 {
        let reserved = |token: &_| pool.machine.state_of(*token) == Some(State::Reserved);
        let taken = pool.pooled().into_iter().find(reserved).unwrap();
        pool.readable(taken);
        pool.checked(CheckResult::Data);
        while connect(&mut pool, true) {}
    }
    assert_eq!((pool.stats().idle, pool.stats().reserved), (8, 7));
    assert_eq!(pool.ended(CloseReason::Yielded), 3);
}

#[test]
fn a_client_dials_beyond_its_capacity_while_all_that_is_ready_is_the_servers() {
    let (mut pool, _) = client(|config| config);
    let lease = pool.take();
    let dialing = pool.dialing()[0];
    pool.dialed(dialing);
    pool.established(dialing, Some(ConnId::from_bytes([1; 4])));
    assert_eq!((pool.stats().idle, pool.stats().reserved), (2, 2));
    let waiter = pool.queue();
    let more = pool.dialing()[0];
    pool.dialed(more);
    pool.established(more, Some(ConnId::from_bytes([200; 4])));
    assert_eq!(pool.collect_lease(waiter).token, more);
    drop(lease);
}

#[test]
fn a_waiter_learns_that_all_ready_connections_are_the_peers() {
    let (mut pool, _) = client(|config| config.max_connections(2));
    let lease = pool.take();
    let waiter = pool.queue();
    // All connections allowed are open.
    let why = WaitReason::AllInUse { leased: 1, claimed: 0 };
    assert_eq!(pool.machine.why(waiter), Some(why));
    let mut server = server(Acquirer::Both, |config| config);
    for _ in 0..2 {
        server.join("10.0.0.1");
    }
    let taken = server.take();
    let waiter = server.queue();
    assert_eq!(server.machine.why(waiter), Some(WaitReason::Reserved { reserved: 1 }));
    drop((lease, taken));
}

#[test]
fn a_full_server_gives_up_a_connection_to_a_peer_that_has_none_of_its_own() {
    let mut pool = server(Acquirer::Both, |config| config.capacity(2, 2));
    for peer in ["10.0.0.1", "10.0.0.2"] {
        pool.join(peer);
    }
    assert_eq!(pool.stats().reserved, 0, "the first of each peer is the server's");
    pool.join("10.0.0.1");
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.reserved, pool.ended(CloseReason::Yielded)), (2, 1, 1));
}

#[test]
fn a_server_gives_one_up_for_a_peer_that_has_none_and_cannot_dial_more() {
    let mut pool = server(Acquirer::Both, |config| config);
    for _ in 0..4 {
        pool.join("10.0.0.1");
    }
    let reserved = |token: &_| pool.machine.state_of(*token) == Some(State::Reserved);
    for token in pool.pooled().into_iter().filter(reserved).collect::<Vec<_>>() {
        pool.readable(token);
        pool.checked(CheckResult::Data);
    }
    pool.pass(ms(1999));
    assert_eq!(pool.ended(CloseReason::Yielded), 0);
    pool.pass(ms(1));
    assert_eq!((pool.ended(CloseReason::Yielded), pool.stats().idle), (1, 1));
    // Once: the peer may be unable to dial.
    pool.pass(ms(60_000));
    assert_eq!(pool.stats().idle, 1);
    pool.join("10.0.0.1");
    assert_eq!(pool.stats().reserved, 1);
}

#[test]
fn a_client_of_which_all_is_its_own_gives_one_up_after_a_while() {
    let both = |setup: Setup| setup.acquirer(Acquirer::Both);
    let mut pool = ClientHarness::client(2, 2, both);
    for (token, number) in pool.dialing().into_iter().zip(200..) {
        pool.dialed(token);
        pool.established(token, Some(ConnId::from_bytes([number; 4])));
    }
    pool.pass(ms(999));
    assert_eq!(pool.ended(CloseReason::Yielded), 0);
    pool.pass(ms(1));
    assert_eq!((pool.ended(CloseReason::Yielded), pool.dialing().len()), (1, 1));
}

#[test]
fn a_client_with_more_than_its_capacity_gives_up_all_that_keep_it_from_dialing() {
    let both = |setup: Setup| setup.acquirer(Acquirer::Both);
    let mut pool = ClientHarness::client(2, 8, both);
    let mut ids = (200..).map(|number| ConnId::from_bytes([number; 4]));
    let mut establish = |pool: &mut ClientHarness| {
        for token in pool.dialing() {
            pool.dialed(token);
            pool.established(token, ids.next());
        }
    };
    establish(&mut pool);
    let leases = [pool.take(), pool.take()];
    establish(&mut pool);
    for lease in leases {
        pool.put(lease).unwrap();
        pool.checked(CheckResult::Quiet);
    }
    let stats = pool.stats();
    assert!(stats.idle > stats.capacity && stats.reserved == 0, "{stats:?}");
    let surplus = u64::from(stats.idle - stats.capacity);
    pool.pass(ms(1000));
    assert_eq!((pool.ended(CloseReason::Yielded), pool.dialing().len()), (surplus + 1, 1));
}

#[test]
fn a_clean_closes_the_own_connections_only() {
    let (mut pool, _) = client(|config| config);
    assert_eq!(pool.clean(), 1);
    assert_eq!((pool.stats().idle, pool.stats().reserved), (1, 1));
}

// --- where nobody says --------------------------------------------------------------------------

#[test]
fn an_acquire_by_the_id_of_what_this_end_has_acquired_is_refused_at_once() {
    let mut pool = server(Acquirer::Either, |config| config);
    let peer = pool.join("10.0.0.1");
    let refusal = Acquired::Refused(Refusal::AcquiredHere { id: peer.id });
    let lease = pool.take();
    assert_eq!(pool.acquire_by_id(peer.id), refusal);
    // Also while the caller has not collected it.
    let waiter = pool.queue();
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.acquire_by_id(peer.id), refusal);
    let _ = pool.collect_lease(waiter);
    assert_eq!(pool.acquire_by_id(peer.id), refusal);
}

#[test]
fn a_caller_waits_for_the_id_of_what_was_acquired_by_it() {
    let mut pool = server(Acquirer::Either, |config| config);
    let peer = pool.join("10.0.0.1");
    let lease = pool.take_by_id(peer.id);
    let waiter = pool.queue_by_id(peer.id);
    pool.put(lease).unwrap();
    pool.checked(CheckResult::Quiet);
    assert_eq!(pool.collect_lease(waiter).id, peer.id);
}

#[test]
fn without_ids_no_peer_acquires() {
    for acquirer in [Acquirer::Peer, Acquirer::Both] {
        let config = pool_proto::ClientConfig::builder().ids(IdExchange::None).acquirer(acquirer);
        let error = config.build().unwrap_err();
        assert!(matches!(error, ConfigError::Needs { setting: "acquirer", .. }), "{error}");
    }
}
