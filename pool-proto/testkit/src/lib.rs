//! The test kit of `pool-proto`: the naive oracle, a checked driver without I/O, and the bodies of
//! the fuzz targets. The binary `simulate` runs both ends on a network that fails.
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
pub mod oracle;
pub mod setup;
pub mod violation;
pub mod world;
