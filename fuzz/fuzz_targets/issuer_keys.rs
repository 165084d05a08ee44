#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdall_fuzz::issuer_keys::check(input));
