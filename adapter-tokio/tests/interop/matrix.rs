//! The matrix of releases, roles and TLS modes. In each cell, one end takes any connection and
//! tells the other its id.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use adapter_tokio::AcquireError;
use adapter_tokio::KeepAlive;
use adapter_tokio::pool_driver::tls::{ClientTls, Identity, ServerTls, TlsMode};
use adapter_tokio::pool_proto::{ConnId, IdExchange};
use adapter_tokio::{AnyPool, ClientPool, PooledStream, ServerPool};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::peer::Peer;
use crate::release::{Authority, Release, go};
use crate::rig::{SOON, client_config, eventually, server_config, soon};
use crate::work::Ends;

/// Ready connections; far fewer than a cell uses, so that both ends refill.
const STOCK: u32 = 20;

/// Capacity beyond the stock. In older Go ends, a taker by id and the pool's loop race, and now and
/// then the pool loses track of a connection. This connection must not use up the capacity, and the
/// ids that the loop adds meanwhile must not fill the queue of ids, or the taker blocks forever.
pub(crate) const CAPACITY: u32 = 4 * STOCK;

const PAYLOAD: usize = 64 * 1024;

fn connections() -> usize {
    env::var("POOL_INTEROP_CONNECTIONS").map_or(100, |count| count.parse().unwrap())
}

/// Returns an address to which a server can return: no other test dials from it, so the port stays
/// free meanwhile.
pub(crate) fn fresh_address() -> String {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let process = u8::try_from(std::process::id() % 200).unwrap();
    let server = LAST.fetch_add(1, Ordering::Relaxed);
    if cfg!(target_os = "linux") {
        format!("127.77.{process}.{server}:0")
    } else {
        "127.0.0.1:0".to_owned()
    }
}

/// Our end, in either role.
pub(crate) enum Ours {
    Client(ClientPool),
    Server(ServerPool),
}

impl Ours {
    async fn any(&self) -> Result<PooledStream, AcquireError> {
        match self {
            Self::Client(pool) => pool.acquire(SOON).await,
            Self::Server(pool) => pool.acquire(SOON).await,
        }
    }

    pub(crate) async fn by_id(&self, id: ConnId) -> Result<PooledStream, AcquireError> {
        match self {
            Self::Client(pool) => pool.acquire_by_id(id, SOON).await,
            Self::Server(pool) => pool.acquire_by_id(id, SOON).await,
        }
    }

    async fn stocked(&self) {
        match self {
            Self::Client(pool) => is_stocked(pool).await,
            Self::Server(pool) => is_stocked(pool).await,
        }
    }
}

async fn is_stocked(pool: &impl AnyPool) {
    let look = || (pool.pool().stats(), pool.pool().last_failure());
    eventually(look, |(stats, _)| stats.idle >= STOCK).await;
}

/// A pool of the Go program.
pub(crate) struct GoPool {
    pub(crate) peer: Arc<Peer>,
    pub(crate) pool: Value,
}

impl GoPool {
    pub(crate) async fn client(
        peer: &Arc<Peer>,
        mode: TlsMode,
        address: SocketAddr,
        stock: u32,
    ) -> Self {
        let made = peer.must(json!({
            "do": "client", "address": address.to_string(), "min": stock, "max": 2 * stock,
            "min_ms": 50, "max_ms": 50, "keep_alive_ms": 15_000, "tls": number(mode),
            "host": "localhost",
        }));
        Self { peer: Arc::clone(peer), pool: made.await["pool"].clone() }
    }

    pub(crate) async fn server(
        peer: &Arc<Peer>,
        mode: TlsMode,
        address: &str,
        authority: &Authority,
    ) -> (Self, SocketAddr) {
        let mut request = json!({
            "do": "server", "address": address, "max": CAPACITY, "keep_alive_ms": 15_000,
        });
        if mode != TlsMode::None {
            request["certificate"] = json!(authority.certificate);
            request["key"] = json!(authority.key);
        }
        let made = peer.must(request).await;
        let address = made["address"].as_str().unwrap().parse().unwrap();
        (Self { peer: Arc::clone(peer), pool: made["pool"].clone() }, address)
    }

