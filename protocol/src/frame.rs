//! A complete WebSocket frame from server to client (RFC 6455 section 5), made once and shared by everyone who gets it.
//!
//! A frame remembers where its event name, channel and data stand in the JSON, so that another door can say the same
//! thing in its own words without parsing.

use bytes::{Buf, Bytes};

use crate::json;

const TEXT: u8 = 0x81; // FIN and opcode 1
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A control frame carries no more (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;

/// The longest header: two bytes and a 64-bit length. Servers do not mask.
const MAX_HEADER: usize = 10;

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
    fn new(start: usize, end: usize) -> Self {
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

    /// True only of [`Frame::raw`] with nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What the frame carries: the JSON of a message. All the bytes in the case of [`Frame::raw`].
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

    /// Bytes that are frames already, such as the reply a WebSocket decoder has prepared.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            spans: Spans::default(),
            header: 0,
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

/// What a text frame says. Every message of the protocol has this shape.
pub(crate) struct Message<'a> {
    pub(crate) event: &'a str,
    pub(crate) channel: Option<&'a str>,
    pub(crate) data: Option<Data<'a>>,
    /// Who sent it; on presence channels only.
    pub(crate) user_id: Option<&'a str>,
}

/// The `data` of a message.
#[derive(Clone, Copy)]
pub(crate) enum Data<'a> {
    /// Becomes a JSON string.
    Text(&'a str),
    /// Is JSON and stays as it is.
    Json(&'a str),
}

impl Message<'_> {
    /// Writes the JSON straight behind the room for the longest header, into memory of exactly that size; the header
    /// goes right before the JSON once its length is a fact.
    pub(crate) fn into_frame(self) -> Frame {
        let mut out = Vec::with_capacity(MAX_HEADER + self.len());
        out.extend_from_slice(&[0; MAX_HEADER]);
        let mut spans = Spans::default();

        out.extend_from_slice(b"{\"event\":");
        spans.event = push_string(&mut out, self.event);
        if let Some(channel) = self.channel {
            out.extend_from_slice(b",\"channel\":");
            spans.channel = push_string(&mut out, channel);
        }
        if let Some(data) = self.data {
            out.extend_from_slice(b",\"data\":");
            let start = out.len();
            match data {
                Data::Text(text) => json::push_quoted(&mut out, text),
                Data::Json(json) => out.extend_from_slice(json.as_bytes()),
            }
            spans.data = Span::new(start, out.len());
        }
        if let Some(user_id) = self.user_id {
            out.extend_from_slice(b",\"user_id\":");
            json::push_quoted(&mut out, user_id);
        }
        out.push(b'}');
        seal(out, spans)
    }

    fn len(&self) -> usize {
        let data = self.data.map_or(0, |data| match data {
            Data::Text(text) => json::quoted_len(text),
            Data::Json(json) => json.len(),
        });
        let key = |key: &str, len: usize| if len == 0 { 0 } else { key.len() + 4 + len }; // a comma, two quotes, a colon
        1 + key("event", json::quoted_len(self.event))
            + key("channel", self.channel.map_or(0, json::quoted_len))
            + key("data", data)
            + key("user_id", self.user_id.map_or(0, json::quoted_len))
    }
}

/// Appends a JSON string and says where its inside stands.
fn push_string(out: &mut Vec<u8>, text: &str) -> Span {
    let start = out.len() + 1;
    json::push_quoted(out, text);
    Span::new(start, out.len() - 1)
}

/// Puts the header in front of the payload, which starts at [`MAX_HEADER`], and drops the room that is left over.
fn seal(mut out: Vec<u8>, spans: Spans) -> Frame {
    let payload = out.len() - MAX_HEADER;
    let unused = if let Ok(short @ 0..126) = u8::try_from(payload) {
        out[8..MAX_HEADER].copy_from_slice(&[TEXT, short]);
        8
    } else if let Ok(medium) = u16::try_from(payload) {
        out[6..8].copy_from_slice(&[TEXT, 126]);
        out[8..MAX_HEADER].copy_from_slice(&medium.to_be_bytes());
        6
    } else {
        out[..2].copy_from_slice(&[TEXT, 127]);
        out[2..MAX_HEADER].copy_from_slice(&(payload as u64).to_be_bytes());
        0
    };
    let shift = |span: Span| Span {
        start: span.start.saturating_sub(unused),
        end: span.end.saturating_sub(unused),
    };
    let mut bytes = Bytes::from(out);
    bytes.advance(unused as usize);
    let spans = Spans {
        event: shift(spans.event),
        channel: shift(spans.channel),
        data: shift(spans.data),
    };
    Frame {
        bytes,
        spans,
        header: MAX_HEADER as u8 - unused as u8,
    }
}
