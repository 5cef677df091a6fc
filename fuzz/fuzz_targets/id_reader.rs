#![no_main]
//! Runs `pool_testkit::fuzz::id_reader` under libFuzzer.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pool_testkit::fuzz::id_reader(bytes));
