//! The smol adapter of `pool`: two ends keep a stock of connections that are already dialled, already
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
//! use adapter_smol::{ClientPool, ClientTls, Identity, ServerPool, ServerTls};
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?.to_string();
//!
//!     // Each end makes its certificate at the first start, keeps it in a file, and pins the other's.
//!     # let directory = std::env::temp_dir().join(format!("pool-smol-{}", std::process::id()));
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
//! })
//! # }
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
//! Each pool has a driver, and an executor of its own for dials and handshakes, which the driver owns.
//! Dropping the last clone of the pool, closing it, or dropping the executor that it runs on ends them
//! all. An idle connection has neither a task nor a timer: it leaves a waker with the reactor of
//! `async-io`, which wakes the driver when data arrives. The state machine of [`pool_proto`] makes all
//! decisions; this crate adds sockets and a timer. Names are resolved on the threads of `blocking`;
//! nothing else blocks.
//!
//! # Executors
//!
//! A pool runs on smol's global executor (a single thread, unless `SMOL_THREADS` says otherwise), or
//! on an executor of the user's, given to the builder as a [`Spawner`]. The executor gets a future for
//! each processor, so that handshakes run in parallel, and only has to run them. The pool does not keep
//! the executor alive: when the executor is dropped, the pool closes.
//!
//! Sockets and timers come from `async-io`, which has a thread of its own for when nothing else runs its
//! `block_on`. So any executor will do, and any `block_on` for the calls of a pool:
//!
//! ```
//! # use std::sync::Arc;
//! use adapter_smol::{ClientPool, Spawner};
//!
//! # fn example(ours: Arc<smol::Executor<'static>>) -> Result<(), Box<dyn std::error::Error>> {
//! let pool = ClientPool::builder()
//!     .on(Spawner::new(move |future| ours.spawn(future).detach()))
//!     .connect("tunnel.example:9000")?;
//! # Ok(()) }
//! ```
//!
//! For async-std, which is discontinued, the spawner is
//! `Spawner::new(|future| drop(async_std::task::spawn(future)))`.
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
//! | `runtime.rs` | sockets, timers and tasks, as [`pool_driver::Runtime`] wants them |
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
pub use runtime::{Smol, Spawner};
pub use stream::{PooledStream, ReadHalf, WriteHalf};

pool_driver::pool_types! {
    runtime: Smol,
    handle: Spawner,
    stream: PooledStream,
    tcp_stream: smol::net::TcpStream,
    listener: smol::net::TcpListener;

    /// A pool that dials a peer and keeps connections ready.
    ///
    /// ```
    /// # use adapter_smol::ClientPool;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use smol::net::TcpStream;
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
    /// # async fn example(a: adapter_smol::ClientPool, b: adapter_smol::ClientPool)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use adapter_smol::{Balanced, Balancer};
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
