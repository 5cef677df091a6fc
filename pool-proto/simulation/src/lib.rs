//! Real pools in a simulated world: their driver, TLS, handshakes and streams run on a runtime, a clock
//! and a network of a test, in virtual time, from a seed.
//!
//! ```text
//!   users ──acquire, put──► Pool ──► driver, dials, handshakes          one thread polls all tasks,
//!     │                      │                 │                        in an order from the seed
//!     └──────read, write─────┴── Runtime ──────┘
//!                                   │
//!                   reactor ◄── sockets ◄── paths                       late, stale, lost, cut, reset
//! ```
//!
//! The simulation of the core (`simulate`) knows neither sockets nor tasks. This one does, and its rules
//! are about them: no dead connection is handed out, bytes arrive as they were sent, a connection has one
//! holder, no task, timer, descriptor or machine is kept, a poll ends, an end that has arrived is noticed.
//!
//! ```text
//! cargo run --release -p pool-simulation                     1,000 seeds, half a minute
//! cargo run --release -p pool-simulation -- --seed 4711      one again, with its log
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `options.rs` | what a seed allows |
//! | `engine.rs`, `task.rs` | tasks, timers, the order of everything |
//! | `trace.rs` | the log of a life |
//! | `network.rs` | sockets and paths, as Linux behaves |
//! | `calls.rs` | the system calls of a socket |
//! | `reactor.rs` | what is reported, when, and to whom |
//! | `runtime.rs`, `stream.rs` | the runtime, as a pool wants it |
//! | `ends.rs` | the pools of both sides |
//! | `users.rs`, `control.rs` | users, and those of the control connection |
//! | `stranger.rs` | peers that are not pools |
//! | `checks.rs` | what must be true whenever the world waits |
//! | `world.rs` | the life of a seed |

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tables are indexed by the simulation's own enums and numbers"
)]

mod calls;
pub mod checks;
pub mod control;
pub mod ends;
pub mod engine;
pub mod network;
pub mod options;
mod reactor;
pub mod runtime;
pub mod stranger;
pub mod stream;
pub mod task;
mod trace;
pub mod users;
pub mod world;
