//! What is checked is in `checks/client_message.rs`, where a plain test drives it too.

#![no_main]

#[path = "../checks/client_message.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::check(bytes));
