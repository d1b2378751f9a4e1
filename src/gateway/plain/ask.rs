//! What a client's message asks for. There are two shapes: `{"recipient_id", "text"}`, which is a message to a user, and
//! `{"type", "data"}`, which is everything. Keys that are not known are ignored.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::chat::{MarkAsRead, SendMessage};

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Ping,
    /// A message to a user.
    Message {
        receiver_id: i64,
        content: String,
        /// The sender's own name for it: the same again is the same message.
        client_id: Option<String>,
    },
    /// A message has been read.
    Read {
        message_id: i64,
    },
    /// Somebody in a room has begun to type, or stopped.
    Typing {
        room: String,
        begun: bool,
    },
    Status(Status),
    Subscribe(String),
    Unsubscribe(String),
}

/// What a user wants to be seen as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Online,
    Offline,
    Away,
    Busy,
    /// Here, and seen as if not.
    Invisible,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    recipient_id: Option<Id>,
    text: Option<String>,
    client_id: Option<String>,
}

#[derive(Deserialize)]
struct Room {
    room_id: Id,
}

#[derive(Deserialize)]
struct Change {
    status: String,
}

#[derive(Deserialize)]
struct Channel {
    channel: String,
}

/// An id as a number or as a text: programs in loosely typed languages send either.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an integer or a text")]
enum Id {
    Number(i64),
    Text(String),
}

impl Ask {
    /// Reads a message.
    pub(super) fn parse(text: &str) -> Result<Ask, Refusal> {
        let envelope: Envelope<'_> = object(text, "The message")?;
        let Some(kind) = envelope.kind else {
            let (Some(receiver), Some(content)) = (envelope.recipient_id, envelope.text) else {
                return Err(Refusal::bad(
                    "A message has a type, or recipient_id and text",
                ));
            };
            return Ok(Ask::Message {
                receiver_id: receiver.number("recipient_id")?,
                content,
                client_id: envelope.client_id,
            });
        };
        let data = envelope.data.map_or("{}", RawValue::get);
        Ok(match kind.as_str() {
            "ping" => Ask::Ping,
            "send_message" => {
                let message: SendMessage = object(data, &kind)?;
                Ask::Message {
                    receiver_id: message.receiver_id,
                    content: message.content,
                    client_id: message.client_id,
                }
            }
            "mark_as_read" => Ask::Read {
                message_id: object::<MarkAsRead>(data, &kind)?.message_id,
            },
            "typing_start" | "typing_stop" => Ask::Typing {
                room: object::<Room>(data, &kind)?.room_id.text(),
                begun: kind == "typing_start",
            },
            "user_status_change" => {
                Ask::Status(Status::parse(&object::<Change>(data, &kind)?.status)?)
            }
            "subscribe" => Ask::Subscribe(object::<Channel>(data, &kind)?.channel),
            "unsubscribe" => Ask::Unsubscribe(object::<Channel>(data, &kind)?.channel),
            _ => return Err(Refusal::unknown_type(&kind)),
        })
    }
}

impl Status {
    fn parse(text: &str) -> Result<Status, Refusal> {
        Ok(match text {
            "online" => Status::Online,
            "offline" => Status::Offline,
            "away" => Status::Away,
            "busy" => Status::Busy,
            "invisible" => Status::Invisible,
            _ => {
                let text = "The status is one of online, offline, away, busy and invisible";
                return Err(Refusal::bad(text));
            }
        })
    }

    /// What the others see.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Offline | Status::Invisible => "offline",
            Status::Away => "away",
            Status::Busy => "busy",
        }
    }
}

impl Id {
    fn number(self, key: &str) -> Result<i64, Refusal> {
        match self {
            Id::Number(number) => Ok(number),
            Id::Text(text) => text
                .parse()
                .map_err(|_| Refusal::bad(format!("{key} is not an integer"))),
        }
    }

    fn text(self) -> String {
        match self {
            Id::Number(number) => number.to_string(),
            Id::Text(text) => text,
        }
    }
}

/// A JSON object; serde alone would also take an array for a struct.
fn object<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Refusal> {
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::bad(format!("{what}: not a JSON object")));
    }
    serde_json::from_str(text).map_err(|error| Refusal::bad(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        Ask::parse(text).unwrap_err().code()
    }

    #[test]
    fn a_message_to_a_user_has_either_shape_and_ids_of_either_type() {
        let message = |client_id: Option<&str>| Ask::Message {
            receiver_id: 5,
            content: "Halo".into(),
            client_id: client_id.map(str::to_owned),
        };
        for text in [
            r#"{"recipient_id": 5, "text": "Halo"}"#,
            r#" {"recipient_id":"5","text":"Halo","room":1}"#,
            r#"{"type":"send_message","data":{"receiver_id":5,"content":"Halo"}}"#,
        ] {
            assert_eq!(Ask::parse(text).unwrap(), message(None), "{text}");
        }
        let named = r#"{"recipient_id":5,"text":"Halo","client_id":"a"}"#;
        assert_eq!(Ask::parse(named).unwrap(), message(Some("a")));
    }

    #[test]
    fn data_may_be_left_out_where_nothing_is_in_it() {
        for text in [
            r#"{"type":"ping","data":{}}"#,
            r#"{"type":"ping","data":null}"#,
            r#"{"type":"ping"}"#,
        ] {
            assert_eq!(Ask::parse(text).unwrap(), Ask::Ping);
        }
    }

    #[test]
    fn rooms_and_statuses_are_read_as_the_guide_has_them() {
        let typing = r#"{"type":"typing_stop","data":{"room_id":"room-uuid"}}"#;
        let stopped = Ask::Typing {
            room: "room-uuid".into(),
            begun: false,
        };
        assert_eq!(Ask::parse(typing).unwrap(), stopped);
        let status = |name: &str| {
            let text = format!(r#"{{"type":"user_status_change","data":{{"status":"{name}"}}}}"#);
            Ask::parse(&text)
        };
        let shown = ["online", "offline", "away", "busy", "invisible"].map(|name| {
            let Ok(Ask::Status(status)) = status(name) else {
                panic!("{name}");
            };
            status.shown()
        });
        assert_eq!(shown, ["online", "offline", "away", "busy", "offline"]);
        assert_eq!(status("asleep").unwrap_err().code(), "bad_request");
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            "[\"ping\"]",
            r#"{"recipient_id":5}"#,
            r#"{"recipient_id":5.5,"text":"a"}"#,
            r#"{"recipient_id":"five","text":"a"}"#,
            r#"{"type":"typing_start","data":["a"]}"#,
            r#"{"type":"typing_start"}"#,
            r#"{"type":7}"#,
        ] {
            assert_eq!(code(text), "bad_request", "{text}");
        }
        assert_eq!(code(r#"{"type":"dance"}"#), "unknown_type");
        let said = Ask::parse(r#"{"type":"subscribe","data":{}}"#).unwrap_err();
        assert!(
            said.to_string()
                .starts_with("subscribe: missing field `channel`"),
            "{said}"
        );
    }
}
