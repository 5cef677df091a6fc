//! An end: its machine, and the work of the loop on each of its connections.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use bytes::Buf;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use pool_proto::{
    Accepting, Acquired, Action, CheckKind, CheckResult, Collected, ConnId, Event,
    HandshakeFailure, IdFormat, IdReader, IdWriter, Lease, Machine, Role, Token, WaiterId,
};

use crate::talk::{Progress, Talk, read_up_to};
use crate::{Outcome, REQUESTS, check, now};

const FORMAT: IdFormat = IdFormat::Hex8;

/// The most bytes of an id written at a time, so that ids arrive in pieces. A socket would take all
/// 8.
const PIECE: usize = 3;

/// The most reads of a drain, so that a peer that keeps sending does not hold up the loop.
const READS: usize = 16;

/// A side. Both share one `Poll`, so the side is the lowest bit of a socket's name there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Client = 0,
    Server = 1,
}

impl Side {
    /// Returns the side and the slot of an event.
    pub(crate) fn of(event: mio::Token) -> (Self, usize) {
        (if event.0 & 1 == 0 { Self::Client } else { Self::Server }, event.0 >> 1)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The work of the loop on a connection. During the work it owns the socket.
enum Work {
    Connect(TcpStream),
    ReadId(TcpStream, IdReader),
    WriteId(TcpStream, IdWriter),
    Talk(Talk),
    /// None: the machine owns the socket. Its events are passed on.
    Pooled,
}

pub(crate) struct End<R> {
    side: Side,
    pub(crate) machine: Machine<TcpStream, R>,
    registry: Registry,
    peer: SocketAddr,
    /// By slot, because an event of the operating system has no room for a whole token.
    work: BTreeMap<usize, (Token, Work)>,
    /// Requests that wait for a connection.
    waiting: Vec<(WaiterId, u32)>,
    /// Requests that have a connection and have not begun.
    pub(crate) taken: VecDeque<(u32, Lease<TcpStream>)>,
    /// Whether the requested stock is there.
    pub(crate) stocked: bool,
    /// The number of requests that are over.
    pub(crate) over: u32,
    /// The number of requests that closed their connection.
    pub(crate) dropped: u32,
    /// The number of requests that had to queue.
    pub(crate) queued: u32,
    /// The number of deadlines that came.
    pub(crate) deadlines: u32,
}

impl<R: Role> End<R> {
    pub(crate) fn new(
        side: Side,
        machine: Machine<TcpStream, R>,
        registry: Registry,
        peer: SocketAddr,
    ) -> Self {
        Self {
            side,
            machine,
            registry,
            peer,
            work: BTreeMap::new(),
            waiting: Vec::new(),
            taken: VecDeque::new(),
            stocked: false,
            over: 0,
            dropped: 0,
            queued: 0,
            deadlines: 0,
        }
    }

    // --- the contract ---------------------------------------------------------------------------

    pub(crate) fn handle_event(&mut self, event: Event<TcpStream>) -> Outcome {
        self.machine.handle_event(now(), event);
        self.carry_out()
    }

    /// Hands in the time if a deadline has come.
    pub(crate) fn handle_timeout(&mut self) -> Outcome {
        let now = now();
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            println!("{}: a deadline of its machine has come", self.side);
            self.deadlines += 1;
            self.machine.handle_timeout(now);
        }
        self.carry_out()
    }

    /// Carries out the actions of the machine, in order.
    pub(crate) fn carry_out(&mut self) -> Outcome {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Dial { token } => self.dial(token)?,
                Action::Check { token, connection, kind } => {
                    let result = inspect(&connection, kind);
                    println!("{}: {token:?} is checked ({kind:?}): {result:?}", self.side);
                    let event = Event::Checked { token, connection, result };
                    self.machine.handle_event(now(), event);
                }
                Action::Close { token, connection, reason } => {
                    println!("{}: {token:?} is closed: {reason}", self.side);
                    self.forget(token);
                    drop(connection);
                }
                Action::Abort { token, reason } => {
                    println!("{}: {token:?} is aborted: {reason}", self.side);
                    self.forget(token);
                }
                Action::Wake { waiter } => self.collect(waiter)?,
            }
        }
        Ok(())
    }

    /// Begins to connect. The socket becomes writable when the dial has succeeded or failed.
    fn dial(&mut self, token: Token) -> Outcome {
        println!("{}: {token:?} is dialled", self.side);
        let Ok(stream) = TcpStream::connect(self.peer) else {
            self.machine.handle_event(now(), Event::DialFailed { token });
            return Ok(());
        };
        self.watch(token, stream, Work::Connect)
    }

    fn collect(&mut self, waiter: WaiterId) -> Outcome {
        match self.machine.collect(now(), waiter) {
            Collected::Ready(lease) => {
                let place = self.waiting.iter().position(|(known, _)| *known == waiter);
                let (_, request) = self.waiting.swap_remove(place.ok_or("no request waits")?);
                println!("{}: request {request} has waited and is served", self.side);
                self.taken.push_back((request, lease));
            }
            Collected::Stocked => self.stocked = true,
            other => return Err(format!("woken for nothing: {other:?}").into()),
        }
        Ok(())
    }

    /// Takes the answer to an acquire. The request begins later, in the loop.
    pub(crate) fn take(&mut self, request: u32, answer: Acquired<TcpStream>) -> Outcome {
        match answer {
            Acquired::Ready(lease) => self.taken.push_back((request, lease)),
            Acquired::Queued(waiter) => {
                let why = self.machine.why(waiter);
                let why = why.map_or("its turn has come".into(), |why| why.to_string());
                println!("{}: request {request} has to wait: {why}", self.side);
                self.waiting.push((waiter, request));
                self.queued += 1;
            }
            Acquired::Refused(refusal) => return Err(refusal.into()),
        }
        self.carry_out()
    }

    // --- sockets --------------------------------------------------------------------------------

    fn name(&self, token: Token) -> mio::Token {
        mio::Token(token.slot() << 1 | self.side as usize)
    }

    /// Registers a new socket. Dropping the socket ends the registration.
    fn watch(
        &mut self,
        token: Token,
        mut stream: TcpStream,
        work: impl FnOnce(TcpStream) -> Work,
    ) -> Outcome {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut stream, self.name(token), both)?;
        self.keep(token, work(stream));
        Ok(())
    }

    /// Registers a socket again, so that its present readiness is reported once more. An edge is
    /// reported only once: without this, an owner that did not consume it, or the next owner, would wait
    /// in vain.
    fn rearm(&self, token: Token, stream: &mut TcpStream) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.reregister(stream, self.name(token), both)
    }

    fn keep(&mut self, token: Token, work: Work) {
        self.work.insert(token.slot(), (token, work));
    }

    /// Ends the work on a connection, but not the work on a later connection in its slot.
    fn forget(&mut self, token: Token) {
        if self.work.get(&token.slot()).is_some_and(|(known, _)| *known == token) {
            self.work.remove(&token.slot());
        }
    }

    /// Continues the work on a connection until its socket would block. The event may be stale, of a
    /// former socket in the same slot: it is a hint to try, not a fact.
    pub(crate) fn ready(&mut self, slot: usize, event: &mio::event::Event) -> Outcome {
        let Some((token, work)) = self.work.remove(&slot) else { return Ok(()) };
        match work {
            Work::Connect(stream) => self.connect(token, stream),
            Work::ReadId(stream, reader) => self.read_id(token, stream, reader),
            Work::WriteId(stream, writer) => self.write_id(token, stream, writer),
            Work::Talk(talk) => self.talk(token, talk),
            Work::Pooled => {
                self.keep(token, Work::Pooled);
                if event.is_readable() || event.is_read_closed() {
                    self.handle_event(Event::Readable { token })?;
                }
                Ok(())
            }
        }
    }

    fn connect(&mut self, token: Token, stream: TcpStream) -> Outcome {
        match stream.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Err(_) => return self.handle_event(Event::DialFailed { token }),
            Ok(()) if stream.peer_addr().is_err() => self.keep(token, Work::Connect(stream)),
            Ok(()) => {
                self.handle_event(Event::Dialed { token })?;
                // The same event may have reported the id.
                return self.read_id(token, stream, IdReader::new(FORMAT));
            }
        }
        Ok(())
    }

    fn read_id(&mut self, token: Token, mut stream: TcpStream, mut reader: IdReader) -> Outcome {
        // Reads only the missing bytes: bytes after the id are the user's.
        let mut bytes = Vec::new();
        let ended = read_up_to(reader.missing(), &stream, &mut bytes);
        reader.feed(&bytes);
        let failure = match (reader.poll(), ended) {
            (Ok(Some(id)), _) => {
                println!("{}: {token:?} has the id {id}", self.side);
                self.rearm(token, &mut stream)?;
                return self.establish(token, stream, Some(id));
            }
            (Ok(None), Ok(false)) => {
                let missing = reader.missing();
                println!("{}: {token:?} waits for {missing} more bytes of its id", self.side);
                self.keep(token, Work::ReadId(stream, reader));
                return Ok(());
            }
            (Err(_), _) | (_, Ok(true)) => HandshakeFailure::Id,
            (_, Err(_)) => HandshakeFailure::Transport,
        };
        self.handle_event(Event::HandshakeFailed { token, failure })
    }

    fn write_id(&mut self, token: Token, mut stream: TcpStream, mut writer: IdWriter) -> Outcome {
        let piece = writer.chunk().get(..PIECE).unwrap_or(writer.chunk());
        match stream.write(piece) {
            Ok(count) => writer.advance(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.keep(token, Work::WriteId(stream, writer));
                return Ok(());
            }
            Err(_) => {
                let failure = HandshakeFailure::Id;
                return self.handle_event(Event::HandshakeFailed { token, failure });
            }
        }
        self.rearm(token, &mut stream)?;
        if writer.has_remaining() {
            self.keep(token, Work::WriteId(stream, writer));
            return Ok(());
        }
        self.establish(token, stream, None)
    }

    fn establish(&mut self, token: Token, connection: TcpStream, id: Option<ConnId>) -> Outcome {
        self.keep(token, Work::Pooled);
        self.handle_event(Event::Established { token, connection, id })
    }

    // --- requests -------------------------------------------------------------------------------

    pub(crate) fn begin(
        &mut self,
        request: u32,
        lease: Lease<TcpStream>,
        question: Option<Vec<u8>>,
    ) -> Outcome {
        let talk = Talk::new(request, lease.connection, question);
        // Tried at once: readiness was reported while the connection was in the pool.
        self.talk(lease.token, talk)
    }

    fn talk(&mut self, token: Token, mut talk: Talk) -> Outcome {
        let progress = talk.advance()?;
        if !matches!(progress, Progress::Over) {
            if matches!(progress, Progress::Paused) {
                println!("{}: {talk}", self.side);
                self.rearm(token, &mut talk.stream)?;
            }
            self.keep(token, Work::Talk(talk));
            return Ok(());
        }
        let Talk { request, stream, question, heard, .. } = talk;
        self.over += 1;
        if question.is_some() {
            check(question == Some(heard), &format!("the echo of request {request} is right"))?;
            if request % 2 == 1 {
                println!("{}: request {request} is over; its connection is closed", self.side);
                self.dropped += 1;
                drop(stream);
                return self.handle_event(Event::Closed { token });
            }
        }
        println!("{}: request {request} is over; its connection is put back", self.side);
        self.keep(token, Work::Pooled);
        self.machine.put(now(), token, stream)?;
        self.carry_out()
    }

    /// Verifies at the end that nothing is left, lost, or reported twice.
    pub(crate) fn verify(&self) -> Outcome {
        let stats = self.machine.stats();
        let (side, totals, requests) = (self.side, stats.totals, u64::from(REQUESTS));
        println!(
            "{side}: dialled {}, admitted {}, ready {}; taken {}, again {}, at once {}, after \
             waiting {}; put back {}, dropped {}; closed by the peer {}, cleaned {}, closed with \
             the pool {}; deadlines {}",
            totals.dials,
            totals.admitted,
            totals.established,
            totals.leases,
            totals.reused,
            totals.served_at_once,
            totals.served_after_waiting,
            totals.put,
            totals.released,
            totals.peer_closed,
            totals.cleaned,
            totals.flushed,
            self.deadlines,
        );
        let coming = stats.dialing + stats.handshaking;
        let left = coming + stats.idle + stats.claimed + stats.leased + stats.returning;
        check(left + stats.waiters == 0 && self.work.is_empty(), "nothing is left")?;
        check(totals.leases == requests, "each request had one connection")?;
        check(totals.put + totals.released == requests, "each lease was given back once")?;
        check(totals.stale_events == 0, "no event was stale")
    }
}

