//! Who is in a presence channel: distinct users, each with the connections they hold, and the member
//! events that follow from it. Kept in memory, for one node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use gema_protocol::presence::Member;
use gema_protocol::server;
use gema_protocol::socket_id::SocketId;
use tokio::sync::{Mutex, MutexGuard};

use crate::hub::{ConnectionId, Hub, Topic};

/// Locks that the channels share.
const STRIPES: usize = 64;

/// The members of all presence channels.
///
/// The lock of a channel is held from the change of its members until the shards have been told, so that a
/// joiner's list and the events after it add up, and every subscriber hears the changes in one order.
#[derive(Debug)]
pub struct Presence {
    hub: Arc<Hub>,
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
    /// Distinct users a channel may have.
    max_members: usize,
}

type Stripe = HashMap<Topic, Members, RandomState>;
type Members = BTreeMap<Arc<str>, Seats>;

/// One user in one channel.
#[derive(Debug)]
struct Seats {
    /// What the first connection said; later ones change nothing while it lasts.
    user_info: Option<Arc<str>>,
    connections: u32,
}

/// The channel has as many members as it may have.
#[derive(Debug, thiserror::Error)]
#[error("The channel has reached limits.presence_members ({max})")]
pub struct ChannelFull {
    max: usize,
}

impl Presence {
    /// `max_members`: distinct users a channel may have.
    pub fn new(hub: Arc<Hub>, max_members: usize) -> Presence {
        Presence {
            hub,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            max_members,
        }
    }

    /// Subscribes a connection as a member, which answers it with the list of members and tells the others
    /// when the user is new. A further connection of a member always finds room.
    pub async fn join(
        &self,
        connection: ConnectionId,
        socket: SocketId,
        topic: &Topic,
        member: &Member,
    ) -> Result<(), ChannelFull> {
        let mut stripe = self.lock(topic).await;
        let members = stripe.get(topic);
        let known = members.is_some_and(|members| members.contains_key(&member.user_id));
        let max = self.max_members;
        if !known && members.is_some_and(|members| members.len() >= max) {
            return Err(ChannelFull { max });
        }
        let members = stripe.entry(topic.clone()).or_default();
        let seats = members
            .entry(member.user_id.clone())
            .or_insert_with(|| Seats {
                user_info: member.user_info.clone(),
                connections: 0,
            });
        seats.connections += 1;
        let channel = topic.channel.as_str();
        let roster = members
            .iter()
            .map(|(user_id, seats)| (&**user_id, seats.user_info.as_deref()));
        let ack = server::presence_succeeded(channel, roster);
        self.hub.subscribe(connection, topic, ack).await;
        if !known {
            let added = server::member_added(channel, &member.user_id, member.user_info.as_deref());
            self.hub.publish(topic, &added, Some(socket)).await;
        }
        Ok(())
    }

    /// Ends a member's subscription by one connection, and tells the others when it was the user's last.
    pub async fn leave(&self, connection: ConnectionId, topic: &Topic, member: &Member) {
        let mut stripe = self.lock(topic).await;
        self.hub.unsubscribe(connection, topic).await;
        let Some(members) = stripe.get_mut(topic) else {
            return;
        };
        let Some(seats) = members.get_mut(&member.user_id) else {
            return;
        };
        seats.connections -= 1;
        if seats.connections > 0 {
            return;
        }
        members.remove(&member.user_id);
        if members.is_empty() {
            stripe.remove(topic);
            return;
        }
        let removed = server::member_removed(topic.channel.as_str(), &member.user_id);
        self.hub.publish(topic, &removed, None).await;
    }

    /// The ids of the distinct users in a channel, sorted.
    pub async fn users(&self, topic: &Topic) -> Vec<Arc<str>> {
        let stripe = self.lock(topic).await;
        stripe
            .get(topic)
            .map_or_else(Vec::new, |members| members.keys().cloned().collect())
    }

    /// How many distinct users are in a channel.
    pub async fn user_count(&self, topic: &Topic) -> usize {
        self.lock(topic).await.get(topic).map_or(0, BTreeMap::len)
    }

    async fn lock(&self, topic: &Topic) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(topic) as usize;
        self.stripes[hash % STRIPES].lock().await
    }
}
