//! What is checked is in `checks/decoder.rs`, where a plain test drives it too.

#![no_main]

#[path = "../checks/decoder.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
