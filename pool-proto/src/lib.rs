//! The sans-I/O state machine of a connection pool. Two ends keep a stock of connections that are
//! dialled, through their TLS handshake and named by an id, so that no request waits for a handshake.
//!
//! The machine decides, a driver acts. The machine has no socket, clock, thread or runtime: events
//! come in as method calls, with the time; [`Action`]s for the driver come out. The same
//! configuration, seed and inputs give the same outputs, byte for byte. To use a pool, take an
//! adapter with a driver for your runtime (tokio, smol, or threads of the standard library). To drive
//! the machine from an executor of your own, read on.
//!
//! The wire protocol is that of the Go package `github.com/NodePassProject/pool`, called *the Go package* below;
//! either end may be replaced by it.
//!
//! # Two machines
//!
//! A [`Client`] dials and keeps connections ready. A [`Server`] accepts peers, admits those that have proven
//! their identity, gives each connection an id and sends it. Either end can take *any* ready connection
//! ([`acquire`](Machine::acquire)) and tell its id to the other end, over a channel of the user's own. The
//! other end takes the connection with that id ([`acquire_by_id`](Machine::acquire_by_id)). Or it is told
//! nothing, and takes the next connection on which the first byte of the peer has arrived
//! ([`acquire_claimed`](Machine::acquire_claimed)). Both are a [`Machine`]; only the source of connections
//! differs ([`Role`]).
//!
//! # States
//!
//! A connection is in one [`State`] at a time. [`EDGES`] is this diagram as a table.
//!
//! ```text
//! new ─ Action::Dial ─► dialing ─ Dialed ─► handshaking ─ Established ─► idle ─ acquire ─► leased
//! new ─ Server::accept ─► accepted ─ FirstByte ─► handshaking ─ Server::admit ─► admitted
//! admitted ─ Established ─► idle
//! handshaking, admitted, granted, leased, checking ─ the peer is the acquirer ─► reserved
//! accepted ─ Server::admit, without TLS ─► admitted
//!
//! leased ─ put ─► checking ─ drained ─► idle
//! leased ─ put, with a reuse delay ─► resting ─ the delay is over ─► checking
//! leased ─ put_drained ─► idle
//! reserved ─ acquire_by_id ─► leased
//! idle, reserved ─ Readable ─► checking ─ data ─► claimed ─ acquire_by_id, acquire_claimed ─► leased
//! idle, reserved, claimed ─ Readable ─► checking ─ EOF or a failure ─► finished ─ acquire_by_id, acquire_claimed ─► leased
//!
//! handshaking, admitted, idle, claimed, finished, leased, checking ─ a waiter's turn ─► granted ─ collect ─► leased
//! granted ─ cancel, not collected in time ─► granted, idle, claimed, finished
//! handshaking, admitted, granted, leased, checking ─ data came meanwhile ─► checking
//! handshaking, admitted, leased ─ the control connection ─► claimed
//! leased ─ reject, as it has ended ─► finished
//!
//! every state ─ timeout, peer closed (without ids, or after a use), put into a full pool, clean, flush, close, shutdown ─► closed
//! ```
//!
//! A connection is *claimed* when data of the peer's user has arrived on it: the peer has taken it
//! and is about to tell its id, if it tells ids. Here only an acquire by that id takes it, or
//! [`acquire_claimed`](Machine::acquire_claimed). Until the data has arrived,
//! both ends could acquire the same connection: [`Acquirer`] says which end may, so that they do not.
//! (Without id exchange the peer is not a pool and may speak first; then early data changes nothing.) The
//! [control connection](ServerConfigBuilder::control_connection), if one is configured, is claimed
//! from the start.
//!
//! Idle and claimed connections are watched. When the peer closes one or it fails, it is *finished*: the
//! peer's user may have acquired it, and may tell its id only after the close. It counts against no
//! limit, and no acquire of any connection gets it. An acquire by its id does, until the claim timeout,
//! and so does `acquire_claimed`, if data has arrived on it:
//! its holder reads the data that came first, and then EOF or the failure; it can still write if the
//! peer has closed its half only. (Without id exchange, the connection is closed at once.)
//!
//! # The end of a pool
//!
//! [`close`](Machine::close) ends everything at once. A
//! [graceful shutdown](Machine::graceful_shutdown) begins nothing any more, hands nothing out, and lets
//! the use of connections go on to its end, or to a deadline. The pool is then closed. Its listener is
//! the driver's: give the port back when [`is_shutting_down`](Machine::is_shutting_down).
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | dialing, handshaking | connecting the transport; doing TLS and id exchange |
//! | accepted, admitted | a peer that has connected, and may do its handshake; one that has a place in the stock |
//! | idle | ready, in the pool |
//! | acquirer, reserved | the end that may acquire a connection without being told its id; ready here, and the peer's to acquire |
//! | claimed | in the pool, but the peer has begun to use it |
//! | finished | closed by the peer or failed, and kept for an acquire by its id |
//! | granted | reserved for a waiter that has not collected it; counted as leased |
//! | lease, leased | in use: acquired, and not yet put back or closed |
//! | returning | put back and resting for the reuse delay, or being checked |
//! | check | finding out, without blocking, whether the peer has closed a connection or data has arrived; to *drain* is to discard that data, to *inspect* is to keep it |
//! | acquire, acquire by id | take any connection; take the connection with this id |
//! | waiter | a caller that waits for a connection or for stock |
//! | put, reject | give a lease back after use; give it back unused, because a check found it unfit |
//! | yield | close an idle connection so that another one can come that is the peer's to acquire |
//! | evict | close a connection to make room for another source |
//! | turned away, ceiling | closed by the peer before the id, or soon after it and unused; the supply that a full peer was seen to hold |
//! | revoke | end a lease while its holder has it |
//! | graceful shutdown | the end of a pool after the end of the use of its connections |
//! | capacity | the number of ready connections aimed at |
//! | lead time | the time from a dial until the connection is ready |
//! | round, interval | a batch of dials under [`Tuning::NodePass`]; the time from the end of one to the begin of the next |
//! | stock, supply | the idle connections; the connections that are idle, becoming idle, or granted (at a server, becoming idle begins when the handshake is over) |
//! | refused, rejected | a caller that gets no connection; a peer that is not admitted |
//!
//! # The contract
//!
//! - **Drain after every call.** After any call that takes `&mut self`, call
//!   [`poll_action`](Machine::poll_action) until it returns `None`, and carry out the actions in
//!   order. Then call [`poll_timeout`](Machine::poll_timeout) again. (A sleeping driver need not, as long as
//!   [`new_deadline`](Machine::new_deadline) is not before the time at which it wakes.)
//! - **Connections move by value.** The type `C` is yours and opaque to the machine; make it
//!   pointer-sized. The machine never drops a connection: each one leaves as a [`Lease`], in
//!   [`Action::Check`] or in [`Action::Close`]. So a connection never has two owners.
//! - **Each token ends once.** A connection ends in exactly one [`Action::Close`],
//!   [`Action::Abort`], or event of yours ([`Event::DialFailed`], [`Event::HandshakeFailed`],
//!   [`Event::Closed`] of a lease). Later actions do not name it, unless you hand it in again. Later
//!   events about it are stale and only counted; a connection that comes with one goes out again to
//!   be closed. A connection that ends while you check it goes out in the same way, when it comes
//!   back.
//! - **Pooled connections are watched.** Hand a connection in with its readiness armed: with
//!   [`Event::Established`], with the answer to a check, and with a put. Unread data that has arrived
//!   by then, and data or EOF that arrives later, must lead to [`Event::Readable`]. Beware of an edge
//!   that was consumed before the id was whole: it may have been the peer's close. A spurious
//!   `Readable` costs a check.
//! - **Deadlines are the machine's**: dial, handshake with id, idle, lifetime, claim, reuse, drain,
//!   grant, backoff, rounds, graceful shutdown. The deadline of an acquire is the caller's: see
//!   [`cancel`](Machine::cancel). A lease has none: its holder ends it.
//! - **Time only moves forward.** A `now` before the latest one counts as the latest.
//! - **Randomness is the driver's, too.** Ids, jitter and hash keys are derived from the 32 secret bytes
//!   that [`or_entropy`](ServerConfig::or_entropy) takes; without, they can be predicted. A
//!   [seed](ServerConfigBuilder::seed) is for tests.
//! - **A panic is a bug**, never the answer to input. No order of calls panics.
//!
//! # The driving loop
//!
//! ```
//! use core::time::Duration;
//! use pool_proto::{Acquired, Action, CheckResult, Client, ClientConfig, ConnId, Event, Instant};
//!
//! # fn main() -> Result<(), pool_proto::ConfigError> {
//! let config = ClientConfig::builder().capacity(1..=2).seed(7).build()?;
//! let mut now = Instant::EPOCH;
//! // A connection is a name here. An adapter's is a socket.
//! let mut pool = Client::<&'static str>::new(&config, now);
//!
//! // A caller wants a connection before there is one.
//! let Acquired::Queued(waiter) = pool.acquire(now) else { unreachable!("the pool is empty") };
//!
//! let mut woken = false;
//! while !woken {
//!     // 1. Carry out the actions.
//!     while let Some(action) = pool.poll_action() {
//!         match action {
//!             Action::Dial { token } => {
//!                 // A driver connects, does TLS and reads the id. Here all succeed at once.
//!                 pool.handle_event(now, Event::Dialed { token });
//!                 let id = Some(ConnId::from_bytes([0, 0, 0, token.slot() as u8]));
//!                 pool.handle_event(now, Event::Established { token, connection: "tcp", id });
//!             }
//!             Action::Check { token, connection, .. } => {
//!                 // A driver reads from the socket without blocking.
//!                 let result = CheckResult::Quiet;
//!                 pool.handle_event(now, Event::Checked { token, connection, result });
//!             }
//!             Action::Close { connection, .. } => drop(connection),
//!             Action::Abort { .. } => {} // Cancel the dial or the handshake, or revoke the lease.
//!             Action::Wake { waiter: woken_waiter } => woken |= woken_waiter == waiter,
//!         }
//!     }
//!     // 2. Wait for I/O, at most until the next deadline.
//!     let deadline = pool.poll_timeout();
//!     now = deadline.unwrap_or(now + Duration::from_secs(1));
//!     // 3. Hand in events, or the time.
//!     pool.handle_timeout(now);
//! }
//!
//! let pool_proto::Collected::Ready(lease) = pool.collect(now, waiter) else {
//!     unreachable!("woken with a connection")
//! };
//! assert_eq!(lease.connection, "tcp");
//! // Use the connection, then put it back:
//! pool.put(now, lease.token, lease.connection).expect("the lease is ours");
//! # Ok(()) }
//! ```
//!
//! `examples/by_hand.rs` drives both machines over real sockets. `examples/event_loop` does so without
//! blocking, with many connections in one loop.
//!
//! # Timers
//!
//! Acquiring, putting back, dialling, accepting, admitting and ending are O(1), and in the steady state nothing
//! allocates. Three operations are not O(1), but bounded by the configuration: evicting a handshake
//! looks at all handshakes; an id that is not live is searched among the last 256 ended ones; waiters
//! for stock are scanned while there are any.
//!
//! Connections live in a generational slab. The connections of each state form an intrusive list, in
//! the order in which they entered the state. All of them have the same timeout, so the list is a
//! timer: its first entry is due first. Lifetimes are jittered, so that connections that were
//! established together do not expire together. The jitter is drawn from 16 even steps, and each step
//! has a list of its own. [`poll_timeout`](Machine::poll_timeout) is the least of these 27 deadlines,
//! the time at which an idle connection may go, and the role's own; or the end of a graceful shutdown.
//!
//! # Where to look
//!
//! | file | contents |
//! |---|---|
//! | `state.rs` | the states and the table of transitions |
//! | `machine.rs` | the machine; `machine/`: events and deadlines, acquiring, giving back, idle timeouts, and the steps of all of them |
//! | `role.rs` | the difference between the roles; `role/`: dialing (with tuner and backoff), accepting (admission and eviction), sources, the share of two ends that both acquire |
//! | `event.rs`, `answer.rs`, `error.rs`, `stats.rs` | inputs and outputs |
//! | `metrics.rs`, `histogram.rs` | the statistics as a list of metrics; durations in buckets |
//! | `config.rs` | the settings; `config/`: the builders of each role, bounds, and which end acquires |
//! | `slots.rs`, `waiters.rs`, `ids.rs`, `slab.rs` | the data structures |
//! | `entropy.rs`, `keyed.rs` | the secret of a machine, and the keys that are derived from it |
//! | `tuner.rs`, `backoff.rs` | the pacing of dials, as pure values |
//! | [`id`] | the wire format of ids: reader and writer |
//! | [`allow`] | the allow list |
//! | `time.rs`, `token_map.rs` | instants; a table for drivers |
//! | `state_key.rs` | the state of a machine as a hash, for model checkers |
//! | [`tape`] | all inputs of a machine, recorded and replayed |
//! | `config/file.rs` | the settings from a file, with the feature `serde`; the page `files` lists the keys |
//! | [`sizing`] | how large the stock is, and the settings that bound it |

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod allow;
mod answer;
mod backoff;
mod config;
mod entropy;
mod error;
mod event;
mod histogram;
pub mod id;
mod ids;
mod keyed;
mod machine;
mod metrics;
mod role;
mod slab;
mod slots;
mod state;
mod state_key;
mod stats;
pub mod tape;
mod time;
mod token_map;
mod tuner;
mod waiters;

