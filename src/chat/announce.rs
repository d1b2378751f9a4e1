//! What is told of a stored message, as a back end would tell it: so it reaches all nodes, and has one order.

use std::sync::Arc;

use gema_protocol::channel::ChannelName;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use serde::Serialize;

use super::{CHANNEL, Message, Profile};
use crate::broker::Broker;
use crate::clock;
use crate::hub::Topic;
use crate::metrics::{Metrics, Source};

/// Longer than any user's channel.
const CHANNEL_CHARS: usize = 64;

/// Tells users of their messages.
pub(super) struct Announcer {
    pub(super) broker: Arc<Broker>,
    pub(super) metrics: Arc<Metrics>,
    /// In whose channels, by its index.
    pub(super) app: u32,
}

#[derive(Serialize)]
struct ReceiveMessage<'a> {
    id: i64,
    sender_id: i64,
    receiver_id: i64,
    content: &'a str,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'a Profile>,
}

#[derive(Serialize)]
struct MessageSent<'a> {
    id: i64,
    receiver_id: i64,
    content: &'a str,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

/// Spelled as the clients have it.
#[derive(Serialize)]
struct MessegeRead {
    message_id: i64,
    user_id: i64,
}

/// What a sender is told of a message that is stored, for this sender alone: what was announced long ago is not again.
pub(super) fn message_sent(channel: &str, message: &Message) -> Frame {
    let created_at = clock::rfc3339(message.created_at_ms);
    let sent = MessageSent::of(message, &created_at);
    let data = serde_json::to_string(&sent).unwrap_or_default();
    server::event(channel, "message_sent", &data)
}

impl MessageSent<'_> {
    fn of<'a>(message: &'a Message, created_at: &'a str) -> MessageSent<'a> {
        MessageSent {
            id: message.id,
            receiver_id: message.receiver_id,
            content: &message.content,
            created_at,
            client_id: message.client_id.as_deref(),
        }
    }
}

impl Announcer {
    /// Tells the receiver of a new message, and the sender that it is stored.
    pub(super) async fn sent(&self, message: &Message, sender: &Profile) {
        let created_at = &*clock::rfc3339(message.created_at_ms);
        let Message {
            id,
            sender_id,
            receiver_id,
            ref content,
            ..
        } = *message;
        let received = ReceiveMessage {
            id,
            sender_id,
            receiver_id,
            content,
            created_at,
            sender: Some(sender).filter(|sender| !sender.is_unknown()),
        };
        self.tell(receiver_id, "receive_message", &received).await;
        self.tell(
            sender_id,
            "message_sent",
            &MessageSent::of(message, created_at),
        )
        .await;
    }

    /// Tells the author that a message is read.
    pub(super) async fn read(&self, author_id: i64, message_id: i64, reader_id: i64) {
        let read = MessegeRead {
            message_id,
            user_id: reader_id,
        };
        self.tell(author_id, "messege_read", &read).await;
    }

    async fn tell(&self, user_id: i64, event: &str, data: &impl Serialize) {
        let name = format!("{CHANNEL}{user_id}");
        // Texts and numbers under fixed names always serialize, and digits are good in a channel's name.
        let (Ok(data), Ok(channel)) = (
            serde_json::to_string(data),
            ChannelName::parse(&name, CHANNEL_CHARS),
        ) else {
            return;
        };
        let frame = server::event(&name, event, &data);
        let topic = Topic {
            app: self.app,
            channel,
        };
        let source = Source::Chat;
        self.broker.publish(&topic, &frame, None, source).await;
        self.metrics.published(source, 1);
    }
}
