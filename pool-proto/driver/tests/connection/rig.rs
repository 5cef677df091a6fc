//! A test rig: pools whose connections are ends of [wires](crate::wire), and a driver that takes its
//! turns on demand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_driver::Clock;
use pool_driver::connection::{
    Acceptor, Connection, Connector, Established, Handshake, SharedSocket,
};
use pool_driver::shared::{Acquire, AcquireError, Attempt, Command, Leased, SharedMachine};
use pool_proto::{
    Accepting, AllowList, CheckResult, Client, ClientConfig, CloseReason, ConnId, Dialing,
    IdExchange, IdFormat, Instant, PutError, Role, Server, ServerConfig, Stats, Token,
};

use crate::peer::{CLIENT_TLS, Peer, SERVER_TLS, complete};
use crate::wire::End;

pub(crate) type Ends<R> = SharedMachine<Box<Connection<End>>, R>;

/// The address of a server's peers.
pub(crate) const PEER: &str = "192.0.2.7:4711";

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    pub(crate) fn pass(&self, duration: Duration) {
        self.0.store((self.now() + duration).as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// A pool, the state of its driver, and a record of what the driver did.
pub(crate) struct Pool<R: Side> {
    shared: Arc<Ends<R>>,
    pub(crate) clock: ManualClock,
    pub(crate) begun: VecDeque<Attempt<Box<Connection<End>>, R>>,
    pub(crate) ended: Vec<Token>,
    /// The reasons with which connections were closed or aborted, in order.
    pub(crate) reasons: Vec<CloseReason>,
    tls: bool,
    ids: IdExchange,
}

impl<R: Side> Pool<R> {
    pub(crate) fn new(tls: bool) -> Self {
        Self::with_ids(tls, IdExchange::default())
    }

    pub(crate) fn with_ids(tls: bool, ids: IdExchange) -> Self {
        let clock = ManualClock::default();
        let shared = R::shared(clock.clone(), ids);
        let (begun, ended, reasons) = Default::default();
        Self { shared, clock, begun, ended, reasons, tls, ids }
    }

    pub(crate) fn shared(&self) -> &Arc<Ends<R>> {
        &self.shared
    }

    /// Takes turns of the driver until nothing is left, and carries out their commands.
    pub(crate) fn turn(&mut self) {
        let mut commands = Vec::new();
        while self.shared().turn(&mut commands).is_full {}
        for command in commands {
            match command {
                Command::Dial { token } => {
                    self.begun.push_back(Attempt::dial(&self.shared, token));
                }
                Command::Close { connection, reason } => {
                    self.reasons.push(reason);
                    connection.close(reason);
                }
                Command::Abort { token, reason } => {
                    self.reasons.push(reason);
                    self.shared.note_abort(token, reason);
                    self.ended.push(token);
                }
                Command::Interrupt { revoker, .. } => revoker.interrupt(),
            }
        }
    }

    /// Returns a matching peer for this pool.
    pub(crate) fn peer(&self, far: End) -> Peer {
        R::peer(far, self.tls, self.ids)
    }

    /// Completes the handshake with `peer` over `near`.
    pub(crate) fn complete_handshake(
        &self,
        handshake: Handshake,
        near: &End,
        peer: &mut Peer,
    ) -> Established {
        let mut handshake = handshake;
        complete(&mut handshake, near, peer).expect("a handshake");
        handshake.finish().expect("an id")
    }

    /// Adds a new connection to the pool; returns this end of the wire, and the peer.
    pub(crate) fn connect(&mut self) -> (End, Peer) {
        let (near, peer, _) = self.connect_with_socket();
        (near, peer)
    }

    /// Does the same as [`connect`](Self::connect), and also returns the socket and the token.
    pub(crate) fn connect_with_socket(&mut self) -> (End, Peer, (Arc<SharedSocket<End>>, Token)) {
        let (near, far) = End::pair();
        let mut peer = self.peer(far);
        let (attempt, handshake) = R::begin(self);
        let token = attempt.token();
        let established = self.complete_handshake(handshake, &near, &mut peer);
        let socket = SharedSocket::new(near.clone());
        attempt.complete(Ok((Arc::clone(&socket), established)));
        // Discard the id, which a server's peer receives first.
        peer.receive();
        (near, peer, (socket, token))
    }
}

/// The next id; every connection has its own.
static IDS: AtomicU64 = AtomicU64::new(1);

/// The differences between the two roles in these tests.
pub(crate) trait Side: Role + Send + Sized + 'static {
    fn shared(clock: ManualClock, ids: IdExchange) -> Arc<Ends<Self>>;
    /// Begins an attempt and its handshake.
    fn begin(pool: &mut Pool<Self>) -> (Attempt<Box<Connection<End>>, Self>, Handshake);
    fn peer(far: End, tls: bool, ids: IdExchange) -> Peer;
}

pub(crate) fn client_side(tls: bool, ids: IdExchange) -> Connector {
    Connector::new(tls.then(|| CLIENT_TLS.clone()), ids)
}

/// Returns the peer of a client.
pub(crate) fn server_peer(far: End, tls: bool) -> Peer {
    if tls { Peer::tls_server(far, &SERVER_TLS) } else { Peer::plain(far) }
}

pub(crate) fn server_side(tls: bool, format: IdFormat) -> Acceptor {
    Acceptor::new(tls.then(|| SERVER_TLS.clone()), format)
}

/// The handshake of a peer that will be admitted with this id.
pub(crate) fn begin_as(acceptor: &Acceptor, id: ConnId) -> Handshake {
    let mut handshake = acceptor.begin().unwrap();
    handshake.send_id(id);
    handshake
}

impl Side for Dialing {
    fn shared(clock: ManualClock, ids: IdExchange) -> Arc<Ends<Self>> {
        let config = ClientConfig::builder()
            .seed(1)
            .ids(ids)
            .capacity(1..=1)
            .max_connections(1)
            .dial_timeout(Duration::from_secs(10))
            .idle_timeout(None)
            .max_lifetime(None)
            .build();
        SharedMachine::new(Client::new(&config.unwrap(), Instant::EPOCH), clock)
    }

    fn begin(pool: &mut Pool<Self>) -> (Attempt<Box<Connection<End>>, Self>, Handshake) {
        pool.turn();
        let mut attempt = pool.begun.pop_front().expect("a dial");
        attempt.dialed();
        (attempt, client_side(pool.tls, pool.ids).begin().unwrap())
    }

    fn peer(far: End, tls: bool, ids: IdExchange) -> Peer {
        let mut peer = server_peer(far, tls);
        if ids != IdExchange::None {
            peer.send(format!("{:08x}", IDS.fetch_add(1, Ordering::SeqCst)).as_bytes());
        }
        peer
    }
}

impl Side for Accepting {
    fn shared(clock: ManualClock, _ids: IdExchange) -> Arc<Ends<Self>> {
        let config = ServerConfig::builder()
            .seed(1)
            .capacity(4)
            .max_handshakes(8)
            .allow("192.0.2.0/24".parse::<AllowList>().unwrap())
            .idle_timeout(None)
            .max_lifetime(None)
            .build();
        SharedMachine::new(Server::new(&config.unwrap(), Instant::EPOCH), clock)
    }

    fn begin(pool: &mut Pool<Self>) -> (Attempt<Box<Connection<End>>, Self>, Handshake) {
        let peer: SocketAddr = PEER.parse().unwrap();
        let mut attempt = pool.shared().accept(peer).expect("a peer may come in");
        let mut handshake = server_side(pool.tls, IdFormat::Hex8).begin().unwrap();
        handshake.send_id(attempt.admit(None).expect("there is a place for it"));
        (attempt, handshake)
    }

    fn peer(far: End, tls: bool, _ids: IdExchange) -> Peer {
        if tls { Peer::tls_client(far, &CLIENT_TLS) } else { Peer::plain(far) }
    }
}

/// Polls an acquire once, without a waker.
pub(crate) fn take<R: Side>(
    acquire: Acquire<Box<Connection<End>>, R>,
) -> Poll<Result<Leased<Box<Connection<End>>>, AcquireError>> {
    let mut acquire = acquire;
    Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop()))
}

