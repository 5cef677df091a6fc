//! The lines at level info of floods and outages, in virtual time.

mod lines;

use core::pin::Pin;
use core::task::{Context, Waker};
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_proto::{
    Accepting, CheckResult, Client, ClientConfig, Dialing, Event, HandshakeFailure, Server,
    ServerConfig, Token,
};

use super::*;
use crate::Clock;
use crate::events::tests::{Emitted, captured};
use crate::shared::{Command, Deadline, Interrupt, Revocation, Revoker};

/// A connection without any events.
struct Quiet;

impl PoolConnection for Quiet {
    fn open(&mut self) -> bool {
        true
    }

    fn take_opening(&mut self) -> bool {
        true
    }

    fn check(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn drain(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(peer())
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        Revoker::new(revocation.clone(), Weak::<Self>::new())
    }
}

impl Interrupt for Quiet {
    fn interrupt(&self) {}
}

#[derive(Clone, Default)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn set(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn peer() -> SocketAddr {
    "192.0.2.7:4711".parse().unwrap()
}

const START: Instant = Instant::from_nanos(100_000_000_000);

const SECOND: Duration = Duration::from_secs(1);

/// A pool whose driver takes its turns when it is called, or when its time has come.
struct Rig<R> {
    shared: Arc<SharedMachine<Quiet, R>>,
    clock: ManualClock,
    due: Option<Instant>,
    dials: Vec<Token>,
    turns: u64,
}

impl<R: Role> Rig<R> {
    fn new(machine: pool_proto::Machine<Quiet, R>, role: &'static str) -> Self {
        let clock = ManualClock::default();
        clock.set(START);
        let label =
            Label { name: "tunnel".into(), role, address: "192.0.2.7:443".into(), tls: false };
        let shared = SharedMachine::labelled(machine, clock.clone(), label);
        let mut rig = Self { shared, clock, due: None, dials: Vec::new(), turns: 0 };
        rig.turn();
        rig
    }

    fn turn(&mut self) {
        self.turns += 1;
        let mut commands = Vec::new();
        let turn = self.shared.turn(&mut commands);
        for command in commands {
            match command {
                Command::Dial { token } => self.dials.push(token),
                Command::Abort { token, reason } => self.shared.note_abort(token, reason),
                Command::Close { .. } | Command::Interrupt { .. } => {}
            }
        }
        let news = self.shared.tell_news();
        self.due = turn.due.into_iter().chain(news).min();
        if turn.is_full {
            self.turn();
        }
    }

    /// Lets the driver run if it is called.
    fn settle(&mut self) {
        while self.shared.poll_work(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.turn();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.settle();
        let until = self.shared.now() + time;
        while let Some(due) = self.due.filter(|due| *due <= until) {
            self.clock.set(due.max(self.shared.now()));
            self.turn();
            self.settle();
        }
        self.clock.set(until);
    }
}

impl Rig<Dialing> {
    /// Lets the time pass until the client dials.
    fn await_dial(&mut self) {
        while self.dials.is_empty() {
            self.pass(SECOND / 100);
        }
    }

    fn next_dial(&mut self) -> Token {
        self.await_dial();
        self.dials.pop().unwrap()
    }

    fn establish(&mut self, token: Token) {
        self.establish_as(token, [1, 2, 3, 4]);
    }

    fn establish_as(&mut self, token: Token, id: [u8; 4]) {
        self.shared.event(Event::Dialed { token });
        let id = Some(pool_proto::ConnId::from_bytes(id));
        self.shared.event(Event::Established { token, connection: Quiet, id });
        // The task of the dial has ended.
        self.turn();
    }
}

fn server(config: pool_proto::ServerConfigBuilder) -> Rig<Accepting> {
    Rig::new(Server::new(&config.seed(1).build().unwrap(), START), events::SERVER)
}

fn client() -> Rig<Dialing> {
    let config = ClientConfig::builder().capacity(1..=1).seed(1).build().unwrap();
    Rig::new(Client::new(&config, START), events::CLIENT)
}

/// The lines at level info and above with this message.
fn lines<'a>(log: &'a [Emitted], message: &str) -> Vec<&'a Emitted> {
    log.iter().filter(|line| line.message == message).collect()
}

/// An acquire that is not served in time.
fn time_out<R: Role>(rig: &Rig<R>) {
    let mut acquire = rig.shared.acquire();
    acquire.expire();
    assert!(futures_lite::future::block_on(acquire).is_err());
}

