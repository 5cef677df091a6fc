//! What adapters are made of: pools, builders, dialling, accepting and the driver, on any runtime of
//! futures; sockets and their options; the clock. Feature `adapter`.
//!
//! An adapter says what its runtime is by implementing [`Runtime`], wraps
//! [`Stream`](crate::transport::Stream) for the I/O traits of its users, and names the types that follow
//! from that. All else stands here, once. It lies outside of `src` because it touches the operating
//! system, which the rest of this crate never does.
//!
//! ```text
//!                                  ┌─ Dialer ───┐
//!   PoolBuilder ──► Pool ──► drive ┤            ├──► handshake ──► Crew::report
//!                    ▲             └─ Listener ─┘     (a task)
//!                    │ acquire, put
//!                   user
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `runtime.rs` | what a runtime has to bring |
//! | `pool.rs` | what both pools can do |
//! | `builder.rs` | what both builders can be told |
//! | `client.rs`, `server.rs` | building; dialling; accepting |
//! | `blocking.rs` | calls that block their thread, instead of futures |
//! | `driver.rs` | the one task of a pool that owns all others |
//! | `socket.rs` | TCP: options, reading by way of the reactor and past it, listening |
//! | `balancer.rs` | several pools as one |
//! | `clock.rs` | the one clock |
//!
//! A trait for runtimes costs a reader an indirection. Two copies of a driver, an accept loop, two
//! builders and a pool cost more: what was mended in one stayed broken in the other.

mod balancer;
mod blocking;
mod builder;
mod client;
mod clock;
mod driver;
mod keep_alive;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod pool;
mod runtime;
mod server;
pub mod shared;
mod socket;
#[cfg(feature = "tls")]
pub mod tls;
pub mod transport;

#[cfg(not(feature = "tls"))]
use no_tls as tls;

pub use balancer::{Balancer, Found};
pub use blocking::{Awaited, Blocking, Threaded};
pub use builder::{Configured, PoolBuilder};
pub use client::Dial;
pub use clock::MonotonicClock;
pub use driver::ShutdownGuard;
pub use keep_alive::KeepAlive;
pub use pool::Pool;
pub use runtime::{Direction, Runtime, poll_until_done};
#[cfg(feature = "tls")]
pub use rustls;
pub use socket::{Polled, Socket, listen_on_first};
