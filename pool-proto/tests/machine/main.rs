//! What the machines do, one behaviour a test. The [`harness`] is a driver without I/O that keeps
//! its own account of every connection and compares it with the machine's after every step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod arrivals;
mod client;
mod config;
mod control;
mod endings;
mod lease;
mod server;
mod state_key;
mod tuning;
mod waiters;
mod words;
