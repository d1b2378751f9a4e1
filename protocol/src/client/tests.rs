//! What a client may send, and how a message is understood.

use super::*;

fn subscribe(text: &str) -> Subscribe<'_> {
    match ClientMessage::parse(text).unwrap() {
        ClientMessage::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

fn refusal(text: &str) -> String {
    ClientMessage::parse(text).unwrap_err().to_string()
}

#[test]
fn pings_are_understood_with_and_without_data() {
    for text in [
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event": "pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":"{}"}"#,
        r#"{"event":"pusher:ping","data":null,"extra":[1]}"#,
    ] {
        assert!(
            matches!(ClientMessage::parse(text), Ok(ClientMessage::Ping)),
            "{text}"
        );
    }
    let pong = ClientMessage::parse(r#"{"event":"pusher:pong","data":{}}"#);
    assert!(matches!(pong, Ok(ClientMessage::Pong)));
}

#[test]
fn auth_may_be_missing_null_or_empty() {
    for data in [
        r#"{"channel":"a"}"#,
        r#"{"auth":"","channel":"a"}"#,
        r#"{"auth":null,"channel":"a","channel_data":null}"#,
        r#"{"auth":"","channel":"a","channel_data":"","whatever":1}"#,
    ] {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#);
        let subscribe = subscribe(&text);
        assert_eq!(
            (&*subscribe.channel, subscribe.auth, subscribe.channel_data),
            ("a", None, None)
        );
    }
}

#[test]
fn channel_data_is_the_text_that_was_signed() {
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"k:s","channel":"presence-a","channel_data":"{\"user_id\":\"1\", \"user_info\":{\"n\":\"\\u00e9\"}}"}}"#;
    let subscribe = subscribe(text);
    assert_eq!(subscribe.auth.as_deref(), Some("k:s"));
    let channel_data = subscribe.channel_data.unwrap();
    assert_eq!(
        channel_data,
        r#"{"user_id":"1", "user_info":{"n":"\u00e9"}}"#
    );
}

#[test]
fn data_may_be_a_string_that_holds_the_object() {
    let text =
        r#"{"event":"pusher:subscribe","data":"{\"channel\":\"private-a\",\"auth\":\"k:s\"}"}"#;
    let subscribe = subscribe(text);
    assert_eq!(
        (&*subscribe.channel, subscribe.auth.as_deref()),
        ("private-a", Some("k:s"))
    );
}

#[test]
fn nothing_is_copied_unless_it_is_escaped() {
    let text = r#"{"event":"client-a","channel":"private-b","data":{"n":12345678901234567890}}"#;
    let Ok(ClientMessage::ClientEvent {
        event,
        channel,
        data,
    }) = ClientMessage::parse(text)
    else {
        panic!("a client event");
    };
    assert!(matches!(
        (event, channel),
        (Cow::Borrowed("client-a"), Cow::Borrowed("private-b"))
    ));
    assert_eq!(data.unwrap().get(), r#"{"n":12345678901234567890}"#);
}

#[test]
fn null_and_missing_event_data_are_the_same() {
    for text in [
        r#"{"event":"client-a","channel":"b"}"#,
        r#"{"event":"client-a","channel":"b","data":null}"#,
    ] {
        let message = ClientMessage::parse(text).unwrap();
        assert!(
            matches!(message, ClientMessage::ClientEvent { data: None, .. }),
            "{text}"
        );
    }
}

#[test]
fn other_events_are_reported_by_name() {
    for name in [
        "pusher:other",
        "pusher_internal:member_added",
        "hello",
        "Client-a",
        "my-client-a",
    ] {
        let text = format!(r#"{{"event":"{name}","channel":"a","data":1}}"#);
        let message = ClientMessage::parse(&text).unwrap();
        assert!(matches!(message, ClientMessage::Unknown { event } if event == name));
    }
}

#[test]
fn what_is_wrong_is_named() {
    let missing = "Missing parameter: ";
    let typed = "Invalid parameter: ";
    for (text, expected) in [
        (r#"{"data":{}}"#, format!("{missing}event")),
        (r#"{"event":7}"#, format!("{typed}event must be a string")),
        (
            r#"{"event":"pusher:subscribe"}"#,
            format!("{missing}data.channel"),
        ),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":""}}"#,
            format!("{missing}data.channel"),
        ),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":["x"]}}"#,
            format!("{typed}data.auth must be a string"),
        ),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":"a","channel_data":{"user_id":1}}}"#,
            format!("{typed}data.channel_data must be a string"),
        ),
        (
            r#"{"event":"pusher:unsubscribe","data":{}}"#,
            format!("{missing}data.channel"),
        ),
        (
            r#"{"event":"pusher:signin","data":{"auth":"k:s"}}"#,
            format!("{missing}data.user_data"),
        ),
        (
            r#"{"event":"client-a","data":{}}"#,
            format!("{missing}channel"),
        ),
        (
            r#"{"event":"client-a","channel":{}}"#,
            format!("{typed}channel must be a string"),
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    for text in [
        "",
        "nonsense",
        "[]",
        "[\"pusher:ping\"]",
        "null",
        "7",
        "{",
        "{\"event\":\"pusher:ping\"}}",
    ] {
        assert_eq!(
            ClientMessage::parse(text).unwrap_err(),
            MessageError::Malformed,
            "{text}"
        );
    }
    let twice = r#"{"event":"client-a","event":"pusher:ping"}"#;
    assert_eq!(
        ClientMessage::parse(twice).unwrap_err(),
        MessageError::Malformed
    );
    for data in ["[\"a\"]", "7", "true", "\"a\"", "\"[\\\"a\\\"]\""] {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{data}}}"#);
        assert_eq!(
            ClientMessage::parse(&text).unwrap_err(),
            MessageError::DataNotAnObject,
            "{text}"
        );
    }
}
