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
//! use adapter_tokio::pool_proto::tls::{ClientTls, ServerTls};
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
//! [`pool_proto`]; what is here is sockets, TLS and a timer.
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
//! | `pool.rs` | what both pools can do: the public API |
//! | `client.rs`, `server.rs` | builders; dialling; accepting |
//! | `driver.rs` | the one task of a pool |
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

#[doc = include_str!("../docs/interop.md")]
pub mod interop {}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
