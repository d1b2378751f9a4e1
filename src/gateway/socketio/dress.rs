//! A frame of the hub, in the words of Socket.IO: the event's name and its data as a value.

use std::borrow::Cow;

use gema_protocol::frame::Frame;
use serde_json::value::RawValue;

/// Names by which clients of Socket.IO tell what happens to the connection: no event may pass for that.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// What the Pusher protocol tells its clients about a channel, of use to others as well.
const TOLD: [&str; 3] = ["member_added", "member_removed", "subscription_count"];

/// An event to emit.
#[derive(Debug)]
pub(super) struct Dressed<'a> {
    pub(super) event: Cow<'a, str>,
    pub(super) data: Box<RawValue>,
}

impl<'a> Dressed<'a> {
    /// `None` for what is the Pusher protocol's own: greetings, acknowledgements, pings.
    pub(super) fn of(frame: &'a Frame) -> Option<Dressed<'a>> {
        let event = unescaped(frame.event()?)?;
        let event = match event.strip_prefix("pusher_internal:") {
            Some(told) if TOLD.contains(&told) => Cow::Owned(told.to_owned()),
            Some(_) => return None,
            None if event.starts_with("pusher:") => return None,
            None => match event.strip_prefix("client-") {
                Some(said) => Cow::Owned(said.to_owned()),
                None => event,
            },
        };
        if RESERVED.contains(&&*event) {
            return None;
        }
        let data = value(frame.data().unwrap_or("null"))?;
        Some(Dressed { event, data })
    }

    /// Its size in a packet, near enough.
    pub(super) fn len(&self) -> usize {
        self.event.len() + self.data.get().len()
    }
}

/// What stands between the quotes of a JSON string.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(&format!("\"{text}\"")).ok()
}

/// In the Pusher protocol the data is a text that holds JSON, mostly: here it is that JSON itself, or else the text.
fn value(data: &str) -> Option<Box<RawValue>> {
    if data.starts_with('"')
        && let Ok(text) = serde_json::from_str::<String>(data)
        && let Ok(value) = RawValue::from_string(text)
    {
        return Some(value);
    }
    RawValue::from_string(data.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use gema_protocol::server;

    use super::*;

    fn dressed(frame: &Frame) -> Option<(String, String)> {
        let dressed = Dressed::of(frame)?;
        Some((dressed.event.into_owned(), dressed.data.get().to_owned()))
    }

    #[test]
    fn data_is_the_value_that_the_back_end_meant() {
        for (published, heard) in [
            (r#"{"total": 15000}"#, r#"{"total": 15000}"#),
            ("[1,2]", "[1,2]"),
            ("15", "15"),
            ("just text", r#""just text""#),
            (r#""quoted""#, r#""quoted""#),
            ("{broken", r#""{broken""#),
            ("", r#""""#),
        ] {
            let frame = server::event("orders", "new-order", published);
            let expected = ("new-order".to_owned(), heard.to_owned());
            assert_eq!(dressed(&frame), Some(expected), "{published}");
        }
    }

    #[test]
    fn an_event_of_another_client_loses_its_prefix_and_names_are_unescaped() {
        let data = RawValue::from_string(r#"{"room_id":"1"}"#.to_owned()).unwrap();
        let frame =
            server::client_event("presence-room.1", "client-typing_start", Some(&data), None);
        let expected = ("typing_start".to_owned(), r#"{"room_id":"1"}"#.to_owned());
        assert_eq!(dressed(&frame), Some(expected));
        let frame = server::client_event("private-a", "client-a", None, None);
        assert_eq!(dressed(&frame), Some(("a".to_owned(), "null".to_owned())));
        let frame = server::event("a", r#"App\Events\"Neu""#, "1");
        let expected = (r#"App\Events\"Neu""#.to_owned(), "1".to_owned());
        assert_eq!(dressed(&frame), Some(expected));
    }

    #[test]
    fn who_comes_and_goes_is_told_and_the_rest_of_the_protocol_is_not() {
        let frame = server::member_added("presence-a", "7", None);
        let expected = ("member_added".to_owned(), r#"{"user_id":"7"}"#.to_owned());
        assert_eq!(dressed(&frame), Some(expected));
        for frame in [
            server::pong(),
            server::error(None, "no"),
            server::subscription_succeeded("a"),
            server::cache_miss("cache-a"),
            Frame::ping(),
            Frame::close(4200, ""),
        ] {
            assert_eq!(dressed(&frame), None);
        }
    }

    #[test]
    fn no_event_passes_for_what_happens_to_the_connection() {
        assert_eq!(dressed(&server::event("a", "disconnect", "{}")), None);
    }
}
