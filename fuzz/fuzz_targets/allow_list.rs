#![no_main]
//! Runs `pool_testkit::fuzz::allow_list` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_testkit::fuzz::allow_list(bytes));
