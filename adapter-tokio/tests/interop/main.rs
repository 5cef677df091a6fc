//! Interoperation with the Go package `github.com/NodePassProject/pool`: each test talks to a real
//! Go program, which is built here on a released version of the package.
//!
//! | variable | meaning |
//! |---|---|
//! | `POOL_INTEROP_RELEASES` | the releases to test, separated by commas; `NAME=DIRECTORY` takes a copy of the module from a directory |
//! | `POOL_INTEROP_CONNECTIONS` | connections in each cell of the matrix; the default is 100 |
//!
//! Without a Go toolchain, these tests print `skipped: no go toolchain` and pass, unless `CI=true`.
//! A release of the default list that cannot be downloaded is skipped as well. A stand-in of our
//! own, with the functions and the id format of an older release, is tested in its place.

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
mod verify;
mod work;
