//! What can happen in a channel that a back end is told of, and its form in a request.
//! Source of the forms: Pusher's "Webhooks".

use std::sync::Arc;

use gema_protocol::channel::ChannelName;
use gema_protocol::socket_id::SocketId;
use serde::Serialize;

use crate::apps::WebhookEvent;

/// Something that happened, of which webhooks may want to know.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub enum Event {
    /// The first subscriber came.
    ChannelOccupied { channel: ChannelName },
    /// The last one left.
    ChannelVacated { channel: ChannelName },
    /// A user came into a presence channel with their first connection.
    MemberAdded {
        channel: ChannelName,
        user_id: Arc<str>,
    },
    /// A user left a presence channel with their last connection.
    MemberRemoved {
        channel: ChannelName,
        user_id: Arc<str>,
    },
    /// A client event was accepted. `data` is the text of its data: of a string the string itself, else the JSON.
    /// `user_id` is told for presence channels only.
    ClientEvent {
        channel: ChannelName,
        event: String,
        data: Option<String>,
        socket_id: SocketId,
        user_id: Option<Arc<str>>,
    },
    /// Somebody subscribed to a cache channel that holds nothing.
    CacheMiss { channel: ChannelName },
    /// A channel now has this many subscribers.
    SubscriptionCount { channel: ChannelName, count: u32 },
}

/// The event object of a request, keys in the order of Pusher's documentation.
#[derive(Default, Serialize)]
struct Told<'a> {
    name: &'static str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<u32>,
}

impl Event {
    /// What a webhook names to be told of it.
    pub fn kind(&self) -> WebhookEvent {
        match self {
            Event::ChannelOccupied { .. } => WebhookEvent::ChannelOccupied,
            Event::ChannelVacated { .. } => WebhookEvent::ChannelVacated,
            Event::MemberAdded { .. } => WebhookEvent::MemberAdded,
            Event::MemberRemoved { .. } => WebhookEvent::MemberRemoved,
            Event::ClientEvent { .. } => WebhookEvent::ClientEvent,
            Event::CacheMiss { .. } => WebhookEvent::CacheMiss,
            Event::SubscriptionCount { .. } => WebhookEvent::SubscriptionCount,
        }
    }

    /// Where it happened.
    pub fn channel(&self) -> &ChannelName {
        match self {
            Event::ChannelOccupied { channel }
            | Event::ChannelVacated { channel }
            | Event::MemberAdded { channel, .. }
            | Event::MemberRemoved { channel, .. }
            | Event::ClientEvent { channel, .. }
            | Event::CacheMiss { channel }
            | Event::SubscriptionCount { channel, .. } => channel,
        }
    }

    /// The event object that goes into a request.
    pub(super) fn to_json(&self) -> Arc<str> {
        let mut told = Told {
            name: self.kind().name(),
            channel: self.channel().as_str(),
            ..Told::default()
        };
        match self {
            Event::MemberAdded { user_id, .. } | Event::MemberRemoved { user_id, .. } => {
                told.user_id = Some(user_id);
            }
            Event::ClientEvent {
                channel,
                event,
                data,
                socket_id,
                user_id,
            } => {
                told.event = Some(event);
                told.data = data.as_deref();
                told.socket_id = Some(socket_id.to_string());
                told.user_id = user_id.as_deref().filter(|_| channel.kind().is_presence());
            }
            Event::SubscriptionCount { count, .. } => told.subscription_count = Some(*count),
            _ => {}
        }
        // Texts and a number: nothing in it that JSON could not hold.
        serde_json::to_string(&told).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 200).unwrap()
    }

    fn client_event(name: &str, data: Option<&str>) -> String {
        let event = Event::ClientEvent {
            channel: channel(name),
            event: "client-a".to_owned(),
            data: data.map(str::to_owned),
            socket_id: SocketId { node: 1, number: 2 },
            user_id: Some("10".into()),
        };
        event.to_json().to_string()
    }

    #[test]
    fn the_objects_have_the_documented_form() {
        let (channel, user_id) = (channel("presence-a"), Arc::from("10"));
        let json = |event: Event| event.to_json().to_string();
        assert_eq!(
            json(Event::ChannelOccupied {
                channel: channel.clone()
            }),
            r#"{"name":"channel_occupied","channel":"presence-a"}"#
        );
        assert_eq!(
            json(Event::MemberRemoved {
                channel: channel.clone(),
                user_id
            }),
            r#"{"name":"member_removed","channel":"presence-a","user_id":"10"}"#
        );
        assert_eq!(
            json(Event::SubscriptionCount { channel, count: 3 }),
            r#"{"name":"subscription_count","channel":"presence-a","subscription_count":3}"#
        );
    }

    #[test]
    fn the_data_of_a_client_event_is_a_string() {
        assert_eq!(
            client_event("presence-a", Some(r#"{"b":"c"}"#)),
            r#"{"name":"client_event","channel":"presence-a","event":"client-a","data":"{\"b\":\"c\"}","socket_id":"1.2","user_id":"10"}"#
        );
    }

    #[test]
    fn users_are_told_for_presence_channels_only() {
        assert_eq!(
            client_event("private-a", None),
            r#"{"name":"client_event","channel":"private-a","event":"client-a","socket_id":"1.2"}"#
        );
    }
}