impl End<Accepting> {
    /// Takes in a peer that has connected. Without TLS it is admitted at once. Its id is sent when the
    /// socket is writable.
    pub(crate) fn accept(&mut self, stream: TcpStream, peer: IpAddr) -> Outcome {
        let token = self.machine.accept(now(), peer)?;
        let id = self.machine.admit(now(), token, None)?;
        self.carry_out()?;
        println!("{}: {token:?} gets the id {id}", self.side);
        let writer = IdWriter::new(FORMAT, id);
        self.watch(token, stream, |stream| Work::WriteId(stream, writer))
    }
}

/// Checks a socket without blocking, and discards arrived data if it is to be drained. It reads until
/// the socket would block, so that the next arrival is reported.
fn inspect(mut stream: &TcpStream, kind: CheckKind) -> CheckResult {
    let mut bytes = [0; 4096];
    for _ in 0..READS {
        let result = match kind {
            CheckKind::Inspect => stream.peek(&mut bytes),
            CheckKind::Drain => stream.read(&mut bytes),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return CheckResult::Quiet,
            Err(_) | Ok(0) => return CheckResult::Closed,
            Ok(_) if kind == CheckKind::Inspect => return CheckResult::Data,
            Ok(_) => {}
        }
    }
    CheckResult::Data
}
