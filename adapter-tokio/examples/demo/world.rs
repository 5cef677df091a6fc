//! A tunnel and all that is around it: two pools, a control channel, a service, an entry.
//!
//! ```text
//!   visitor ─► entry side ═══ pooled connection, TLS 1.3 ═══ exit side ─► service
//!                  └──── control channel: "take 5f2e91a0 keep" ───┘
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_tokio::{
    AnyPool, ClientConfig, ClientPool, ClientTls, ServerConfig, ServerPool, ServerTls, Stats, Tokio,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::Failure;
use crate::control;
use crate::entry::{Entry, Replies, open_fresh};
use crate::exit::{Exit, open_service};
use crate::fresh::Arrivals;
use crate::ledger::Ledger;
use crate::proxy::distant;
use crate::tasks::{Tasks, lock};

/// Waits after failed dials: a random time up to the first, doubling up to the second.
pub(crate) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(500));

/// For what must come soon, and whose absence is a fault.
const SOON: Duration = Duration::from_secs(5);

/// Dials at a time.
pub(crate) const MAX_DIALS: u32 = 32;

/// Where visitors come in. The exit side is at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Any connection is taken from the server pool, and by id from the client pool.
    Accepting,
    /// The other way round.
    Dialling,
}

/// What to build.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) entry: Side,
    /// Connections kept ready at the least, and at the most.
    pub(crate) stock: (u32, u32),
    /// Each way between the pools, and on the control channel.
    pub(crate) delay: Duration,
    /// How long a visitor waits for a connection.
    pub(crate) timeout: Duration,
}

/// Everything that runs.
pub(crate) struct World {
    /// Where visitors are served with pooled connections …
    pub(crate) entry: SocketAddr,
    /// … and with fresh ones.
    pub(crate) fresh_entry: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) client: ClientPool,
    /// When the client pool dialled.
    pub(crate) attempts: Arc<Mutex<Vec<Instant>>>,
    server: Arc<Mutex<ServerPool>>,
    server_tls: ServerTls,
    server_config: ServerConfig,
    address: SocketAddr,
    tasks: Tasks,
}

/// Connections that may wait to be accepted. With the usual 128 a burst of 200 overflows, and a SYN
/// that was dropped is sent again only after a second.
const BACKLOG: u32 = 1024;

