//! Tests of the layers between a socket and the shared machine, in memory and without waiting. TLS
//! and the machine are real. A [`wire`] of two ends behaves as a test determines, from short writes
//! to resets. [`rig`] provides pools, and [`peer`] the other end.
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
mod first_words;
mod handshake;
mod ids;
mod limit;
mod reading;
mod records;
mod remedies;
mod revoked;
mod verified;
mod writing;
