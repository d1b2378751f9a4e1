//! A complete WebSocket frame from server to client (RFC 6455 section 5), made once and shared by everyone who gets it.
//!
//! A frame remembers where its event name, channel and data stand in the JSON, so that another door can say the same
//! thing in its own words without parsing.

use bytes::{Buf, Bytes};

const TEXT: u8 = 0x81; // FIN and opcode 1
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A control frame carries no more (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;

/// The longest header: two bytes and a 64-bit length. Servers do not mask.
pub(crate) const MAX_HEADER: usize = 10;

/// One unmasked frame, header included. A clone costs a reference count; the whole is one cache line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    spans: Spans,
    /// Where the payload starts; 0 for bytes whose frames are not known.
    header: u8,
}

/// Where the parts stand within the bytes of the frame. An empty span at 0 is a part that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) event: Span,
    pub(crate) channel: Span,
    pub(crate) data: Span,
}

/// A range of bytes. 32 bits: no frame is larger, since the largest message the limits let through is far below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: narrow(start),
            end: narrow(end),
        }
    }

    fn of<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        if self.start == 0 {
            return None;
        }
        let part = bytes.get(self.start as usize..self.end as usize)?;
        std::str::from_utf8(part).ok()
    }
}

impl Frame {
    /// The frame as it goes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The size on the wire, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a frame has a header at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What the frame carries: the JSON of a message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(usize::from(self.header)..)
            .unwrap_or_default()
    }

    /// The event name as JSON has it between the quotes, that is, still escaped. `None` for control frames.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.spans.event.of(&self.bytes)
    }

    /// The channel as JSON has it between the quotes. `None` when the message names none.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.spans.channel.of(&self.bytes)
    }

    /// The JSON value of `data` as it stands, quotes included. `None` when the message has none.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.spans.data.of(&self.bytes)
    }

    /// A text frame with a message of another protocol: it names no event, no channel and no data.
    #[must_use]
    pub fn text(payload: &str) -> Self {
        let mut out = Vec::with_capacity(MAX_HEADER + payload.len());
        out.extend_from_slice(&[0; MAX_HEADER]);
        out.extend_from_slice(payload.as_bytes());
        Self::seal(out, Spans::default())
    }

    /// A ping without payload, which every client's WebSocket library answers by itself.
    #[must_use]
    pub fn ping() -> Self {
        Self {
            bytes: Bytes::from_static(&[PING, 0]),
            spans: Spans::default(),
            header: 2,
        }
    }

    /// The answer to a ping; `payload` is what the ping carried, at most 125 bytes of it.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::control(PONG, payload)
    }

    /// A close frame with `code`, and `reason` cut to the 123 bytes that fit, between two characters.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL - 2)];
        let mut payload = Vec::with_capacity(MAX_CONTROL);
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
        Self::control(CLOSE, &payload)
    }

    /// A text frame out of its bytes, when they are exactly one with the shortest header, and the spans lie within its
    /// payload.
    pub(crate) fn from_wire(bytes: Bytes, spans: Spans) -> Option<Self> {
        let header = match bytes.len() {
            0..128 => 2,
            128..65_540 => 4,
            _ => MAX_HEADER,
        };
        let (room, unused) = header_for(bytes.len().checked_sub(header)?);
        let within = |span: Span| {
            let (start, end) = (span.start as usize, span.end as usize);
            span == Span::default() || (header <= start && start <= end && end <= bytes.len())
        };
        let sound = MAX_HEADER - unused == header
            && bytes.starts_with(&room[unused..])
            && [spans.event, spans.channel, spans.data]
                .into_iter()
                .all(within);
        sound.then_some(Self {
            bytes,
            spans,
            header: header as u8,
        })
    }

    pub(crate) fn spans(&self) -> Spans {
        self.spans
    }

    /// Puts the header in front of the payload, which starts at [`MAX_HEADER`], and drops the room that is left over.
    pub(crate) fn seal(mut out: Vec<u8>, spans: Spans) -> Self {
        let (room, unused) = header_for(out.len() - MAX_HEADER);
        out[..MAX_HEADER].copy_from_slice(&room);
        let mut bytes = Bytes::from(out);
        bytes.advance(unused);
        let shift = |span: Span| Span {
            start: span.start.saturating_sub(unused as u32),
            end: span.end.saturating_sub(unused as u32),
        };
        let spans = Spans {
            event: shift(spans.event),
            channel: shift(spans.channel),
            data: shift(spans.data),
        };
        Self {
            bytes,
            spans,
            header: (MAX_HEADER - unused) as u8,
        }
    }

    fn control(first: u8, payload: &[u8]) -> Self {
        let payload = &payload[..payload.len().min(MAX_CONTROL)];
        let mut bytes = Vec::with_capacity(2 + payload.len());
        bytes.extend_from_slice(&[first, payload.len() as u8]);
        bytes.extend_from_slice(payload);
        Self {
            bytes: bytes.into(),
            spans: Spans::default(),
            header: 2,
        }
    }
}

