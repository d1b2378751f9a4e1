//! What one connection may do: the messages it sends go in with the time, actions come out.
//!
//! The invariant: a session holds exactly the subscriptions that the client was allowed and that its caller carried
//! out, sorted by name, each once; every presence channel among them with its member, no other channel with one. No
//! message ends a connection from here: what is refused is answered, and changes nothing. `refusal` has the answers.

mod refusal;

use std::sync::Arc;

use serde_json::value::RawValue;

use self::refusal::{ClientEventError, SubscribeError, refuse};
use crate::allowance::Allowance;
use crate::auth;
use crate::channel::{Access, ChannelKind, ChannelName};
use crate::client::{ClientMessage, Subscribe};
use crate::code::Code;
use crate::frame::Frame;
pub use crate::liveness::{Liveness, Tick};
use crate::presence::Member;
use crate::socket_id::SocketId;
pub use crate::user::User;
use crate::{json, server};

/// What the connections of one app are allowed, shared by them all.
#[derive(Clone)]
pub struct Policy {
    /// The app's key.
    pub key: String,
    /// The app's secret.
    pub secret: String,
    /// Whether subscribers may send each other events.
    pub client_events: bool,
    /// The longest channel name, in characters.
    pub channel_name_chars: usize,
    /// The longest name of a client event, in characters.
    pub event_name_chars: usize,
    /// The largest data of a client event, in bytes of the string that receivers get.
    pub event_data_bytes: usize,
    /// Subscriptions of one connection; 0 for any number.
    pub channels_per_connection: usize,
    /// Client events of one connection in a second; 0 for any number.
    pub client_events_per_s: u32,
    /// The largest `user_info` of a member, in bytes of JSON.
    pub presence_info_bytes: usize,
}

/// One connection. Kept small, since most connections of a server are idle.
pub struct Session {
    policy: Arc<Policy>,
    socket: SocketId,
    /// Boxed: most connections never sign in.
    user: Option<Box<User>>,
    /// Sorted by channel.
    subscriptions: Vec<(ChannelName, Option<Member>)>,
    allowance: Allowance,
}

/// What the caller has to do about a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send this to the client.
    Reply(Frame),
    /// Subscribe the connection, tell the client, then call [`Session::subscribed`]; or refuse for a reason the session
    /// does not know of, and tell the client. Either comes before the client's next message.
    Subscribe {
        /// The channel, which the client may join.
        channel: ChannelName,
        /// Who it is there; with presence channels only.
        member: Option<Member>,
    },
    /// End the subscription, which the session has forgotten already. The client expects no answer.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
        /// Who it was there; with presence channels only.
        member: Option<Member>,
    },
    /// The client has signed in: [`Session::user`] says as whom. Tell it so.
    SignIn {
        /// What to send.
        reply: Frame,
        /// What the same user had watched on this connection until now; `None` when it had not signed in before.
        unwatch: Option<Vec<Arc<str>>>,
    },
    /// Send this to all other subscribers of the channel.
    Publish {
        /// The channel, to which this connection is subscribed.
        channel: ChannelName,
        /// The event.
        frame: Frame,
        /// Who sends it; on presence channels only.
        user_id: Option<Arc<str>>,
    },
}

impl Session {
    /// A connection that has just opened.
    #[must_use]
    pub fn new(policy: Arc<Policy>, socket: SocketId) -> Self {
        let allowance = Allowance::full(policy.client_events_per_s);
        Self {
            policy,
            socket,
            user: None,
            subscriptions: Vec::new(),
            allowance,
        }
    }

    /// The id that signatures are made for.
    #[must_use]
    pub fn socket(&self) -> SocketId {
        self.socket
    }

    /// Decides about one text message. `now_ms` is a time in milliseconds on a clock that does not step back.
    pub fn on_message(&mut self, now_ms: u64, text: &str) -> Action {
        let message = match ClientMessage::parse(text) {
            Ok(message) => message,
            Err(error) => return refuse(None, &error.to_string()),
        };
        match message {
            ClientMessage::Ping => Action::Reply(server::pong()),
            ClientMessage::Pong => Action::None,
            ClientMessage::Subscribe(request) => self
                .subscribe(&request)
                .unwrap_or_else(|why| why.reply(&request)),
            ClientMessage::Unsubscribe { channel } => self.unsubscribe(&channel),
            ClientMessage::Signin { auth, user_data } => match self.signin(&auth, &user_data) {
                Ok(unwatch) => Action::SignIn {
                    reply: server::signin_success(&user_data),
                    unwatch,
                },
                Err(why) => refuse(Some(Code::Unauthorized), &why),
            },
            ClientMessage::ClientEvent {
                event,
                channel,
                data,
            } => self
                .client_event(now_ms, &event, &channel, data)
                .unwrap_or_else(|why| why.reply()),
            ClientMessage::Unknown { event } => {
                refuse(None, &format!("Clients cannot send the event {event}"))
            }
        }
    }

    /// Notes that [`Action::Subscribe`] was carried out. `channel` may be the caller's own copy of the name, so that
    /// all connections share one text. A channel that is there already stays as it is.
    pub fn subscribed(&mut self, channel: ChannelName, member: Option<Member>) {
        if let Err(place) = self.position(channel.as_str()) {
            // The usual connection has a channel or two: room for just those, then doubling.
            if self.subscriptions.len() == self.subscriptions.capacity() {
                self.subscriptions
                    .reserve_exact(self.subscriptions.len().max(1));
            }
            self.subscriptions.insert(place, (channel, member));
        }
    }

