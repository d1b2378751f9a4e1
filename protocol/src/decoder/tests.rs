//! What the decoder makes of bytes, however they are cut.

use super::*;

const MASK: [u8; 4] = [7, 1, 200, 9];

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// Everything decoded from chunks of this size, as text, and the violation at the end if there is one.
fn decode(bytes: &[u8], size: usize) -> (Vec<String>, Option<Violation>) {
    let (mut decoder, mut seen) = (Decoder::new(1000), Vec::new());
    for chunk in bytes.chunks(size) {
        let fed = decoder.feed(&mut chunk.to_vec(), |incoming| {
            seen.push(match incoming {
                Incoming::Text(text) => text.into_owned(),
                other => format!("{other:?}"),
            });
            true
        });
        if let Err(violation) = fed {
            return (seen, Some(violation));
        }
    }
    assert!(decoder.part.capacity() == 0 && decoder.fragments.is_none());
    (seen, None)
}

#[test]
fn messages_arrive_whole_however_the_bytes_are_cut_and_nothing_is_kept() {
    let long = "ä".repeat(400);
    let bytes = [
        masked(0x81, b"one"),
        masked(0x01, b"t"),
        masked(0x89, b"hi"),
        masked(0x00, b"w"),
        masked(0x80, b"o"),
        masked(0x81, long.as_bytes()),
        masked(0x8a, b""),
        masked(0x88, &1000u16.to_be_bytes()),
    ]
    .concat();
    let expected = [
        "one",
        "Ping([104, 105])",
        "two",
        &long,
        "Pong",
        "Close(Some(1000))",
    ];
    for size in 1..=bytes.len() {
        assert_eq!(
            decode(&bytes, size),
            (expected.map(String::from).to_vec(), None)
        );
    }
}

#[test]
fn violations_are_told_apart_as_soon_as_they_can_be_seen() {
    let too_large = Violation::TooLarge { max: 1000 };
    for (bytes, violation) in [
        (vec![0x81, 1, b'x'], Violation::Unmasked),
        (vec![0xc1, 0x80], Violation::ReservedBits),
        (vec![0x83, 0x80], Violation::UnknownOpcode(3)),
        (vec![0x8b, 0x80], Violation::UnknownOpcode(11)),
        (vec![0x09, 0x80], Violation::BadControl),
        (vec![0x89, 0xfe], Violation::BadControl),
        (vec![0x81, 0xfe, 0, 125], Violation::LongLength),
        (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], too_large),
        (vec![0x80, 0x80], Violation::BadFragment),
        (
            [masked(0x01, b"a"), vec![0x81, 0x80]].concat(),
            Violation::BadFragment,
        ),
        (vec![0x82, 0x80], Violation::Binary),
        (masked(0x81, &[0xff]), Violation::NotUtf8),
        (
            [masked(0x01, &[0xc3]), masked(0x80, b"x")].concat(),
            Violation::NotUtf8,
        ),
        (
            vec![0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255],
            too_large,
        ),
        (vec![0x81, 0xfe, 3, 233], too_large),
        (
            [masked(0x01, &[b'x'; 999]), vec![0x80, 0x82]].concat(),
            too_large,
        ),
        (masked(0x88, &[3]), Violation::BadClose),
        (masked(0x88, &999u16.to_be_bytes()), Violation::BadClose),
        (masked(0x88, &1005u16.to_be_bytes()), Violation::BadClose),
        (masked(0x88, &[3, 232, 0xff]), Violation::NotUtf8),
    ] {
        for size in [1, bytes.len()] {
            assert_eq!(
                decode(&bytes, size).1,
                Some(violation),
                "{bytes:?} by {size}"
            );
        }
    }
}

#[test]
fn the_longest_message_is_taken_whole_and_in_fragments() {
    let longest = vec![b'x'; 1000];
    assert_eq!(decode(&masked(0x81, &longest), 7).1, None);
    let fragments = [masked(0x01, &longest[..600]), masked(0x80, &longest[600..])];
    assert_eq!(decode(&fragments.concat(), 7).0[0].len(), 1000);
}

#[test]
fn what_comes_after_the_one_who_takes_has_had_enough_is_left() {
    let mut decoder = Decoder::new(1000);
    let mut bytes = [masked(0x88, b""), masked(0x81, b"late")].concat();
    let mut seen = 0;
    let fed = decoder.feed(&mut bytes, |_| {
        seen += 1;
        false
    });
    assert_eq!((fed, seen), (Ok(()), 1));
}
