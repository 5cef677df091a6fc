#![no_main]
//! Runs `pool_fuzz::tls_text` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_fuzz::tls_text(bytes));
