//! A client that does not speak the Pusher protocol, on the same hub: what it may hear and say is decided by its token
//! and the rules, or by the same signatures as a Pusher client brings. Doors of other protocols have one each.
//! Whatever way it goes, dropping this cleans up after it, once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::allowance::Allowance;
use gema_protocol::auth::{AuthError, verify_channel};
use gema_protocol::channel::{Access, ChannelName, ChannelNameError};
use gema_protocol::frame::Frame;
use gema_protocol::presence::{Member, MemberError};
use gema_protocol::server;
use gema_protocol::session::Policy;
use gema_protocol::socket_id::SocketId;
use serde_json::value::RawValue;
use tracing::debug;

use super::admission::Admitted;
use super::arrival;
use super::leaving::Leaving;
use super::pusher::Gateway;
use crate::apps::App;
use crate::auth::{GuardRefusal, Identity, Refusal};
use crate::broker::Subscriber;
use crate::clock;
use crate::hub::{Farewell, Link, Topic};
use crate::metrics::Source;
use crate::presence::ChannelFull;

/// A client of another door.
pub struct Guest {
    gateway: Arc<Gateway>,
    app: Arc<App>,
    policy: Arc<Policy>,
    who: Subscriber,
    link: Arc<Link>,
    /// Whom its token speaks for.
    identity: Option<Arc<Identity>>,
    subscriptions: BTreeMap<ChannelName, Option<Member>>,
    allowance: Allowance,
    admitted: Option<Admitted>,
}

/// What a client brings along to be let into a channel, where the rules do not decide.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// The signature, `key:hex`.
    pub auth: &'a str,
    /// What was signed with it, for presence channels.
    pub channel_data: Option<&'a str>,
}