    /// As whom the connection has signed in.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// Ends the sign-in and gives the user, for the caller to tell others: the connection is going.
    pub fn take_user(&mut self) -> Option<Box<User>> {
        self.user.take()
    }

    /// Signs the connection in as a user whom the caller has authenticated by other means.
    pub fn set_user(&mut self, user: User) {
        self.user = Some(Box::new(user));
    }

    /// All subscriptions in the order of their names.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&ChannelName, Option<&Member>)> {
        self.subscriptions
            .iter()
            .map(|(channel, member)| (channel, member.as_ref()))
    }

    /// Gives up all subscriptions, for the caller to end them: the connection is going.
    pub fn take_subscriptions(&mut self) -> Vec<(ChannelName, Option<Member>)> {
        std::mem::take(&mut self.subscriptions)
    }

    fn position(&self, channel: &str) -> Result<usize, usize> {
        self.subscriptions
            .binary_search_by(|(name, _)| name.as_str().cmp(channel))
    }

    fn subscribe(&self, request: &Subscribe<'_>) -> Result<Action, SubscribeError> {
        let channel = ChannelName::parse(&request.channel, self.policy.channel_name_chars)?;
        if self.position(channel.as_str()).is_ok() {
            return Err(SubscribeError::Existing);
        }
        let max = self.policy.channels_per_connection;
        if max > 0 && self.subscriptions.len() >= max {
            return Err(SubscribeError::TooMany { max });
        }
        let kind = channel.kind();
        if kind.needs_signature() {
            self.authorize(&channel, request)?;
        }
        let member = match kind.access {
            Access::Presence => Some(self.member(request)?),
            Access::ServerToUser
                if channel.server_to_user() != self.user().map(|user| &*user.id) =>
            {
                return Err(SubscribeError::NotThisUser);
            }
            _ => None,
        };
        Ok(Action::Subscribe { channel, member })
    }

    fn authorize(
        &self,
        channel: &ChannelName,
        request: &Subscribe<'_>,
    ) -> Result<(), SubscribeError> {
        let auth = request.auth.as_deref().ok_or(SubscribeError::NoAuth)?;
        let Policy { key, secret, .. } = &*self.policy;
        let channel_data = request.channel_data.as_deref();
        auth::verify_channel(
            auth,
            key,
            secret,
            self.socket,
            channel.as_str(),
            channel_data,
        )?;
        Ok(())
    }

    fn member(&self, request: &Subscribe<'_>) -> Result<Member, SubscribeError> {
        let max = self.policy.presence_info_bytes;
        match (request.channel_data.as_deref(), self.user()) {
            (Some(channel_data), _) => Ok(Member::parse(channel_data, max)?),
            (None, Some(user)) => Ok(Member::of_user(user, max)?),
            (None, None) => Err(SubscribeError::NoMember),
        }
    }

    fn unsubscribe(&mut self, channel: &str) -> Action {
        match self.position(channel) {
            Ok(place) => {
                let (channel, member) = self.subscriptions.remove(place);
                Action::Unsubscribe { channel, member }
            }
            Err(_) => {
                let why = format!(
                    "No current subscription to channel {channel}, or subscription in progress"
                );
                refuse(None, &why)
            }
        }
    }

    /// Gives the watchlist of an earlier sign-in as the same user.
    fn signin(&mut self, auth: &str, user_data: &str) -> Result<Option<Vec<Arc<str>>>, String> {
        let Policy { key, secret, .. } = &*self.policy;
        auth::verify_user(auth, key, secret, self.socket, user_data)
            .map_err(|error| error.to_string())?;
        let user = User::parse(user_data).map_err(|error| error.to_string())?;
        match self.user() {
            Some(current) if current.id != user.id => Err(format!(
                "Already signed in as {}: a connection is one user's only",
                current.id
            )),
            _ => {
                let before = self.user.replace(Box::new(user));
                Ok(before.map(|user| user.watchlist))
            }
        }
    }

    fn client_event(
        &mut self,
        now_ms: u64,
        event: &str,
        channel: &str,
        data: Option<&RawValue>,
    ) -> Result<Action, ClientEventError> {
        let policy = &*self.policy;
        if !policy.client_events {
            return Err(ClientEventError::Off);
        }
        // Refused ones count as well: answering them is work too.
        if !self.allowance.take(now_ms, policy.client_events_per_s) {
            return Err(ClientEventError::TooMany {
                max: policy.client_events_per_s,
            });
        }
        let (chars, max) = (event.chars().count(), policy.event_name_chars);
        if chars > max {
            return Err(ClientEventError::NameTooLong { chars, max });
        }
        if !ChannelKind::of(channel).allows_client_events() {
            return Err(ClientEventError::OpenChannel);
        }
        let Ok(place) = self.position(channel) else {
            return Err(ClientEventError::NotSubscribed {
                channel: channel.to_owned(),
            });
        };
        let (bytes, max) = (data.map_or(0, data_bytes), policy.event_data_bytes);
        if bytes > max {
            return Err(ClientEventError::DataTooLarge { bytes, max });
        }
        let (channel, member) = &self.subscriptions[place];
        let user_id = member.as_ref().map(|member| member.user_id.clone());
        let frame = server::client_event(channel.as_str(), event, data, user_id.as_deref());
        Ok(Action::Publish {
            channel: channel.clone(),
            frame,
            user_id,
        })
    }
}

/// The size of the string that receivers get: what a string says, the JSON of anything else.
fn data_bytes(data: &RawValue) -> usize {
    json::text(data).map_or(data.get().len(), |text| text.len())
}
