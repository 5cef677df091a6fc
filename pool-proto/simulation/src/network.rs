//! Sockets in memory, and the paths between them, with the behaviour of Linux.
//!
//! A connection is two sockets. Data that one sends arrives at the other after a trip through the
//! network, in order. A socket knows more than the reactor, which reports an arrival some time later
//! (`reactor.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use pool_driver::Direction;
use pool_driver::pool_proto::Instant;

use crate::engine::{Side, State};
use crate::reactor::{Interest, Source};

/// The errors of Linux.
pub(crate) mod errno {
    pub(crate) const EINTR: i32 = 4;
    pub(crate) const EMFILE: i32 = 24;
    pub(crate) const EPIPE: i32 = 32;
    pub(crate) const EADDRINUSE: i32 = 98;
    pub(crate) const ECONNABORTED: i32 = 103;
    pub(crate) const ECONNRESET: i32 = 104;
    pub(crate) const ENOBUFS: i32 = 105;
    pub(crate) const ENOTCONN: i32 = 107;
    pub(crate) const ETIMEDOUT: i32 = 110;
    pub(crate) const ECONNREFUSED: i32 = 111;
    pub(crate) const EHOSTUNREACH: i32 = 113;
}

pub(crate) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// The number of a socket. A number is used once.
pub type SocketId = usize;

/// The address of the server.
pub const SERVER: SocketAddr = address(2, 9000);
/// An address where nobody is.
pub const NOWHERE: SocketAddr = address(8, 9000);
/// An address whose host refuses connections.
pub const REFUSES: SocketAddr = address(9, 9000);

const fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), port)
}

/// A scheduled event.
#[derive(Debug)]
pub(crate) enum Event {
    /// A segment reaches a socket.
    Arrival(SocketId, Segment),
    /// A socket can send again.
    Room(SocketId),
    /// The reactor looks at a source.
    Report(Source, Direction),
    /// A connection reaches its listener.
    Connected(SocketAddr, SocketId),
    /// A peer that has vanished is noticed.
    Dead(SocketId),
}

#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

/// An end of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) side: Side,
    pub(crate) peer: SocketId,
    pub(crate) local_addr: SocketAddr,
    pub(crate) peer_addr: SocketAddr,
    pub(crate) unread: VecDeque<u8>,
    /// Bytes under way to this socket.
    pub(crate) in_flight: usize,
    /// The time of the last arrival that is on its way here: the path keeps the order.
    last_arrival: Instant,
    /// The peer's FIN has arrived.
    finished: bool,
    /// An error that the next call reports, once.
    pub(crate) error: Option<i32>,
    /// The connection is over: an error was or will be reported.
    pub(crate) dead: bool,
    pub(crate) fin_sent: bool,
    /// A segment on its way here is lost.
    lost: bool,
    /// The host has gone, and answers nothing.
    vanished: bool,
    pub(crate) read_shut: bool,
    /// Writes wait for [`Event::Room`].
    pub(crate) full: bool,
    /// It has a descriptor: it was dialled, or accepted.
    pub(crate) accepted: bool,
    /// The user has closed the descriptor.
    pub(crate) closed: bool,
    /// A user of the pool has it.
    pub(crate) held: bool,
    /// Since when no user of the pool has it.
    pub(crate) free_since: Instant,
    /// The time at which an end or an error has arrived.
    pub(crate) ended_at: Option<Instant>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) read: Interest,
    pub(crate) write: Interest,
}

/// A listening socket.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// Tells it from a later one at the same address.
    pub(crate) number: u64,
    pub(crate) backlog: VecDeque<SocketId>,
    pub(crate) read: Interest,
}

/// The network of a world.
pub struct Network {
    pub(crate) sockets: Vec<Socket>,
    pub(crate) listeners: BTreeMap<SocketAddr, Listener>,
    /// Connections that a side is dialling.
    pub(crate) connecting: BTreeMap<Side, usize>,
    /// Descriptors of a side, at most.
    pub(crate) limits: BTreeMap<Side, usize>,
    /// Whether nothing gets through.
    pub(crate) cut: bool,
    /// The keep-alive of sockets that are accepted.
    pub(crate) inherited: Option<Duration>,
    ports: u16,
}

const BACKLOG: usize = 128;

/// The time after which TCP gives up data that nobody acknowledges.
const UNANSWERED: Duration = Duration::from_secs(7);

