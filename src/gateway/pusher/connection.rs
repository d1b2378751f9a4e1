//! One client's session, carried out: the session decides, this does.
//! Whatever way a connection ends, dropping this cleans up after it, once.

use std::sync::Arc;
use std::time::Duration;

use gema_protocol::channel::ChannelName;
use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use gema_protocol::presence::Member;
use gema_protocol::server;
use gema_protocol::session::{Action, Session};
use tracing::debug;

use super::Gateway;
use super::handshake::Accepted;
use crate::apps::App;
use crate::broker::Subscriber;
use crate::chat::Taken;
use crate::clock;
use crate::gateway::admission::Admitted;
use crate::gateway::arrival;
use crate::gateway::leaving::Leaving;
use crate::hub::{Farewell, Link, Topic};
use crate::metrics::Source;

/// A client of the Pusher protocol, whatever transport carries its frames.
pub struct Connection {
    gateway: Arc<Gateway>,
    app: Arc<App>,
    who: Subscriber,
    link: Arc<Link>,
    session: Session,
    /// The hub need not wait any more for this client to show who it is.
    authorized: bool,
    /// Given back only when the hub has forgotten the connection.
    admitted: Option<Admitted>,
}

impl Connection {
    /// Makes the client known and greets it with its socket id.
    pub async fn open(gateway: Arc<Gateway>, accepted: Accepted, link: Arc<Link>) -> Connection {
        let Accepted {
            client,
            app,
            user,
            admitted,
        } = accepted;
        let socket = gateway.hub.next_socket_id();
        let policy = gateway.policies.of(&app);
        let patience = (app.authorized_only_s > 0 && user.is_none())
            .then(|| Duration::from_secs(app.authorized_only_s));
        let hello = server::connection_established(socket, gateway.activity_timeout_s);
        let came = (app.index, admitted.gateway());
        arrival::connected(&gateway, &link, came, socket, client);
        let hub = &gateway.hub;
        let id = hub
            .add(app.index, socket, link.clone(), hello, patience)
            .await;
        debug!(%socket, app = app.id, %client, "connected");
        let mut connection = Connection {
            who: Subscriber { id, socket },
            link,
            session: Session::new(policy, socket),
            authorized: patience.is_none(),
            admitted: Some(admitted),
            gateway,
            app,
        };
        if let Some(user) = user {
            connection.session.set_user(user);
            connection.arrive().await;
        }
        connection
    }

    /// Takes one text message of the client and does what it asks for. An error is answered, not fatal.
    pub async fn on_text(&mut self, text: &str) {
        self.gateway.metrics.received();
        match self.session.on_message(clock::now_ms(), text) {
            Action::None => {}
            Action::Reply(frame) => self.send(frame).await,
            Action::Subscribe { channel, member } => self.subscribe(channel, member).await,
            Action::Unsubscribe { channel, member } => {
                let topic = self.topic(channel);
                let broker = &self.gateway.broker;
                broker
                    .unsubscribe(self.who.id, &topic, member.as_ref(), false)
                    .await;
            }
            Action::SignIn { reply, unwatch } => {
                self.send(reply).await;
                if let Some(watched) = unwatch {
                    let users = &self.gateway.users;
                    users.unwatch(self.who.id, self.app.index, &watched).await;
                }
                self.arrive().await;
                self.authorized().await;
            }
            Action::Publish {
                channel,
                frame,
                user_id,
            } => self.publish(channel, frame, user_id).await,
        }
    }

    /// Sends a frame to this client.
    pub async fn send(&self, frame: Frame) {
        self.gateway.hub.send(self.who.id, frame).await;
    }

    /// Sends the farewell after everything that waits for this client, and ends its stream.
    pub async fn close(&self, farewell: Farewell) {
        self.gateway.hub.close(self.who.id, farewell).await;
    }

    async fn subscribe(&mut self, channel: ChannelName, member: Option<Member>) {
        let roles = self.session.user().map(|user| &user.roles[..]);
        if let Err(refusal) = self.gateway.authorizer.guard(channel.as_str(), roles) {
            let text = refusal.to_string();
            let error = server::subscription_error(channel.as_str(), "AuthError", &text, 401);
            return self.send(error).await;
        }
        let topic = self.topic(channel);
        let broker = &self.gateway.broker;
        if let Err(full) = broker.subscribe(self.who, &topic, member.as_ref()).await {
            let (channel, text) = (topic.channel.as_str(), full.to_string());
            let error = server::subscription_error(channel, "LimitReached", &text, 4100);
            return self.send(error).await;
        }
        if topic.channel.kind().needs_signature() {
            self.authorized().await;
        }
        self.session.subscribed(topic.channel, member);
    }

    /// Sends an event to the others in the channel, unless it is meant for the chat.
    async fn publish(&self, channel: ChannelName, frame: Frame, user_id: Option<Arc<str>>) {
        let topic = self.topic(channel);
        if let Some(chat) = &self.gateway.chat {
            match chat.take(&topic, &frame).await {
                Taken::No => {}
                Taken::Yes => return,
                Taken::Answer(answer) => return self.send(answer).await,
            }
        }
        self.gateway.metrics.published(Source::Client, 1);
        let broker = &self.gateway.broker;
        broker
            .client_event(self.who.socket, &topic, &frame, user_id)
            .await;
    }

    /// Tells the users' side that this connection is somebody's.
    async fn arrive(&self) {
        let Some(user) = self.session.user() else {
            return;
        };
        let (app, socket) = (self.app.index, self.who.socket);
        arrival::signed_in(&self.gateway, &self.link, app, socket, &user.id);
        let users = &self.gateway.users;
        users.arrive(self.who.id, app, user).await;
        if user.watchlist_cut && self.app.watchlist {
            let code = Code::WatchlistLimit;
            self.send(server::error(Some(code), code.message())).await;
        }
    }

    async fn authorized(&mut self) {
        if !std::mem::replace(&mut self.authorized, true) {
            self.gateway.hub.authorized(self.who.id).await;
        }
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
        // Whoever still writes for this connection has no reason to any more, even if its reader panicked.
        self.link.sever();
        Leaving {
            gateway: self.gateway.clone(),
            app: self.app.index,
            who: self.who,
            subscriptions: self.session.take_subscriptions(),
            user: self.session.take_user(),
            admitted: self.admitted.take(),
        }
        .begin();
    }
}