fn number(line: &Emitted, field: &str) -> u64 {
    line.fields[field].parse().unwrap()
}

#[test]
fn a_flood_of_rejections_is_told_in_a_few_lines_and_in_full() {
    const FLOOD: u64 = 75_000;
    let mut rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let before = rig.turns;
    let log = captured(|| {
        // 25 seconds.
        for _ in 0..FLOOD {
            assert!(rig.shared.accept(peer()).is_none());
            rig.pass(Duration::from_nanos(333_333));
        }
        rig.pass(60 * SECOND);
    });
    let told = lines(&log, "peers rejected");
    assert!((2..=8).contains(&told.len()), "{told:#?}");
    assert_eq!(told.iter().map(|line| number(line, "count")).sum::<u64>(), FLOOD);
    assert_eq!(number(told.first().unwrap(), "count"), 1, "the first one is told at once");
    // 3,000 a second: the first one is told at once, the others after a second, another, two more, four, and so on.
    let seconds: Vec<_> = told.iter().map(|line| (number(line, "count") + 1500) / 3000).collect();
    assert_eq!(seconds, [0, 1, 2, 4, 8, 10]);
    let last = told.last().unwrap();
    assert_eq!(number(last, "total"), FLOOD);
    for (field, text) in [
        ("pool", "tunnel"),
        ("role", "server"),
        ("kind", "address"),
        ("last_peer", "192.0.2.7:4711"),
        ("last_cause", "192.0.2.7 is not on the allow list; add it if it is one of yours"),
    ] {
        assert_eq!(last.fields[field], text);
    }
    assert!(rig.turns - before < 40, "the driver has taken {} turns", rig.turns - before);
}

#[test]
fn a_flood_after_a_quiet_time_is_told_at_once_again() {
    let mut rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let log = captured(|| {
        for _ in 0..3 {
            for _ in 0..10 {
                assert!(rig.shared.accept(peer()).is_none());
                rig.pass(SECOND / 10);
            }
            rig.pass(600 * SECOND);
        }
    });
    let counts: Vec<_> =
        lines(&log, "peers rejected").iter().map(|line| number(line, "count")).collect();
    assert_eq!(counts, [1, 9, 1, 9, 1, 9]);
}

#[test]
fn handshakes_of_peers_that_come_to_nothing_are_told_with_their_kind() {
    let mut rig = server(ServerConfig::builder().max_handshakes(1));
    let log = captured(|| {
        let mut first = rig.shared.accept(peer()).unwrap();
        first.connected_to(peer(), "");
        first.first_byte();
        first.failed(HandshakeFailure::Tls, &"no certificate");
        rig.pass(SECOND);
        // The second silent one makes room for the third.
        let attempts: Vec<_> = (0..2)
            .map(|_| {
                let mut attempt = rig.shared.accept(peer()).unwrap();
                attempt.connected_to(peer(), "");
                attempt
            })
            .collect();
        rig.pass(60 * SECOND);
        drop(attempts);
        rig.pass(60 * SECOND);
    });
    let failed = lines(&log, "handshakes failed");
    let kinds: Vec<_> = failed.iter().map(|line| line.fields["kind"].as_str()).collect();
    assert_eq!(kinds, ["tls", "silent"], "{log:#?}");
    let [evicted] = *lines(&log, "connections evicted").as_slice() else { panic!("{log:#?}") };
    let told = ["kind", "last_peer"].map(|field| evicted.fields[field].as_str());
    assert_eq!(told, ["handshake", "192.0.2.7:4711"]);
}

#[test]
fn peers_that_are_turned_away_are_told_with_the_limit_that_they_met() {
    let source_address = peer().ip();
    for (rejected, kind, name) in [
        (Rejected::NotAllowed { address: source_address }, Kind::RejectedAddress, "address"),
        (Rejected::SourceFull { source_address, limit: 1 }, Kind::RejectedSource, "source"),
        (Rejected::CapacityReached { limit: 1 }, Kind::RejectedFull, "full"),
        (Rejected::ConnectionsReached { limit: 1 }, Kind::RejectedFull, "full"),
    ] {
        assert_eq!(Kind::of_rejection(&rejected), kind);
        assert_eq!(kind.name(), name);
    }
}

