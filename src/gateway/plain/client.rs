//! One client of this door: what it asks for, done, or refused with the reason. No message ends a connection, except
//! that one who goes on asking for what it is refused is sent away.

use std::sync::Arc;

use gema_protocol::allowance::Allowance;
use gema_protocol::frame::Frame;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tracing::debug;

use super::ask::{Ask, Status};
use super::handshake::Accepted;
use super::refusal::Refusal;
use super::{Plain, words};
use crate::auth::Identity;
use crate::chat::{Chat, Profile};
use crate::clock;
use crate::gateway::guest::Guest;
use crate::gateway::websocket;
use crate::hub::{Farewell, Link};

/// What the channel of a room begins with; the room's id is the rest.
const ROOM: &str = "presence-room.";

/// Refusals a second that are answered, as a multiple of what a client may say in that time.
const PATIENCE: u32 = 10;

/// A client of this door.
pub(super) struct Client {
    plain: Arc<Plain>,
    guest: Guest,
    identity: Arc<Identity>,
    /// Refusals that are still answered.
    patience: Allowance,
    sent_away: bool,
}

impl Client {
    /// Makes the client known, and joins it to its user's channels.
    pub(super) async fn open(plain: Arc<Plain>, accepted: Accepted, link: Arc<Link>) -> Client {
        let Accepted {
            client,
            app,
            identity,
            admitted,
        } = accepted;
        let gateway = plain.gateway.clone();
        let guest = Guest::open(gateway, app, client, Some(identity.clone()), link, admitted).await;
        let mut client = Client {
            patience: Allowance::full(plain.patience()),
            sent_away: false,
            plain,
            guest,
            identity,
        };
        if let Some(chat) = &client.plain.gateway.chat {
            chat.note(&client.identity);
        }
        for template in &client.plain.user_channels {
            let channel = template.fill(&client.identity.user_id);
            if let Err(error) = client.guest.join(&channel, None).await {
                debug!(channel, %error, "a user does not get the channel of gateways.user_channels");
                client.guest.send(words::error(&error.into())).await;
            }
        }
        client
    }

    async fn carry_out(&mut self, ask: Ask) -> Result<(), Refusal> {
        match ask {
            Ask::Ping => self.guest.send(words::message("pong", "null")).await,
            Ask::Message {
                receiver_id,
                content,
                client_id,
            } => {
                self.guest.may_speak()?;
                let (chat, from) = self.chat()?;
                let client_id = client_id.as_deref();
                chat.send(&from, receiver_id, &content, client_id).await?;
            }
            Ask::Read { message_id } => {
                let (chat, reader) = self.chat()?;
                chat.mark_read(reader.user_id, message_id).await?;
            }
            Ask::Typing { room, begun } => self.typing(&room, begun).await?,
            Ask::Status(status) => self.status(status).await?,
            Ask::Subscribe(channel) => {
                if !self.guest.join(&channel, None).await? {
                    return Err(Refusal::joined_already(&channel));
                }
            }
            Ask::Unsubscribe(channel) => {
                if !self.guest.leave(&channel).await {
                    return Err(Refusal::not_joined(&channel));
                }
            }
        }
        Ok(())
    }

    /// Tells the others in a room; the first time, the client enters it.
    async fn typing(&mut self, room: &str, begun: bool) -> Result<(), Refusal> {
        let channel = format!("{ROOM}{room}");
        self.guest.join(&channel, None).await?;
        let event = match begun {
            true => "client-typing_start",
            false => "client-typing_stop",
        };
        let data = raw(&json!({ "room_id": room, "user_id": self.user_id() }))?;
        Ok(self.guest.say(&channel, event, &data).await?)
    }

    /// Tells the others in all the rooms where the client is.
    async fn status(&mut self, status: Status) -> Result<(), Refusal> {
        self.guest.may_speak()?;
        let data = raw(&json!({ "user_id": self.user_id(), "status": status.shown() }))?;
        let rooms = self.guest.channels();
        for room in rooms.filter(|channel| channel.kind().is_presence()) {
            let told = self
                .guest
                .tell(room.as_str(), "client-user_status_change", &data);
            told.await?;
        }
        Ok(())
    }

    /// The chat, and who this is in it.
    fn chat(&self) -> Result<(Arc<Chat>, Profile), Refusal> {
        let chat = self.plain.gateway.chat.clone();
        let chat = chat.ok_or_else(Refusal::chat_is_off)?;
        Ok((chat, Profile::of(&self.identity)?))
    }

    /// A number where it is one, as the chat's clients have it.
    fn user_id(&self) -> serde_json::Value {
        let text = &self.identity.user_id;
        let number = text.parse::<i64>().ok();
        number.map_or_else(|| json!(text), |number| json!(number))
    }

    async fn refuse(&mut self, refusal: &Refusal) {
        self.guest.send(words::error(refusal)).await;
        if !self.patience.take(clock::now_ms(), self.plain.patience()) {
            self.sent_away = true;
            let close = Frame::close(words::POLICY, "Too many messages that are refused");
            self.guest.close(Farewell { error: None, close }).await;
        }
    }
}

impl Plain {
    /// Refusals a second that one client gets; 0 = any number.
    fn patience(&self) -> u32 {
        let rate = self.gateway.policies.client_events_per_s();
        rate.saturating_mul(PATIENCE)
    }
}

impl websocket::Client for Client {
    async fn on_text(&mut self, text: &str) {
        if self.sent_away {
            return;
        }
        self.plain.gateway.metrics.received();
        let done = match Ask::parse(text) {
            Ok(ask) => self.carry_out(ask).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            self.refuse(&refusal).await;
        }
    }

    async fn send(&self, frame: Frame) {
        self.guest.send(frame).await;
    }

    async fn close(&self, farewell: Farewell) {
        self.guest.close(farewell).await;
    }
}

fn raw(value: &serde_json::Value) -> Result<Box<RawValue>, Refusal> {
    // Only maps with keys that are not strings fail, and there are none.
    to_raw_value(value).map_err(|error| Refusal::bad(error.to_string()))
}
