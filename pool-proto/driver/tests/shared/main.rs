//! What the shell does around a machine, one behaviour a test, and what becomes of everybody when an
//! acquire is dropped, in every situation there is ([`cancel`]). There is no I/O: [`rig`] has
//! connections that are entries in a book, a clock that is set by hand, wakers that count, and a
//! driver that a test moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod rig;

mod acquire;
mod acquire_any;
mod attempt;
mod block_on;
mod cancel;
mod deferred;
mod driver;
mod failures;
mod hammer;
mod leased;
mod readiness;