#[test]
fn accepts_that_fail_are_told_at_the_first_failure_and_then_at_debug() {
    let rig = server(ServerConfig::builder());
    let mut pacer = crate::AcceptPacer::new(1);
    let log = captured(|| {
        for _ in 0..3 {
            let error = std::io::Error::other("no descriptor is left");
            rig.shared.accept_failed(&mut pacer, &error);
        }
    });
    let told: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
    let again = "accept failed again";
    assert_eq!(told, ["accept failed; trying again after a pause", again, again]);
}

#[test]
fn what_the_machine_ends_is_told_with_its_reason() {
    use CloseReason::*;

    for reason in [Evicted, Replaced, HandshakeEvicted, Silent, HandshakeTimeout] {
        let kind = Kind::of_end(reason).unwrap();
        assert_eq!(kind.reason(), Some(reason), "{kind:?}");
    }
    assert_eq!(Kind::of_end(PeerClosed), None, "no peer was turned away");
}

#[test]
fn each_attempt_that_the_pool_ends_is_told_at_debug() {
    let mut rig = client();
    let log = captured(|| {
        rig.pass(60 * SECOND);
        rig.dials.clear();
        rig.await_dial();
        rig.shared.run(|machine, now| machine.close(now));
        rig.turn();
    });
    let told = lines(&log, "dial or handshake aborted");
    let mut reasons: Vec<_> = told.iter().map(|line| line.fields["reason"].as_str()).collect();
    reasons.dedup();
    let late = CloseReason::DialTimeout.to_string();
    assert_eq!(reasons, [late, CloseReason::PoolClosed.to_string()], "{log:#?}");
}

#[test]
fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
    let mut rig = client();
    let log = captured(|| {
        let token = rig.next_dial();
        rig.establish(token);
        rig.pass(SECOND);
        rig.shared.event(Event::Closed { token });
        // An hour, with a dial after each backoff.
        for _ in 0..3600 {
            rig.pass(SECOND);
            for token in core::mem::take(&mut rig.dials) {
                rig.shared.note_failure(&"192.0.2.7:443: connection refused");
                rig.shared.event(Event::DialFailed { token });
            }
        }
        let token = rig.next_dial();
        rig.establish(token);
        rig.pass(SECOND);
    });
    let told: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(told, ["peer failing", "peer recovered"], "{log:#?}");
    let [failing, recovered] = log.as_slice() else { panic!("{log:#?}") };
    assert_eq!(failing.fields["peer"], "192.0.2.7:443");
    assert_eq!(failing.fields["cause"], "192.0.2.7:443: connection refused");
    assert!(number(recovered, "failures") > 10, "{recovered:?}");
    let lasted = recovered.fields["lasted"].as_str();
    assert!(lasted.starts_with("36") && lasted.ends_with('s'), "{lasted}");
}

#[test]
fn the_end_of_an_outage_tells_all_its_failures() {
    let mut rig = client();
    let log = captured(|| {
        for answers in [true, false, true] {
            let token = rig.next_dial();
            if answers {
                rig.shared.event(Event::DialFailed { token });
            } else {
                rig.pass(60 * SECOND);
                rig.dials.clear();
            }
            rig.settle();
        }
        let token = rig.next_dial();
        rig.establish(token);
    });
    let [recovered] = *lines(&log, "peer recovered").as_slice() else { panic!("{log:#?}") };
    let totals = rig.shared.stats().totals;
    assert_eq!(totals.dial_failures, 2);
    assert!(totals.dial_timeouts > 0, "{totals:?}");
    assert_eq!(number(recovered, "failures"), 2 + totals.dial_timeouts);
}

#[test]
fn a_peer_that_flaps_is_told_once_a_minute() {
    let mut rig = client();
    let log = captured(|| {
        for round in 0u32..300 {
            while rig.dials.is_empty() {
                rig.pass(SECOND / 10);
            }
            let token = rig.dials.pop().unwrap();
            if round.is_multiple_of(2) {
                rig.shared.note_failure(&"refused");
                rig.shared.event(Event::DialFailed { token });
            } else {
                rig.shared.event(Event::Dialed { token });
                let id = Some(pool_proto::ConnId::from_bytes(round.to_be_bytes()));
                rig.shared.event(Event::Established { token, connection: Quiet, id });
                rig.pass(2 * SECOND);
                rig.shared.event(Event::Closed { token });
            }
            rig.pass(SECOND / 100);
        }
    });
    let failing = lines(&log, "peer failing");
    assert!((2..=9).contains(&failing.len()), "{failing:#?}");
    // Nobody is told of the end of an outage who was not told of its begin.
    let recovered = lines(&log, "peer recovered");
    assert!((1..=failing.len()).contains(&recovered.len()), "{recovered:#?}");
    let episodes: u64 = failing.iter().map(|line| number(line, "episodes")).sum();
    assert!((101..=150).contains(&episodes), "{episodes} of 150 episodes are counted");
}