/// The header of a text frame at the end of its room, and how much of the room it leaves unused.
fn header_for(payload: usize) -> ([u8; MAX_HEADER], usize) {
    let mut room = [0; MAX_HEADER];
    let unused = if let Ok(short @ 0..126) = u8::try_from(payload) {
        room[8..].copy_from_slice(&[TEXT, short]);
        8
    } else if let Ok(medium) = u16::try_from(payload) {
        room[6..8].copy_from_slice(&[TEXT, 126]);
        room[8..].copy_from_slice(&medium.to_be_bytes());
        6
    } else {
        room[..2].copy_from_slice(&[TEXT, 127]);
        room[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        0
    };
    (room, unused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Data, Message};

    fn frame(size: usize) -> Frame {
        let text = "x".repeat(size);
        let data = Some(Data::Text(&text));
        Message {
            event: "e",
            channel: Some("c"),
            data,
            user_id: None,
        }
        .into_frame()
    }

    #[test]
    fn a_frame_is_one_cache_line() {
        assert!(size_of::<Frame>() <= 64, "{}", size_of::<Frame>());
    }

    #[test]
    fn control_frames_keep_to_their_limit() {
        assert_eq!(Frame::ping().bytes(), [0x89, 0]);
        assert_eq!(Frame::pong(b"hi").bytes(), b"\x8a\x02hi");
        assert_eq!(Frame::pong(&[7; 200]).len(), 127);
        assert_eq!(Frame::close(4001, "no").bytes(), b"\x88\x04\x0f\xa1no");
        let long = Frame::close(4001, &"é".repeat(100));
        assert_eq!(long.bytes()[1], 2 + 122); // the 62nd é would end at byte 124
        assert_eq!(
            std::str::from_utf8(&long.payload()[2..]).unwrap(),
            "é".repeat(61)
        );
        assert!(!Frame::ping().is_empty());
    }

    #[test]
    fn frames_from_the_wire_are_whole_or_refused() {
        for size in [
            0, 90, 94, 95, 96, 97, 98, 99, 100, 65_400, 65_501, 65_502, 65_503, 65_510, 70_000,
        ] {
            let frame = frame(size);
            let bytes = Bytes::copy_from_slice(frame.bytes());
            assert_eq!(
                Frame::from_wire(bytes.clone(), frame.spans()).as_ref(),
                Some(&frame),
                "{size}"
            );
            for cut in [
                bytes.slice(1..),
                bytes.slice(..bytes.len() - 1),
                [&bytes[..], b"x"].concat().into(),
            ] {
                assert_eq!(Frame::from_wire(cut, Spans::default()), None, "{size}");
            }
        }
        let bytes = Bytes::copy_from_slice(frame(1).bytes());
        for (start, end) in [(0, 5), (1, 5), (5, 4), (5, 500)] {
            let data = Span { start, end };
            let spans = Spans {
                data,
                ..Spans::default()
            };
            assert_eq!(Frame::from_wire(bytes.clone(), spans), None);
        }
        for other in [
            &b""[..],
            b"\x81",
            b"\x82\x00",
            b"\x01\x00",
            b"\x81\x80",
            b"\x81\x7e\x00\x00",
            b"\x89\x00",
        ] {
            assert_eq!(
                Frame::from_wire(Bytes::from_static(other), Spans::default()),
                None,
                "{other:?}"
            );
        }
    }
}