impl Network {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            sockets: Vec::new(),
            listeners: BTreeMap::new(),
            connecting: BTreeMap::new(),
            limits: BTreeMap::new(),
            cut: false,
            inherited: None,
            ports: rng.u16(20_000..30_000),
        }
    }

    pub(crate) fn socket(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id)
    }

    /// The sockets of a side whose descriptors are open.
    pub(crate) fn open(&self, side: Side) -> impl Iterator<Item = (SocketId, &Socket)> {
        let sockets = self.sockets.iter().enumerate();
        sockets.filter(move |(_, socket)| socket.side == side && socket.accepted && !socket.closed)
    }

    /// Whether a side may open another descriptor.
    pub(crate) fn has_descriptor(&self, side: Side) -> bool {
        let open = self.open(side).count() + self.connecting.get(&side).copied().unwrap_or(0);
        self.limits.get(&side).is_none_or(|limit| open < *limit)
    }

    fn add(&mut self, side: Side, peer: SocketId, addresses: [SocketAddr; 2]) {
        let [local_addr, peer_addr] = addresses;
        self.sockets.push(Socket {
            side,
            peer,
            local_addr,
            peer_addr,
            unread: VecDeque::new(),
            in_flight: 0,
            last_arrival: Instant::EPOCH,
            finished: false,
            error: None,
            dead: false,
            fin_sent: false,
            lost: false,
            vanished: false,
            read_shut: false,
            full: false,
            accepted: side != Side::Server,
            closed: false,
            held: false,
            free_since: Instant::EPOCH,
            ended_at: None,
            keep_alive: None,
            read: Interest::default(),
            write: Interest { ready: true, ..Interest::default() },
        });
    }
}

impl Socket {
    /// Whether a read would not wait.
    pub(crate) fn is_readable(&self) -> bool {
        !self.unread.is_empty() || self.is_at_end()
    }

    /// Whether the peer's end, or an error, has arrived.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.finished || self.error.is_some() || self.dead || self.read_shut
    }

    /// Whether a write would not wait.
    pub(crate) const fn is_writable(&self) -> bool {
        !self.full || self.fin_sent || self.dead || self.error.is_some()
    }

    fn end_with(&mut self, code: i32, now: Instant) {
        if !self.dead {
            self.dead = true;
            self.error = Some(code);
            self.ended_at.get_or_insert(now);
        }
    }
}

impl State {
    pub(crate) fn trip(&mut self) -> Duration {
        self.options.trip + self.options.jitter.mul_f64(self.rng.f64())
    }

    pub(crate) fn send(&mut self, to: SocketId, segment: Segment) {
        let cut = self.net.cut;
        let time = self.now() + self.trip();
        let Some(socket) = self.net.socket(to) else { return };
        // The path comes back for new connections.
        if cut {
            let peer = socket.peer;
            self.lose(to);
            self.lose(peer);
        }
        let Some(socket) = self.net.socket(to) else { return };
        if socket.lost {
            // No answer comes.
            let (sender, noticed) = (socket.peer, self.now() + UNANSWERED);
            return self.at(noticed, Event::Dead(sender));
        }
        let time = time.max(socket.last_arrival);
        socket.last_arrival = time;
        self.at(time, Event::Arrival(to, segment));
    }

    /// The path to a socket is gone: nothing arrives any more. Its keep-alive notices it.
    fn lose(&mut self, id: SocketId) {
        let Some(socket) = self.net.socket(id) else { return };
        if !std::mem::replace(&mut socket.lost, true) {
            self.probe(id);
        }
    }

    /// Sets the keep-alive of a socket, whose path may be gone already.
    pub(crate) fn keep_alive(&mut self, id: SocketId, budget: Option<Duration>) {
        let Some(socket) = self.net.socket(id) else { return };
        socket.keep_alive = budget;
        if socket.lost {
            self.probe(id);
        }
    }

    /// The probes of keep-alive begin, and nobody answers.
    fn probe(&mut self, id: SocketId) {
        if let Some(budget) = self.net.socket(id).and_then(|socket| socket.keep_alive) {
            let noticed = self.now() + budget;
            self.at(noticed, Event::Dead(id));
        }
    }