/// A listener on a free port.
pub(crate) fn listen() -> Result<(TcpListener, SocketAddr), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl World {
    /// Builds it, and waits until the stock is full.
    pub(crate) async fn start(plan: Plan) -> Result<Self, Failure> {
        let (tasks, ledger) = (Tasks::new(), Ledger::default());
        let server_tls = ServerTls::self_signed()?;
        let pin = server_tls.fingerprint().ok_or("no fingerprint to pin")?;
        let client_tls = ClientTls::self_signed()?.pinned(pin)?;

        // The two pools.
        let (low, high) = plan.stock;
        let server_config = ServerConfig::builder().capacity(2 * high).build()?;
        let (listener, address) = listen()?;
        let server = ServerPool::builder()
            .config(server_config.clone())
            .tls(server_tls.clone())
            .listen(listener)?;
        let attempts = Arc::<Mutex<Vec<Instant>>>::default();
        let (peer, log) = (distant(&tasks, address, plan.delay)?, Arc::clone(&attempts));
        let config = ClientConfig::builder()
            .capacity(low..=high)
            .max_dials(MAX_DIALS)
            .backoff(BACKOFF.0, BACKOFF.1);
        let client = ClientPool::builder()
            .config(config.build()?)
            .tls(client_tls.clone())
            .connect_with(move || {
                lock(&log).push(Instant::now());
                TcpStream::connect(peer)
            })?;

        // What is around them.
        let (service, service_address) = listen()?;
        let (visitors, entry) = listen()?;
        let (fresh_visitors, fresh_entry) = listen()?;
        let (arriving, fresh_address) = listen()?;
        let fresh_address = distant(&tasks, fresh_address, plan.delay)?;
        open_service(&tasks, service, &ledger);
        let arrivals = Arrivals::default();
        arrivals.open(&tasks, arriving, &server_tls);

        let world = Self {
            entry,
            fresh_entry,
            ledger,
            client,
            attempts,
            server: Arc::new(Mutex::new(server)),
            server_tls,
            server_config,
            address,
            tasks,
        };
        let (server, client) =
            (Arc::clone(&world.server), Arc::new(Mutex::new(world.client.clone())));
        let fresh = (fresh_address, client_tls);
        let line = match plan.entry {
            Side::Accepting => {
                let exit = world.exit(client, service_address, fresh);
                world.join(plan, server, exit, visitors).await?
            }
            Side::Dialling => {
                let exit = world.exit(server, service_address, fresh);
                world.join(plan, client, exit, visitors).await?
            }
        };
        let ledger = world.ledger.clone();
        open_fresh(&world.tasks, fresh_visitors, line, arrivals, ledger);
        world.stocked(low).await?;
        Ok(world)
    }

    fn exit<X: AnyPool<Runtime = Tokio>>(
        &self,
        pool: Arc<Mutex<X>>,
        service: SocketAddr,
        fresh: (SocketAddr, ClientTls),
    ) -> Arc<Exit<X>> {
        Arc::new(Exit { pool, service, ledger: self.ledger.clone(), fresh })
    }

    /// Connects entry and exit by a control channel; gives the entry's end of it.
    async fn join<E, X>(
        &self,
        plan: Plan,
        pool: Arc<Mutex<E>>,
        exit: Arc<Exit<X>>,
        visitors: TcpListener,
    ) -> Result<control::Line, Failure>
    where
        E: AnyPool<Runtime = Tokio>,
        X: AnyPool<Runtime = Tokio>,
    {
        let (listener, address) = listen()?;
        let address = distant(&self.tasks, address, plan.delay)?;
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());

        let tasks = self.tasks.clone();
        control::run(&self.tasks, dialled?, move |line, told| {
            exit.hear(&tasks, line, told);
        })?;
        let replies = Replies::default();
        let heard = replies.clone();
        let line = control::run(&self.tasks, accepted?.0, move |_, told| heard.hear(told))?;
        let entry = Entry {
            pool,
            line: line.clone(),
            replies,
            ledger: self.ledger.clone(),
            timeout: plan.timeout,
            calls: AtomicU64::new(0),
        };
        entry.open(&self.tasks, visitors);
        Ok(line)
    }

    /// Waits until `ready` connections are ready at both ends.
    pub(crate) async fn stocked(&self, ready: u32) -> Result<(), Failure> {
        let server = lock(&self.server).clone();
        tokio::try_join!(self.client.wait_ready(ready, SOON), server.wait_ready(ready, SOON))?;
        Ok(())
    }

    /// Waits until nobody is being served.
    pub(crate) async fn idle(&self) {
        self.tasks.idle().await;
    }

    /// Closes the server pool and with it its listener, and keeps its port for it: nobody listens
    /// there now, so whoever dials it is refused, and nobody else can take it. Also says when the
    /// last connection had been shut down.
    pub(crate) async fn stop_server(&self) -> Result<(TcpSocket, Instant), Failure> {
        let server = lock(&self.server).clone();
        server.close();
        server.closed().await;
        let gone = Instant::now();
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind(self.address)?;
        Ok((port, gone))
    }

    /// A new server pool on the same port.
    pub(crate) fn restart_server(&self, port: TcpSocket) -> Result<(), Failure> {
        let server = ServerPool::builder()
            .config(self.server_config.clone())
            .tls(self.server_tls.clone())
            .listen(port.listen(BACKLOG)?)?;
        *lock(&self.server) = server;
        Ok(())
    }

    /// Closes both pools and ends everything; what the client and the server pool say then.
    pub(crate) async fn stop(self) -> [Stats; 2] {
        let server = lock(&self.server).clone();
        self.client.close();
        server.close();
        self.client.closed().await;
        server.closed().await;
        self.tasks.stop().await;
        [self.client.stats(), server.stats()]
    }
}

/// Connections, whatever their state, and callers that wait.
pub(crate) const fn live(stats: &Stats) -> u32 {
    stats.dialing
        + stats.handshaking
        + stats.idle
        + stats.claimed
        + stats.leased
        + stats.returning
        + stats.waiters
}
