//! Any bytes as those of a client's WebSocket: no panic, and the same messages however the bytes are cut.

#![no_main]

use gema_protocol::{Decoder, Incoming, Violation};
use libfuzzer_sys::fuzz_target;

fn decode(bytes: &[u8], cut: usize) -> (Vec<String>, Option<Violation>) {
    let (mut decoder, mut seen) = (Decoder::new(512), Vec::new());
    for chunk in bytes.chunks(cut) {
        let mut closed = false;
        let fed = decoder.feed(&mut chunk.to_vec(), |incoming| {
            closed = matches!(incoming, Incoming::Close(_));
            seen.push(format!("{incoming:?}"));
            !closed
        });
        if fed.is_err() || closed {
            return (seen, fed.err());
        }
    }
    (seen, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, usize::from(cut) + 1));
});
