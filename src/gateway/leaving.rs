//! The one way out, for the clients of all doors.

use std::sync::Arc;

use gema_protocol::channel::ChannelName;
use gema_protocol::presence::Member;
use gema_protocol::user::User;
use tracing::debug;

use super::admission::Admitted;
use super::pusher::Gateway;
use crate::broker::Subscriber;
use crate::hub::Topic;
use crate::live::What;

/// What a client leaves behind.
pub(super) struct Leaving {
    pub(super) gateway: Arc<Gateway>,
    pub(super) app: u32,
    pub(super) who: Subscriber,
    pub(super) subscriptions: Vec<(ChannelName, Option<Member>)>,
    pub(super) user: Option<Box<User>>,
    /// Given back only when the hub has forgotten the connection.
    pub(super) admitted: Option<Admitted>,
}

impl Leaving {
    /// Takes the client out of its channels, forgets its sign-in, and the connection last.
    pub(super) fn begin(self) {
        let Leaving {
            gateway,
            app,
            who,
            subscriptions,
            user,
            admitted,
        } = self;
        tokio::spawn(async move {
            for (channel, member) in subscriptions {
                let topic = Topic { app, channel };
                let broker = &gateway.broker;
                broker
                    .unsubscribe(who.id, &topic, member.as_ref(), true)
                    .await;
            }
            if let Some(user) = &user {
                gateway.users.depart(who.id, app, user).await;
            }
            if gateway.live.is_watched()
                && let Some(code) = gateway.hub.remove_and_tell(who.id).await
            {
                gateway.live.note(app, || What::Disconnected {
                    socket: who.socket,
                    code,
                    user: user.map(|user| user.id.clone()),
                });
            } else {
                gateway.hub.remove(who.id).await;
            }
            drop(admitted);
            debug!(socket = %who.socket, "disconnected");
        });
    }
}
