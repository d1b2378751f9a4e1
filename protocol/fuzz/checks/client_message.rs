//! Lines of text as the messages of one connection: none may panic, and the session must keep its invariant.

use std::sync::Arc;

use gema_protocol::{Action, Policy, Session, SocketId};

/// Fails by panicking. Bytes that are no UTF-8 never get as far as a session.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // A fuzzer does not guess signatures: it must never get past one. What is behind is for the property tests, which sign.
    let policy = Policy {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        client_events: true,
        channel_name_chars: 200,
        event_name_chars: 200,
        event_data_bytes: 64,
        channels_per_connection: 8,
        client_events_per_s: 10,
        presence_info_bytes: 64,
    };
    let mut session = Session::new(Arc::new(policy), SocketId { node: 1, number: 2 });
    for (now_ms, line) in (0..).zip(text.lines()) {
        match session.on_message(now_ms, line) {
            Action::Subscribe { channel, member } => {
                assert!(!channel.kind().needs_signature(), "a guessed signature");
                session.subscribed(channel, member);
            }
            Action::Publish { channel, .. } => panic!("published to {channel} without membership"),
            Action::SignIn { .. } => panic!("signed in by a guessed signature"),
            Action::Unsubscribe { .. } | Action::Reply(_) | Action::None => {}
        }
        assert!(
            session
                .subscriptions()
                .map(|(channel, _)| channel)
                .is_sorted_by(|a, b| a < b)
        );
        assert!(session.subscriptions().count() <= 8);
    }
}
