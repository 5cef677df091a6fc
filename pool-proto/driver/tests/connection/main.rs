//! What lies between a socket and the shell, in memory and without any waiting: real TLS, a real
//! machine in its shell, and a [`wire`] of two ends that does what a test tells it to, from a write
//! that is taken by halves to a reset. [`rig`] has the pools, [`peer`] what is at the other end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod peer;
mod rig;
mod wire;

mod accept;
mod check;
mod drain;
mod driver;
mod errors;
mod failures;
mod handshake;
mod ids;
mod limit;
mod reading;
mod revoked;
mod writing;
