//! No sequence of messages harms a session: it keeps exactly the subscriptions that were allowed and carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use gema_protocol::auth::{sign_channel, sign_user};
use gema_protocol::{Action, ClientMessage, Member, Policy, Session, SocketId};
use proptest::prelude::*;
use serde_json::json;

const SOCKET: SocketId = SocketId { node: 1, number: 2 };
const MAX_CHANNELS: usize = 4;

/// What a client might send next.
#[derive(Clone, Debug)]
enum Step {
    Subscribe {
        channel: String,
        signed: bool,
        channel_data: Option<String>,
    },
    Unsubscribe {
        channel: String,
    },
    Signin {
        user_data: String,
        signed: bool,
    },
    Event {
        event: String,
        channel: String,
        data: String,
    },
    Text(String),
}

fn channel() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "a",
        "b",
        "cache-a",
        "private-a",
        "private-b",
        "private-encrypted-a",
        "presence-a",
        "presence-b",
        "#server-to-user-7",
        "#server-to-user-8",
        "#wrong",
        "not a name",
        "",
    ];
    prop_oneof![9 => proptest::sample::select(NAMES).prop_map(str::to_owned), 1 => ".{0,9}"]
}

fn user() -> impl Strategy<Value = String> {
    const USERS: &[&str] = &[
        "{\"user_id\":7,\"id\":\"7\"}",
        "{\"user_id\":\"8\",\"id\":8,\"user_info\":{}}",
        "{}",
        "nonsense",
    ];
    proptest::sample::select(USERS).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let signed = proptest::bool::weighted(0.8);
    let data = proptest::sample::select(
        &[
            "{\"a\":1}",
            "\"text\"",
            "null",
            "\"\\ud800\"",
            "1e999",
            "[[]]",
        ][..],
    );
    prop_oneof![
        5 => (channel(), signed, proptest::option::of(user()))
            .prop_map(|(channel, signed, channel_data)| Step::Subscribe { channel, signed, channel_data }),
        2 => channel().prop_map(|channel| Step::Unsubscribe { channel }),
        1 => (user(), signed).prop_map(|(user_data, signed)| Step::Signin { user_data, signed }),
        3 => ("(client-|pusher:)?[a-z]{0,9}", channel(), data)
            .prop_map(|(event, channel, data)| Step::Event { event, channel, data: data.to_owned() }),
        1 => "(?s).{0,40}".prop_map(Step::Text),
    ]
}

impl Step {
    fn text(&self) -> String {
        let secret = |signed: &bool| if *signed { "secret" } else { "guessed" };
        match self {
            Self::Subscribe {
                channel,
                signed,
                channel_data,
            } => {
                let auth = sign_channel(
                    "key",
                    secret(signed),
                    "1.2",
                    channel,
                    channel_data.as_deref(),
                );
                json!({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth, "channel_data": channel_data}})
                    .to_string()
            }
            Self::Unsubscribe { channel } => {
                json!({"event": "pusher:unsubscribe", "data": {"channel": channel}}).to_string()
            }
            Self::Signin { user_data, signed } => {
                let auth = sign_user("key", secret(signed), "1.2", user_data);
                json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}})
                    .to_string()
            }
            Self::Event {
                event,
                channel,
                data,
            } => {
                let (event, channel) = (json!(event), json!(channel));
                format!("{{\"event\":{event},\"channel\":{channel},\"data\":{data}}}")
            }
            Self::Text(text) => text.clone(),
        }
    }
}

fn session(client_events_per_s: u32) -> Session {
    let policy = Policy {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        client_events: true,
        channel_name_chars: 20,
        event_name_chars: 12,
        event_data_bytes: 6,
        channels_per_connection: MAX_CHANNELS,
        client_events_per_s,
        presence_info_bytes: 8,
    };
    Session::new(Arc::new(policy), SOCKET)
}

