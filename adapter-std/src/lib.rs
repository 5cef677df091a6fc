//! The blocking adapter of `pool`, on plain threads: two ends keep a stock of connections that are
//! already dialled, already through TLS 1.3 and already named by an id, so a request never waits for a
//! handshake.
//!
//! A [`ClientPool`] dials and keeps connections ready; a [`ServerPool`] accepts them and gives each
//! an id, which the client reads. Either end can acquire any idle connection and tell its id to the
//! other end over a channel of the user's own; the other end acquires the connection with that id. A
//! [`PooledStream`] reads and writes like any stream. Dropping it closes the connection; putting it
//! back makes the connection available again.
//!
//! ```
//! use std::error::Error;
//! use std::io::{Read, Write};
//! use std::net::TcpListener;
//! use std::time::Duration;
//!
//! use adapter_std::{ClientPool, ClientTls, Identity, ServerPool, ServerTls};
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?.to_string();
//!
//!     // Each end makes its certificate at the first start, keeps it in a file, and pins the other's.
//!     # let directory = std::env::temp_dir().join(format!("pool-std-{}", std::process::id()));
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
//!     let mut ours = server.acquire(soon)?;
//!     ours.write_all(b"hello")?;
//!
//!     // … and the other end, told its id, acquires the same connection.
//!     let mut theirs = client.acquire_by_id(ours.id(), soon)?;
//!     let mut hello = [0; 5];
//!     theirs.read_exact(&mut hello)?;
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
//! An id is a name, not a proof. A server with several clients compares [`PooledStream::peer_certificate`]
//! after a take by id.
//!
//! # Threads
//!
//! Each pool has one thread, its driver: it accepts, continues handshakes as their sockets become
//! ready, watches the idle connections and keeps the deadlines. A call that may block has a thread of
//! its own while it lasts: the look-up of a name, and the call of a user's dialer; there are at most
//! [`max_dials`](ClientConfigBuilder::max_dials) of them. Idle connections, leases, handshakes and
//! dials to an address need no thread. Dropping the last clone of the pool, or closing it, ends them
//! all; [`ClientPool::closed`] and [`ServerPool::closed`] wait for that and join them.
//!
//! Sockets and timers come from `async-io`. A driver without other work waits for the sockets of all pools
//! of the process; if no driver can, a thread named `async-io` does. The first pool of a process starts
//! that thread and opens three descriptors, which stay. If the system has no thread or descriptor left, the
//! builder returns [`BuildError::Start`] (the panic of `async-io`, which it catches, is on standard error).
//!
//! Every call that waits has a deadline: an acquire by its argument, reads and writes by
//! [`set_read_timeout`](PooledStream::set_read_timeout) and
//! [`set_write_timeout`](PooledStream::set_write_timeout). On Unix, a read that waits sleeps in `poll(2)` on
//! its own socket, so neither the driver nor another thread stands between the read and its data.
//!
//! The blocking stream of rustls, `StreamOwned`, holds its session while a read waits, which would keep
//! writers out. Here the session is held only for calls that do not block, and waiting happens outside
//! of it; [`PooledStream::split`] depends on this.
//!
//! A single thread does all handshakes of a pool, so the user's part of a rustls configuration (a
//! verifier, a resolver of certificates) must not block. An application that needs more than one core for
//! its handshakes opens several pools behind a [`Balancer`], or uses an adapter for async code.
//!
//! # Never a dead connection
//!
//! A close that has reached this host takes an idle connection out of the pool at once, without a
//! caller. The driver may not have noticed it yet, so each connection is also checked when it is handed
//! out, with a system call of 0.4 µs: a connection that the peer has closed is replaced by another, and
//! the caller keeps its turn. Only an acquire by its id gets a connection that has ended, because the
//! peer's user may have taken and closed it before telling the id: it reads EOF, or the error (with TLS,
//! `UnexpectedEof` if the peer has closed without a close_notify).
//!
//! # Platforms
//!
//! Unix and Windows. A caller waits for its socket with `poll(2)` on Unix, and through the thread of
//! `async-io` elsewhere; the pool waits through `async-io` everywhere.
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
//! | `pools.rs` | the pool types and their blocking calls |
//! | `runtime.rs` | threads, sockets and timers, as [`pool_driver::Runtime`] wants them |
//! | `stream.rs` | [`PooledStream`] and its halves |
//! | `wait.rs` | waiting for one socket |
//!
//! The parts that all adapters share (the pool, its builders and its driver, TLS, the handshake,
//! checks, leases) are in [`pool_driver`]; the state machine is [`pool_proto`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod pools;
mod runtime;
mod stream;
mod wait;

#[doc(inline)]
pub use pool_driver::exports::*;
pub use pool_driver::{self, pool_proto};
#[cfg(feature = "tls")]
pub use pool_driver::{rustls, tls};
pub use pools::{Balancer, ClientPool, ClientPoolBuilder, ServerPool, ServerPoolBuilder};
pub use runtime::Threads;
pub use stream::{PooledStream, ReadHalf, WriteHalf};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