    pub(crate) async fn ask(&self, what: &str) -> Result<Value, String> {
        let millis = u64::try_from(SOON.as_millis()).unwrap();
        self.peer.call(json!({ "do": what, "pool": self.pool, "ms": millis })).await
    }

    pub(crate) async fn by_id(&self, id: &str, wait: Duration) -> Result<Value, String> {
        let millis = u64::try_from(wait.as_millis()).unwrap();
        let request = json!({ "do": "by_id", "pool": self.pool, "id": id, "ms": millis });
        Ok(self.peer.call(request).await?["conn"].clone())
    }

    /// Returns the number of ready connections that the pool reports.
    pub(crate) async fn active(&self) -> u64 {
        self.ask("stats").await.unwrap()["stats"]["active"].as_u64().unwrap()
    }

    pub(crate) async fn stocked(&self, stock: u64) {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let active = self.active().await;
            if active >= stock {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{active} of {stock} are ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const fn number(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::None => "0",
        TlsMode::SelfSigned => "1",
        TlsMode::Verified => "2",
    }
}

/// The release, our role and the TLS mode of a cell.
pub(crate) struct Cell<'a> {
    pub(crate) release: &'a Release,
    pub(crate) authority: &'a Authority,
    pub(crate) mode: TlsMode,
    pub(crate) we_dial: bool,
}

impl Cell<'_> {
    pub(crate) async fn ends(&self) -> (Ours, GoPool, SocketAddr) {
        if self.we_dial {
            let (theirs, address) = self.their_server(None).await;
            (Ours::Client(self.our_client(address)), theirs, address)
        } else {
            let (ours, address) = self.our_server(None).await;
            let peer = Arc::new(self.release.start());
            (ours, GoPool::client(&peer, self.mode, address, STOCK).await, address)
        }
    }

    async fn their_server(&self, address: Option<SocketAddr>) -> (GoPool, SocketAddr) {
        let address = address.map_or_else(fresh_address, |address| address.to_string());
        GoPool::server(&Arc::new(self.release.start()), self.mode, &address, self.authority).await
    }

    fn our_client(&self, address: SocketAddr) -> ClientPool {
        let config = client_config()
            .capacity(STOCK..=STOCK)
            .ids(IdExchange::Wire(self.release.format))
            .backoff(Duration::from_millis(10), Duration::from_millis(50));
        let tls = match self.mode {
            TlsMode::None => None,
            TlsMode::SelfSigned => Some(ClientTls::self_signed().unwrap()),
            TlsMode::Verified => {
                Some(ClientTls::verified_pem("localhost", self.authority.root.as_bytes()).unwrap())
            }
        };
        let builder = ClientPool::builder().config(config.build().unwrap()).tls(tls);
        builder.connect(address.to_string()).unwrap()
    }

    async fn our_server(&self, address: Option<SocketAddr>) -> (Ours, SocketAddr) {
        let config = server_config().capacity(CAPACITY).id_format(self.release.format);
        let identity = || {
            let Authority { certificate, key, .. } = self.authority;
            Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
        };
        let tls = (self.mode != TlsMode::None).then(|| ServerTls::new(identity()).unwrap());
        let builder = ServerPool::builder().config(config.build().unwrap()).tls(tls);
        let builder = builder.keep_alive(KeepAlive::default());
        let address = address.map_or_else(fresh_address, |address| address.to_string());
        let pool = builder.bind(&address).await.unwrap();
        let address = pool.local_addr().unwrap();
        (Ours::Server(pool), address)
    }

