//! The one shape that every message of the server has, and how it is written into a frame.

use crate::frame::{Frame, MAX_HEADER, Span, Spans};
use crate::json;

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
        Frame::seal(out, spans)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(event: &'a str, channel: Option<&'a str>, data: Data<'a>) -> Message<'a> {
        Message {
            event,
            channel,
            data: Some(data),
            user_id: None,
        }
    }

    #[test]
    fn the_memory_reserved_is_the_memory_used() {
        for (event, text) in [
            ("a", ""),
            ("App\\Events\\A", "\"\u{1}\u{7f}é\n"),
            ("x", "😀"),
        ] {
            for channel in [None, Some("private-a")] {
                for data in [
                    None,
                    Some(Data::Text(text)),
                    Some(Data::Json("{\"a\":[1]}")),
                ] {
                    for user_id in [None, Some("0")] {
                        let message = Message {
                            event,
                            channel,
                            data,
                            user_id,
                        };
                        let len = message.len();
                        assert_eq!(message.into_frame().payload().len(), len);
                    }
                }
            }
        }
    }

    #[test]
    fn the_parts_are_found_without_parsing() {
        let frame = message("App\\A", Some("a"), Data::Text("{\"n\":1}")).into_frame();
        assert_eq!(frame.event(), Some("App\\\\A"));
        assert_eq!(frame.channel(), Some("a"));
        assert_eq!(frame.data(), Some("\"{\\\"n\\\":1}\""));
        let frame = message("a", None, Data::Json("{}")).into_frame();
        assert_eq!((frame.channel(), frame.data()), (None, Some("{}")));
        for control in [Frame::ping(), Frame::pong(b"x"), Frame::close(4200, "x")] {
            assert_eq!(
                (control.event(), control.channel(), control.data()),
                (None, None, None)
            );
        }
    }
}
