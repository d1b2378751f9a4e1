//! Frames of the hub -> the lines that pusher-js reads, those of SockJS: `o` open, `a["…","…"]` messages,
//! `h` heartbeat, `c[code,"reason"]` close. Pure: frames in, bytes out.

use std::collections::VecDeque;

use gema_protocol::frame::Frame;

/// A chunk is closed when it is this long. Small, so that what the client has not taken counts as unsent.
const CHUNK: usize = 16 * 1024;

/// First bytes of the frames that a hub sends (RFC 6455, section 5.2).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Whole lines, to be written at once.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// Its length as JavaScript counts: in UTF-16 code units.
    pub(super) units: usize,
    /// Bytes that the frames in it had on the wire of a WebSocket.
    pub(super) wire: usize,
    /// The last line is a close: nothing comes after it.
    pub(super) closes: bool,
    in_array: bool,
}

impl Lines {
    /// The first line of a session.
    pub(super) fn open(&mut self) {
        self.line("o\n");
    }

    /// What keeps the way open, and makes a streaming client answer with `[]`.
    pub(super) fn heartbeat(&mut self) {
        self.line("h\n");
    }

    /// The end of the session.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.line(&format!("c[{code},"));
        self.json(reason);
        self.line("]\n");
        self.closes = true;
    }

    /// Takes frames off the front of `waiting`, until this has more than `room` units or is a chunk long.
    pub(super) fn fill(&mut self, waiting: &mut VecDeque<Frame>, room: usize) {
        while !self.closes && self.units <= room && self.text.len() < CHUNK {
            let Some(frame) = waiting.pop_front() else {
                break;
            };
            self.frame(&frame);
        }
        self.end_array();
    }

    /// Adds one frame; an array it opens is ended by the next line of another kind.
    fn frame(&mut self, frame: &Frame) {
        self.wire += frame.len();
        let payload = frame.payload();
        match frame.bytes().first() {
            Some(&TEXT) => {
                let before = if self.in_array { "," } else { "a[" };
                self.push(before);
                self.in_array = true;
                // Frames are made of strings.
                self.json(&String::from_utf8_lossy(payload));
            }
            Some(&CLOSE) => {
                self.end_array();
                let code = payload
                    .first_chunk()
                    .map_or(1000, |b| u16::from_be_bytes(*b));
                let reason = payload.get(2..).unwrap_or_default();
                self.close(code, &String::from_utf8_lossy(reason));
            }
            // The hub wants a sign of life, and gets one as the answer to a heartbeat.
            Some(&PING) => self.heartbeat(),
            // Answers to control frames, which no client of HTTP sends.
            _ => {}
        }
    }

    fn line(&mut self, line: &str) {
        self.end_array();
        self.push(line);
    }

    fn end_array(&mut self) {
        if std::mem::take(&mut self.in_array) {
            self.push("]\n");
        }
    }

    fn json(&mut self, text: &str) {
        let start = self.text.len();
        // A string can always be written to memory.
        drop(serde_json::to_writer(&mut self.text, text));
        self.units += utf16_units(&self.text[start..]);
    }

    fn push(&mut self, ascii: &str) {
        self.text.extend_from_slice(ascii.as_bytes());
        self.units += ascii.len();
    }
}

/// One for each character, and one more for those beyond the 16 bits.
fn utf16_units(utf8: &[u8]) -> usize {
    let characters = utf8.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    let beyond = utf8.iter().filter(|byte| **byte >= 0xf0).count();
    characters + beyond
}

#[cfg(test)]
mod tests {
    use gema_protocol::server;

    use super::*;

    fn lines(frames: &[Frame], room: usize) -> (Lines, usize) {
        let mut waiting = frames.iter().cloned().collect();
        let mut lines = Lines::default();
        lines.open();
        lines.fill(&mut waiting, room);
        (lines, waiting.len())
    }

    #[test]
    fn messages_share_an_array_and_heartbeats_stand_between() {
        let pong = server::pong();
        let frames = [pong.clone(), pong.clone(), Frame::ping(), pong.clone()];
        let (lines, left) = lines(&frames, 1000);
        let message = serde_json::to_string(&String::from_utf8_lossy(pong.payload())).unwrap();
        let expected = format!("o\na[{message},{message}]\nh\na[{message}]\n");
        assert_eq!(String::from_utf8(lines.text).unwrap(), expected);
        assert_eq!((left, lines.closes), (0, false));
        assert_eq!(lines.wire, frames.iter().map(Frame::len).sum::<usize>());
    }

    #[test]
    fn nothing_follows_a_close() {
        let frames = [Frame::close(4100, "full \"up\""), server::pong()];
        let (lines, left) = lines(&frames, 1000);
        assert_eq!(lines.text, b"o\nc[4100,\"full \\\"up\\\"\"]\n");
        assert!(lines.closes && left == 1);
    }

    #[test]
    fn units_are_those_of_javascript_and_the_room_is_passed_by_one_frame_at_most() {
        let frames: Vec<_> = (0..10).map(|_| server::event("a", "e", "é☀😀")).collect();
        let (whole, _) = lines(&frames, 10_000);
        let text = String::from_utf8(whole.text).unwrap();
        assert_eq!(whole.units, text.encode_utf16().count());
        let (one, _) = lines(&frames[..1], 10_000);
        let room = whole.units / 2;
        let (part, left) = lines(&frames, room);
        assert!(left > 0 && part.units > room && part.units <= room + one.units);
    }
}
