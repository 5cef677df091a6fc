//! A complete tunnel: two pools, a control channel, a service, and an entry for visitors.
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
    Acquirer, AnyPool, ClientConfig, ClientPool, ClientTls, Identity, ServerConfig, ServerPool,
    ServerTls, Stats, Tokio,
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
use crate::tapes;
use crate::tasks::{Tasks, lock};

/// The backoff after failed dials: random waits up to the first value, which doubles up to the
/// second.
pub(crate) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(500));

/// The limit for steps that must end soon; to exceed it is a fault.
const SOON: Duration = Duration::from_secs(5);

/// The most dials at a time.
pub(crate) const MAX_DIALS: u32 = 32;

/// The end at which visitors enter. The exit side is at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server pool hands out any connection, and the client pool hands it out by id.
    Accepting,
    /// The client pool hands out any connection, and the server pool hands it out by id.
    Dialling,
}

/// The settings of a tunnel.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) entry: Side,
    /// The bounds of the client pool's capacity.
    pub(crate) stock: (u32, u32),
    /// The delay each way, between the pools and on the control channel.
    pub(crate) delay: Duration,
    /// The time that a visitor waits for a connection.
    pub(crate) timeout: Duration,
}

/// A running tunnel.
pub(crate) struct Tunnel {
    /// The address at which visitors are served with pooled connections.
    pub(crate) entry: SocketAddr,
    /// The address at which visitors are served with fresh connections.
    pub(crate) fresh_entry: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) client: ClientPool,
    /// The times at which the client pool dialled.
    pub(crate) attempts: Arc<Mutex<Vec<Instant>>>,
    server: Arc<Mutex<ServerPool>>,
    server_tls: ServerTls,
    server_config: ServerConfig,
    address: SocketAddr,
    tasks: Tasks,
}

/// The backlog of listeners. With the usual 128, a burst of 200 overflows, and a dropped SYN is
/// retransmitted only after a second.
const BACKLOG: u32 = 1024;

/// Returns a listener on a free port, and its address.
pub(crate) fn listen() -> Result<(TcpListener, SocketAddr), Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Returns the TLS settings of both ends. Each end makes its certificate at the first start, keeps it
/// in a file beside this program, and pins the other's.
fn authenticated() -> Result<(ServerTls, ClientTls), Failure> {
    let program = std::env::current_exe()?;
    let server = Identity::load_or_create(program.with_file_name("demo-server.pem"), ["server"])?;
    let agent = Identity::load_or_create(program.with_file_name("demo-agent.pem"), ["agent"])?;
    let client_tls =
        ClientTls::self_signed()?.pinned(server.fingerprint())?.client_certificate(agent.clone());
    Ok((ServerTls::new(server)?.pinned_clients([agent.fingerprint()])?, client_tls))
}

