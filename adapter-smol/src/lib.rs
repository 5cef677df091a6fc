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
//! use adapter_smol::pool_proto::tls::{ClientTls, ServerTls};
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
//! decisions are made by the state machine of [`pool_proto`]; what is here is sockets, TLS and a
//! timer. Names are resolved on the threads of `blocking`; nothing else blocks.
//!
//! # On which executor
//!
//! On smol's global one (a single thread, unless `SMOL_THREADS` says otherwise), or on one of the
//! user's, given to [`spawn_with`](ClientPoolBuilder::spawn_with): it gets as many futures as there
//! are processors, so that handshakes can go on side by side, and has nothing to do but run them.
//! Sockets and timers are those of `async-io`, which brings its own thread where nobody runs its
//! `block_on`; so any executor will do, as will any `block_on` for the calls of a pool:
//!
//! ```
//! # use adapter_smol::ClientPool;
//! # use std::sync::Arc;
//! # fn example(ours: Arc<smol::Executor<'static>>) -> Result<(), Box<dyn std::error::Error>> {
//! let pool = ClientPool::builder()
//!     .spawn_with(move |future| ours.spawn(future).detach())
//!     .connect("tunnel.example:9000")?;
//! # Ok(()) }
//! ```
//!
//! For async-std (which is discontinued), it is
//! `spawn_with(|future| drop(async_std::task::spawn(future)))`.
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
//! | `pool.rs` | what both pools can do: the public API |
//! | `client.rs`, `server.rs` | builders; dialling; accepting |
//! | `driver.rs` | what a pool runs |
//! | `stream.rs` | a connection in the user's hands |
//! | `clock.rs` | the one clock |
//! | `socket.rs` | TCP: options, reading by way of the reactor and past it, listening |
//! | `balancer.rs` | several pools as one |
//!
//! What every adapter does alike (TLS, the id, the look at a connection, early data, leases) is in
//! [`pool_proto::transport`] and [`pool_proto::shell`].

mod balancer;
mod client;
mod clock;
mod driver;
mod pool;
mod server;
mod socket;
mod stream;

pub use balancer::Balancer;
pub use client::{ClientPool, ClientPoolBuilder};
pub use pool::{BuildError, Pool};
pub use pool_proto;
pub use pool_proto::shell::{AcquireError, Handle};
pub use pool_proto::tls::TlsFacts;
pub use pool_proto::transport::Revoked;
pub use rustls;
pub use server::{ServerPool, ServerPoolBuilder};
pub use stream::PooledStream;
