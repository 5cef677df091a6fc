#![no_main]
//! Runs `pool_fuzz::configuration` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_fuzz::configuration(bytes));
