//! The tokio adapter of `pool`: two ends keep a stock of connections that are already dialled, already
//! through TLS 1.3 and already named by an id, so a request never waits for a handshake.
//!
//! A [`ClientPool`] dials and keeps connections ready; a [`ServerPool`] accepts them and gives each
//! an id, which the client reads. Either end can acquire any idle connection and tell its id to the
//! other end over a channel of the user's own; the other end acquires the connection with that id. A
//! [`PooledStream`] reads and writes like any stream. Dropping it closes the connection; putting it
//! back makes the connection available again.
//!
//! ```
//! use std::time::Duration;
//!
//! use adapter_tokio::{ClientPool, ClientTls, Identity, ServerPool, ServerTls};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?.to_string();
//!
//!     // Each end makes its certificate at the first start, keeps it in a file, and pins the other's.
//!     # let directory = std::env::temp_dir().join(format!("pool-tokio-{}", std::process::id()));
//!     # std::fs::create_dir_all(&directory)?;
//!     let server = Identity::load_or_create(directory.join("server.pem"), ["tunnel.example"])?;
//!     let agent = Identity::load_or_create(directory.join("agent.pem"), ["agent.example"])?;
//!     # std::fs::remove_dir_all(&directory)?;
//!     let (server_pin, agent_pin) = (server.fingerprint(), agent.fingerprint());
//!
//!     let tls = ServerTls::new(server)?.pinned_clients([agent_pin])?;
//!     let server = ServerPool::builder().tls(tls).require_authentication().listen(listener)?;
//!     let tls = ClientTls::self_signed()?.pinned(server_pin)?.client_certificate(agent);
//!     let client = ClientPool::builder().tls(tls).require_authentication().connect(address)?;
//!
//!     // One end acquires any connection …
//!     let soon = Duration::from_secs(5);
//!     let mut ours = server.acquire(soon).await?;
//!     ours.write_all(b"hello").await?;
//!     ours.flush().await?;
//!
//!     // … and the other end, told its id, acquires the same connection.
//!     let mut theirs = client.acquire_by_id(ours.id(), soon).await?;
//!     let mut hello = [0; 5];
//!     theirs.read_exact(&mut hello).await?;
//!     assert_eq!(&hello, b"hello");
//!
//!     // Both ends put it back, and it is ready for the next request.
//!     client.put(theirs)?;
//!     server.put(ours)?;
//!     Ok(())
//! }
//! ```
//!
//! # Authentication
//!
//! A request goes over any connection of the pool, so a peer that gets into the pool gets requests. The
//! example authenticates both ends, and `require_authentication` refuses to build a pool that does
//! not. **Without the clients' certificates, strangers who can reach the listener are handed
//! requests.** Without the pin of the server, an attacker who can redirect a connection takes its
//! place. The page of [`pool_driver::tls`] has the alternatives, such as an authority of your own for
//! many clients.
//!
//! An id is a name, not a proof. A server with several clients compares
//! [`PooledStream::peer_certificate`] after a take by id.
//!
//! # Tasks
//!
//! Each pool has one task, its driver. It owns all dials and handshakes of the pool. Dropping the last
//! clone of the pool, closing it, or shutting the runtime down ends them all. An idle connection has
//! neither a task nor a timer: it leaves a waker with tokio's reactor, which wakes the driver when
//! data arrives. The state machine of [`pool_proto`] makes all decisions; this crate adds sockets and
//! a timer.
//!
//! The driver carries out a few commands and yields, so that a pool of thousands that ends does not
//! keep the other tasks of its thread waiting. A call of `flush` or `close` revokes all leases itself,
//! and takes some 0.2 µs for each connection.
//!
//! # Time
//!
//! The deadline of a call is the caller's: the call answers in time on any runtime, even without timers,
//! and on a thread without a runtime, whatever the runtime of the pool does. A pool that is parked,
//! blocked or overloaded serves nobody, but does not hold callers beyond their deadlines. For this, all
//! timers of pools come from `async-io`, which has one thread for the whole process. So the runtime of a
//! pool needs I/O (`enable_io`) and no timers; a runtime without I/O is refused when the pool is built
//! ([`BuildError::NoIo`]).
//!
//! Pools do not know the paused time of tokio's tests (`start_paused`, `tokio::time::pause`): all their
//! times are real, the timeout of `acquire` and those of the configuration alike. While time is paused
//! and all tasks wait for I/O, tokio's clock jumps to its next timer, which would end a
//! `tokio::time::timeout` around an `acquire` before the connection can come; the timeout of `acquire`
//! itself is unaffected.
//!
//! # Never a dead connection
//!
//! A close that has reached this host takes an idle connection out of the pool at once, without a
//! caller. The reactor may not have reported it yet, so each connection is also checked when it is
//! handed out, with a system call of 0.4 µs: a connection that the peer has closed is replaced by
//! another, and the caller keeps its turn. Only an acquire by its id gets a connection that has ended,
//! because the peer's user may have taken and closed it before telling the id: it reads EOF, or the error
//! (with TLS, `UnexpectedEof` if the peer has closed without a close_notify).
//!
//! # Speaking with Go ends
//!
//! The [`interop`] page tells which settings match which release of the Go package, the symptoms of a
//! wrong setting, and the faults of that package that are tests here.
//!
//! # The guide
//!
//! [`pool_driver::guide`] has the [settings](pool_driver::guide::settings) and the reasons for their
//! defaults; [failures](pool_driver::guide::failures) one by one; [recipes](pool_driver::guide::recipes);
//! and a [comparison](pool_driver::guide::comparison) with other pools.
//!
//! # Where to look
//!
//! | file | contents |
//! |---|---|
//! | `runtime.rs` | tasks and sockets of tokio, and timers, as [`pool_driver::Runtime`] wants them |
//! | `stream.rs` | [`PooledStream`] and its I/O traits |
//!
//! The parts that all adapters share (the pool, its builders and its driver, TLS, the handshake,
//! checks, leases) are in [`pool_driver`]; the state machine is [`pool_proto`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod runtime;
mod stream;

