#![no_main]
//! Runs `pool_testkit::fuzz::tape` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_testkit::fuzz::tape(bytes));
