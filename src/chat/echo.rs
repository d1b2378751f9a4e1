//! What clients of the Pusher protocol say to the chat: client events on the user's own channel, which is how
//! `Echo.private('chat.7').whisper('send_message', …)` arrives. Whose channel it is says who the sender is: the
//! subscription was authorized for that user.

use gema_protocol::channel::ChannelName;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use serde::{Deserialize, Deserializer};

use super::{CHANNEL, Chat, ChatError, Profile, announce, profile};
use crate::hub::Topic;

/// The data of `send_message`.
#[derive(Debug, Deserialize)]
pub struct SendMessage {
    /// For whom it is: an integer, or its digits.
    #[serde(deserialize_with = "integer")]
    pub receiver_id: i64,
    /// The text.
    pub content: String,
    /// By which the sender knows it again.
    #[serde(default)]
    pub client_id: Option<String>,
}

/// The data of `mark_as_read`.
#[derive(Debug, Deserialize)]
pub struct MarkAsRead {
    /// What was read: an integer, or its digits.
    #[serde(deserialize_with = "integer")]
    pub message_id: i64,
}

/// Whether a client event was for the chat.
#[derive(Debug)]
pub enum Taken {
    /// No: it goes to the others in the channel.
    No,
    /// Yes, and what follows from it is announced.
    Yes,
    /// Yes, and this is for its sender alone.
    Answer(Frame),
}

impl Chat {
    /// Takes a client event that is meant for the chat, and does what it asks for.
    pub async fn take(&self, topic: &Topic, event: &Frame) -> Taken {
        let name = topic.channel.as_str();
        let Some(user_id) = user_of(&topic.channel).filter(|_| topic.app == self.app) else {
            return Taken::No;
        };
        let result = match event.event() {
            Some("client-send_message") => self.send_for(user_id, name, event).await,
            Some("client-mark_as_read") => self.mark_for(user_id, event).await,
            _ => return Taken::No,
        };
        result.unwrap_or_else(|error| {
            let data = error.data().to_string();
            Taken::Answer(server::event(name, "error", &data))
        })
    }

    async fn send_for(
        &self,
        user_id: i64,
        channel: &str,
        event: &Frame,
    ) -> Result<Taken, ChatError> {
        let SendMessage {
            receiver_id,
            content,
            client_id,
        } = data(event)?;
        let sender = Profile::unknown(user_id);
        let sent = self.store_message(&sender, receiver_id, &content, client_id.as_deref());
        let (message, is_new) = sent.await?;
        Ok(match is_new {
            true => Taken::Yes,
            // It asks again since it does not know, so it is told.
            false => Taken::Answer(announce::message_sent(channel, &message)),
        })
    }

    async fn mark_for(&self, user_id: i64, event: &Frame) -> Result<Taken, ChatError> {
        let MarkAsRead { message_id } = data(event)?;
        self.mark_read(user_id, message_id).await?;
        Ok(Taken::Yes)
    }
}

/// Whose channel it is.
fn user_of(channel: &ChannelName) -> Option<i64> {
    profile::integer(channel.as_str().strip_prefix(CHANNEL)?)
}

/// The data of a client event, which its frame has as a text that holds JSON.
fn data<T: for<'de> Deserialize<'de>>(event: &Frame) -> Result<T, ChatError> {
    let text: String = event
        .data()
        .and_then(|data| serde_json::from_str(data).ok())
        .ok_or_else(|| ChatError::Bad("The data is missing".into()))?;
    serde_json::from_str(&text).map_err(|error| ChatError::Bad(format!("Invalid data: {error}")))
}

fn integer<'de, D: Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(i64),
        Text(String),
    }
    let not = || serde::de::Error::custom("an id must be an integer");
    match Id::deserialize(value).map_err(|_| not())? {
        Id::Number(number) => Ok(number),
        Id::Text(text) => profile::integer(&text).ok_or_else(not),
    }
}
