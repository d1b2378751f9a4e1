//! What clients of the Pusher protocol say to the chat: client events on the user's own channel, which is how
//! `Echo.private('chat.7').whisper('send_message', …)` arrives. Whose channel it is says who the sender is: the
//! subscription was authorized for that user.

use gema_protocol::channel::ChannelName;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use serde::{Deserialize, Deserializer};

use super::{CHANNEL, Chat, ChatError, Profile, profile};
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

impl Chat {
    /// Takes a client event that is meant for the chat, and gives what to answer its sender if that went wrong. False:
    /// it is none of the chat's, and goes to the others in the channel.
    pub async fn takes(&self, topic: &Topic, event: &Frame) -> Result<bool, Frame> {
        if topic.app != self.app() {
            return Ok(false);
        }
        let Some(user_id) = user_of(&topic.channel) else {
            return Ok(false);
        };
        let result = match event.event() {
            Some("client-send_message") => self.send_for(user_id, event).await,
            Some("client-mark_as_read") => match data::<MarkAsRead>(event) {
                Ok(mark) => self.mark_read(user_id, mark.message_id).await,
                Err(error) => Err(error),
            },
            _ => return Ok(false),
        };
        result.map(|()| true).map_err(|error| {
            let data = error.data().to_string();
            server::event(topic.channel.as_str(), "error", &data)
        })
    }

    async fn send_for(&self, user_id: i64, event: &Frame) -> Result<(), ChatError> {
        let SendMessage {
            receiver_id,
            content,
            client_id,
        } = data(event)?;
        let sender = self.profile(user_id).await?;
        let client_id = client_id.as_deref();
        self.send(&sender, receiver_id, &content, client_id)
            .await
            .map(drop)
    }

    /// What is known of a user.
    ///
    /// # Errors
    /// The database is away.
    pub async fn profile(&self, user_id: i64) -> Result<Profile, ChatError> {
        let known = self.read(async |pool| super::table::profile(pool, user_id).await);
        Ok(known.await?.unwrap_or_else(|| Profile::unknown(user_id)))
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
