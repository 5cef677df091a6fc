//! The concrete types forward to the pool behind them.

#![allow(clippy::unwrap_used, reason = "a panic here is a failed test")]

use tokio::runtime::Runtime;

pool_conformance::forwarding_test!(adapter_tokio, |test| Runtime::new().unwrap().block_on(test));
