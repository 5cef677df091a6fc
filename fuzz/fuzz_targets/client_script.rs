#![no_main]
//! Runs `pool_fuzz::client_script` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_fuzz::client_script(bytes));
