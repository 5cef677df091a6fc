//! Both machines, their drivers and their users, in virtual time.
#![allow(
    clippy::indexing_slicing,
    reason = "links, requests and clients are numbered by the model itself, and none is removed"
)]

mod end;
mod users;

use std::net::{IpAddr, Ipv6Addr};

use pool_proto::{
    Action, CheckResult, Client, ClientConfig, ConfigError, ConnId, Event, HandshakeFailure,
    Instant, Server, ServerConfig, State, Token,
};

use self::end::{Driven, End, Side};
use self::users::Request;
use crate::measure::Recorder;
use crate::network::{KEEP_ALIVE, OutageKind, Processor, Reach, reach};
use crate::scenario::{Scenario, Taker};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::time::{Nanos, SECOND};

/// The capacity of the server, which is to turn nobody away.
const SERVER_CAPACITY: u32 = 1 << 20;

/// An event; the number is that of a link or of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Timer(Side),
    // Links, in the order of their lives.
    Refused(u32),
    Accept(u32),
    Dialed(u32),
    FirstByte(u32),
    Admit(u32),
    Id(u32),
    /// The server closes a link, if it is idle still.
    Reap(u32),
    /// The end of a link is seen at one side.
    Ended(Side, u32),
    OutageBegins,
    // Requests.
    Arrive(u32),
    Acquire(u32),
    GiveUp(u32),
    Told(u32),
    AcquireById(u32),
    Finish(u32),
    PutBack(u32),
}

/// A connection, from its dial on.
struct Link {
    client: u32,
    /// The name of the connection at the client, while its machine knows it.
    at_client: Option<Token>,
    at_server: Option<Token>,
    id: Option<ConnId>,
    /// Whether one end has closed it, or the network has cut it.
    ended: bool,
}

/// Runs the machine with these settings through a scenario.
///
/// # Errors
///
/// [`ConfigError`] names the setting that is not valid.
pub fn run(scenario: &Scenario<'_>, settings: &Settings) -> Result<Recorder, ConfigError> {
    Ok(Pair::new(scenario, settings)?.run())
}

struct Pair<'a> {
    scenario: &'a Scenario<'a>,
    schedule: Schedule<What>,
    processor: Processor,
    clients: Vec<Driven<Client<u32>>>,
    server: Driven<Server<u32>>,
    links: Vec<Link>,
    requests: Vec<Request>,
    recorder: Recorder,
    /// Idle stock, capacity, and dials under way, of all clients together.
    totals: [u32; 3],
    /// Draws the clients of requests, where the clients take.
    rng: fastrand::Rng,
}

impl<'a> Pair<'a> {
    fn new(scenario: &'a Scenario<'a>, settings: &Settings) -> Result<Self, ConfigError> {
        let (client_acquirer, server_acquirer) = end::acquirers(scenario);
        let server = ServerConfig::builder()
            .capacity(SERVER_CAPACITY)
            .max_connections(4 * SERVER_CAPACITY)
            .max_handshakes(pool_proto::MAX_HANDSHAKES)
            .acquirer(server_acquirer)
            .seed(scenario.load.seed);
        let client = |number: u32| -> Result<ClientConfig, ConfigError> {
            let seed = scenario.load.seed.wrapping_mul(1000).wrapping_add(number.into());
            settings.builder.clone().acquirer(client_acquirer).seed(seed).build()
        };
        let clients = (0..scenario.clients.max(1))
            .map(|number| Ok(Driven::new(Client::new(&client(number)?, Instant::EPOCH))))
            .collect::<Result<_, ConfigError>>()?;
        Ok(Self {
            scenario,
            schedule: Schedule::new(),
            processor: Processor::new(scenario.network.cores),
            clients,
            server: Driven::new(Server::new(&server.build()?, Instant::EPOCH)),
            links: Vec::new(),
            requests: scenario.load.arrivals.iter().map(Request::new).collect(),
            recorder: Recorder::new(scenario),
            totals: [0; 3],
            rng: fastrand::Rng::with_seed(scenario.load.seed),
        })
    }

