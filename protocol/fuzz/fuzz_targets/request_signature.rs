//! What is checked is in `checks/request_signature.rs`, where a plain test drives it too.

#![no_main]

#[path = "../checks/request_signature.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
