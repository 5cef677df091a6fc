//! The smol adapter of `pool`: two ends keep a stock of connections that are already dialled,
//! already through TLS 1.3 and already named by an id, so that a request never waits for a
//! handshake.
//!
//! A [`ClientPool`] dials and keeps connections ready; a [`ServerPool`] accepts them and gives each
//! an id, which the client reads. Either end takes any ready connection and tells its id to the
//! other, over a channel of the user's own; the other takes the connection with that id. A
//! [`PooledStream`] is used like any stream; dropped, it is closed; put back, it is used again.
//!
//! ```
//! use std::time::Duration;
//!
//! use adapter_smol::pool_driver::tls::{ClientTls, ServerTls};
//! use adapter_smol::{ClientPool, ServerPool};
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?.to_string();
//!
//!     let server = ServerPool::builder().tls(ServerTls::self_signed()?).listen(listener)?;
//!     let client = ClientPool::builder().tls(ClientTls::self_signed()?).connect(address)?;
//!
//!     // One end takes any connection, …
//!     let soon = Duration::from_secs(5);
//!     let mut ours = server.acquire(soon).await?;
//!     ours.write_all(b"hello").await?;
//!     ours.flush().await?;
//!
//!     // … and the other, told the id, takes the same one.
//!     let mut theirs = client.acquire_by_id(ours.id(), soon).await?;
//!     let mut hello = [0; 5];
//!     theirs.read_exact(&mut hello).await?;
//!     assert_eq!(&hello, b"hello");
//!
//!     // Both put it back, and it is ready for the next request.
//!     client.put(theirs)?;
//!     server.put(ours)?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # What runs
//!
//! Each pool has a driver, and an executor of its own for its dials and handshakes, which the driver
//! owns; dropping the pool (its last clone), closing it, or dropping the executor that it runs on
//! ends them all. There is no task and no timer per connection: an idle connection leaves a waker
//! with the reactor of `async-io`, which tells the driver when something arrives on it. All
//! decisions are made by the state machine of [`pool_proto`]; what is here is sockets and a timer.
//! Names are resolved on the threads of `blocking`; nothing else blocks.
//!
//! # On which executor
//!
//! On smol's global one (a single thread, unless `SMOL_THREADS` says otherwise), or on one of the
//! user's, given to the builder as a [`Spawner`]: it gets as many futures as there are processors, so
//! that handshakes can go on side by side, and has nothing to do but run them. The pool does not keep
//! the executor: when it is dropped, the pool closes.
//! Sockets and timers are those of `async-io`, which brings its own thread where nobody runs its
//! `block_on`; so any executor will do, as will any `block_on` for the calls of a pool:
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
//! For async-std (which is discontinued), it is
//! `Spawner::new(|future| drop(async_std::task::spawn(future)))`.
//!
//! # Never a dead connection
//!
//! A close that has reached this host takes an idle connection out of the pool, without anybody
//! asking for it. And because the reactor may not have heard of it yet, each connection is looked at
//! once more at the moment at which it is handed out, with a system call of 0.4 µs: one that the
//! peer has closed by then is replaced by another, and its taker keeps its turn.
//!
//! # Where to look
//!
//! | file | what is in it |
//! |---|---|
//! | `runtime.rs` | sockets, timers and tasks, as [`pool_driver`] wants them |
//! | `stream.rs` | a connection in the user's hands |
//!
//! What every adapter does alike (the pool, its builders and its driver, TLS, the id, the look at a
//! connection, early data, leases) is in [`pool_driver`], [`pool_driver::transport`] and
//! [`pool_driver::shared`].

mod runtime;
mod stream;

pub use pool_driver;
use pool_driver::PoolBuilder;
#[cfg(feature = "tls")]
pub use pool_driver::rustls;
pub use pool_driver::shared::{AcquireError, Handle};
#[cfg(feature = "tls")]
pub use pool_driver::tls;
#[cfg(feature = "tls")]
pub use pool_driver::tls::TlsFacts;
pub use pool_driver::transport::{BuildError, Revoked};
pub use pool_proto;
use pool_proto::{Accepting, Dialing};
pub use runtime::{Smol, Spawner};
pub use stream::PooledStream;

/// A pool on smol: what a [`ClientPool`] and a [`ServerPool`] have in common.
pub type Pool<R> = pool_driver::Pool<Smol, R>;

/// A pool that dials a peer and keeps connections ready.
///
/// ```
/// # use adapter_smol::ClientPool;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use smol::net::TcpStream;
///
/// let gateway = String::from("gateway.example:9000");
/// // The closure is called for each dial, so each call clones what its future takes along.
/// let pool = ClientPool::builder().connect_with(move || {
///     let gateway = gateway.clone();
///     async move { TcpStream::connect(gateway).await }
/// })?;
/// # drop(pool); Ok(()) }
/// ```
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
pub type ClientPoolBuilder = PoolBuilder<Smol, Dialing>;

/// A pool that accepts peers and names their connections.
pub type ServerPool = Pool<Accepting>;

/// Builds a [`ServerPool`].
pub type ServerPoolBuilder = PoolBuilder<Smol, Accepting>;

/// Several pools as one.
///
/// ```
/// # async fn example(a: adapter_smol::ClientPool, b: adapter_smol::ClientPool)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use adapter_smol::Balancer;
/// use std::time::Duration;
///
/// let balancer = Balancer::new(a, [b]);
/// let (stream, pool) = balancer.acquire(Duration::from_secs(1)).await?;
/// // … use it …
/// pool.put(stream)?;
/// # Ok(()) }
/// ```
pub type Balancer<R> = pool_driver::Balancer<Smol, R>;
