//! A server with less room than its client wants: the machines of both, in virtual time.
//!
//! A dial takes a round trip, and the id another one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use pool_proto::{
    Acquired, Action, CheckResult, Client, ClientConfig, Collected, ConnId, Event,
    HandshakeFailure, Instant, Server, ServerConfig, Token, WaiterId,
};

use super::ms;

/// The one-way time through the network.
const TRIP: Duration = ms(10);

/// From the dial to an established connection.
const DIAL: Duration = ms(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    ClientTimer,
    Knock(usize),
    TurnedAway(usize),
    Dialed(usize),
    /// The server has sent the id.
    Sent(usize),
    Established(usize),
    /// Bytes of the client's user.
    Data(usize),
    /// The client is told to take a connection.
    Told(usize),
    /// The server has closed a connection that the client takes for established.
    ClosedLate(usize),
}

/// How a server turns a peer away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    /// It closes the transport.
    AtOnce,
    /// Like a full server of the Go package: the handshake, an id, and then the close.
    AfterTheId,
}

struct Pair {
    now: Instant,
    client: Client<usize>,
    server: Server<usize>,
    refuses: Refuses,
    queue: BinaryHeap<Reverse<(Instant, u64, What)>>,
    entered: u64,
    /// By connection: the client's token, and the server's with its id.
    dials: Vec<Token>,
    accepted: Vec<Option<Token>>,
    admitted: Vec<Option<(Token, ConnId)>>,
    woken: Vec<(WaiterId, Instant)>,
}

impl Pair {
    fn new(capacity: u32, room: u32, refuses: Refuses) -> Self {
        let config = ClientConfig::builder().capacity(capacity..=capacity).seed(7).build().unwrap();
        let room = ServerConfig::builder().capacity(room).seed(7).build().unwrap();
        let now = Instant::EPOCH;
        let mut pair = Self {
            now,
            client: Client::new(&config, now),
            server: Server::new(&room, now),
            refuses,
            queue: BinaryHeap::new(),
            entered: 0,
            dials: Vec::new(),
            accepted: Vec::new(),
            admitted: Vec::new(),
            woken: Vec::new(),
        };
        pair.carry_out();
        pair
    }