impl Tunnel {
    /// Starts a tunnel, and waits until the stock is full.
    pub(crate) async fn start(plan: Plan) -> Result<Self, Failure> {
        let (tasks, ledger) = (Tasks::new(), Ledger::default());
        let (server_tls, client_tls) = authenticated()?;

        // The two pools. The end that takes no connection by itself closes none that the other one may have taken.
        let (low, high) = plan.stock;
        let [server_takes, client_takes] = match plan.entry {
            Side::Accepting => [Acquirer::ThisEnd, Acquirer::Peer],
            Side::Dialling => [Acquirer::Peer, Acquirer::ThisEnd],
        };
        let server_config =
            ServerConfig::builder().capacity(2 * high).acquirer(server_takes).build()?;
        let (listener, address) = listen()?;
        let server = tapes::of_server(ServerPool::builder())
            .config(server_config.clone())
            .tls(server_tls.clone())
            .require_authentication()
            .listen(listener)?;
        let attempts = Arc::<Mutex<Vec<Instant>>>::default();
        let (peer, log) = (distant(&tasks, address, plan.delay)?, Arc::clone(&attempts));
        let config = ClientConfig::builder()
            .capacity(low..=high)
            .acquirer(client_takes)
            .max_dials(MAX_DIALS)
            .backoff(BACKOFF.0, BACKOFF.1);
        let client = tapes::of_client(ClientPool::builder())
            .config(config.build()?)
            .tls(client_tls.clone())
            .require_authentication()
            .connect_with(move || {
                lock(&log).push(Instant::now());
                TcpStream::connect(peer)
            })?;

        // The service, and the entries for visitors.
        let (service, service_address) = listen()?;
        let (visitors, entry) = listen()?;
        let (fresh_visitors, fresh_entry) = listen()?;
        let (arriving, fresh_address) = listen()?;
        let fresh_address = distant(&tasks, fresh_address, plan.delay)?;
        open_service(&tasks, service, &ledger);
        let arrivals = Arrivals::default();
        arrivals.open(&tasks, arriving, &server_tls);

        let tunnel = Self {
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
            (Arc::clone(&tunnel.server), Arc::new(Mutex::new(tunnel.client.clone())));
        let fresh = (fresh_address, client_tls);
        let control = match plan.entry {
            Side::Accepting => {
                let exit = tunnel.exit(client, service_address, fresh);
                tunnel.join(plan, server, exit, visitors).await?
            }
            Side::Dialling => {
                let exit = tunnel.exit(server, service_address, fresh);
                tunnel.join(plan, client, exit, visitors).await?
            }
        };
        let ledger = tunnel.ledger.clone();
        open_fresh(&tunnel.tasks, fresh_visitors, control, arrivals, ledger);
        tunnel.stocked(low).await?;
        Ok(tunnel)
    }

    fn exit<X: AnyPool<Runtime = Tokio>>(
        &self,
        pool: Arc<Mutex<X>>,
        service: SocketAddr,
        fresh: (SocketAddr, ClientTls),
    ) -> Arc<Exit<X>> {
        Arc::new(Exit { pool, service, ledger: self.ledger.clone(), fresh })
    }

    /// Connects entry and exit by a control channel; returns the entry's end of it.
    async fn join<E, X>(
        &self,
        plan: Plan,
        pool: Arc<Mutex<E>>,
        exit: Arc<Exit<X>>,
        visitors: TcpListener,
    ) -> Result<control::Control, Failure>
    where
        E: AnyPool<Runtime = Tokio>,
        X: AnyPool<Runtime = Tokio>,
    {
        let (listener, address) = listen()?;
        let address = distant(&self.tasks, address, plan.delay)?;
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());

        let tasks = self.tasks.clone();
        control::run(&self.tasks, dialled?, move |control, line| {
            exit.receive(&tasks, control, line);
        })?;
        let replies = Replies::default();
        let receiver = replies.clone();
        let control =
            control::run(&self.tasks, accepted?.0, move |_, line| receiver.receive(line))?;
        let entry = Entry {
            pool,
            control: control.clone(),
            replies,
            ledger: self.ledger.clone(),
            timeout: plan.timeout,
            calls: AtomicU64::new(0),
        };
        entry.open(&self.tasks, visitors);
        Ok(control)
    }

    /// Waits until `ready` connections are ready at both ends.
    pub(crate) async fn stocked(&self, ready: u32) -> Result<(), Failure> {
        let server = lock(&self.server).clone();
        tokio::try_join!(self.client.wait_ready(ready, SOON), server.wait_ready(ready, SOON))?;
        Ok(())
    }

    /// Waits until all visitors have been served.
    pub(crate) async fn idle(&self) {
        self.tasks.idle().await;
    }

    /// Closes the server pool and its listener, and binds its port without listening: dials are
    /// refused, and no other program can take the port. Returns the socket, and a time at which the
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

    /// Starts a new server pool on the same port.
    pub(crate) fn restart_server(&self, port: TcpSocket) -> Result<(), Failure> {
        let server = tapes::of_server(ServerPool::builder())
            .config(self.server_config.clone())
            .tls(self.server_tls.clone())
            .require_authentication()
            .listen(port.listen(BACKLOG)?)?;
        *lock(&self.server) = server;
        Ok(())
    }

    /// Closes both pools and ends all tasks; returns the final statistics of client and server.
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

/// Returns the number of connections in any state, plus waiters.
pub(crate) const fn live(stats: &Stats) -> u32 {
    stats.dialing
        + stats.handshaking
        + stats.idle
        + stats.claimed
        + stats.leased
        + stats.returning
        + stats.waiters
}
