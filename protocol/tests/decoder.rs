//! The decoder against tungstenite's, an independent one: whatever the bytes and however they are cut, the same texts
//! come out, and the same frames are refused.

use std::io::{self, Read, Write};

use gema_protocol::decoder::{Decoder, Incoming};
use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

const MAX: usize = 300;

/// Frames that are mostly right, with lengths around the borders, and now and then a wrong bit.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(0x81u8),
        2 => Just(0x01),
        2 => Just(0x00),
        2 => Just(0x80),
        2 => Just(0x89),
        1 => Just(0x8a),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zäß☕]{0,20}".prop_map(String::into_bytes),
        1 => "[a-z]{100,320}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    let frame = (first, payload, any::<[u8; 4]>(), prop::bool::weighted(0.02));
    // tungstenite judges the text of a fragment at once, ours that of the whole message: both may (section 8.1).
    let frame = frame.prop_filter("a fragment that is no text", |(first, payload, ..)| {
        !matches!(first & 0x8f, 0x00 | 0x01 | 0x80) || std::str::from_utf8(payload).is_ok()
    });
    frame.prop_map(|(first, payload, mask, unmasked)| {
        let mut frame = vec![first];
        let bit = if unmasked { 0 } else { 0x80 };
        match payload.len() {
            short @ 0..126 => frame.push(bit | short as u8),
            long => {
                frame.push(bit | 126);
                frame.extend((long as u16).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        frame
    })
}

/// What each makes of it: the texts and controls up to the first refusal or close.
type Outcome = (Vec<String>, bool);

fn ours(bytes: &[u8], cuts: usize) -> Outcome {
    let (mut decoder, mut seen, mut closed) = (Decoder::new(MAX as u32), Vec::new(), false);
    for chunk in bytes.chunks(cuts) {
        let fed = decoder.feed(&mut chunk.to_vec(), |incoming| {
            seen.push(match incoming {
                Incoming::Text(text) => format!("text {text}"),
                Incoming::Ping(payload) => format!("ping {payload:?}"),
                Incoming::Pong => "pong".into(),
                Incoming::Close(_) => {
                    closed = true;
                    return false;
                }
            });
            true
        });
        if fed.is_err() {
            return (seen, true);
        }
        if closed {
            return (seen, false);
        }
    }
    (seen, false)
}

struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {
            [] => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.0.read(buffer),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8]) -> Outcome {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX))
        .max_frame_size(Some(MAX));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let (mut wire, mut seen) = (Wire(bytes), Vec::new());
    loop {
        match context.read(&mut wire) {
            Ok(Message::Text(text)) => seen.push(format!("text {text}")),
            Ok(Message::Ping(payload)) => seen.push(format!("ping {:?}", &payload[..])),
            Ok(Message::Pong(_)) => seen.push("pong".into()),
            Ok(Message::Close(_)) => return (seen, false),
            // We refuse what tungstenite takes.
            Ok(Message::Binary(_) | Message::Frame(_)) => return (seen, true),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (seen, false);
            }
            Err(_) => return (seen, true),
        }
    }
}

/// Whether the bytes hold something on which the two differ by intent: binary messages, refused by us at the first
/// byte and by the test at their end; close frames with codes or texts of doubtful standing, which tungstenite answers
/// instead of refusing; and frames that are cut off, of which ours refuses the header before the rest has come.
fn differs_by_intent(frames: &[Vec<u8>]) -> bool {
    frames.iter().any(|frame| matches!(frame[0] & 0x0f, 2 | 8))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_tungstenite(frames in prop::collection::vec(frame(), 1..8), cuts in 1usize..600) {
        prop_assume!(!differs_by_intent(&frames));
        let bytes = frames.concat();
        prop_assert_eq!(ours(&bytes, cuts), theirs(&bytes));
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in 1usize..50) {
        ours(&bytes, cuts);
    }
}
