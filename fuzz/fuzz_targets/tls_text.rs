#![no_main]
//! Runs `pool_testkit::fuzz::tls_text` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_testkit::fuzz::tls_text(bytes));
