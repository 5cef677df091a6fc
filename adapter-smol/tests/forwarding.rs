//! The concrete types forward to the pool behind them.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

pool_conformance::forwarding_test!(adapter_smol, smol::block_on);
