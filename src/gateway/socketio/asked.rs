//! What clients of Socket.IO may ask for: `send_message`, `mark_as_read`, `subscribe`, `unsubscribe`, `typing_start`,
//! `typing_stop`, and `socket_id`, which back ends want for signatures and to leave a sender out. Whoever gives an acknowledgement function is answered there; others hear of a refusal by the event
//! `error`.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::debug;

use super::session::Said;
use crate::chat::{Chat, ChatError, MarkAsRead, Profile, SendMessage};
use crate::clock;
use crate::gateway::guest::{Guest, JoinError, SayError, Signed};
use crate::gateway::pusher::Gateway;

/// In these channels the members of a room hear who is typing.
const ROOM: &str = "presence-room.";

/// A client that goes on after so many refusals in a row, all for its rate, does not heed them.
const DEAF: u32 = 100;

/// One client's side of the conversation.
pub(super) struct Client {
    gateway: Arc<Gateway>,
    guest: Guest,
    /// Who it is in the chat; none without a token.
    profile: Option<Result<Profile, ChatError>>,
    /// Refused for its rate since it last was not.
    refused: u32,
}

/// What comes of something asked.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The answer for whoever waits for one.
    Done(Value),
    /// Why not, for people and for programs.
    Refused { message: String, code: &'static str },
    /// The connection is to end.
    Abuse,
}

/// Why something asked for is not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Say(#[from] SayError),
    #[error("Who chats needs a token")]
    NoToken,
    #[error("The chat is switched off (chat.enabled)")]
    NoChat,
    #[error("{event} needs {needs}")]
    Data {
        event: &'static str,
        needs: &'static str,
    },
    #[error("Unknown event: {0}")]
    Unknown(String),
}

#[derive(Deserialize)]
struct Subscribe {
    channel: String,
    auth: Option<String>,
    channel_data: Option<String>,
}

#[derive(Deserialize)]
struct Unsubscribe {
    channel: String,
}

#[derive(Deserialize)]
struct Typing {
    room_id: Value,
}

impl Client {
    pub(super) fn new(gateway: Arc<Gateway>, guest: Guest) -> Client {
        Client {
            profile: guest.identity().map(|identity| Profile::of(identity)),
            refused: 0,
            guest,
            gateway,
        }
    }

    /// Keeps what the token says about its user, for lists.
    pub(super) async fn remember(&self) {
        if let (Some(chat), Some(Ok(profile))) = (&self.gateway.chat, &self.profile)
            && let Err(error) = chat.remember(profile).await
        {
            debug!(%error, "a profile is not kept");
        }
    }

    /// Does what is asked for.
    pub(super) async fn heed(&mut self, said: Said) -> Verdict {
        self.gateway.metrics.received();
        let is_limited = !matches!(&*said.event, "subscribe" | "unsubscribe" | "socket_id");
        if is_limited && let Err(error) = self.guest.may_speak() {
            self.refused += 1;
            return match self.refused {
                DEAF.. => Verdict::Abuse,
                _ => Refusal::from(error).into(),
            };
        }
        self.refused = 0;
        let data = said.data.as_deref();
        let done = match &*said.event {
            "send_message" => self.send_message(data).await,
            "mark_as_read" => self.mark_as_read(data).await,
            "subscribe" => self.subscribe(data).await,
            "unsubscribe" => self.unsubscribe(data).await,
            "socket_id" => Ok(self.socket_id()),
            "typing_start" => self.typing("typing_start", data).await,
            "typing_stop" => self.typing("typing_stop", data).await,
            _ => Err(Refusal::Unknown(said.event)),
        };
        done.map_or_else(Refusal::into, Verdict::Done)
    }