/// A pool of either role.
pub(crate) trait AnyPool {
    fn turn(&mut self);
    fn flush(&mut self);
    /// Shuts the pool down gracefully, with a deadline that has come.
    fn shut_down(&self);
    /// Closes the pool as the end of its driver does.
    fn end(&self);
    fn stats(&self) -> Stats;
    fn reasons(&self) -> &[CloseReason];
    fn put(&self, stream: Leased<Box<Connection<End>>>) -> Result<(), PutError>;
    fn connect(&mut self) -> (End, Peer);
    /// Takes a ready connection; returns `None` if there is none.
    fn take(&self) -> Option<Leased<Box<Connection<End>>>>;
}

impl<R: Side> AnyPool for Pool<R> {
    fn turn(&mut self) {
        Self::turn(self);
    }

    fn flush(&mut self) {
        self.shared().run(|machine, now| machine.flush(now));
    }

    fn shut_down(&self) {
        self.shared().run(|machine, now| machine.graceful_shutdown(now, Some(now)));
    }

    fn end(&self) {
        self.shared.close_with_driver();
    }

    fn stats(&self) -> Stats {
        self.shared().stats()
    }

    fn reasons(&self) -> &[CloseReason] {
        &self.reasons
    }

    fn put(&self, stream: Leased<Box<Connection<End>>>) -> Result<(), PutError> {
        stream.put(&self.shared)
    }

