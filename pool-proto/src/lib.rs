//! The sans-I/O state machine of a connection pool: two ends keep a stock of connections that are
//! already dialled, already through TLS and already named by an id, so that no request waits for a
//! handshake.
//!
//! This crate decides; adapters do. It has no socket, no clock, no thread and no runtime: what
//! happened comes in, with the time, as method calls; what to do comes out as [`Action`]s. The same
//! configuration, seed and inputs give the same outputs, byte for byte. To use a pool, take an
//! adapter (`adapter-tokio`); to drive the machine from an executor of your own, read on.
//!
//! # Two machines, one bookkeeping
//!
//! A [`Client`] dials and keeps connections ready; a [`Server`] admits peers, gives each connection
//! an id and sends it. Either end can take *any* ready connection ([`acquire`](Machine::acquire))
//! and tell its id to the other, over a channel of the user's own; the other takes the connection
//! with that id ([`acquire_by_id`](Machine::acquire_by_id)). Both are a [`Machine`]; only where
//! connections come from differs ([`Role`]).
//!
//! # States
//!
//! A connection is in one [`State`] at a time. [`EDGES`] is the same diagram as a table.
//!
//! ```text
//! new ─ Action::Dial ─► dialing ─ Dialed ─► handshaking ─ Established ─► idle ─ acquire ─► leased
//! new ─ Server::admit ─► handshaking
//!
//! leased ─ put ─► checking ─ drained ─► idle
//! leased ─ put, with a reuse delay ─► resting ─ the delay is over ─► checking
//! leased ─ put_drained ─► idle
//! idle ─ Readable ─► checking ─ data ─► claimed ─ acquire_by_id ─► leased
//!
//! handshaking, idle, leased, checking ─ a waiter's turn ─► granted ─ collect ─► leased
//! granted ─ cancel ─► granted, idle, claimed
//! handshaking, granted, leased, checking ─ data came meanwhile ─► checking
//! handshaking, leased ─ the control connection ─► claimed
//!
//! every state ─ timeout, peer closed, put into a full pool, clean, flush, close ─► closed
//! ```
//!
//! *Claimed* is a connection on which the peer's user has already sent something: the peer has
//! taken it and is about to tell its id. It is no longer anybody's to take but by that id; so when
//! both ends take connections at the same time, they do not take the same one. (Without id exchange
//! the peer is no pool and may speak first: then early data changes nothing.) The
//! [control connection](ServerConfigBuilder::control_connection), if there is to be one, is claimed
//! from the beginning. Between *idle* and
//! *leased* a connection can be promised to a waiter that has not collected it; it counts as leased.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | dialing, handshaking | being connected; in TLS and id exchange |
//! | idle | ready, in the pool |
//! | claimed | in the pool, but the peer has begun to use it |
//! | lease, leased | in use: taken and not yet put back or closed |
//! | returning | put back and resting (reuse delay), or being checked |
//! | check | a look at a connection that does not block: has the peer closed it, has something come? To *drain* is to throw that away |
//! | acquire, acquire by id | take any connection; take the one with this id |
//! | waiter | who waits for a connection, or for stock; what has been *granted* to it awaits its collection |
//! | put, reject | give a lease back after use; give it back unused, because a check found it unfit |
//! | capacity, interval | ready connections aimed at; time between two rounds of the tuner |
//! | stock, supply | the idle ones; all that are idle, becoming so, or granted |
//! | refused, rejected | a taker that gets nothing; a peer that is not admitted |
//!
//! # The contract
//!
//! - **Drain after every call.** After any call that takes `&mut self`, call
//!   [`poll_action`](Machine::poll_action) until it returns `None`, and carry the actions out in
//!   order. Then ask [`poll_timeout`](Machine::poll_timeout) again.
//! - **Connections move by value.** The machine's `C` is yours, opaque, best pointer-sized. The
//!   machine never drops one: each leaves as a [`Lease`], in [`Action::Check`] or in
//!   [`Action::Close`]; so one connection cannot be in two hands.
//! - **Each token ends once.** A connection ends in exactly one [`Action::Close`],
//!   [`Action::Abort`], or report of yours ([`Event::DialFailed`], [`Event::HandshakeFailed`],
//!   [`Event::Closed`] of a lease); no action names it afterwards, unless you hand it in again. What you report of it later is stale, and
//!   changes nothing but a counter; if a connection comes with it, it goes out again to be closed.
//!   That is also how a connection ends that is given up while you check it: when it comes back.
//! - **What the pool holds is watched.** Hand a connection in with its readiness armed: with
//!   [`Event::Established`], with the answer to a check, and with a put. Whatever has arrived by then
//!   and was not read, or arrives later, must lead to [`Event::Readable`]; an edge that was used up
//!   before the id was whole may have been the peer's close. A spurious one costs a look.
//! - **Deadlines are the machine's**: dial, handshake with id, idle, lifetime, claim, reuse, drain,
//!   backoff, rounds. The deadline of an acquire is the caller's: [`cancel`](Machine::cancel).
//! - **Time only moves forward.** A `now` before the latest one counts as that.
//! - **A panic is a bug**, never the answer to input: no order of calls panics.
//!
//! # The driving loop
//!
//! ```
//! use core::time::Duration;
//! use pool_proto::{Acquired, Action, Client, ClientConfig, ConnId, Event, CheckResult, Instant};
//!
//! # fn main() -> Result<(), pool_proto::ConfigError> {
//! let config = ClientConfig::builder().capacity(1..=2).seed(7).build()?;
//! let mut now = Instant::EPOCH;
//! // Here a connection is just a name; an adapter's is a socket.
//! let mut pool = Client::<&'static str>::new(&config, now);
//!
//! // Somebody wants a connection before there is one.
//! let Acquired::Queued(waiter) = pool.acquire(now) else { unreachable!("the pool is empty") };
//!
//! let mut woken = false;
//! while !woken {
//!     // 1. Carry out what the machine wants.
//!     while let Some(action) = pool.poll_action() {
//!         match action {
//!             Action::Dial { token } => {
//!                 // A driver connects, does TLS, reads the id: here all goes well at once.
//!                 pool.handle_event(now, Event::Dialed { token });
//!                 let id = Some(ConnId::from_bytes([0, 0, 0, token.slot() as u8]));
//!                 pool.handle_event(now, Event::Established { token, connection: "tcp", id });
//!             }
//!             Action::Check { token, connection, .. } => {
//!                 // A driver looks at the socket without blocking.
//!                 let result = CheckResult::Quiet;
//!                 pool.handle_event(now, Event::Checked { token, connection, result });
//!             }
//!             Action::Close { connection, .. } => drop(connection),
//!             Action::Abort { .. } => {} // End the dial, the handshake or the lease.
//!             Action::Wake { waiter: whom } => woken |= whom == waiter,
//!         }
//!     }
//!     // 2. Wait for I/O, but not beyond the next deadline.
//!     let deadline = pool.poll_timeout();
//!     now = deadline.unwrap_or(now + Duration::from_secs(1));
//!     // 3. Tell the machine what has happened, or that the time has come.
//!     pool.handle_timeout(now);
//! }
//!
//! let pool_proto::Collected::Ready(lease) = pool.collect(now, waiter) else {
//!     unreachable!("woken with a connection")
//! };
//! assert_eq!(lease.connection, "tcp");
//! // … use it, and give it back:
//! pool.put(now, lease.token, lease.connection).expect("the lease is ours");
//! # Ok(()) }
//! ```
//!
//! `examples/by_hand.rs` does the same over real sockets, with both machines. `examples/event_loop`
//! does so without blocking, for many connections at the same time in one loop.
//!
//! # Timers
//!
//! Taking, putting back, dialling, admitting and ending are O(1), and in the steady state nothing
//! allocates. (Not O(1), and bounded by configuration: making room for a handshake looks at all of
//! them, an id that is not live is looked for among the last 256 that were, callers that wait for
//! stock are looked through while there are any.) Connections live in a
//! generational slab; the connections of each state form an intrusive list in the order in which
//! they entered it. All of a state's connections have the same timeout, so the list is a timer: its
//! first entry is due first. Lifetimes are jittered, so that connections born together do not end
//! together; the jitter is drawn from 16 even steps, and each step is a list of its own.
//! [`poll_timeout`](Machine::poll_timeout) is the least of these 24 deadlines and the role's own.
//!
//! # Where to look
//!
//! | file | what is in it |
//! |---|---|
//! | `machine.rs` | events and deadlines; `machine/`: taking, giving back, and the steps of both |
//! | `client.rs`, `server.rs` | supply: dials with tuner and backoff; admission and eviction (`role.rs`: what differs) |
//! | `event.rs`, `error.rs`, `stats.rs`, `config.rs` | what goes in and out |
//! | `slots.rs`, `waiters.rs`, `sources.rs`, `ids.rs`, `slab.rs` | the data structures |
//! | `time.rs`, `token_map.rs` | small values: instants, a driver's table |
//! | [`id`] | the wire format of ids: reader and writer |
//! | [`allow`] | who may connect |
//! | `state_key.rs` | what a machine's future depends on: for model checkers |
//! | `tuner.rs`, `backoff.rs` | the two pacing laws, as pure values |

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod allow;
mod answer;
mod backoff;
mod config;
mod error;
mod event;
pub mod id;
mod ids;
mod machine;
mod role;
mod slab;
mod slots;
mod state;
mod state_key;
mod stats;
mod time;
mod token_map;
mod tuner;
mod waiters;

pub use allow::{AllowList, AllowListError};
pub use answer::{Acquired, Collected, Lease, Stock, WaitOutcome, WaitReason};
pub use backoff::Backoff;
pub use bytes;
pub use config::{
    ClientConfig, ClientConfigBuilder, MAX_CONNECTIONS, MAX_HANDSHAKES, ServerConfig,
    ServerConfigBuilder, TakeOrder,
};
pub use error::{ConfigError, PutError, Refusal, Rejected};
pub use event::{
    Action, CheckKind, CheckResult, CloseReason, Event, HandshakeFailure, Token, WaiterId,
};
pub use id::{
    ConnId, FormatDetector, IdError, IdExchange, IdFormat, IdReader, IdWriter, ParseIdError,
};
pub use ipnet;
pub use machine::Machine;
pub use role::{Accepting, Admission, Client, Dialing, Role, Server};
pub use state::{EDGES, Edge, State};
pub use state_key::CanonicalNames;
pub use stats::{Stats, Totals};
pub use time::Instant;
pub use token_map::TokenMap;
pub use tuner::{Tuner, Tuning};