/// Why a client is not let into a channel.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it wraps")]
pub enum JoinError {
    #[error(transparent)]
    Name(#[from] ChannelNameError),
    #[error(transparent)]
    Signature(#[from] AuthError),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Rules(#[from] Refusal),
    #[error(transparent)]
    Guard(#[from] GuardRefusal),
    #[error(transparent)]
    Full(#[from] ChannelFull),
    /// A channel that asks who one is, and nobody has said.
    #[error("The channel {0} is for users with a token")]
    NoToken(String),
    /// The pseudo-channel of another user.
    #[error("The channel {0} is another user's")]
    NotThisUser(String),
    #[error("The connection has as many channels as limits.channels_per_connection allows ({0})")]
    TooMany(usize),
}

/// Why an event is not passed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it means")]
pub enum SayError {
    #[error("Client events are switched off (apps.client_events)")]
    Off,
    #[error("Too many events: limits.client_events_per_s is {0}")]
    TooMany(u32),
    #[error("Not joined to the channel {0}")]
    NotJoined(String),
    #[error("Events of clients are for private and presence channels, not for {0}")]
    OpenChannel(String),
    #[error("The data is larger than limits.event_data_bytes ({0})")]
    TooLarge(usize),
}

impl Guest {
    /// Makes the client known. Its link must be a [`Link::door`]: the door drains the frames and dresses them.
    /// The first frame is the greeting of the Pusher protocol, which other doors leave out.
    pub async fn open(
        gateway: Arc<Gateway>,
        app: Arc<App>,
        client: IpAddr,
        identity: Option<impl Into<Arc<Identity>>>,
        link: Arc<Link>,
        admitted: Admitted,
    ) -> Guest {
        let socket = gateway.hub.next_socket_id();
        let policy = gateway.policies.of(&app);
        let hello = server::connection_established(socket, gateway.activity_timeout_s);
        let came = (app.index, admitted.gateway());
        arrival::connected(&gateway, &link, came, socket, client);
        let hub = &gateway.hub;
        let id = hub.add(app.index, socket, link.clone(), hello, None).await;
        debug!(%socket, app = app.id, %client, "a guest connected");
        let guest = Guest {
            who: Subscriber { id, socket },
            allowance: Allowance::full(policy.client_events_per_s),
            identity: identity.map(Into::into),
            subscriptions: BTreeMap::new(),
            admitted: Some(admitted),
            gateway,
            app,
            policy,
            link,
        };
        if let Some(identity) = &guest.identity {
            let user = guest.gateway.authorizer.user(identity);
            let (app, link) = (guest.app.index, &guest.link);
            arrival::signed_in(&guest.gateway, link, app, socket, &user.id);
            let users = &guest.gateway.users;
            users.arrive(id, guest.app.index, &user).await;
        }
        guest
    }

    /// The id by which its own events are not sent back to it.
    pub fn socket(&self) -> SocketId {
        self.who.socket
    }

    /// Whom its token speaks for.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The channels it is joined to, by name.
    pub fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        self.subscriptions.keys()
    }

    /// Lets the client into a channel: by the signature it brings, else by the rules for its token. False: it is in there
    /// already.
    ///
    /// # Errors
    /// Why not; nothing has changed.
    pub async fn join(
        &mut self,
        name: &str,
        signed: Option<Signed<'_>>,
    ) -> Result<bool, JoinError> {
        let channel = ChannelName::parse(name, self.policy.channel_name_chars)?;
        if self.subscriptions.contains_key(&channel) {
            return Ok(false);
        }
        let max = self.policy.channels_per_connection;
        if max > 0 && self.subscriptions.len() >= max {
            return Err(JoinError::TooMany(max));
        }
        self.permit(&channel, signed).await?;
        let member = self.member(&channel, signed)?;
        let topic = self.topic(&channel);
        let broker = &self.gateway.broker;
        broker.subscribe(self.who, &topic, member.as_ref()).await?;
        self.subscriptions.insert(channel, member);
        Ok(true)
    }

    /// Takes the client out of a channel: whether it was there.
    pub async fn leave(&mut self, name: &str) -> bool {
        let Some((channel, member)) = self.subscriptions.remove_entry(name) else {
            return false;
        };
        let topic = self.topic(&channel);
        let broker = &self.gateway.broker;
        broker
            .unsubscribe(self.who.id, &topic, member.as_ref(), false)
            .await;
        true
    }

    /// Sends an event to the others in a channel, under the rules for client events; Pusher clients hear it under the
    /// name given here, which begins with `client-`.
    ///
    /// # Errors
    /// Why not; nobody has heard it.
    pub async fn say(&mut self, name: &str, event: &str, data: &RawValue) -> Result<(), SayError> {
        self.may_speak()?;
        self.tell(name, event, data).await
    }

    /// Counts something the client says against `limits.client_events_per_s`.
    ///
    /// # Errors
    /// It has said too much.
    pub fn may_speak(&mut self) -> Result<(), SayError> {
        let rate = self.policy.client_events_per_s;
        match self.allowance.take(clock::now_ms(), rate) {
            true => Ok(()),
            false => Err(SayError::TooMany(rate)),
        }
    }

    /// As [`Guest::say`], for what has been counted already.
    ///
    /// # Errors
    /// Why not; nobody has heard it.
    pub async fn tell(&self, name: &str, event: &str, data: &RawValue) -> Result<(), SayError> {
        if !self.policy.client_events {
            return Err(SayError::Off);
        }
        let Some((channel, member)) = self.subscriptions.get_key_value(name) else {
            return Err(SayError::NotJoined(name.to_owned()));
        };
        if !channel.kind().allows_client_events() {
            return Err(SayError::OpenChannel(name.to_owned()));
        }
        let max = self.policy.event_data_bytes;
        if data.get().len() > max {
            return Err(SayError::TooLarge(max));
        }
        let user_id = member.as_ref().map(|member| member.user_id.clone());
        let frame = server::client_event(name, event, Some(data), user_id.as_deref());
        let topic = self.topic(channel);
        self.gateway.metrics.published(Source::Client, 1);
        let broker = &self.gateway.broker;
        broker
            .client_event(self.who.socket, &topic, &frame, user_id)
            .await;
        Ok(())
    }

    /// Sends a frame to this client alone.
    pub async fn send(&self, frame: Frame) {
        self.gateway.hub.send(self.who.id, frame).await;
    }

    /// Sends the farewell after everything that waits for this client, and ends its stream.
    pub async fn close(&self, farewell: Farewell) {
        self.gateway.hub.close(self.who.id, farewell).await;
    }

    async fn permit(
        &self,
        channel: &ChannelName,
        signed: Option<Signed<'_>>,
    ) -> Result<(), JoinError> {
        let name = channel.as_str();
        let identity = self.identity.as_deref();
        match channel.kind().access {
            Access::Public => {
                let roles = identity.map(|identity| &identity.roles[..]);
                self.gateway.authorizer.guard(name, roles)?;
            }
            Access::ServerToUser => {
                let own = identity.map(|identity| &*identity.user_id);
                if channel.server_to_user() != own {
                    return Err(JoinError::NotThisUser(name.to_owned()));
                }
            }
            Access::Private | Access::Encrypted | Access::Presence => match (signed, identity) {
                (Some(Signed { auth, channel_data }), _) => {
                    let Policy { key, secret, .. } = &*self.policy;
                    verify_channel(auth, key, secret, self.who.socket, name, channel_data)?;
                }
                (None, Some(identity)) => {
                    self.gateway.authorizer.permit(identity, name).await?;
                }
                (None, None) => return Err(JoinError::NoToken(name.to_owned())),
            },
        }
        Ok(())
    }

    /// Who it is to the others of a presence channel.
    fn member(
        &self,
        channel: &ChannelName,
        signed: Option<Signed<'_>>,
    ) -> Result<Option<Member>, JoinError> {
        if !channel.kind().is_presence() {
            return Ok(None);
        }
        let max = self.policy.presence_info_bytes;
        let data = signed.and_then(|signed| signed.channel_data);
        let member = match (data, &self.identity) {
            (Some(data), _) => Member::parse(data, max)?,
            (None, Some(identity)) => {
                Member::of_user(&self.gateway.authorizer.user(identity), max)?
            }
            (None, None) => return Err(JoinError::NoToken(channel.as_str().to_owned())),
        };
        Ok(Some(member))
    }

    fn topic(&self, channel: &ChannelName) -> Topic {
        Topic {
            app: self.app.index,
            channel: channel.clone(),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.link.sever();
        let user = self.identity.as_deref();
        Leaving {
            gateway: self.gateway.clone(),
            app: self.app.index,
            who: self.who,
            subscriptions: std::mem::take(&mut self.subscriptions)
                .into_iter()
                .collect(),
            user: user.map(|identity| Box::new(self.gateway.authorizer.user(identity))),
            admitted: self.admitted.take(),
        }
        .begin();
    }
}
