//! Every message the server sends, each encoded once into a frame.
//!
//! `data` is a JSON string that holds JSON, as clients in typed languages insist on; the two error events carry an
//! object. Source: "Events" of Pusher's Channels WebSocket protocol, and what its client libraries read.

use serde_json::value::RawValue;

use crate::code::Code;
use crate::frame::Frame;
use crate::json::quoted;
use crate::message::{Data, Message};
use crate::socket_id::SocketId;

/// The first message of a connection. `activity_timeout_s` is after how many silent seconds the client should ping;
/// it must not be 0, which pusher-js takes for a broken handshake.
#[must_use]
pub fn connection_established(id: SocketId, activity_timeout_s: u32) -> Frame {
    let data = format!("{{\"socket_id\":\"{id}\",\"activity_timeout\":{activity_timeout_s}}}");
    system("pusher:connection_established", None, Data::Text(&data))
}

/// The answer to `pusher:ping`.
#[must_use]
pub fn pong() -> Frame {
    system("pusher:pong", None, Data::Text("{}"))
}

/// Something went wrong. Without a code nothing follows from it but the message; before the handshake a code must be
/// given, pusher-js hangs without. It never names a channel: some clients would then not take it for an error.
#[must_use]
pub fn error(code: Option<Code>, message: &str) -> Frame {
    let code = code.map_or_else(|| "null".to_owned(), |code| code.as_u16().to_string());
    let data = format!("{{\"code\":{code},\"message\":{}}}", quoted(message));
    system("pusher:error", None, Data::Json(&data))
}

/// A subscription to a channel without members stands.
#[must_use]
pub fn subscription_succeeded(channel: &str) -> Frame {
    system(
        "pusher_internal:subscription_succeeded",
        Some(channel),
        Data::Text("{}"),
    )
}

/// A subscription to a presence channel stands. `roster` gives every member once, the new one included: its user id
/// and, as JSON, its info.
#[must_use]
pub fn presence_succeeded<'a>(
    channel: &str,
    roster: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Frame {
    let (mut count, mut ids, mut hash) = (0_usize, String::new(), String::new());
    for (user_id, user_info) in roster {
        if count > 0 {
            ids.push(',');
            hash.push(',');
        }
        let user_id = quoted(user_id);
        ids.push_str(&user_id);
        hash.push_str(&user_id);
        hash.push(':');
        // Every id has an entry: clients look each one up.
        hash.push_str(user_info.unwrap_or("null"));
        count += 1;
    }
    let data =
        format!("{{\"presence\":{{\"count\":{count},\"ids\":[{ids}],\"hash\":{{{hash}}}}}}}");
    system(
        "pusher_internal:subscription_succeeded",
        Some(channel),
        Data::Text(&data),
    )
}

/// A subscription was refused; the connection goes on. `kind` is `AuthError` or `LimitReached`, or another word for the
/// class of the reason; `error` is for humans; `status` is shaped like an HTTP status or a [`Code`].
///
/// Its name starts with `pusher:` because pusher-js keeps `pusher_internal:` events to itself.
#[must_use]
pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> Frame {
    let data = format!(
        "{{\"type\":{},\"error\":{},\"status\":{status}}}",
        quoted(kind),
        quoted(error)
    );
    system(
        "pusher:subscription_error",
        Some(channel),
        Data::Json(&data),
    )
}

/// A user's first connection joined a presence channel; `user_info` is JSON.
#[must_use]
pub fn member_added(channel: &str, user_id: &str, user_info: Option<&str>) -> Frame {
    let data = match user_info {
        Some(info) => format!("{{\"user_id\":{},\"user_info\":{info}}}", quoted(user_id)),
        None => format!("{{\"user_id\":{}}}", quoted(user_id)),
    };
    system(
        "pusher_internal:member_added",
        Some(channel),
        Data::Text(&data),
    )
}

/// A user's last connection left a presence channel.
#[must_use]
pub fn member_removed(channel: &str, user_id: &str) -> Frame {
    let data = format!("{{\"user_id\":{}}}", quoted(user_id));
    system(
        "pusher_internal:member_removed",
        Some(channel),
        Data::Text(&data),
    )
}

/// An event from the backend. `data` is the text as published: it reaches the client's parser byte for byte.
#[must_use]
pub fn event(channel: &str, event: &str, data: &str) -> Frame {
    system(event, Some(channel), Data::Text(data))
}

/// An event from another client, built anew so that no key of the sender's slips through. A string in `data` stays as
/// it was written, other JSON becomes a string that holds it, and no data is no key. `user_id` is the sender's, on
/// presence channels only.
#[must_use]
pub fn client_event(
    channel: &str,
    event: &str,
    data: Option<&RawValue>,
    user_id: Option<&str>,
) -> Frame {
    let data = data
        .map(RawValue::get)
        .filter(|&json| json != "null")
        .map(|json| {
            if json.starts_with('"') {
                Data::Json(json)
            } else {
                Data::Text(json)
            }
        });
    Message {
        event,
        channel: Some(channel),
        data,
        user_id,
    }
    .into_frame()
}

/// A sign-in was accepted; `user_data` goes back as the client sent it.
#[must_use]
pub fn signin_success(user_data: &str) -> Frame {
    let data = format!("{{\"user_data\":{}}}", quoted(user_data));
    system("pusher:signin_success", None, Data::Text(&data))
}

/// A cache channel has nothing to replay to its new subscriber.
#[must_use]
pub fn cache_miss(channel: &str) -> Frame {
    system("pusher:cache_miss", Some(channel), Data::Text("{}"))
}

/// How many subscriptions a channel has now.
#[must_use]
pub fn subscription_count(channel: &str, count: u32) -> Frame {
    let data = format!("{{\"subscription_count\":{count}}}");
    system(
        "pusher_internal:subscription_count",
        Some(channel),
        Data::Text(&data),
    )
}

/// Which of the users that a client watches are online and which are not; a group without users is left out.
#[must_use]
pub fn watchlist_events(online: &[&str], offline: &[&str]) -> Frame {
    let group = |name: &str, ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
        (!ids.is_empty()).then(|| {
            let ids = ids.join(",");
            format!("{{\"name\":\"{name}\",\"user_ids\":[{ids}]}}")
        })
    };
    let groups = [group("online", online), group("offline", offline)];
    let events: Vec<String> = groups.into_iter().flatten().collect();
    let data = format!("{{\"events\":[{}]}}", events.join(","));
    system("pusher_internal:watchlist_events", None, Data::Text(&data))
}

fn system(event: &str, channel: Option<&str>, data: Data<'_>) -> Frame {
    Message {
        event,
        channel,
        data: Some(data),
        user_id: None,
    }
    .into_frame()
}