#[doc(inline)]
pub use pool_driver::exports::*;
pub use pool_driver::{self, pool_proto};
#[cfg(feature = "tls")]
pub use pool_driver::{rustls, tls};
pub use runtime::Tokio;
pub use stream::{PooledStream, ReadHalf, WriteHalf};

pool_driver::pool_types! {
    runtime: Tokio,
    handle: tokio::runtime::Handle,
    stream: PooledStream,
    tcp_stream: tokio::net::TcpStream,
    listener: tokio::net::TcpListener;

    /// A pool that dials a peer and keeps connections ready.
    ///
    /// ```
    /// # use adapter_tokio::ClientPool;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::net::TcpStream;
    ///
    /// let gateway = String::from("gateway.example:9000");
    /// // The closure is called for each dial, so each call clones the address for its future.
    /// let pool = ClientPool::builder().connect_with(move || {
    ///     let gateway = gateway.clone();
    ///     async move { TcpStream::connect(gateway).await }
    /// })?;
    /// # drop(pool); Ok(()) }
    /// ```
    client;

    /// A pool that accepts peers and issues the ids of their connections.
    server;

    ///
    /// ```
    /// # async fn example(a: adapter_tokio::ClientPool, b: adapter_tokio::ClientPool)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use adapter_tokio::{Balanced, Balancer};
    ///
    /// let balancer = Balancer::new(a, [b]);
    /// // What belongs to a pool, such as its control channel, stands in the order of the pools.
    /// let mut told = vec![Vec::new(); balancer.pools().len()];
    ///
    /// let Balanced { stream, pool, index } = balancer.acquire(Duration::from_secs(1)).await?;
    /// told[index].push(stream.id());
    /// // … use the stream …
    /// pool.put(stream)?;
    /// # Ok(()) }
    /// ```
    balancer
}

#[doc = include_str!("../docs/interop.md")]
pub mod interop {}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct PackageReadme;

/// Compiles the recipes of the guide, which `pool-driver` shows.
#[cfg(doctest)]
#[doc = include_str!("../../pool-proto/driver/docs/guide/recipes.md")]
struct Recipes;
