//! Any bytes as those of a client's WebSocket: no panic, and the same messages however the bytes are cut.

use gema_protocol::{Decoder, Incoming, Violation};

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

/// Fails by panicking. The first byte says how the others are cut.
pub fn check(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, usize::from(*cut) + 1));
}
