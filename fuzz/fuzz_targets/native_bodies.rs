#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdall_fuzz::native_bodies::check(input));
