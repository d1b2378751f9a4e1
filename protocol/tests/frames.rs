//! Frames are what RFC 6455 says a server sends, whatever the text in them; read here by a decoder of its own.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails the test")]

use gema_protocol::{Frame, SocketId, server};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

/// Takes one frame off `bytes` by section 5.2 of RFC 6455: first byte, payload, what follows.
fn decode(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (len, rest) = match second {
        0..=125 => (u64::from(second), rest),
        126 => {
            let (len, rest) = rest.split_at_checked(2)?;
            (u64::from(len[0]) * 256 + u64::from(len[1]), rest)
        }
        127 => {
            let (len, rest) = rest.split_at_checked(8)?;
            (
                len.iter().fold(0, |len, &byte| len * 256 + u64::from(byte)),
                rest,
            )
        }
        _ => return None, // masked, which a server must not
    };
    let shortest = matches!((second, len), (0..=125, _) | (126, 126..) | (127, 65_536..));
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    shortest.then_some((first, payload, rest))
}

/// The message in a frame that must be exactly one text frame.
fn message(frame: &Frame) -> Option<Value> {
    let (0x81, payload, []) = decode(frame.bytes())? else {
        return None;
    };
    assert_eq!(payload, frame.payload());
    assert_eq!(frame.len(), frame.bytes().len());
    serde_json::from_slice(payload).ok()
}

/// JSON in text form, written in ways our own writer would not.
fn json() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just("{ \"a\" : [1.50, true] , \"b\":\"\\u00e9\\/\" }".to_owned()),
        Just("\"\\u0041\\ud83d\\ude00\"".to_owned()),
        ".{0,40}".prop_map(|text| Value::from(text).to_string()),
    ]
}

proptest! {
    #[test]
    fn an_event_arrives_as_it_was_published(channel in ".{0,30}", name in ".{0,30}", data in "(?s).{0,200}") {
        let frame = server::event(&channel, &name, &data);
        let message = message(&frame).unwrap();
        prop_assert_eq!(message, serde_json::json!({"event": name, "channel": channel, "data": data}));
    }

    #[test]
    fn the_parts_of_a_frame_are_those_of_its_message(channel in ".{0,30}", name in ".{0,30}", data in ".{0,30}") {
        let frame = server::event(&channel, &name, &data);
        let unquoted = |text: &str| serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap();
        prop_assert_eq!(frame.event().map(unquoted), Some(name));
        prop_assert_eq!(frame.channel().map(unquoted), Some(channel));
        prop_assert_eq!(frame.data().map(|json| serde_json::from_str::<String>(json).unwrap()), Some(data));
    }

    #[test]
    fn a_client_event_carries_string_data_whatever_was_sent(name in ".{0,20}", json in json(), user in proptest::option::of(".{0,9}")) {
        let data: Box<RawValue> = serde_json::from_str(&json).unwrap();
        let frame = server::client_event("presence-a", &name, Some(&data), user.as_deref());
        let message = message(&frame).unwrap();
        prop_assert_eq!(message.get("user_id").and_then(Value::as_str), user.as_deref());
        match serde_json::from_str(&json).unwrap() {
            Value::Null => prop_assert!(message.get("data").is_none()),
            Value::String(text) => prop_assert_eq!(&message["data"], &Value::String(text)),
            _ => prop_assert_eq!(&message["data"], &Value::String(json)),
        }
    }

    #[test]
    fn every_member_is_in_the_roster_once(members in proptest::collection::btree_map(".{1,9}", proptest::option::of(json()), 0..6)) {
        let roster = members.iter().map(|(id, info)| (id.as_str(), info.as_deref()));
        let message = message(&server::presence_succeeded("presence-a", roster)).unwrap();
        let data: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
        let presence = &data["presence"];
        prop_assert_eq!(presence["count"].as_u64(), Some(members.len() as u64));
        prop_assert_eq!(&presence["ids"], &serde_json::json!(members.keys().collect::<Vec<_>>()));
        prop_assert_eq!(presence["hash"].as_object().map(|hash| hash.len()), Some(members.len()));
        for (id, info) in &members {
            let info: Value = info.as_deref().map_or(Value::Null, |info| serde_json::from_str(info).unwrap());
            prop_assert_eq!(&presence["hash"][id], &info);
        }
    }

    #[test]
    fn system_messages_are_sound_whatever_the_names(a in ".{0,30}", b in ".{0,30}") {
        let id = SocketId { node: 1, number: 2 };
        for frame in [
            server::connection_established(id, 120),
            server::error(None, &a),
            server::subscription_succeeded(&a),
            server::subscription_error(&a, "AuthError", &b, 401),
            server::member_added(&a, &b, Some("{}")),
            server::member_removed(&a, &b),
            server::signin_success(&a),
        ] {
            let message = message(&frame).unwrap();
            prop_assert!(message["event"].is_string());
            if let Some(inner) = message["data"].as_str() {
                prop_assert!(serde_json::from_str::<Value>(inner).unwrap().is_object());
            }
        }
    }

    #[test]
    fn control_frames_never_outgrow_their_limit(code in 1000..5000_u16, reason in ".{0,200}", payload: Vec<u8>) {
        let close = Frame::close(code, &reason);
        let (first, body, rest) = decode(close.bytes()).unwrap();
        prop_assert_eq!((first, rest.len()), (0x88, 0));
        prop_assert!(body.len() <= 125);
        prop_assert_eq!(u16::from_be_bytes([body[0], body[1]]), code);
        prop_assert!(reason.starts_with(std::str::from_utf8(&body[2..]).unwrap()));

        let pong = Frame::pong(&payload);
        let (first, body, rest) = decode(pong.bytes()).unwrap();
        prop_assert_eq!((first, rest.len()), (0x8a, 0));
        prop_assert_eq!(body, &payload[..payload.len().min(125)]);
    }
}

#[test]
fn the_length_takes_as_many_bytes_as_it_needs() {
    let around = |payload: usize| {
        let empty = server::event("a", "b", "").payload().len();
        server::event("a", "b", &"x".repeat(payload - empty))
    };
    for (payload, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10), (200_000, 10)] {
        let frame = around(payload);
        assert_eq!(
            (frame.payload().len(), frame.len()),
            (payload, payload + header)
        );
        assert!(message(&frame).is_some(), "{payload}");
    }
}
