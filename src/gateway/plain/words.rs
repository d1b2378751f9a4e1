//! The hub's frames in this door's words. A chat message is flat, as the check-in chat's clients read it; anything else
//! is `{"type", "data", "channel", "timestamp", "id"}`. Pure but for the time and the random id.

use std::sync::Arc;

use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Plain;
use super::refusal::Refusal;
use crate::auth::Identity;
use crate::chat;
use crate::clock;
use crate::gateway::websocket::Dress;

/// First bytes of the frames that a hub sends (RFC 6455, section 5.2).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

/// RFC 6455, section 7.4.1: against the rules of this server.
pub(super) const POLICY: u16 = 1008;
/// Section 7.4.1: the server goes down.
const GOING_AWAY: u16 = 1001;
/// The registry of close codes (IANA): come back later.
const TRY_AGAIN_LATER: u16 = 1013;

/// What one client hears.
pub(super) struct Ears {
    pub(super) plain: Arc<Plain>,
    pub(super) identity: Arc<Identity>,
}

/// `{"type": kind, "data": data, …}`; `data` is JSON.
pub(super) fn message(kind: &str, data: &str) -> Frame {
    Frame::text(&envelope(kind, data, None))
}

/// What a client is told when something is not done.
pub(super) fn error(refusal: &Refusal) -> Frame {
    let data = serde_json::json!({ "message": refusal.to_string(), "code": refusal.code() });
    message("error", &data.to_string())
}

impl Dress for Ears {
    fn dress(&self, frame: &Frame, out: &mut Vec<u8>) {
        match (frame.bytes().first(), frame.event()) {
            (Some(&TEXT), Some(event)) => {
                if let Some(text) = self.event(event, frame) {
                    out.extend_from_slice(Frame::text(&text).bytes());
                }
            }
            (Some(&CLOSE), _) => out.extend_from_slice(close(frame).bytes()),
            // Pings, pongs, and what this door has written itself.
            _ => out.extend_from_slice(frame.bytes()),
        }
    }
}

impl Ears {
    /// What a message of the hub is here; `event` as JSON has it between the quotes.
    fn event(&self, event: &str, frame: &Frame) -> Option<String> {
        let channel = frame.channel();
        let shown = match event.strip_prefix("pusher_internal:") {
            Some(own @ ("member_added" | "member_removed" | "subscription_count")) => own,
            // Who asked for a channel is told when it stands, and for a room who is there.
            Some(own @ "subscription_succeeded") => {
                let unasked = |channel| self.plain.is_unasked(channel, &self.identity.user_id);
                if channel.is_some_and(unasked) {
                    return None;
                }
                own
            }
            Some(_) => return None,
            None if event.starts_with("pusher:") => return None,
            None => event.strip_prefix("client-").unwrap_or(event),
        };
        let data = frame.data().unwrap_or("null");
        let inner: Option<String> = serde_json::from_str(data).ok();
        // The data of a back end's event is a text; most hold JSON, and then that is meant.
        let data = inner.as_deref().and_then(json).unwrap_or(data);
        if event == "receive_message"
            && channel.is_some_and(|channel| channel.starts_with(chat::CHANNEL))
            && let Some(flat) = flat(data)
        {
            return Some(flat);
        }
        Some(envelope(shown, data, channel))
    }
}

/// The JSON in a text, without the space around it.
fn json(text: &str) -> Option<&str> {
    let value: &RawValue = serde_json::from_str(text).ok()?;
    Some(value.get())
}