    /// Takes one connection at both ends: any at one end, and by its id at the other.
    async fn take(&self, ours: &Ours, theirs: &GoPool, we_take_any: bool) -> Ends {
        let peer = Arc::clone(&theirs.peer);
        if we_take_any {
            let ours = ours.any().await.unwrap();
            let conn = theirs.by_id(&ours.id().to_string(), SOON).await.unwrap();
            return Ends { peer, ours, theirs: conn };
        }
        let any = theirs.ask("any").await.unwrap();
        let id: ConnId = any["id"].as_str().unwrap().parse().unwrap();
        let ours = ours.by_id(id).await.unwrap();
        assert_eq!(ours.id(), id);
        Ends { peer, ours, theirs: any["conn"].clone() }
    }

    async fn run(&self, we_take_any: bool) {
        let (ours, theirs, address) = self.ends().await;
        let mut uses = JoinSet::new();
        for number in 0..connections() {
            let mut ends = self.take(&ours, &theirs, we_take_any).await;
            uses.spawn(async move {
                ends.they_echo(PAYLOAD).await;
                ends.we_echo(PAYLOAD).await;
                match number % 2 {
                    0 => ends.they_half_close().await,
                    _ => ends.we_half_close().await,
                }
            });
        }
        while let Some(used) = uses.join_next().await {
            used.unwrap();
        }
        // Both ends refill. Only ours is asked: a Go end's count may be wrong, see `CAPACITY`.
        ours.stocked().await;
        let mut all = Vec::new();
        for _ in 0..STOCK {
            all.push(self.take(&ours, &theirs, we_take_any).await);
        }
        drop(all);
        let (ours, theirs) = self.restart_server(ours, theirs, address).await;
        for _ in 0..3 {
            let mut ends = soon(self.take(&ours, &theirs, we_take_any)).await;
            ends.they_echo(1000).await;
            ends.we_echo(1000).await;
        }
    }

    /// Ends the server and its connections, and starts it again; the client stays.
    async fn restart_server(
        &self,
        ours: Ours,
        theirs: GoPool,
        address: SocketAddr,
    ) -> (Ours, GoPool) {
        match ours {
            Ours::Client(pool) => {
                // End the whole program: connections in its backlog would outlive the pool's close.
                drop(theirs);
                eventually(|| pool.stats().idle, |idle| *idle == 0).await;
                let (theirs, _) = self.their_server(Some(address)).await;
                let ours = Ours::Client(pool);
                ours.stocked().await;
                (ours, theirs)
            }
            Ours::Server(pool) => {
                pool.close();
                soon(pool.closed()).await;
                let (ours, _) = self.our_server(Some(address)).await;
                // Without a flush, the Go client would keep its dead connections forever.
                theirs.ask("flush").await.unwrap();
                ours.stocked().await;
                (ours, theirs)
            }
        }
    }
}

async fn cells(we_dial: bool, mode: TlsMode) {
    let Some(go) = go() else { return };
    for release in &go.releases {
        let cell = Cell { release, authority: &go.authority, mode, we_dial };
        for we_take_any in [true, false] {
            cell.run(we_take_any).await;
            let by = if we_take_any { "we" } else { "they" };
            println!("{}: {} connections, {by} take any", release.name, connections());
        }
    }
}

/// Declares a test for each role and mode, so that they run in parallel.
macro_rules! cells {
    ($($name:ident: $we_dial:expr, $mode:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            cells($we_dial, TlsMode::$mode).await;
        }
    )*};
}

cells! {
    our_client_and_a_go_server_in_plaintext: true, None;
    our_client_and_a_go_server_with_a_self_signed_certificate: true, SelfSigned;
    our_client_and_a_go_server_verified_with_a_private_root: true, Verified;
    a_go_client_and_our_server_in_plaintext: false, None;
    a_go_client_and_our_server_with_a_self_signed_certificate: false, SelfSigned;
    a_go_client_and_our_server_verified_with_a_private_root: false, Verified;
}
