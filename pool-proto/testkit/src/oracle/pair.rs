//! A client and a server, back to back: what one dials the other admits, the id that one makes the
//! other reads, and when one end of a connection is closed the other finds it closed.
//!
//! Each end is checked as if it were alone. Together they must agree on the names: as long as both
//! ends of a connection live, they carry one id, and who takes it by that id takes this one.

use pool_proto::{
    Accepting, Acquired, CheckResult, ConnId, Dialing, Event, HandshakeFailure, Instant, Machine,
    State, Token,
};

use super::checked::{Checked, Outcome};
use super::laws::Place;
use super::names::{nth, peer};
use super::op::{Op, Whom};
use crate::call::{Answer, Call, Side};
use crate::setup::Setup;

/// One step of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairOp {
    /// What the users of one end do, its timeouts, and the answers to its checks.
    Client(Op),
    Server(Op),
    /// Dial number n reaches the server, as this peer.
    Connect(u8, u8),
    /// The server's end of handshake number n is over: it has sent the id.
    Greet(u8),
    /// The id of handshake number n reaches the client.
    Hear(u8),
    /// The end that is left of connection number n finds that the other is gone.
    Notice(u8),
    /// One end takes any connection, and the other the one with its id.
    TakeByClient,
    TakeByServer,
}

/// A transport between the two.
#[derive(Clone, Copy, Debug)]
struct Link {
    client: Token,
    server: Token,
    id: ConnId,
    /// Whether the server has sent the id.
    greeted: bool,
}

pub struct Pair {
    client: Checked<Dialing>,
    server: Checked<Accepting>,
    links: Vec<Link>,
    connections: u32,
}

impl PairOp {
    /// How many bytes [`arbitrary`](Self::arbitrary) takes at most.
    pub const BYTES: usize = Op::BYTES + 1;

    pub fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            0..50 => Self::Client(Op::arbitrary(true, next)),
            50..100 => Self::Server(Op::arbitrary(false, next)),
            100..145 => Self::Connect(next() % 4, next() % 4),
            145..180 => Self::Greet(next() % 4),
            180..215 => Self::Hear(next() % 4),
            215..235 => Self::Notice(next() % 4),
            235..245 => Self::TakeByClient,
            245.. => Self::TakeByServer,
        }
    }
}

/// Whether a step is the users' or the clock's, and not about the wire.
const fn is_local(op: &Op) -> bool {
    !matches!(
        op,
        Op::Dialed(_)
            | Op::DialFailed(_)
            | Op::Established(..)
            | Op::HandshakeFailed(..)
            | Op::Readable(_)
            | Op::Closed(_)
            | Op::Admit(_)
    )
}

impl Pair {
    pub fn new(client: &Setup, server: &Setup) -> Self {
        let client = Setup { ids_exchanged: true, ..*client };
        Self {
            client: Checked::new(&client, true),
            server: Checked::new(server, true),
            links: Vec::new(),
            connections: 1 << 20,
        }
    }

    pub fn apply(&mut self, op: &PairOp) {
        match *op {
            PairOp::Client(op) if is_local(&op) => {
                let gone = self.gone(
                    &op,
                    &self.client,
                    |link| link.client,
                    &self.server,
                    |link| link.server,
                );
                self.client.apply(&truth(op, gone));
            }
            PairOp::Server(op) if is_local(&op) => {
                let gone = self.gone(
                    &op,
                    &self.server,
                    |link| link.server,
                    &self.client,
                    |link| link.client,
                );
                self.server.apply(&truth(op, gone));
            }
            PairOp::Client(_) | PairOp::Server(_) => {}
            PairOp::Connect(number, from) => self.connect(number, from),
            PairOp::Greet(number) => self.greet(number),
            PairOp::Hear(number) => self.hear(number),
            PairOp::Notice(number) => self.notice(number),
            PairOp::TakeByClient => self.take_by_client(),
            PairOp::TakeByServer => self.take_by_server(),
        }
        self.assert_ids_agree();
        self.keep_time();
    }

    pub fn bury(self) {
        self.client.bury();
        self.server.bury();
    }

    // --- the wire -------------------------------------------------------------------------------

    fn links(&self, fits: impl Fn(&Link) -> bool) -> Vec<usize> {
        (0..self.links.len()).filter(|at| fits(&self.links[*at])).collect()
    }

