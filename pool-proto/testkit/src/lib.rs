//! The test kit of `pool-proto`.
//!
//! | module | content |
//! |---|---|
//! | [`setup`] | the settings of a machine in plain numbers |
//! | [`call`] | the calls of a machine as values, with their answers |
//! | [`ledger`] | the account of a pool's life from outside, and the invariants |
//! | [`oracle`] | a naive pool, compared with a machine step by step |
//! | [`harness`] | a driver without I/O, for unit tests |
//! | [`world`] | a client, a server, a network that fails, and users, in virtual time |
//! | [`fuzz`] | the bodies of the fuzz targets |
//! | [`tape`] | the tape of a machine under test, and its replay |
//! | [`measure`] | measuring a step of a benchmark |
//!
//! The binary `simulate` lives through many worlds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "a panic is how a test fails"
)]
#![allow(missing_docs, reason = "this package is not published")]

pub mod call;
pub mod fuzz;
pub mod harness;
pub mod ledger;
#[cfg(unix)]
pub mod measure;
pub mod oracle;
pub mod regressions;
pub mod setup;
pub mod tape;
pub mod violation;
pub mod world;
