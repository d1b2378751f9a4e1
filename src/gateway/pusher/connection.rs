//! One client's session, carried out on the hub: the session decides, this does.
//! Whatever way a connection ends, dropping this cleans up after it, once.

use std::sync::Arc;

use gema_protocol::channel::ChannelName;
use gema_protocol::frame::Frame;
use gema_protocol::presence::Member;
use gema_protocol::server;
use gema_protocol::session::{Action, Session};
use tracing::debug;

use super::Gateway;
use super::handshake::Accepted;
use crate::apps::App;
use crate::clock;
use crate::gateway::admission::Admitted;
use crate::hub::{ConnectionId, Farewell, Link, Topic};

/// A client of the Pusher protocol, whatever transport carries its frames.
pub struct Connection {
    gateway: Arc<Gateway>,
    app: Arc<App>,
    id: ConnectionId,
    session: Session,
    /// Given back only when the hub has forgotten the connection.
    admitted: Option<Admitted>,
}

impl Connection {
    /// Makes the client known and greets it with its socket id.
    pub async fn open(gateway: Arc<Gateway>, accepted: Accepted, link: Arc<Link>) -> Connection {
        let Accepted {
            app,
            user,
            admitted,
        } = accepted;
        let socket = gateway.hub.next_socket_id();
        let policy = gateway.policies[&app.index].clone();
        let mut session = Session::new(policy, socket);
        if let Some(user) = user {
            session.set_user(user);
        }
        let hello = server::connection_established(socket, gateway.activity_timeout_s);
        let id = gateway.hub.add(socket, link, hello).await;
        debug!(%socket, app = app.id, "connected");
        Connection {
            gateway,
            app,
            id,
            session,
            admitted: Some(admitted),
        }
    }

    /// Takes one text message of the client and does what it asks for. An error is answered, not fatal.
    pub async fn on_text(&mut self, text: &str) {
        match self.session.on_message(clock::now_ms(), text) {
            Action::None => {}
            Action::Reply(frame) => self.send(frame).await,
            Action::Subscribe { channel, member } => self.subscribe(channel, member).await,
            Action::Unsubscribe { channel, member } => {
                let topic = self.topic(channel);
                leave(&self.gateway, self.id, &topic, member.as_ref()).await;
            }
            Action::Publish { channel, frame } => {
                let topic = self.topic(channel);
                let socket = self.session.socket();
                self.gateway.hub.publish(&topic, &frame, Some(socket)).await;
            }
        }
    }

    /// Sends a frame to this client.
    pub async fn send(&self, frame: Frame) {
        self.gateway.hub.send(self.id, frame).await;
    }

    /// Sends the farewell after everything that waits for this client, and ends its stream.
    pub async fn close(&self, farewell: Farewell) {
        self.gateway.hub.close(self.id, farewell).await;
    }

    async fn subscribe(&mut self, channel: ChannelName, member: Option<Member>) {
        let roles = self.session.user().map(|user| &user.roles[..]);
        if let Err(refusal) = self.gateway.authorizer.guard(channel.as_str(), roles) {
            let text = refusal.to_string();
            let error = server::subscription_error(channel.as_str(), "AuthError", &text, 401);
            return self.send(error).await;
        }
        let topic = self.topic(channel);
        let channel = topic.channel.as_str();
        match &member {
            None => {
                let ack = server::subscription_succeeded(channel);
                self.gateway.hub.subscribe(self.id, &topic, ack).await;
            }
            Some(member) => {
                let socket = self.session.socket();
                let joined = self
                    .gateway
                    .presence
                    .join(self.id, socket, &topic, member)
                    .await;
                if let Err(full) = joined {
                    let text = full.to_string();
                    let error = server::subscription_error(channel, "LimitReached", &text, 4100);
                    return self.send(error).await;
                }
            }
        }
        self.session.subscribed(topic.channel, member);
    }

    fn topic(&self, channel: ChannelName) -> Topic {
        Topic {
            app: self.app.index,
            channel,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let gateway = self.gateway.clone();
        let (app, id, socket) = (self.app.index, self.id, self.session.socket());
        let subscriptions = self.session.take_subscriptions();
        let admitted = self.admitted.take();
        tokio::spawn(async move {
            for (channel, member) in subscriptions {
                let topic = Topic { app, channel };
                leave(&gateway, id, &topic, member.as_ref()).await;
            }
            gateway.hub.remove(id).await;
            drop(admitted);
            debug!(%socket, "disconnected");
        });
    }
}

async fn leave(gateway: &Gateway, id: ConnectionId, topic: &Topic, member: Option<&Member>) {
    match member {
        Some(member) => gateway.presence.leave(id, topic, member).await,
        None => gateway.hub.unsubscribe(id, topic).await,
    }
}
