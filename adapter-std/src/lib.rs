//! The blocking adapter of `pool`, on plain threads: two ends keep a stock of connections that are
//! already dialled, already through TLS 1.3 and already named by an id, so that a request never
//! waits for a handshake.
//!
//! A [`ClientPool`] dials and keeps connections ready; a [`ServerPool`] accepts them and gives each
//! an id, which the client reads. Either end takes any ready connection and tells its id to the
//! other, over a channel of the user's own; the other takes the connection with that id. A
//! [`PooledStream`] is used like any stream; dropped, it is closed; put back, it is used again.
//!
//! ```
//! use std::error::Error;
//! use std::io::{Read, Write};
//! use std::net::TcpListener;
//! use std::time::Duration;
//!
//! use adapter_std::pool_driver::tls::{ClientTls, ServerTls};
//! use adapter_std::{ClientPool, ServerPool};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?.to_string();
//!
//!     let server = ServerPool::builder().tls(ServerTls::self_signed()?).listen(listener)?;
//!     let client = ClientPool::builder().tls(ClientTls::self_signed()?).connect(address)?;
//!
//!     // One end takes any connection, …
//!     let soon = Duration::from_secs(5);
//!     let mut ours = server.acquire(soon)?;
//!     ours.write_all(b"hello")?;
//!
//!     // … and the other, told the id, takes the same one.
//!     let mut theirs = client.acquire_by_id(ours.id(), soon)?;
//!     let mut hello = [0; 5];
//!     theirs.read_exact(&mut hello)?;
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
//! Each pool has one thread, its driver: it accepts, goes on with handshakes as their sockets let it,
//! watches over the idle connections and keeps the deadlines. What may block has a thread of its own
//! while it lasts: the look-up of a name, and the call of a user's dialer; there are at most
//! [`max_dials`](pool_proto::ClientConfigBuilder::max_dials) of them. Nothing else has a thread: not
//! an idle connection, not a lease, not a handshake, not a dial to an address. Dropping the pool (its
//! last clone) or closing it ends them all; [`Pool::closed`] waits for that and joins them.
//!
//! Sockets and timers are those of `async-io`: a driver that has nothing else to do waits for the
//! sockets of all pools of the process, and a thread named `async-io` does where no driver can. The
//! first pool of a process makes that thread and three descriptors, and they stay. Where the system has
//! none left, the builder says so with [`BuildError::Start`] (and the panic of `async-io` that it has
//! caught is on standard error).
//!
//! Every call that waits has a deadline: taking a connection by its argument, reads and writes by
//! [`set_read_timeout`](PooledStream::set_read_timeout) and
//! [`set_write_timeout`](PooledStream::set_write_timeout). A read that waits sleeps in `poll(2)` on
//! its own socket, so neither the driver nor another thread stands between it and its data.
//!
//! rustls' own blocking stream, `StreamOwned`, holds its session while it waits in a read, so nobody
//! could write meanwhile. Here the session is held only for what does not block, and the waiting is
//! done outside; that is what makes [`PooledStream::split`] possible.
//!
//! One thread shakes all hands of a pool, so what a user puts into rustls' configuration (a verifier, a
//! resolver of certificates) must not block. Who needs more than one core's worth of handshakes opens
//! several pools and a [`Balancer`], or takes an adapter for async code.
//!
//! # Never a dead connection
//!
//! A close that has reached this host takes an idle connection out of the pool, without anybody
//! asking for it. And because the driver may not have heard of it yet, each connection is looked at
//! once more at the moment at which it is handed out, with a system call of 0.4 µs: one that the
//! peer has closed by then is replaced by another, and its taker keeps its turn.
//!
//! # Where it runs
//!
//! On Unix: it waits with `poll(2)` and, through `async-io`, with epoll or kqueue.
//!
//! # Where to look
//!
//! | file | what is in it |
//! |---|---|
//! | `runtime.rs` | threads, sockets and timers, as [`pool_driver`] wants them |
//! | `stream.rs` | a connection in the user's hands |
//! | `wait.rs` | waiting for one socket |
//!
//! What every adapter does alike (the pool, its builders and its driver, TLS, the id, the look at a
//! connection, early data, leases) is in [`pool_driver`], [`pool_driver::transport`] and
//! [`pool_driver::shared`].

mod runtime;
mod stream;
mod wait;

pub use pool_driver;
#[cfg(feature = "tls")]
pub use pool_driver::rustls;
pub use pool_driver::shared::{AcquireError, Handle};
#[cfg(feature = "tls")]
pub use pool_driver::tls;
#[cfg(feature = "tls")]
pub use pool_driver::tls::TlsFacts;
pub use pool_driver::transport::{BuildError, Revoked};
use pool_driver::{Blocking, PoolBuilder};
pub use pool_proto;
use pool_proto::{Accepting, Dialing};
pub use runtime::Threads;
pub use stream::{PooledStream, ReadHalf, WriteHalf};

/// A pool on threads: what a [`ClientPool`] and a [`ServerPool`] have in common.
pub type Pool<R> = pool_driver::Pool<Threads, R, Blocking>;

/// A pool that dials a peer and keeps connections ready.
///
/// ```
/// # use adapter_std::ClientPool;
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// let gateway = "192.0.2.1:9000".parse()?;
/// // Nothing can end a dial from outside: it should have a deadline.
/// let pool = ClientPool::builder()
///     .connect_with(move || TcpStream::connect_timeout(&gateway, Duration::from_secs(5)))?;
/// # drop(pool); Ok(()) }
/// ```
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
pub type ClientPoolBuilder = PoolBuilder<Threads, Dialing, Blocking>;

/// A pool that accepts peers and names their connections.
pub type ServerPool = Pool<Accepting>;

/// Builds a [`ServerPool`].
pub type ServerPoolBuilder = PoolBuilder<Threads, Accepting, Blocking>;

/// Several pools as one.
///
/// ```
/// # fn example(a: adapter_std::ClientPool, b: adapter_std::ClientPool)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use adapter_std::Balancer;
/// use std::time::Duration;
///
/// let balancer = Balancer::new(a, [b]);
/// let (stream, pool) = balancer.acquire(Duration::from_secs(1))?;
/// // … use it …
/// pool.put(stream)?;
/// # Ok(()) }
/// ```
pub type Balancer<R> = pool_driver::Balancer<Threads, R, Blocking>;
