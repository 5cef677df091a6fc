//! Our pool against the reference: each test talks to a real Go program, built here on a released
//! version of the Go module.
//!
//! | variable | meaning |
//! |---|---|
//! | `POOL_INTEROP_RELEASES` | which releases, separated by commas; `NAME=DIRECTORY` takes a copy of the module from a directory |
//! | `POOL_INTEROP_CONNECTIONS` | connections in each cell of the matrix, 100 without it |
//!
//! Without a Go toolchain these tests say `skipped: no go toolchain` and pass, unless `CI=true`. A
//! release that cannot be downloaded is skipped in the same way, unless it was asked for by name; in
//! its place a program of our own with an older release's functions and format takes part.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]

#[path = "../common/mod.rs"]
mod common;
mod control;
mod faults;
mod formats;
mod matrix;
mod peer;
mod release;
mod rig;
mod table;
mod trust;
mod tuning;
mod work;
