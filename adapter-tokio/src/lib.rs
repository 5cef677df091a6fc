//! The tokio adapter of `pool`: two ends keep a stock of connections that are already dialled,
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
//! use adapter_tokio::pool_driver::tls::{ClientTls, ServerTls};
//! use adapter_tokio::{ClientPool, ServerPool};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
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
//! }
//! ```
//!
//! # What runs
//!
//! Each pool has one task, its driver. It owns every dial and handshake of the pool; dropping the
//! pool (its last clone), closing it, or shutting the runtime down ends them all. There is no task
//! and no timer per connection: an idle connection leaves a waker with tokio's reactor, which tells
//! the driver when something arrives on it. All decisions are made by the state machine of
//! [`pool_proto`]; what is here is sockets and a timer.
//!
//! # Never a dead connection
//!
//! A close that has reached this host takes an idle connection out of the pool, without anybody
//! asking for it. And because the reactor may not have heard of it yet, each connection is looked at
//! once more at the moment at which it is handed out, with a system call of 0.4 µs: one that the
//! peer has closed by then is replaced by another, and its taker keeps its turn.
//!
//! # Speaking with Go ends
//!
//! The [`interop`] page: which setting for which release of the Go package, what a wrong one looks
//! like, and the faults of that package which are tests here.
//!
//! # Where to look
//!
//! | file | what is in it |
//! |---|---|
//! | `runtime.rs` | tasks, timers and sockets of tokio, as [`pool_driver`] wants them |
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
pub use runtime::Tokio;
pub use stream::PooledStream;

/// A pool on tokio: what a [`ClientPool`] and a [`ServerPool`] have in common.
pub type Pool<R> = pool_driver::Pool<Tokio, R>;

/// A pool that dials a peer and keeps connections ready.
///
/// ```
/// # use adapter_tokio::ClientPool;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::net::TcpStream;
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
pub type ClientPoolBuilder = PoolBuilder<Tokio, Dialing>;

/// A pool that accepts peers and names their connections.
pub type ServerPool = Pool<Accepting>;

/// Builds a [`ServerPool`].
pub type ServerPoolBuilder = PoolBuilder<Tokio, Accepting>;

/// Several pools as one.
///
/// ```
/// # async fn example(a: adapter_tokio::ClientPool, b: adapter_tokio::ClientPool)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use adapter_tokio::Balancer;
/// use std::time::Duration;
///
/// let balancer = Balancer::new(a, [b]);
/// let (stream, pool) = balancer.acquire(Duration::from_secs(1)).await?;
/// // … use it …
/// pool.put(stream)?;
/// # Ok(()) }
/// ```
pub type Balancer<R> = pool_driver::Balancer<Tokio, R>;

#[doc = include_str!("../docs/interop.md")]
pub mod interop {}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
