//! What one connection may do, as conversations: a message in, an action out.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails the test")]

use std::sync::Arc;

use gema_protocol::auth::{sign_channel, sign_user};
use gema_protocol::{
    Action, ChannelName, Code, Frame, Member, Policy, Session, SocketId, User, server,
};
use serde_json::{Value, json};

const KEY: &str = "app-key";
const SECRET: &str = "app-secret";
const SOCKET: SocketId = SocketId { node: 1, number: 2 };

fn policy() -> Policy {
    Policy {
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        client_events: true,
        channel_name_chars: 200,
        event_name_chars: 200,
        event_data_bytes: 64,
        channels_per_connection: 0,
        client_events_per_s: 10,
        presence_info_bytes: 64,
    }
}

/// A session and a caller that carries out whatever it says.
struct Client {
    session: Session,
    now_ms: u64,
}

impl Client {
    fn new() -> Self {
        Self::with(policy())
    }

    fn with(policy: Policy) -> Self {
        Self {
            session: Session::new(Arc::new(policy), SOCKET),
            now_ms: 1_000_000,
        }
    }

    fn sends(&mut self, message: Value) -> Action {
        let action = self.session.on_message(self.now_ms, &message.to_string());
        if let Action::Subscribe { channel, member } = &action {
            self.session.subscribed(channel.clone(), member.clone());
        }
        action
    }

    fn subscribes(&mut self, channel: &str) -> Action {
        self.sends(subscribe(json!({"channel": channel, "auth": ""})))
    }

    /// With the signature the app's backend would give.
    fn subscribes_signed(&mut self, channel: &str, channel_data: Option<&str>) -> Action {
        let auth = sign_channel(KEY, SECRET, &SOCKET.to_string(), channel, channel_data);
        self.sends(subscribe(
            json!({"channel": channel, "auth": auth, "channel_data": channel_data}),
        ))
    }

    fn signs_in(&mut self, user_data: &str) -> Action {
        let auth = sign_user(KEY, SECRET, &SOCKET.to_string(), user_data);
        self.sends(
            json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}),
        )
    }

    fn says(&mut self, event: &str, channel: &str, data: Value) -> Action {
        self.sends(json!({"event": event, "channel": channel, "data": data}))
    }

    fn channels(&self) -> Vec<&str> {
        self.session
            .subscriptions()
            .map(|(channel, _)| channel.as_str())
            .collect()
    }
}

fn subscribe(data: Value) -> Value {
    json!({"event": "pusher:subscribe", "data": data})
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel, 200).unwrap()
}

fn joins(channel: &str, member: Option<(&str, Option<&str>)>) -> Action {
    let member = member.map(|(id, info)| Member {
        user_id: id.into(),
        user_info: info.map(Arc::from),
    });
    Action::Subscribe {
        channel: name(channel),
        member,
    }
}

fn reply(action: &Action) -> Value {
    let Action::Reply(frame) = action else {
        return Value::Null;
    };
    serde_json::from_slice(frame.payload()).unwrap()
}

/// The message of a `pusher:error` that has this code and no channel.
fn error(action: &Action, code: Option<u16>) -> String {
    let reply = reply(action);
    assert_eq!(reply["event"], "pusher:error", "{action:?}");
    assert_eq!(reply["data"]["code"], json!(code));
    assert!(reply.get("channel").is_none());
    reply["data"]["message"].as_str().unwrap().to_owned()
}

/// The text of a `pusher:subscription_error` of this kind.
fn refused(action: &Action, channel: &str, kind: &str, status: u16) -> String {
    let reply = reply(action);
    assert_eq!(reply["event"], "pusher:subscription_error", "{action:?}");
    assert_eq!(reply["channel"], channel);
    assert_eq!(
        (&reply["data"]["type"], &reply["data"]["status"]),
        (&json!(kind), &json!(status))
    );
    reply["data"]["error"].as_str().unwrap().to_owned()
}

fn published(action: &Action) -> Value {
    let Action::Publish { frame, .. } = action else {
        return Value::Null;
    };
    serde_json::from_slice(frame.payload()).unwrap()
}

