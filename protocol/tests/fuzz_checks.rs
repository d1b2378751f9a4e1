//! The checks of `fuzz/`, driven without a fuzzer: each of their seeds as it is, and a bounded number of inputs made from
//! them. `make fuzz` looks for longer and follows what it covers; this keeps the checks true meanwhile, on stable Rust.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(
    unreachable_pub,
    reason = "shared with the fuzz targets, which are crates of their own"
)]

#[path = "../fuzz/checks/client_message.rs"]
mod client_message;
#[path = "../fuzz/checks/decoder.rs"]
mod decoder;
#[path = "../fuzz/checks/request_signature.rs"]
mod request_signature;

use std::panic::catch_unwind;

/// A few seconds of an unoptimised build each.
const INPUTS: usize = 200_000;

/// It takes several HMACs.
const SIGNED_INPUTS: usize = 20_000;

/// What input of these kinds is made of, and what parsers look out for.
const PIECES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b":",
    b",",
    b"\n",
    b"null",
    b"-1",
    b"1e999",
    b"%",
    b"%2F",
    b"&",
    b"=",
    b"auth_",
    b"private-",
    b"presence-cache-",
    b"#server-to-user-",
    b"client-",
    b"\xc3\xa9",
    b"\xff",
    b"\x81\xfe",
];

/// Numbers that look random and are the same in every run (SplitMix64), so what fails once fails again.
struct Numbers(u64);

impl Numbers {
    /// The next below `end`, which is at least 1.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let seeds = files
        .iter()
        .map(|file| std::fs::read(file).expect("a seed"));
    seeds.collect()
}

/// One to four changes: a byte, a piece more, a stretch less, or the end of another seed.
fn changed(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(input.len() + 1);
        match numbers.below(4) {
            0 if place < input.len() => input[place] = numbers.below(256) as u8,
            1 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                input.splice(place..place, piece.iter().copied());
            }
            2 => {
                let end = input.len().min(place + numbers.below(16));
                input.drain(place..end);
            }
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                input.truncate(place);
                input.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
            }
        }
    }
    input
}

fn drive(target: &str, inputs: usize, check: fn(&[u8])) {
    let (seeds, mut numbers) = (seeds(target), Numbers(1));
    assert!(!seeds.is_empty());
    for seed in &seeds {
        check(seed);
    }
    for _ in 0..inputs {
        let input = changed(&seeds, &mut numbers);
        if catch_unwind(|| check(&input)).is_err() {
            panic!("{target} fails with b\"{}\"", input.escape_ascii());
        }
    }
}

#[test]
fn no_message_of_a_client_panics_or_gets_past_a_signature() {
    drive("client_message", INPUTS, client_message::check);
}

#[test]
fn no_bytes_of_a_websocket_panic_or_depend_on_how_they_are_cut() {
    drive("decoder", INPUTS, decoder::check);
}

#[test]
fn no_request_panics_or_is_taken_without_its_signature() {
    drive("request_signature", SIGNED_INPUTS, request_signature::check);
}