    async fn send_message(&self, data: Option<&RawValue>) -> Result<Value, Refusal> {
        let needs = "{ receiver_id: integer, content: text }";
        let asked: SendMessage = parse("send_message", needs, data)?;
        let (chat, profile) = self.chat()?;
        let client_id = asked.client_id.as_deref();
        let sent = chat
            .send(profile, asked.receiver_id, &asked.content, client_id)
            .await?;
        let created_at = clock::rfc3339(sent.created_at_ms);
        Ok(json!({
            "ok": true,
            "id": sent.id,
            "receiver_id": sent.receiver_id,
            "content": sent.content,
            "created_at": created_at,
        }))
    }

    async fn mark_as_read(&self, data: Option<&RawValue>) -> Result<Value, Refusal> {
        let asked: MarkAsRead = parse("mark_as_read", "{ message_id: integer }", data)?;
        let (chat, profile) = self.chat()?;
        chat.mark_read(profile.user_id, asked.message_id).await?;
        Ok(json!({ "ok": true }))
    }

    async fn subscribe(&mut self, data: Option<&RawValue>) -> Result<Value, Refusal> {
        let needs = "{ channel: text, auth?: text, channel_data?: text }";
        let asked: Subscribe = parse("subscribe", needs, data)?;
        let signed = asked.auth.as_deref().map(|auth| Signed {
            auth,
            channel_data: asked.channel_data.as_deref(),
        });
        self.guest.join(&asked.channel, signed).await?;
        Ok(json!({ "ok": true }))
    }

    async fn unsubscribe(&mut self, data: Option<&RawValue>) -> Result<Value, Refusal> {
        let asked: Unsubscribe = parse("unsubscribe", "{ channel: text }", data)?;
        self.guest.leave(&asked.channel).await;
        Ok(json!({ "ok": true }))
    }

    /// The hub's name for this connection; Socket.IO's own means nothing to back ends.
    fn socket_id(&self) -> Value {
        json!({ "ok": true, "socket_id": self.guest.socket().to_string() })
    }

    /// Tells the others of a room; who may hear the room may say so, and is in it from then on.
    async fn typing(
        &mut self,
        event: &'static str,
        data: Option<&RawValue>,
    ) -> Result<Value, Refusal> {
        let needs = "{ room_id: text }";
        let asked: Typing = parse(event, needs, data)?;
        let room = match &asked.room_id {
            Value::String(room) => room.clone(),
            Value::Number(room) => room.to_string(),
            _ => return Err(Refusal::Data { event, needs }),
        };
        let channel = format!("{ROOM}{room}");
        self.guest.join(&channel, None).await?;
        let who = self.guest.identity().map(|identity| {
            let id = identity.user_id.as_str();
            id.parse::<i64>().map_or_else(|_| id.into(), Value::from)
        });
        let data = json!({ "room_id": asked.room_id, "user_id": who });
        let data = to_raw_value(&data).unwrap_or_default();
        let event = format!("client-{event}");
        self.guest.tell(&channel, &event, &data).await?;
        Ok(json!({ "ok": true }))
    }

    fn chat(&self) -> Result<(&Chat, &Profile), Refusal> {
        let profile = self.profile.as_ref().ok_or(Refusal::NoToken)?;
        let profile = profile.as_ref().map_err(ChatError::clone)?;
        let chat = self.gateway.chat.as_deref().ok_or(Refusal::NoChat)?;
        Ok((chat, profile))
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Verdict {
        let code = match &refusal {
            Refusal::Chat(error) => error.code(),
            Refusal::Join(_) => "not_joined",
            Refusal::Say(SayError::TooMany(_)) => "too_many",
            Refusal::Say(_) => "not_sent",
            Refusal::NoToken => "no_token",
            Refusal::NoChat => "no_chat",
            Refusal::Data { .. } => "bad_request",
            Refusal::Unknown(_) => "unknown_event",
        };
        Verdict::Refused {
            message: refusal.to_string(),
            code,
        }
    }
}

fn parse<T: DeserializeOwned>(
    event: &'static str,
    needs: &'static str,
    data: Option<&RawValue>,
) -> Result<T, Refusal> {
    data.and_then(|data| serde_json::from_str(data.get()).ok())
        .ok_or(Refusal::Data { event, needs })
}