pub use allow::{AllowList, AllowListError};
pub use answer::{Acquired, Collected, Lease, Stock, WaitOutcome, WaitReason};
pub use backoff::Backoff;
pub use bytes;
pub use config::{
    Acquirer, Bounds, ClientConfig, ClientConfigBuilder, MAX_CONNECTIONS, MAX_HANDSHAKES,
    OPENING_BYTE, ServerConfig, ServerConfigBuilder, TakeOrder,
};
pub use error::{ConfigError, PutError, Refusal, Rejected};
pub use event::{
    Action, CheckKind, CheckResult, CloseReason, Event, HandshakeFailure, Token, WaiterId,
};
pub use histogram::Histogram;
pub use id::{
    ConnId, FormatDetector, IdError, IdExchange, IdFormat, IdReader, IdWriter, ParseIdError,
};
pub use ipnet;
pub use machine::Machine;
pub use metrics::{Metric, MetricKind, MetricValue};
pub use role::{Accepting, Client, Dialing, Role, Server};
pub use state::{EDGES, Edge, State};
pub use state_key::CanonicalNames;
pub use stats::{Stats, Timeouts, Totals};
pub use time::Instant;
pub use token_map::TokenMap;
pub use tuner::{Tuner, Tuning};

#[doc = include_str!("../docs/sizing.md")]
pub mod sizing {}

#[doc = include_str!("../docs/files.md")]
pub mod files {}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