/// `kind` and `channel` as JSON has them between the quotes.
fn envelope(kind: &str, data: &str, channel: Option<&str>) -> String {
    let channel = channel.map_or_else(String::new, |name| format!(",\"channel\":\"{name}\""));
    let timestamp = clock::rfc3339(clock::unix_ms() as i64);
    let id = uuid();
    format!(
        "{{\"type\":\"{kind}\",\"data\":{data}{channel},\"timestamp\":\"{timestamp}\",\"id\":\"{id}\"}}"
    )
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    // The system gave random numbers when the server started; it does not stop.
    getrandom::fill(&mut bytes).unwrap_or_default();
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{number:032x}");
    let [a, b, c, d, e] = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// What the chat announces.
#[derive(Deserialize)]
struct Received {
    sender_id: i64,
    content: String,
    #[serde(default)]
    sender: Sender,
}

#[derive(Default, Deserialize)]
struct Sender {
    name: Option<String>,
    photo_url: Option<String>,
    table_number: Option<String>,
}

/// The same for clients of this door; what is not known of a sender is left out.
#[derive(Serialize)]
struct Flat {
    sender_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_photo_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_table_number: Option<String>,
    text: String,
}

/// `None` when it is not what the chat announces, but a back end's event of the same name.
fn flat(data: &str) -> Option<String> {
    let Received {
        sender_id,
        content,
        sender,
    } = serde_json::from_str(data).ok()?;
    let flat = Flat {
        sender_id,
        sender_name: sender.name,
        sender_photo_url: sender.photo_url,
        sender_table_number: sender.table_number,
        text: content,
    };
    serde_json::to_string(&flat).ok()
}

/// A close frame with a code that clients of this door know; the reason stays.
fn close(frame: &Frame) -> Frame {
    let payload = frame.payload();
    let given = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
    let given = given.unwrap_or(Code::Normal.as_u16());
    let code = match given {
        code if code == Code::Reconnect.as_u16() => GOING_AWAY,
        code if code == Code::OverCapacity.as_u16() => TRY_AGAIN_LATER,
        code if code == Code::Unauthorized.as_u16() => POLICY,
        code if code == Code::PongTimeout.as_u16() => Code::InternalError.as_u16(),
        code => code,
    };
    let reason = payload.get(2..).unwrap_or_default();
    Frame::close(code, &String::from_utf8_lossy(reason))
}

#[cfg(test)]
mod tests {
    use gema_protocol::server;

    use super::*;
    use crate::hub::Farewell;

    #[test]
    fn the_codes_of_pusher_become_those_of_websockets_and_the_others_stay() {
        for (given, expected) in [
            (Code::Reconnect, 1001),
            (Code::OverCapacity, 1013),
            (Code::Unauthorized, 1008),
            (Code::PongTimeout, 1011),
            (Code::UnsupportedData, 1003),
        ] {
            let farewell = Farewell::of(given);
            let frame = close(&farewell.close);
            assert_eq!(frame, Frame::close(expected, given.message()), "{given:?}");
        }
        assert_eq!(
            close(&Frame::close(4999, "mine")),
            Frame::close(4999, "mine")
        );
    }

    #[test]
    fn a_uuid_is_of_version_four_and_new_each_time() {
        let (one, two) = (uuid(), uuid());
        assert_ne!(one, two);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
    }

    #[test]
    fn only_what_the_chat_announces_is_flat() {
        let whole = r#"{"id":1,"sender_id":5,"content":"a","sender":{"table_number":"01"}}"#;
        let expected = r#"{"sender_id":5,"sender_table_number":"01","text":"a"}"#;
        assert_eq!(flat(whole).as_deref(), Some(expected));
        for other in [
            "{}",
            "7",
            r#"{"sender_id":5}"#,
            r#"{"sender_id":"x","content":"a"}"#,
        ] {
            assert_eq!(flat(other), None, "{other}");
        }
    }

    #[test]
    fn data_is_taken_out_of_its_text_when_it_is_json() {
        let data = |text: &str| {
            let frame = server::event("a", "e", text);
            let inner: String = serde_json::from_str(frame.data().unwrap()).unwrap();
            json(&inner).map(str::to_owned)
        };
        assert_eq!(data(" {\"n\": 1} ").as_deref(), Some("{\"n\": 1}"));
        for text in ["", "words", "{\"n\":", "1 2"] {
            assert_eq!(data(text), None, "{text}");
        }
    }
}