proptest! {
    #[test]
    fn a_session_holds_what_was_allowed_and_carried_out(
        steps in proptest::collection::vec((step(), 0..300_u64, any::<bool>()), 0..40), rate in 0..4_u32,
    ) {
        let mut session = session(rate);
        let mut held: BTreeMap<String, Option<Member>> = BTreeMap::new();
        let mut signed_in: Option<String> = None;
        let mut now_ms = 0;
        for (step, passed_ms, carried_out) in steps {
            now_ms += passed_ms;
            match session.on_message(now_ms, &step.text()) {
                Action::Subscribe { channel, member } => {
                    let name = channel.as_str().to_owned();
                    let asked = matches!(&step, Step::Subscribe { channel, .. } if *channel == name);
                    prop_assert!(asked);
                    let signed = matches!(step, Step::Subscribe { signed: true, .. });
                    prop_assert!(signed || !channel.kind().needs_signature());
                    prop_assert_eq!(member.is_some(), channel.kind().is_presence());
                    prop_assert!(!held.contains_key(&name) && held.len() < MAX_CHANNELS);
                    if let Some(user) = channel.server_to_user() {
                        prop_assert_eq!(signed_in.as_deref(), Some(user));
                    }
                    if carried_out {
                        session.subscribed(channel, member.clone());
                        held.insert(name, member);
                    }
                }
                Action::Unsubscribe { channel, member } => {
                    prop_assert_eq!(held.remove(channel.as_str()), Some(member));
                }
                Action::Publish { channel, frame, .. } => {
                    let member = held.get(channel.as_str());
                    prop_assert!(member.is_some() && channel.kind().allows_client_events());
                    prop_assert!(frame.event().is_some_and(|event| event.starts_with("client-")));
                    prop_assert_eq!(frame.channel(), Some(channel.as_str()));
                }
                Action::SignIn { reply, .. } => prop_assert_eq!(reply.event(), Some("pusher:signin_success")),
                Action::Reply(frame) => prop_assert!(frame.event().is_some_and(|event| event.starts_with("pusher:"))),
                Action::None => {}
            }
            let now: BTreeMap<_, _> = session
                .subscriptions()
                .map(|(channel, member)| (channel.as_str().to_owned(), member.cloned()))
                .collect();
            prop_assert_eq!(&now, &held);
            prop_assert!(session.subscriptions().map(|(channel, _)| channel).is_sorted_by(|a, b| a < b));

            let user = session.user().map(|user| user.id.to_string());
            prop_assert!(signed_in.is_none() || signed_in == user, "a connection is one user's only");
            let signs_in = matches!(step, Step::Signin { signed: true, .. });
            prop_assert!(user == signed_in || signs_in);
            signed_in = user;
        }
        prop_assert_eq!(session.take_subscriptions().len(), held.len());
    }

    #[test]
    fn no_text_harms_the_parser(text in "(?s).{0,80}|[{}\\[\\]\",:\\\\a-z0-9]{0,60}") {
        let _ = ClientMessage::parse(&text);
        let quoted = json!(text).to_string();
        for message in [
            format!("{{\"event\":{quoted},\"channel\":{quoted},\"data\":{quoted}}}"),
            format!("{{\"event\":\"pusher:subscribe\",\"data\":{quoted}}}"),
            format!("{{\"event\":\"pusher:subscribe\",\"data\":{text}}}"),
            format!("{{\"event\":\"pusher:signin\",\"data\":{{\"auth\":{text},\"user_data\":{quoted}}}}}"),
        ] {
            let _ = ClientMessage::parse(&message);
            let _ = session(1).on_message(0, &message);
        }
    }

    #[test]
    fn a_subscription_is_read_as_it_was_written(channel in ".{1,20}", auth in ".{1,20}", data in ".{1,20}", wrapped: bool) {
        let inner = json!({"channel": channel, "auth": auth, "channel_data": data});
        let inner = if wrapped { json!(inner.to_string()) } else { inner };
        let text = json!({"event": "pusher:subscribe", "data": inner}).to_string();
        let Ok(ClientMessage::Subscribe(read)) = ClientMessage::parse(&text) else {
            return Err(TestCaseError::fail("not a subscription"));
        };
        prop_assert_eq!(read.channel, channel);
        prop_assert_eq!(read.auth.as_deref(), Some(&*auth));
        prop_assert_eq!(read.channel_data.as_deref(), Some(&*data));
    }
}
