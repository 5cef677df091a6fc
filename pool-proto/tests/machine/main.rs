//! The behaviour of the machines, one a test. The [harness](pool_testkit::harness) is a driver without
//! I/O whose ledger keeps an account of every connection, and checks the invariants after every step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod acquirer;
mod arrivals;
mod backoff;
mod claims;
mod client;
mod config;
mod configure;
mod control;
mod endings;
mod full;
mod go_rounds;
mod grants;
mod handshakes;
mod idle;
mod lease;
mod server;
mod shutdown;
mod state_key;
mod tuning;
mod waiters;
mod words;
