//! The kinds and the fields of the lines, and the lines of rare events.

use std::io;

use super::*;
use pool_proto::{IdError, Totals};

/// Establishes a connection of a peer at a server.
fn admit(rig: &Rig<Accepting>, peer: SocketAddr) {
    let mut attempt = rig.shared.accept(peer).unwrap();
    attempt.admit(None).unwrap();
    attempt.established(Quiet, None);
}

#[test]
fn each_kind_has_its_counter_its_name_and_its_line() {
    let mut totals = Totals::default();
    totals.rejected_address = 1;
    totals.rejected_source = 2;
    totals.rejected_full = 3;
    totals.evicted = 4;
    totals.replaced = 5;
    totals.handshakes_evicted = 6;
    totals.silent = 7;
    totals.handshake_timeouts = 8;
    totals.tls_failures = 9;
    totals.id_failures = 10;
    totals.transport_failures = 11;
    let log = captured(|| {
        let gathered = News::new().peers(&totals, START, false);
        gathered.lines.into_iter().for_each(|line| line.tell(&Label::default()));
    });
    let told: Vec<_> = log
        .iter()
        .map(|line| (line.message.as_str(), line.fields["kind"].as_str(), number(line, "total")))
        .collect();
    let expected = [
        ("peers rejected", "address", 1),
        ("peers rejected", "source", 2),
        ("peers rejected", "full", 3),
        ("connections evicted", "connection", 4),
        ("connections evicted", "replaced", 5),
        ("connections evicted", "handshake", 6),
        ("handshakes failed", "silent", 7),
        ("handshakes failed", "timeout", 8),
        ("handshakes failed", "tls", 9),
        ("handshakes failed", "id", 10),
        ("handshakes failed", "transport", 11),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_failed_handshake_is_told_under_the_kind_that_the_machine_counts() {
    let error = || io::Error::other("intended failure");
    let full = Rejected::SourceFull { source_address: peer().ip(), limit: 1 };
    for (failure, kind) in [
        (Failure::Options(error()), Kind::Transport),
        (Failure::Tls(error()), Kind::Tls),
        (Failure::NoTls(error()), Kind::Tls),
        (Failure::TlsTransport(error()), Kind::Transport),
        (Failure::Id(IdError::NotHex { offset: 0, byte: b'~' }), Kind::Id),
        (Failure::Rejected(full), Kind::RejectedSource),
        (Failure::IdTransport(error()), Kind::Transport),
    ] {
        assert_eq!(Kind::of_failure(&failure), kind, "{failure:?}");
    }
}

#[test]
fn an_evicted_connection_is_told_with_its_peer() {
    let mut rig = server(ServerConfig::builder().capacity(2));
    let log = captured(|| {
        admit(&rig, peer());
        admit(&rig, peer());
        admit(&rig, "192.0.2.8:1".parse().unwrap());
        rig.pass(SECOND);
    });
    let [evicted] = *lines(&log, "connections evicted").as_slice() else { panic!("{log:#?}") };
    let told = ["kind", "last_peer", "last_cause"].map(|field| evicted.fields[field].as_str());
    let cause = CloseReason::Evicted.to_string();
    assert_eq!(told, ["connection", "192.0.2.7:4711", cause.as_str()]);
}

#[test]
fn the_last_peer_of_a_line_is_the_latest() {
    let mut rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let log = captured(|| {
        for peer in ["192.0.2.7:1", "192.0.2.8:2", "192.0.2.9:3"] {
            assert!(rig.shared.accept(peer.parse().unwrap()).is_none());
            rig.settle();
        }
        rig.pass(2 * SECOND);
    });
    let told = lines(&log, "peers rejected");
    let peers: Vec<_> = told.iter().map(|line| line.fields["last_peer"].as_str()).collect();
    assert_eq!(peers, ["192.0.2.7:1", "192.0.2.9:3"]);
}

#[test]
fn each_rejected_peer_is_told_at_debug() {
    let rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let log = captured(|| {
        for _ in 0..3 {
            assert!(rig.shared.accept(peer()).is_none());
        }
    });
    let told = lines(&log, "peer rejected");
    assert_eq!(told.len(), 3, "{log:#?}");
    for line in told {
        assert_eq!(line.fields["peer"], "192.0.2.7:4711");
        assert!(line.fields["cause"].contains("not on the allow list"), "{line:?}");
    }
}

#[test]
fn a_listener_that_fails_for_good_is_told() {
    let rig = server(ServerConfig::builder());
    let log = captured(|| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it does not listen");
        rig.shared.accept_failed(&mut crate::AcceptPacer::new(1), &error);
    });
    let [line] = log.as_slice() else { panic!("{log:#?}") };
    assert_eq!(line.message, "the listener has failed; nobody can connect any more");
    assert_eq!(line.fields["error"], "it does not listen");
}

#[test]
fn a_flood_that_goes_on_is_told_once_a_minute_in_the_end() {
    let mut rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let log = captured(|| {
        for _ in 0..3600 {
            assert!(rig.shared.accept(peer()).is_none());
            rig.pass(SECOND);
        }
    });
    let told = lines(&log, "peers rejected");
    let counts: Vec<_> = told.iter().map(|line| number(line, "count")).collect();
    assert!((60..=70).contains(&counts.len()), "{counts:?}");
    assert!(counts.iter().all(|count| *count <= 61), "{counts:?}");
}

#[test]
fn acquires_that_time_out_are_told_with_the_last_failure() {
    const CAUSE: &str = "192.0.2.7:443: connection refused";
    let mut rig = client();
    let log = captured(|| {
        rig.shared.note_failure(&CAUSE);
        time_out(&rig);
        rig.settle();
    });
    for message in ["acquire timed out", "acquires timed out"] {
        let [line] = *lines(&log, message).as_slice() else { panic!("{log:#?}") };
        assert_eq!(line.fields["last_failure"], CAUSE, "{message}");
    }
}

#[test]
fn the_end_of_a_pool_has_the_figures_of_its_life() {
    let mut rig = client();
    let token = rig.next_dial();
    rig.establish(token);
    let mut acquire = rig.shared.acquire();
    acquire.expire();
    drop(futures_lite::future::block_on(acquire).unwrap());
    rig.turn();
    let token = rig.next_dial();
    rig.establish_as(token, [5, 6, 7, 8]);
    let log = captured(|| rig.shared.tell_end("closed"));
    let [ended] = *lines(&log, "pool ended").as_slice() else { panic!("{log:#?}") };
    assert_eq!((number(ended, "established"), number(ended, "leases")), (2, 1));
    assert_eq!(ended.fields["cause"], "closed");
}

#[test]
fn a_capacity_that_keeps_callers_waiting_is_told() {
    let config = ClientConfig::builder().capacity(1..=1).dial_timeout(60 * SECOND).seed(1);
    let mut rig = Rig::new(Client::new(&config.build().unwrap(), START), events::CLIENT);
    let mut waiting = [rig.shared.acquire(), rig.shared.acquire()];
    let log = captured(|| {
        for acquire in &mut waiting {
            let polled = Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the only dial goes on");
        }
        for _ in 0..5 {
            rig.pass(SECOND);
            // Others come, and give up.
            time_out(&rig);
            rig.turn();
        }
    });
    let message = "callers have waited for a second because a limit is reached: raise it";
    let told = lines(&log, message);
    assert!(!told.is_empty(), "{log:#?}");
    for line in told {
        assert_eq!(line.fields["setting"], "the maximum of capacity");
    }
}

/// A dial fails, and the next attempt meets a peer that is full: it is up, but nobody knows whether it lets a
/// connection in.
#[test]
fn a_peer_recovers_only_with_a_new_connection() {
    let config = ClientConfig::builder().capacity(2..=2).seed(1).build().unwrap();
    let mut rig = Rig::new(Client::new(&config, START), events::CLIENT);
    let log = captured(|| {
        let (first, second) = (rig.next_dial(), rig.next_dial());
        rig.establish(first);
        rig.shared.event(Event::DialFailed { token: second });
        let token = rig.next_dial();
        assert!(rig.shared.stats().failures_in_a_row > 0);
        rig.shared.event(Event::Dialed { token });
        let failure = HandshakeFailure::Transport;
        rig.shared.event(Event::HandshakeFailed { token, failure });
        rig.turn();
        assert_eq!(rig.shared.stats().failures_in_a_row, 0, "it is full");
    });
    assert_eq!(lines(&log, "peer failing").len(), 1, "{log:#?}");
    assert!(lines(&log, "peer recovered").is_empty(), "{log:#?}");
    let log = captured(|| {
        let token = rig.next_dial();
        rig.establish_as(token, [5, 6, 7, 8]);
    });
    assert_eq!(lines(&log, "peer recovered").len(), 1, "{log:#?}");
}

/// The next dial neither fails nor succeeds, so nothing else makes the driver look.
#[test]
fn an_outage_that_begins_within_the_pause_is_told_at_its_end() {
    let config = ClientConfig::builder().capacity(1..=1).dial_timeout(3 * HEALTH_PAUSE).seed(1);
    let mut rig = Rig::new(Client::new(&config.build().unwrap(), START), events::CLIENT);
    let fail = |rig: &mut Rig<Dialing>| {
        let token = rig.next_dial();
        rig.shared.event(Event::DialFailed { token });
        rig.turn();
    };
    let log = captured(|| {
        fail(&mut rig);
        let token = rig.next_dial();
        rig.establish(token);
        rig.pass(HEALTH_PAUSE / 2);
        rig.shared.event(Event::Closed { token });
        fail(&mut rig);
    });
    let told: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(told, ["peer failing", "peer recovered"], "{log:#?}");
    let log = captured(|| rig.pass(HEALTH_PAUSE));
    let told: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(told, ["peer failing"], "{log:#?}");
    assert_eq!(rig.shared.stats().totals.dial_failures, 2);
}

/// A connection whose peer has rejected the handshake after the client's part of it was over.
struct TurnedAway;

impl PoolConnection for TurnedAway {
    fn open(&mut self) -> bool {
        true
    }

    fn take_opening(&mut self) -> bool {
        true
    }

    fn check(&mut self) -> CheckResult {
        CheckResult::Closed
    }

    fn drain(&mut self) -> CheckResult {
        CheckResult::Closed
    }

    fn late_rejection(&mut self) -> Option<String> {
        Some("192.0.2.7:443: the peer rejects this end's certificate".to_owned())
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        Revoker::new(revocation.clone(), Weak::<Quiet>::new())
    }
}

#[test]
fn a_rejection_behind_the_handshake_is_told_at_debug() {
    let config = ClientConfig::builder().capacity(1..=1).seed(1).build().unwrap();
    let machine = Client::<TurnedAway>::new(&config, START);
    let shared = SharedMachine::labelled(machine, ManualClock::default(), Label::default());
    let mut commands = Vec::new();
    let _due = shared.turn(&mut commands);
    let [Command::Dial { token }] = *commands.as_slice() else { panic!("{}", commands.len()) };
    let log = captured(|| {
        shared.event(Event::Dialed { token });
        let id = Some(pool_proto::ConnId::from_bytes([1, 2, 3, 4]));
        shared.event(Event::Established { token, connection: TurnedAway, id });
        shared.event(Event::Readable { token });
    });
    let [line] = *lines(&log, "the peer rejected the handshake").as_slice() else {
        panic!("{log:#?}")
    };
    assert_eq!(line.fields["cause"], "192.0.2.7:443: the peer rejects this end's certificate");
    assert_eq!(shared.last_failure().as_deref(), Some(line.fields["cause"].as_str()));
}