#[test]
fn an_outage_that_begins_as_the_pause_ends_is_told_at_once() {
    let config = ClientConfig::builder().capacity(1..=1).dial_timeout(2 * HEALTH_PAUSE).seed(1);
    let mut rig = Rig::new(Client::new(&config.build().unwrap(), START), events::CLIENT);
    let fail = |rig: &mut Rig<Dialing>| {
        let token = rig.next_dial();
        rig.shared.event(Event::DialFailed { token });
        rig.turn();
    };
    let mut begun = Instant::EPOCH;
    let log = captured(|| {
        fail(&mut rig);
        begun = rig.shared.now();
        let token = rig.next_dial();
        rig.establish(token);
        rig.shared.event(Event::Closed { token });
        // The dial in its place is under way until then.
        rig.await_dial();
        rig.pass((begun + HEALTH_PAUSE).since(rig.shared.now()));
        fail(&mut rig);
    });
    assert_eq!(rig.shared.now(), begun + HEALTH_PAUSE);
    let told: Vec<_> = log.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(told, ["peer failing", "peer recovered", "peer failing"], "{log:#?}");
}

#[test]
fn acquires_that_time_out_are_told_by_their_reason() {
    let mut rig = server(ServerConfig::builder());
    let log = captured(|| {
        for _ in 0..1000 {
            time_out(&rig);
            rig.pass(SECOND / 100);
        }
        rig.pass(60 * SECOND);
    });
    let told = lines(&log, "acquires timed out");
    assert!((2..=6).contains(&told.len()), "{told:#?}");
    assert_eq!(told.iter().map(|line| number(line, "count")).sum::<u64>(), 1000);
    assert_eq!(told.first().unwrap().fields["reason"], "no_peer");
    assert_eq!(lines(&log, "acquire timed out").len(), 1000, "one each at debug");
}

#[test]
fn a_limit_that_keeps_callers_waiting_is_told_each_time_that_it_has_lasted_twice_as_long() {
    let minute = 60 * SECOND;
    let config = ClientConfig::builder().capacity(4..=4).max_dials(1).dial_timeout(minute).seed(1);
    let mut rig = Rig::new(Client::new(&config.build().unwrap(), START), events::CLIENT);
    let wait = |rig: &Rig<Dialing>| {
        let mut acquire = rig.shared.acquire();
        let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the dial goes on");
        acquire
    };
    let log = captured(|| {
        let waiting = [wait(&rig), wait(&rig)];
        for _ in 0..10 {
            rig.pass(SECOND);
            // Others come, and give up.
            drop(wait(&rig));
            rig.turn();
        }
        drop(waiting);
    });
    let message = "callers have waited for a second because a limit is reached: raise it";
    let told = lines(&log, message);
    let seconds: Vec<_> = told.iter().map(|line| number(line, "seconds")).collect();
    assert_eq!(seconds, [1, 2, 4, 8]);
    assert!(told.iter().all(|line| line.fields["setting"] == "max_dials"), "{told:#?}");
}

#[test]
fn the_end_of_a_pool_tells_the_rest() {
    let mut rig = server(ServerConfig::builder().allow("10.0.0.0/8".parse().unwrap()));
    let log = captured(|| {
        for _ in 0..10 {
            assert!(rig.shared.accept(peer()).is_none());
            rig.settle();
        }
        rig.shared.tell_end("closed");
    });
    let told = lines(&log, "peers rejected");
    let counts: Vec<_> = told.iter().map(|line| number(line, "count")).collect();
    assert_eq!(counts, [1, 9]);
    assert_eq!(log.last().unwrap().message, "pool ended");

    let mut rig = client();
    let log = captured(|| {
        for _ in 0..10 {
            time_out(&rig);
            rig.settle();
        }
        rig.shared.tell_end("closed");
    });
    let told = lines(&log, "acquires timed out");
    let counts: Vec<_> = told.iter().map(|line| number(line, "count")).collect();
    assert_eq!(counts, [1, 9]);
}