    fn run(mut self) -> Recorder {
        for client in 0..self.clients.len() {
            self.drive(Side::Client(client));
        }
        if let Some(outage) = self.scenario.load.outage {
            self.schedule.at(outage.from, What::OutageBegins);
        }
        if let Some(first) = self.requests.first() {
            self.schedule.at(first.at, What::Arrive(0));
        }
        // Until the last caller has been served, told the other end, or lost patience.
        let end = self.scenario.load.end + 2 * self.scenario.patience + SECOND;
        while let Some(what) = self.schedule.next(end) {
            self.happen(what);
        }
        self.recorder.finish();
        self.recorder
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Timer(side) => self.timer(side),
            What::Refused(link) => self.lost(Side::Client(self.client_of(link)), link),
            What::Accept(link) => self.accept(link),
            What::Dialed(link) => {
                self.client_event(link, |token| Event::Dialed { token });
            }
            What::FirstByte(link) => self.first_byte(link),
            What::Admit(link) => self.admit(link),
            What::Id(link) => {
                let id = self.links[link as usize].id;
                self.client_event(link, |token| Event::Established { token, connection: link, id });
            }
            What::Reap(link) => self.reap(link),
            What::Ended(side, link) => self.lost(side, link),
            What::OutageBegins => self.cut_all(),
            What::Arrive(request) => self.arrive(request),
            What::Acquire(request) => self.acquire(request),
            What::GiveUp(request) => self.give_up(request),
            What::Told(request) => self.told(request),
            What::AcquireById(request) => self.acquire_by_id(request),
            What::Finish(request) => self.finish(request),
            What::PutBack(request) => self.put_back(request),
        }
    }

    // --- the drivers ----------------------------------------------------------------------------

    fn now(&self) -> Instant {
        Instant::from_nanos(self.schedule.now())
    }

    fn end(&mut self, side: Side) -> &mut dyn End {
        match side {
            Side::Client(client) => &mut self.clients[client],
            Side::Server => &mut self.server,
        }
    }

    fn timer(&mut self, side: Side) {
        let now = self.now();
        if self.end(side).timer(now) {
            self.drive(side);
        }
    }

    /// Does what a machine wants done, after a call of it.
    fn drive(&mut self, side: Side) {
        while let Some(action) = self.end(side).poll_action() {
            match (action, side) {
                (Action::Dial { token }, Side::Client(client)) => self.dial(client, token),
                // A server does not dial.
                (Action::Dial { .. }, Side::Server) => {}
                (Action::Check { token, connection, .. }, _) => {
                    let ended = self.links[connection as usize].ended;
                    let result = if ended { CheckResult::Closed } else { CheckResult::Quiet };
                    let now = self.now();
                    self.end(side).event(now, Event::Checked { token, connection, result });
                }
                (Action::Close { connection, .. }, _) => self.close(side, connection),
                (Action::Abort { token, .. }, _) => {
                    if let Some(link) = self.end(side).take_link(token) {
                        self.close(side, link);
                    }
                }
                (Action::Wake { waiter }, _) => self.wake(side, waiter),
            }
        }
        let now = self.now();
        if let Some(due) = self.end(side).arm(now) {
            self.schedule.at(due, What::Timer(side));
        }
        if let Side::Client(client) = side {
            let change = self.clients[client].stock_change();
            for (total, (before, after)) in self.totals.iter_mut().zip(change) {
                *total = *total - before + after;
            }
            let [idle, capacity, in_flight] = self.totals;
            self.recorder.stock(self.schedule.now(), idle, capacity, in_flight);
        }
    }

    fn event(&mut self, side: Side, event: Event<u32>) {
        let now = self.now();
        self.end(side).event(now, event);
        self.drive(side);
    }

    /// Hands an event about a link to the client, if the client has not given it up.
    fn client_event(&mut self, link: u32, event: impl FnOnce(Token) -> Event<u32>) {
        let side = Side::Client(self.client_of(link));
        match self.links[link as usize].at_client {
            Some(token) if !self.links[link as usize].ended => self.event(side, event(token)),
            _ => {}
        }
    }

    // --- links ----------------------------------------------------------------------------------

    fn client_of(&self, link: u32) -> usize {
        self.links[link as usize].client as usize
    }

    fn token(&mut self, side: Side, link: u32) -> &mut Option<Token> {
        let link = &mut self.links[link as usize];
        match side {
            Side::Client(_) => &mut link.at_client,
            Side::Server => &mut link.at_server,
        }
    }

    fn other(&self, side: Side, link: u32) -> Side {
        match side {
            Side::Client(_) => Side::Server,
            Side::Server => Side::Client(self.client_of(link)),
        }
    }

    fn dial(&mut self, client: usize, token: Token) {
        let (now, network) = (self.schedule.now(), &self.scenario.network);
        let link = u32::try_from(self.links.len()).unwrap_or(u32::MAX);
        self.recorder.dial(now);
        self.clients[client].name(token, link);
        let number = u32::try_from(client).unwrap_or(u32::MAX);
        self.links.push(Link {
            client: number,
            at_client: Some(token),
            at_server: None,
            id: None,
            ended: false,
        });
        match reach(self.scenario.load.outage, network, now) {
            Reach::RefusedAt(at) => self.schedule.at(at, What::Refused(link)),
            Reach::At(at) => {
                self.schedule.at(at + network.one_way(), What::Accept(link));
                self.schedule.at(at + network.rtt, What::Dialed(link));
            }
        }
    }

    fn accept(&mut self, link: u32) {
        if self.links[link as usize].ended || self.links[link as usize].at_client.is_none() {
            return;
        }
        let now = self.now();
        let client = self.links[link as usize].client;
        let address = IpAddr::V6(Ipv6Addr::from(u128::from(client) << 64 | 1));
        match self.server.machine.accept(now, address) {
            Ok(token) => {
                self.links[link as usize].at_server = Some(token);
                self.server.name(token, link);
                // The first byte comes as long after the begin as the processor's work begins.
                let network = self.scenario.network;
                let delay = network.to_processor() - network.one_way();
                self.schedule.after(delay, What::FirstByte(link));
            }
            Err(_) => self.close(Side::Server, link),
        }
        self.drive(Side::Server);
    }

    fn first_byte(&mut self, link: u32) {
        let Some(token) = self.links[link as usize].at_server else { return };
        let network = self.scenario.network;
        if network.tls {
            self.event(Side::Server, Event::FirstByte { token });
        }
        let done = self.processor.work(self.schedule.now(), network.handshake_cost);
        self.schedule.at(done + network.to_admission(), What::Admit(link));
    }

    fn admit(&mut self, link: u32) {
        let Some(token) = self.links[link as usize].at_server else { return };
        if self.links[link as usize].ended {
            return;
        }
        let now = self.now();
        match self.server.machine.admit(now, token, None) {
            Ok(id) => {
                self.links[link as usize].id = Some(id);
                self.schedule.after(self.scenario.network.one_way(), What::Id(link));
                if let Some(limit) = self.scenario.load.reaper {
                    self.schedule.after(limit, What::Reap(link));
                }
                let established = Event::Established { token, connection: link, id: None };
                self.event(Side::Server, established);
            }
            Err(_) => {
                self.drive(Side::Server);
                self.close(Side::Server, link);
            }
        }
    }

    fn reap(&mut self, link: u32) {
        let Some(token) = self.links[link as usize].at_server else { return };
        if matches!(self.server.machine.state_of(token), Some(State::Idle | State::Reserved)) {
            self.event(Side::Server, Event::Closed { token });
        }
    }

    /// A side has closed a link, and the other side will see it.
    fn close(&mut self, side: Side, link: u32) {
        *self.token(side, link) = None;
        if !std::mem::replace(&mut self.links[link as usize].ended, true) {
            let other = self.other(side, link);
            self.schedule.after(self.scenario.network.one_way(), What::Ended(other, link));
        }
    }

    /// A side sees that a link has ended.
    fn lost(&mut self, side: Side, link: u32) {
        self.links[link as usize].ended = true;
        let Some(token) = *self.token(side, link) else { return };
        let event = match self.end(side).state_of(token) {
            Some(State::Dialing) => Event::DialFailed { token },
            Some(State::Accepted | State::Handshaking | State::Admitted) => {
                Event::HandshakeFailed { token, failure: HandshakeFailure::Transport }
            }
            // Its holder sees it.
            None | Some(State::Leased) => return,
            Some(_) => Event::Readable { token },
        };
        if !matches!(event, Event::Readable { .. }) {
            *self.token(side, link) = None;
        }
        self.event(side, event);
    }

    /// All connections end, and all handshakes with them.
    fn cut_all(&mut self) {
        let drops = self.scenario.load.outage.is_some_and(|outage| outage.kind == OutageKind::Drop);
        let delay = if drops { KEEP_ALIVE } else { 0 };
        for number in 0..self.links.len() {
            let link = &mut self.links[number];
            if std::mem::replace(&mut link.ended, true) {
                continue;
            }
            let client = Side::Client(link.client as usize);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            self.schedule.after(delay, What::Ended(client, number));
            self.schedule.after(delay, What::Ended(Side::Server, number));
        }
    }

    /// Whether messages get through to the other end.
    fn is_cut(&self) -> bool {
        let now: Nanos = self.schedule.now();
        self.scenario.load.outage.is_some_and(|outage| outage.is_on(now))
    }

    fn taker_of(&mut self) -> Side {
        match self.scenario.taker {
            Taker::Server => Side::Server,
            Taker::Client => Side::Client(self.rng.usize(0..self.clients.len())),
        }
    }
}
