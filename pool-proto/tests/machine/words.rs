//! Texts for people: reasons, states, and debug output.

use std::collections::HashSet;

use pool_proto::{
    Backoff, Client, ClientConfig, CloseReason, ConnId, IdError, IdExchange, IdFormat, Instant,
    Refusal, Server, ServerConfig, State, WaitReason,
};
use pool_testkit::harness::*;
use pool_testkit::setup::Setup;

#[test]
fn every_reason_for_an_end_completes_the_sentence_that_a_refusal_begins() {
    use CloseReason::*;
    let reasons = [
        (DialFailed, "it could not be dialled"),
        (DialTimeout, "it was not dialled in time"),
        (HandshakeFailed, "its handshake failed"),
        (HandshakeTimeout, "its handshake was not over in time"),
        (DuplicateId, "the peer gave it the id of another live connection"),
        (MissingId, "it came without an id"),
        (PeerClosed, "the peer closed it"),
        (IdleTimeout, "it was idle for too long"),
        (Expired, "it reached its maximum lifetime"),
        (Unclaimed, "the peer began to use it, but nobody here asked for it in time"),
        (Overflow, "it was put back into a full pool"),
        (Leftover, "it was put back with too much data unread or unsent"),
        (DrainTimeout, "it was not drained in time"),
        (Silent, "the peer connected and sent nothing in time"),
        (Rejected, "there was no place for it in the stock"),
        (HandshakeEvicted, "its handshake made room for that of another peer"),
        (Evicted, "it made room for a peer with fewer connections"),
        (Replaced, "it made room for a newer connection of the same peer"),
        (Cleaned, "the pool was cleaned"),
        (Flushed, "the pool was flushed"),
        (PoolClosed, "the pool was closed"),
        (ShutDown, "the pool shut down"),
        (Released, "its holder closed it"),
        (Stale, "it was given up before it was ready"),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn every_reason_to_wait_says_how_much_of_what() {
    let reasons = [
        (WaitReason::Dialing { in_flight: 3 }, "dials and handshakes under way: 3"),
        (WaitReason::BackingOff { failures: 4 }, "dials or handshakes that failed in a row: 4"),
        (
            WaitReason::Full { held: 16 },
            "the peer is full: it holds 16 of this pool's connections and turns others away; raise its \
             capacity or limits, or return connections sooner",
        ),
        (
            WaitReason::AllInUse { leased: 5, claimed: 6 },
            "all connections allowed were in use (leased: 5, begun to be used by the peer: 6); raise \
             max_connections, or return them sooner",
        ),
        (WaitReason::NextRound, "the next refill round had not begun"),
        (
            WaitReason::Returning { returning: 7 },
            "connections on their way back into the pool, or promised to others: 7",
        ),
        (WaitReason::Handshaking { in_flight: 8 }, "peers in their handshakes: 8"),
        (
            WaitReason::Claimed { claimed: 2 },
            "no peer was connecting, and the connections were for accepts and acquires by id: 2 (begun to be \
             used, or closed, by their peers, or the control connection)",
        ),
        (WaitReason::NoPeer, "no peer was connecting"),
        (WaitReason::IdNotSeen, "no connection with this id had come"),
        (WaitReason::IdHandshaking, "the connection was still in its handshake"),
        (WaitReason::IdLeased, "the connection was in use at this end"),
        (WaitReason::IdResting, "the connection was resting for its reuse delay"),
        (WaitReason::IdChecking, "the connection was being drained"),
        (
            WaitReason::IdNotBegun,
            "the peer had not sent its opening byte: it has not acquired the connection, or \
             opening_byte is set at this end only",
        ),
        (
            WaitReason::NotClaimed { ready: 3 },
            "the peer had begun to use none of the 3 ready connections: a byte from it says that it \
             does",
        ),
        (
            WaitReason::Stock { idle: 9, wanted: 10 },
            "9 of the 10 connections waited for were ready",
        ),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn an_id_that_may_be_half_of_one_is_said_to_be() {
    let hint = "the other end reads Raw4 ids where Hex8 ones are sent";
    for (id, is_half) in [(*b"0a1b", true), (*b"9f9f", true), (*b"0a1g", false), ([7; 4], false)] {
        let id = ConnId::from_bytes(id);
        let text = Refusal::UnknownId { id }.to_string();
        assert!(text.contains(&format!("no connection has the id {id}")), "{text}");
        assert!(text.ends_with("another pool") != is_half, "{text}");
        assert_eq!(text.contains(hint), is_half, "{text}");
    }
}

#[test]
fn an_id_that_is_too_short_says_what_it_may_be() {
    for (got, hint) in [
        (0, "it refuses this connection"),
        (1, "the connection was cut, or the peer writes its ids in another format"),
        (4, "4 bytes are a whole Raw4 id"),
        (5, "the connection was cut, or"),
    ] {
        let text = IdError::Short { got, expected: 8 }.to_string();
        assert!(text.contains(&format!("after {got}: {hint}")), "{text}");
    }
}

#[test]
fn tokens_waiters_and_times_are_short_in_a_log() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    let token = pool.dialing()[0];
    assert_eq!(format!("{token:?}"), "Token(0.0)");
    let pool_proto::Acquired::Queued(waiter) = pool.acquire() else { panic!() };
    assert_eq!(format!("{waiter:?}"), "WaiterId(0.0)");
    assert_eq!(format!("{:?}", Instant::EPOCH + ms(1500)), "1.5s");
}

#[test]
fn an_instant_is_its_nanoseconds() {
    assert_eq!(Instant::from_nanos(7).as_nanos(), 7);
    assert_eq!((Instant::EPOCH + ms(2)).as_nanos(), 2_000_000);
}

#[test]
fn a_machine_shows_its_numbers_in_a_log() {
    let pool = ClientHarness::client(2, 2, |config| config);
    let text = format!("{:?}", pool.machine);
    assert!(text.starts_with("Machine") && text.contains("dialing: 2"), "{text}");
    let server = ServerHarness::server(7, |config| config);
    let text = format!("{:?}", server.machine);
    assert!(text.contains("capacity: 7"), "{text}");
}

#[test]
fn the_state_of_a_connection_can_be_asked_for_until_it_has_ended() {
    let mut pool = ClientHarness::client(1, 1, |config| config);
    let token = pool.dialing()[0];
    assert_eq!(pool.machine.state_of(token), Some(State::Dialing));
    pool.dialed(token);
    assert_eq!(pool.machine.state_of(token), Some(State::Handshaking));
    pool.established(token, Some(id(1)));
    assert_eq!(pool.machine.state_of(token), Some(State::Idle));
    let lease = pool.take();
    assert_eq!(pool.machine.state_of(token), Some(State::Leased));
    pool.release(lease);
    assert_eq!(pool.machine.state_of(token), None);
}

#[test]
fn a_configuration_tells_what_its_driver_has_to_know() {
    let client = ClientConfig::builder().ids(IdExchange::Wire(IdFormat::Raw4)).max_dials(7);
    let client = client.dial_timeout(ms(70)).build().unwrap();
    assert_eq!((client.max_dials(), client.dial_timeout()), (7, ms(70)));
    assert_eq!(client.ids(), IdExchange::Wire(IdFormat::Raw4));
    let server = ServerConfig::builder().id_format(IdFormat::Raw4).build().unwrap();
    assert_eq!(server.id_format(), IdFormat::Raw4);
}

/// A seed, or a value derived from a secret, would reveal every id to a reader of a log.
#[test]
fn no_debug_output_shows_a_seed_or_a_secret() {
    const SEED: u64 = 0x5ec2_e7ed_5ec2_e7ed;
    let client = || ClientConfig::builder().seed(SEED);
    let server = || ServerConfig::builder().seed(SEED);
    let texts = [
        format!("{:?}", client()),
        format!("{:?}", server()),
        format!("{:?}", client().build().unwrap()),
        format!("{:?}", server().build().unwrap()),
        format!("{:?}", ServerConfig::builder().build().unwrap().or_entropy([0xed; 32])),
    ];
    for text in texts {
        assert!(text.contains("seed: Some(..)"), "{text}");
    }
    for text in [
        format!("{:?}", Client::<u32>::new(&client().build().unwrap(), Instant::EPOCH)),
        format!("{:?}", Server::<u32>::new(&server().build().unwrap(), Instant::EPOCH)),
        format!("{:?}", Backoff::new(ms(1), ms(2), SEED)),
    ] {
        assert!(!text.contains("eed") && !text.contains("Rng"), "{text}");
        assert!(!text.contains(&SEED.to_string()), "{text}");
    }
}

#[test]
fn a_seed_that_was_set_is_not_overridden() {
    let ids = |config: ServerConfig| -> Vec<_> {
        let mut pool = ServerHarness::of(&config, &Setup::DEFAULT.capacity(4, 4));
        (0..4).map(|_| pool.admit("10.0.0.1").unwrap().id).collect()
    };
    let config = || ServerConfig::builder().capacity(4);
    let set = ids(config().seed(3).build().unwrap());
    let with = |byte| ids(config().build().unwrap().or_entropy([byte; 32]));
    assert_eq!(ids(config().seed(3).build().unwrap().or_entropy([4; 32])), set);
    assert_eq!(with(4), with(4));
    let first = config().build().unwrap().or_entropy([4; 32]);
    assert_eq!(ids(first.or_entropy([5; 32])), with(4));
    let all = [set, with(3), with(4), ids(config().build().unwrap())].concat();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}