    /// Lets the reactor look at a source soon.
    pub(crate) fn report(&mut self, source: Source, direction: Direction) {
        let delay = self.options.report.mul_f64(self.rng.f64());
        let time = self.now() + delay;
        self.at(time, Event::Report(source, direction));
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(id, segment) => self.arrive(id, segment),
            Event::Room(id) => {
                if let Some(socket) = self.net.socket(id) {
                    socket.full = false;
                }
                self.report(Source::Stream(id), Direction::Write);
            }
            Event::Report(source, direction) => self.look(source, direction),
            Event::Connected(address, id) => match self.net.listeners.get_mut(&address) {
                Some(listener) if listener.backlog.len() < BACKLOG => {
                    listener.backlog.push_back(id);
                    self.report(Source::Listener(address), Direction::Read);
                }
                _ => self.close_socket(id, true),
            },
            Event::Dead(id) => {
                let now = self.now();
                if let Some(socket) = self.net.socket(id)
                    && !socket.closed
                {
                    socket.end_with(errno::ETIMEDOUT, now);
                    self.report_both(id);
                }
            }
        }
    }

    pub(crate) fn report_both(&mut self, id: SocketId) {
        self.report(Source::Stream(id), Direction::Read);
        self.report(Source::Stream(id), Direction::Write);
    }

    fn arrive(&mut self, id: SocketId, segment: Segment) {
        let now = self.now();
        let Some(socket) = self.net.socket(id) else { return };
        let peer = socket.peer;
        match segment {
            Segment::Data(data) => {
                socket.in_flight -= data.len();
                if socket.vanished {
                    return;
                }
                if socket.closed {
                    return self.send(peer, Segment::Reset);
                }
                if socket.dead {
                    return;
                }
                socket.unread.extend(data);
            }
            Segment::Fin => {
                socket.finished = true;
                socket.ended_at.get_or_insert(now);
            }
            Segment::Reset => socket.end_with(errno::ECONNRESET, now),
        }
        let both = socket.dead;
        if both {
            self.report_both(id);
        } else {
            self.report(Source::Stream(id), Direction::Read);
        }
    }

    /// Dials: returns the client's socket, if a listener has the other.
    pub(crate) fn open_pair(&mut self, side: Side, to: SocketAddr) -> Option<SocketId> {
        let listener = self.net.listeners.get(&to)?;
        if listener.backlog.len() >= BACKLOG {
            return None;
        }
        self.net.ports = self.net.ports.wrapping_add(1).max(1_024);
        let from = match side {
            Side::Stranger => address(self.rng.u8(20..40), self.net.ports),
            _ => address(1, self.net.ports),
        };
        let id = self.net.sockets.len();
        self.net.add(side, id + 1, [from, to]);
        self.net.add(Side::Server, id, [to, from]);
        let time = self.now() + self.trip();
        self.at(time, Event::Connected(to, id + 1));
        Some(id)
    }

    /// Closes a descriptor: with data that nobody has read, or `abruptly`, by a reset.
    pub(crate) fn close_socket(&mut self, id: SocketId, abruptly: bool) {
        let Some(socket) = self.net.socket(id) else { return };
        if socket.closed {
            return;
        }
        socket.closed = true;
        let (peer, over, fin_sent) = (socket.peer, socket.dead, socket.fin_sent);
        let reset = abruptly || !socket.unread.is_empty();
        socket.unread.clear();
        let wakers = [socket.read.waker.take(), socket.write.waker.take()];
        for waker in wakers {
            self.discard(waker);
        }
        if over {
        } else if reset {
            self.send(peer, Segment::Reset);
        } else if !fin_sent {
            self.send(peer, Segment::Fin);
        }
    }

    /// A connection comes into the hands of a user. Returns whether it was in another's.
    pub(crate) fn hold(&mut self, id: SocketId) -> bool {
        self.net.socket(id).is_some_and(|socket| std::mem::replace(&mut socket.held, true))
    }

    /// A connection leaves the hands of its user.
    pub(crate) fn release(&mut self, id: SocketId) {
        let now = self.now();
        if let Some(socket) = self.net.socket(id) {
            socket.held = false;
            socket.free_since = now;
        }
    }

    /// The host of a side loses its power: nothing is sent any more.
    pub fn vanish(&mut self, side: Side) {
        let gone: Vec<_> = self.net.open(side).map(|(id, socket)| (id, socket.peer)).collect();
        let now = self.now();
        for (id, peer) in gone {
            let Some(socket) = self.net.socket(id) else { continue };
            socket.end_with(errno::ECONNRESET, now);
            socket.vanished = true;
            // Data under way is lost as well, or arrives: both are possible.
            let Some(other) = self.net.socket(peer) else { continue };
            if let Some(budget) = other.keep_alive {
                self.at(now + budget, Event::Dead(peer));
            }
        }
    }

    /// Cuts the path, or restores it for new connections.
    pub fn cut(&mut self, cut: bool) {
        self.net.cut = cut;
        if !cut {
            return;
        }
        let sockets = self.net.sockets.iter().enumerate();
        let open = sockets.filter(|(_, socket)| !socket.closed);
        // Both ends of each: a path is gone in both directions.
        let gone: Vec<_> = open.flat_map(|(id, socket)| [id, socket.peer]).collect();
        for id in gone {
            self.lose(id);
        }
    }

    /// Resets a connection from the middle of the path.
    pub fn break_one(&mut self) {
        let open: Vec<_> =
            self.net.open(Side::Client).map(|(id, socket)| [id, socket.peer]).collect();
        if open.is_empty() {
            return;
        }
        let index = self.rng.usize(..open.len());
        for id in open.into_iter().nth(index).into_iter().flatten() {
            if self.rng.u32(..3) > 0 {
                self.send(id, Segment::Reset);
            } else {
                // It is lost here, and the path stays silent.
                self.lose(id);
            }
        }
    }

    /// Listens at an address. Returns the number of the listener.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> io::Result<u64> {
        let number = self.number();
        if self.net.listeners.contains_key(&address) {
            return Err(error(errno::EADDRINUSE));
        }
        self.net.listeners.insert(address, Listener { number, ..Listener::default() });
        Ok(number)
    }

    pub(crate) fn stop_listening(&mut self, address: SocketAddr, number: u64) {
        if self.net.listeners.get(&address).is_none_or(|listener| listener.number != number) {
            return;
        }
        let Some(listener) = self.net.listeners.remove(&address) else { return };
        self.discard(listener.read.waker);
        for id in listener.backlog {
            self.close_socket(id, true);
        }
    }
}