/// What a sign-in that is accepted comes to; `unwatch` is what the same user had watched before.
fn signed_in(user_data: &str, unwatch: Option<Vec<std::sync::Arc<str>>>) -> Action {
    Action::SignIn {
        reply: server::signin_success(user_data),
        unwatch,
    }
}

#[test]
fn a_ping_is_answered_and_a_pong_is_not() {
    let mut client = Client::new();
    assert_eq!(
        client.sends(json!({"event": "pusher:ping"})),
        Action::Reply(server::pong())
    );
    assert_eq!(
        client.sends(json!({"event": "pusher:pong", "data": {}})),
        Action::None
    );
}

#[test]
fn a_public_channel_is_open_to_everyone() {
    let mut client = Client::new();
    assert_eq!(client.subscribes("a"), joins("a", None));
    assert_eq!(
        client.sends(subscribe(json!({"channel": "b"}))),
        joins("b", None)
    );
    assert_eq!(client.channels(), ["a", "b"]);
}

#[test]
fn a_subscription_counts_only_once_it_is_carried_out() {
    let mut session = Session::new(Arc::new(policy()), SOCKET);
    let text = subscribe(json!({"channel": "a"})).to_string();
    assert_eq!(session.on_message(1, &text), joins("a", None));
    assert_eq!(session.subscriptions().count(), 0);
    session.subscribed(name("a"), None);
    session.subscribed(name("a"), None);
    assert_eq!(session.subscriptions().count(), 1);
    assert_eq!(session.take_subscriptions(), [(name("a"), None)]);
    assert_eq!(session.subscriptions().count(), 0);
}

#[test]
fn a_second_subscription_to_a_channel_is_an_error_without_code() {
    let mut client = Client::new();
    client.subscribes("a");
    assert_eq!(
        error(&client.subscribes("a"), None),
        "Existing subscription to channel a"
    );
    assert_eq!(client.channels(), ["a"]);
}