    fn connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections
    }

    fn connect(&mut self, number: u8, from: u8) {
        let lives = self.client.driver().lives.iter();
        let dials: Vec<Token> =
            lives.filter(|c| c.place == Place::Dialing).map(|c| c.token).collect();
        let Some(token) = nth(&dials, number) else { return };
        let admitted = self.server.make(Call::Admit(peer(from)));
        // It lets the peer connect, and closes at once if it does not want it.
        self.client.make(Call::Event(Event::Dialed { token }));
        match admitted.answer {
            Answer::Admitted(Ok(admission)) => {
                let (server, id) = (admission.token, admission.id);
                self.links.push(Link { client: token, server, id, greeted: false });
            }
            _ => {
                let failure = HandshakeFailure::Transport;
                self.client.make(Call::Event(Event::HandshakeFailed { token, failure }));
            }
        }
    }

    fn greet(&mut self, number: u8) {
        let open = self.links(|link| place(&self.server, link.server) == Some(Place::Handshaking));
        let Some(at) = nth(&open, number) else { return };
        let (token, connection) = (self.links[at].server, self.connection());
        self.links[at].greeted = true;
        self.server.make(Call::Event(Event::Established { token, connection, id: None }));
    }

    fn hear(&mut self, number: u8) {
        let open = self.links(|link| {
            link.greeted && place(&self.client, link.client) == Some(Place::Handshaking)
        });
        let Some(at) = nth(&open, number) else { return };
        let (Link { client: token, id, .. }, connection) = (self.links[at], self.connection());
        let id = Some(id);
        self.client.make(Call::Event(Event::Established { token, connection, id }));
    }

    fn notice(&mut self, number: u8) {
        let halves = self.links(|link| {
            place(&self.client, link.client).is_some() != place(&self.server, link.server).is_some()
        });
        let Some(at) = nth(&halves, number) else { return };
        let Link { client, server, .. } = self.links[at];
        notice(&mut self.client, client);
        notice(&mut self.server, server);
    }

    /// Whether the peer of what a check is about is gone.
    fn gone<R: Side, P: Side>(
        &self,
        op: &Op,
        end: &Checked<R>,
        token: impl Fn(&Link) -> Token,
        other: &Checked<P>,
        others: impl Fn(&Link) -> Token,
    ) -> bool {
        let Op::Checked(Whom::Nth(number), _) = *op else { return false };
        let Some((checked, _)) = nth(&end.driver().checks, number) else { return false };
        let link = self.links.iter().find(|link| token(link) == checked);
        link.is_none_or(|link| place(other, others(link)).is_none())
    }

    // --- both at once ---------------------------------------------------------------------------

    fn take_by_client(&mut self) {
        let Some((token, id)) = leased(&self.client.make(Call::Acquired)) else { return };
        let link = self.links.iter().find(|link| link.client == token).copied();
        let link = link.expect("a lease of a connection that was made");
        if let Some((theirs, _)) = leased(&self.server.make(Call::AcquireById(id))) {
            assert_eq!(theirs, link.server, "{id} leads to another connection at the server");
        }
    }

    fn take_by_server(&mut self) {
        let Some((token, id)) = leased(&self.server.make(Call::Acquired)) else { return };
        let link = self.links.iter().find(|link| link.server == token).copied();
        let link = link.expect("a lease of a connection that was admitted");
        if let Some((theirs, _)) = leased(&self.client.make(Call::AcquireById(id))) {
            assert_eq!(theirs, link.client, "{id} leads to another connection at the client");
        }
    }

    /// Asks copies of the machines: they can be asked for every connection at once.
    fn assert_ids_agree(&self) {
        let mut client = self.client.machine().clone();
        let mut server = self.server.machine().clone();
        for link in &self.links {
            let [ours, theirs] =
                [place(&self.client, link.client), place(&self.server, link.server)];
            if ours.is_some() && theirs.is_some() {
                assert_leads_to(&mut client, self.client.driver().now, link.id, link.client);
                assert_leads_to(&mut server, self.server.driver().now, link.id, link.server);
            }
        }
    }

    /// Both ends have one clock.
    fn keep_time(&mut self) {
        let now: Instant = self.client.driver().now.max(self.server.driver().now);
        self.client.set_time(now);
        self.server.set_time(now);
    }
}

fn place<R: Side>(end: &Checked<R>, token: Token) -> Option<Place> {
    end.driver().life(token).map(|life| life.place)
}

fn leased(outcome: &Outcome) -> Option<(Token, ConnId)> {
    match &outcome.answer {
        Answer::Acquired(Acquired::Ready(lease)) => Some((lease.token, lease.id)),
        _ => None,
    }
}

/// Whoever asks this end for the id gets the connection if it can be had, and never another.
fn assert_leads_to<R: Side>(machine: &mut Machine<u32, R>, now: Instant, id: ConnId, token: Token) {
    match machine.acquire_by_id(now, id) {
        Acquired::Ready(lease) => {
            assert_eq!(lease.token, token, "{id} leads to another connection");
        }
        // What was ready at the end of its lifetime has ended by now.
        answer => {
            let ready = matches!(machine.state_of(token), Some(State::Idle | State::Claimed));
            assert!(!ready, "{token:?} is ready, but who asks for {id} gets {answer:?}");
        }
    }
}

/// A look finds a connection closed if the peer is gone, and only then.
const fn truth(op: Op, gone: bool) -> Op {
    match op {
        Op::Checked(whom, _) if gone => Op::Checked(whom, CheckResult::Closed),
        Op::Checked(whom, CheckResult::Closed) => Op::Checked(whom, CheckResult::Quiet),
        other => other,
    }
}

/// What is left of a connection finds that its peer is gone.
fn notice<R: Side>(end: &mut Checked<R>, token: Token) {
    match place(end, token) {
        Some(Place::Dialing) => {
            end.make(Call::Event(Event::DialFailed { token }));
        }
        Some(Place::Handshaking) => {
            let failure = HandshakeFailure::Transport;
            end.make(Call::Event(Event::HandshakeFailed { token, failure }));
        }
        Some(Place::Pooled) => {
            end.make(Call::Event(Event::Readable { token }));
            if place(end, token) == Some(Place::Checking) {
                end.answer_check(token, CheckResult::Closed);
                assert_eq!(place(end, token), None, "{token:?} outlives its peer");
            }
        }
        // Its holder reads the end, and closes it; what is being checked is found closed.
        Some(Place::Leased) => end.release(token),
        Some(Place::Checking) => end.answer_check(token, CheckResult::Closed),
        None => {}
    }
}
