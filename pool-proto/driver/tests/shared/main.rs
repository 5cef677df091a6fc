//! Tests of [`SharedMachine`](pool_driver::shared::SharedMachine) and of its futures and leases.
//! The module [`cancel`] drops an acquire at every moment, and checks the effects on all others.
//! Without I/O: [`rig`] provides fake connections, a manual clock, counting wakers, and a driver
//! that takes its turns on demand.
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
mod exposition;
mod failures;
mod hammer;
mod leased;
mod readiness;
mod report;