    fn at(&mut self, at: Instant, what: What) {
        self.entered += 1;
        self.queue.push(Reverse((at, self.entered, what)));
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            if at > until {
                self.at(at, what);
                break;
            }
            self.now = at;
            self.happen(what);
            self.carry_out();
        }
        self.now = until;
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::ClientTimer => {
                if self.client.poll_timeout().is_some_and(|due| due <= now) {
                    self.client.handle_timeout(now);
                }
            }
            What::Knock(number) => match self.server.accept(now, [10, 0, 0, 1].into()) {
                Ok(token) => {
                    self.accepted[number] = Some(token);
                    self.at(now + TRIP, What::Dialed(number));
                    self.at(now + 2 * TRIP, What::Sent(number));
                }
                Err(_) => {
                    self.at(now + TRIP, What::Dialed(number));
                    self.at(now + TRIP, What::TurnedAway(number));
                }
            },
            What::Dialed(number) => {
                self.client.handle_event(now, Event::Dialed { token: self.dials[number] });
            }
            What::TurnedAway(number) if self.refuses == Refuses::AtOnce => {
                let (token, failure) = (self.dials[number], HandshakeFailure::Id);
                self.client.handle_event(now, Event::HandshakeFailed { token, failure });
            }
            What::TurnedAway(number) => {
                self.at(now + 2 * TRIP, What::Established(number));
                self.at(now + 2 * TRIP + ms(1), What::ClosedLate(number));
            }
            What::Sent(number) => {
                let token = self.accepted[number].unwrap();
                let Ok(id) = self.server.admit(now, token, None) else {
                    self.at(now + TRIP, What::TurnedAway(number));
                    return;
                };
                self.admitted[number] = Some((token, id));
                let event = Event::Established { token, connection: number, id: None };
                self.server.handle_event(now, event);
                self.at(now + TRIP, What::Established(number));
            }
            What::Established(number) => {
                let made = ConnId::from_bytes(u32::try_from(number).unwrap().to_be_bytes());
                let id = self.admitted[number].map_or(made, |(_, id)| id);
                let token = self.dials[number];
                let event = Event::Established { token, connection: number, id: Some(id) };
                self.client.handle_event(now, event);
            }
            What::Data(number) => {
                let (token, _) = self.admitted[number].unwrap();
                self.server.handle_event(now, Event::Readable { token });
            }
            What::Told(number) => {
                let (_, id) = self.admitted[number].unwrap();
                assert!(matches!(self.client.acquire_by_id(now, id), Acquired::Ready(_)));
            }
            What::ClosedLate(number) => {
                self.client.handle_event(now, Event::Readable { token: self.dials[number] });
            }
        }
    }

    fn carry_out(&mut self) {
        let now = self.now;
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Dial { token } => {
                    self.dials.push(token);
                    self.accepted.push(None);
                    self.admitted.push(None);
                    self.at(now + TRIP, What::Knock(self.dials.len() - 1));
                }
                Action::Check { token, connection, .. } => {
                    // Only rejected peers become readable at the client's end.
                    let result = CheckResult::Closed;
                    self.client.handle_event(now, Event::Checked { token, connection, result });
                }
                Action::Wake { waiter } => self.woken.push((waiter, now)),
                Action::Close { .. } | Action::Abort { .. } => {}
            }
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Check { token, connection, .. } => {
                    let result = CheckResult::Data;
                    self.server.handle_event(now, Event::Checked { token, connection, result });
                }
                Action::Wake { waiter } => self.woken.push((waiter, now)),
                // It makes room for a newer one of the same client.
                Action::Close { connection, .. } => {
                    self.at(now + TRIP, What::ClosedLate(connection));
                }
                other => panic!("{other:?}"),
            }
        }
        if let Some(due) = self.client.poll_timeout() {
            self.at(due, What::ClientTimer);
        }
    }

    /// The server's user takes a connection, and tells the client its id; else it waits.
    fn visit(&mut self, tell: bool) -> Option<WaiterId> {
        match self.server.acquire(self.now) {
            Acquired::Ready(lease) => {
                if tell {
                    self.at(self.now + TRIP, What::Told(lease.connection));
                }
                None
            }
            Acquired::Queued(waiter) => Some(waiter),
            Acquired::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// How long a waiter waits, from now on.
    fn wait_of(&mut self, waiter: WaiterId) -> Duration {
        let since = self.now;
        for _ in 0..60_000 {
            self.pass(ms(1));
            if let Some((_, at)) = self.woken.iter().find(|(woken, _)| *woken == waiter) {
                return at.since(since);
            }
        }
        panic!("{:?}", self.client.stats());
    }

    fn idle(&self) -> [u32; 2] {
        [self.client.idle(), self.server.idle()]
    }
}

/// A client that wants 64 connections, and its server with room for 16, after a minute.
fn quiet(refuses: Refuses) -> Pair {
    let mut pair = Pair::new(64, 16, refuses);
    pair.pass(ms(60_000));
    assert_eq!(pair.idle(), [16, 16]);
    pair
}

#[test]
fn visitor_17_is_served_within_two_dial_times() {
    for refuses in [Refuses::AtOnce, Refuses::AfterTheId] {
        let mut pair = quiet(refuses);
        for _ in 0..16 {
            assert_eq!(pair.visit(true), None);
        }
        let waiter = pair.visit(true).expect("nothing is ready");
        let wait = pair.wait_of(waiter);
        println!("visitor 17 of the server waits {wait:?}");
        assert!(wait <= 2 * DIAL, "{wait:?}");
        pair.pass(ms(1000));
        // The client is not told of the one that is granted to the waiter.
        assert_eq!(pair.idle(), [16, 15], "the other places are filled, too");
    }
}

#[test]
fn visitor_17_of_the_client_is_served_within_two_dial_times() {
    let mut pair = quiet(Refuses::AtOnce);
    for _ in 0..16 {
        let Acquired::Ready(lease) = pair.client.acquire(pair.now) else { panic!("16 are ready") };
        // The user writes at once, so the server sees that the place is free.
        pair.happen(What::Data(lease.connection));
        pair.carry_out();
    }
    let Acquired::Queued(waiter) = pair.client.acquire(pair.now) else { panic!("none is left") };
    pair.carry_out();
    let wait = pair.wait_of(waiter);
    println!("visitor 17 of the client waits {wait:?}");
    assert!(wait <= 2 * DIAL, "{wait:?}");
    assert!(matches!(pair.client.collect(pair.now, waiter), Collected::Ready(_)));
}