#[test]
fn unsubscribing_ends_the_subscription_once() {
    let mut client = Client::new();
    client.subscribes_signed("presence-a", Some(r#"{"user_id":"7"}"#));
    let unsubscribe = json!({"event": "pusher:unsubscribe", "data": {"channel": "presence-a"}});
    let member = Some(Member {
        user_id: "7".into(),
        user_info: None,
    });
    assert_eq!(
        client.sends(unsubscribe.clone()),
        Action::Unsubscribe {
            channel: name("presence-a"),
            member
        }
    );
    assert_eq!(
        error(&client.sends(unsubscribe), None),
        "No current subscription to channel presence-a, or subscription in progress"
    );
    assert!(client.channels().is_empty());
}

#[test]
fn private_channels_open_with_the_apps_signature() {
    let mut client = Client::new();
    for channel in ["private-a", "private-encrypted-a", "private-cache-a"] {
        assert_eq!(
            client.subscribes_signed(channel, None),
            joins(channel, None)
        );
    }
}

#[test]
fn channel_data_on_a_private_channel_is_part_of_what_is_signed() {
    let mut client = Client::new();
    assert_eq!(
        client.subscribes_signed("private-a", Some("anything")),
        joins("private-a", None)
    );
    let auth = sign_channel(KEY, SECRET, &SOCKET.to_string(), "private-b", None);
    let added = subscribe(json!({"channel": "private-b", "auth": auth, "channel_data": "x"}));
    refused(&client.sends(added), "private-b", "AuthError", 401);
    let empty = subscribe(json!({"channel": "private-b", "auth": auth, "channel_data": ""}));
    assert_eq!(client.sends(empty), joins("private-b", None));
}

#[test]
fn a_bad_signature_is_refused_with_the_text_to_sign() {
    let mut client = Client::new();
    let auth = sign_channel(KEY, SECRET, "1.3", "private-a", None);
    let text = refused(
        &client.sends(subscribe(json!({"channel": "private-a", "auth": auth}))),
        "private-a",
        "AuthError",
        401,
    );
    assert!(
        text.starts_with("Invalid signature: ") && text.contains(" 1.2:private-a, "),
        "{text}"
    );
    assert!(!text.contains(SECRET));

    let wrong_key = subscribe(json!({"channel": "private-a", "auth": "other:00"}));
    let text = refused(&client.sends(wrong_key), "private-a", "AuthError", 401);
    assert_eq!(text, "Invalid key in subscription auth data: 'other'");
    for auth in [json!(null), json!("")] {
        let text = refused(
            &client.sends(subscribe(json!({"channel": "private-a", "auth": auth}))),
            "private-a",
            "AuthError",
            401,
        );
        assert!(text.contains("data.auth"), "{text}");
    }
    assert!(client.channels().is_empty());
}

#[test]
fn bad_names_are_refused_by_their_rule() {
    let mut client = Client::new();
    let text = refused(&client.subscribes("a b"), "a b", "InvalidName", 400);
    assert!(text.contains("' '"), "{text}");
    let long = "a".repeat(201);
    let text = refused(&client.subscribes(&long), &long, "LimitReached", 4009);
    assert!(text.contains("limits.channel_name_chars"), "{text}");
    let missing = client.sends(subscribe(json!({})));
    assert_eq!(error(&missing, None), "Missing parameter: data.channel");
}

#[test]
fn a_connection_may_have_so_many_channels() {
    let mut client = Client::with(Policy {
        channels_per_connection: 2,
        ..policy()
    });
    client.subscribes("a");
    client.subscribes("b");
    let text = refused(&client.subscribes("c"), "c", "LimitReached", 4100);
    assert!(text.contains("limits.channels_per_connection"), "{text}");
    client.sends(json!({"event": "pusher:unsubscribe", "data": {"channel": "a"}}));
    assert_eq!(client.subscribes("c"), joins("c", None));
}

#[test]
fn a_member_is_who_the_channel_data_says() {
    let mut client = Client::new();
    let info = r#"{"b": 12345678901234567890}"#;
    let data = format!(r#"{{"user_id":10,"user_info":{info}}}"#);
    assert_eq!(
        client.subscribes_signed("presence-a", Some(&data)),
        joins("presence-a", Some(("10", Some(info))))
    );
    let members: Vec<_> = client
        .session
        .subscriptions()
        .filter_map(|(_, member)| member)
        .collect();
    assert_eq!(&*members[0].user_id, "10");
}

#[test]
fn a_presence_channel_asks_who_joins() {
    let mut client = Client::new();
    let text = refused(
        &client.subscribes_signed("presence-a", None),
        "presence-a",
        "AuthError",
        401,
    );
    assert!(text.contains("data.channel_data"), "{text}");
    for data in ["{}", "nonsense", r#"{"user_id":""}"#] {
        refused(
            &client.subscribes_signed("presence-a", Some(data)),
            "presence-a",
            "AuthError",
            401,
        );
    }
    let large = json!({"user_id": 1, "user_info": "x".repeat(64)}).to_string();
    let text = refused(
        &client.subscribes_signed("presence-a", Some(&large)),
        "presence-a",
        "LimitReached",
        4301,
    );
    assert!(text.contains("limits.presence_info_bytes"), "{text}");
    assert!(client.channels().is_empty());
}

#[test]
fn channel_data_is_not_read_before_its_signature_is() {
    let mut client = Client::new();
    let forged = subscribe(
        json!({"channel": "presence-a", "auth": "app-key:00", "channel_data": "nonsense"}),
    );
    let text = refused(&client.sends(forged), "presence-a", "AuthError", 401);
    assert!(text.starts_with("Invalid signature"), "{text}");
}

#[test]
fn a_signed_in_user_needs_no_channel_data() {
    let mut client = Client::new();
    client.signs_in(r#"{"id":"7","user_info":{"name":"A"}}"#);
    assert_eq!(
        client.subscribes_signed("presence-a", None),
        joins("presence-a", Some(("7", Some(r#"{"name":"A"}"#))))
    );
    let other = client.subscribes_signed("presence-b", Some(r#"{"user_id":"8"}"#));
    assert_eq!(other, joins("presence-b", Some(("8", None))));
    refused(
        &client.sends(subscribe(json!({"channel": "presence-c"}))),
        "presence-c",
        "AuthError",
        401,
    );
}

#[test]
fn signing_in_echoes_the_user_data_and_keeps_the_user() {
    let mut client = Client::new();
    let data = r#"{"id":"7", "roles":["admin"], "watchlist":["8"]}"#;
    assert_eq!(client.signs_in(data), signed_in(data, None));
    let user = client.session.user().unwrap();
    assert_eq!(
        (&*user.id, user.roles.as_slice()),
        ("7", &["admin".to_owned()][..])
    );
}

#[test]
fn signing_in_again_is_for_the_same_user_only() {
    let mut client = Client::new();
    client.signs_in(r#"{"id":"7"}"#);
    let again = r#"{"id":7,"user_info":{}}"#;
    assert_eq!(client.signs_in(again), signed_in(again, Some(Vec::new())));
    let text = error(&client.signs_in(r#"{"id":"8"}"#), Some(4009));
    assert!(text.contains('7'), "{text}");
    assert_eq!(client.session.user().map(|user| &*user.id), Some("7"));
}

#[test]
fn a_sign_in_that_is_not_the_apps_is_refused() {
    let mut client = Client::new();
    let auth = sign_channel(KEY, SECRET, &SOCKET.to_string(), "private-a", None);
    let forged =
        json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": r#"{"id":"7"}"#}});
    let text = error(&client.sends(forged), Some(Code::Unauthorized.as_u16()));
    assert!(text.contains(r#"1.2::user::{"id":"7"}"#), "{text}");
    for data in [
        "nonsense",
        "{}",
        r#"{"id":""}"#,
        r#"{"id":"7","roles":"admin"}"#,
    ] {
        assert!(error(&client.signs_in(data), Some(4009)).starts_with("Invalid user_data"));
    }
    let missing = client.sends(json!({"event": "pusher:signin", "data": {"auth": "x:y"}}));
    assert_eq!(error(&missing, None), "Missing parameter: data.user_data");
    assert!(client.session.user().is_none());
}

#[test]
fn a_users_own_channel_is_open_to_that_user_only() {
    let mut client = Client::new();
    refused(
        &client.subscribes("#server-to-user-7"),
        "#server-to-user-7",
        "AuthError",
        401,
    );
    client.session.set_user(User {
        id: "7".into(),
        user_info: None,
        roles: Vec::new(),
        watchlist: Vec::new(),
        watchlist_cut: false,
    });
    refused(
        &client.subscribes("#server-to-user-8"),
        "#server-to-user-8",
        "AuthError",
        401,
    );
    assert_eq!(
        client.subscribes("#server-to-user-7"),
        joins("#server-to-user-7", None)
    );
}

#[test]
fn a_client_event_reaches_the_others_as_a_string() {
    let mut client = Client::new();
    client.subscribes_signed("private-a", None);
    for (data, expected) in [
        (json!({"x": 1}), json!(r#"{"x":1}"#)),
        (json!("{\"x\":1}"), json!(r#"{"x":1}"#)),
        (json!("plain \"text\""), json!("plain \"text\"")),
        (json!(7), json!("7")),
        (json!([]), json!("[]")),
    ] {
        let action = client.says("client-a", "private-a", data);
        assert_eq!(
            published(&action),
            json!({"event": "client-a", "channel": "private-a", "data": expected})
        );
    }
    let action = client.says("client-a", "private-a", Value::Null);
    assert_eq!(
        published(&action),
        json!({"event": "client-a", "channel": "private-a"})
    );
}

#[test]
fn numbers_and_escapes_in_event_data_pass_untouched() {
    let mut client = Client::new();
    client.subscribes_signed("private-encrypted-a", None);
    let text = r#"{"event":"client-a","channel":"private-encrypted-a","data":{"n":12345678901234567890,"e":1.50,"s":"\u00e9\/"}}"#;
    let Action::Publish { frame, channel, .. } = client.session.on_message(1, text) else {
        panic!("a publication");
    };
    assert_eq!(channel, name("private-encrypted-a"));
    let data: String = serde_json::from_str(frame.data().unwrap()).unwrap();
    assert_eq!(
        data,
        r#"{"n":12345678901234567890,"e":1.50,"s":"\u00e9\/"}"#
    );
    let text = r#"{"event":"client-a","channel":"private-encrypted-a","data":"\u00e9\/"}"#;
    let Action::Publish { frame, .. } = client.session.on_message(1, text) else {
        panic!("a publication");
    };
    assert_eq!(frame.data(), Some(r#""\u00e9\/""#));
}

#[test]
fn the_sender_is_named_on_presence_channels_by_the_servers_record() {
    let mut client = Client::new();
    client.subscribes_signed("presence-a", Some(r#"{"user_id":0}"#));
    let forged = json!({"event": "client-a", "channel": "presence-a", "data": "x", "user_id": "9", "extra": 1});
    let action = client.sends(forged);
    assert_eq!(
        published(&action),
        json!({"event": "client-a", "channel": "presence-a", "data": "x", "user_id": "0"})
    );
}

#[test]
fn client_events_need_a_signed_channel_and_membership() {
    let mut client = Client::new();
    client.subscribes("a");
    let text = error(&client.says("client-a", "a", json!({})), None);
    assert_eq!(
        text,
        "Client event rejected - only supported on private and presence channels"
    );
    let text = error(&client.says("client-a", "private-a", json!({})), None);
    assert!(
        text.contains("no current subscription to channel private-a"),
        "{text}"
    );
    let missing = client.sends(json!({"event": "client-a"}));
    assert_eq!(error(&missing, None), "Missing parameter: channel");
}

#[test]
fn an_app_may_switch_client_events_off() {
    let mut client = Client::with(Policy {
        client_events: false,
        ..policy()
    });
    client.subscribes_signed("private-a", None);
    let text = error(&client.says("client-a", "private-a", json!({})), None);
    assert!(text.contains("client_events"), "{text}");
}

#[test]
fn client_events_above_the_rate_are_dropped_with_4301() {
    let mut client = Client::new();
    client.subscribes_signed("private-a", None);
    for _ in 0..10 {
        assert!(matches!(
            client.says("client-a", "private-a", json!(1)),
            Action::Publish { .. }
        ));
    }
    let text = error(&client.says("client-a", "private-a", json!(1)), Some(4301));
    assert!(text.contains("limits.client_events_per_s"), "{text}");
    client.now_ms += 100;
    assert!(matches!(
        client.says("client-a", "private-a", json!(1)),
        Action::Publish { .. }
    ));
    error(&client.says("client-a", "private-a", json!(1)), Some(4301));
    assert_eq!(client.channels(), ["private-a"]);
}

#[test]
fn client_events_above_a_size_are_dropped_with_the_settings_name() {
    let mut client = Client::new();
    client.subscribes_signed("private-a", None);
    let text = error(
        &client.says("client-a", "private-a", json!("x".repeat(65))),
        None,
    );
    assert!(text.contains("limits.event_data_bytes"), "{text}");
    // The limit counts what receivers get: escapes of a string do not count, the JSON of anything else does.
    for (data, passes) in [
        (json!("\n".repeat(64)), true),
        (json!("é".repeat(32)), true),
        (json!("é".repeat(33)), false),
        (json!(["x".repeat(60)]), true),
        (json!(["x".repeat(61)]), false),
    ] {
        let action = client.says("client-a", "private-a", data);
        assert_eq!(
            matches!(action, Action::Publish { .. }),
            passes,
            "{action:?}"
        );
    }
    let long = format!("client-{}", "a".repeat(194));
    let text = error(&client.says(&long, "private-a", json!(1)), None);
    assert!(text.contains("limits.event_name_chars"), "{text}");
}

#[test]
fn events_that_are_not_a_clients_are_never_relayed() {
    let mut client = Client::new();
    client.subscribes_signed("private-a", None);
    for event in [
        "pusher:connection_established",
        "pusher_internal:member_added",
        "hello",
        "my-client-a",
    ] {
        let text = error(&client.says(event, "private-a", json!({})), None);
        assert!(text.contains(event), "{text}");
    }
}

#[test]
fn what_is_no_message_is_answered_and_changes_nothing() {
    let mut client = Client::new();
    client.subscribes("a");
    for text in ["", "nonsense", "[]", "7", "{\"event\":", "\u{0}"] {
        let action = client.session.on_message(1, text);
        assert!(
            error(&action, None).starts_with("Invalid message format"),
            "{text}"
        );
    }
    assert_eq!(client.channels(), ["a"]);
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 96, "{}", size_of::<Session>());
    assert!(size_of::<Frame>() <= 64, "{}", size_of::<Frame>());
}