    fn connect(&mut self) -> (End, Peer) {
        Self::connect(self)
    }

    fn take(&self) -> Option<Leased<Box<Connection<End>>>> {
        match take(self.shared().acquire()) {
            Poll::Ready(leased) => Some(leased.unwrap()),
            Poll::Pending => None,
        }
    }
}

/// The kinds of pools: the role, and the protocol of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PlainClient,
    PlainServer,
    /// A client whose peer is not a pool, and sends no ids.
    PlainWithoutIds,
    TlsClient,
    TlsServer,
    TlsWithoutIds,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::PlainClient,
        Self::PlainServer,
        Self::PlainWithoutIds,
        Self::TlsClient,
        Self::TlsServer,
        Self::TlsWithoutIds,
    ];
    pub(crate) const TLS: [Self; 3] = [Self::TlsClient, Self::TlsServer, Self::TlsWithoutIds];
    pub(crate) const PLAIN: [Self; 3] =
        [Self::PlainClient, Self::PlainServer, Self::PlainWithoutIds];

    /// Returns whether data from the peer claims a connection.
    pub(crate) fn has_claims(self) -> bool {
        !matches!(self, Self::PlainWithoutIds | Self::TlsWithoutIds)
    }

    /// Returns what a check finds of a connection that has ended after this data.
    pub(crate) fn end_after(self, data: &str) -> CheckResult {
        match self.has_claims() && !data.is_empty() {
            true => CheckResult::Finished,
            false => CheckResult::Closed,
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::TlsClient | Self::TlsServer | Self::TlsWithoutIds)
    }

    pub(crate) fn pool(self) -> Box<dyn AnyPool> {
        let tls = self.is_tls();
        match self {
            Self::PlainClient | Self::TlsClient => Box::new(Pool::<Dialing>::new(tls)),
            Self::PlainServer | Self::TlsServer => Box::new(Pool::<Accepting>::new(tls)),
            Self::PlainWithoutIds | Self::TlsWithoutIds => {
                Box::new(Pool::<Dialing>::with_ids(tls, IdExchange::None))
            }
        }
    }

    /// Takes a connection from such a pool.
    pub(crate) fn taken(self) -> Taken {
        let mut pool = self.pool();
        let (near, peer) = pool.connect();
        let leased = pool.take().expect("a connection");
        Taken { pool, near, peer, leased }
    }

    /// Takes a connection from such a pool, for use as a stream.
    pub(crate) fn streaming(self) -> Streaming {
        let Taken { pool, near, peer, leased } = self.taken();
        Streaming { pool, near, peer, stream: leased }
    }
}

/// A leased connection, on which tests call checks and drains as the pool does.
pub(crate) struct Taken {
    pub(crate) pool: Box<dyn AnyPool>,
    pub(crate) near: End,
    pub(crate) peer: Peer,
    pub(crate) leased: Leased<Box<Connection<End>>>,
}

/// A leased connection, which tests use as its holder does.
pub(crate) struct Streaming {
    pub(crate) pool: Box<dyn AnyPool>,
    pub(crate) near: End,
    pub(crate) peer: Peer,
    pub(crate) stream: Leased<Box<Connection<End>>>,
}
