//! What happens in channels, for all doors alike: subscribing, leaving, publishing, and all that follows from
//! it: member events, replays, counts, webhooks. The hub below it moves frames and knows none of this.
//!
//! # Layout
//!
//! * [`cache`]: the last event of cache channels.
//! * [`counts`]: when a number of subscriptions is told.
//!
//! A channel that has any of these is changed under a lock, held until the shards have been told: a joiner's
//! list and the events after it add up, a replay is older than what follows it, webhooks tell the changes in
//! the order in which they happened. A channel that has none needs no lock of ours.

mod cache;
mod counts;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::RandomState;
use gema_protocol::channel::{Access, ChannelName};
use gema_protocol::frame::Frame;
use gema_protocol::presence::Member;
use gema_protocol::server;
use gema_protocol::socket_id::SocketId;
use tokio::sync::{Mutex, MutexGuard};

use self::cache::Cache;
use self::counts::Counts;
use crate::apps::Apps;
use crate::clock;
use crate::hub::{ConnectionId, Hub, Topic};
use crate::presence::{ChannelFull, Members};
use crate::webhooks::{Event, Webhooks};

/// Locks that the channels share.
const STRIPES: usize = 64;

/// Memory of all cached events together: about 6,000 of the largest, or 100,000 of 400 bytes. Above it the
/// oldest of those that share the new one's lock give way.
const CACHE_BYTES: usize = 64 << 20;

/// How often counts are looked at that had to wait.
const TICK: Duration = Duration::from_secs(1);

/// The channels of all apps.
pub struct Broker {
    hub: Arc<Hub>,
    webhooks: Arc<Webhooks>,
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
    /// By the app's index.
    apps: HashMap<u32, Features>,
    /// Distinct users a presence channel may have.
    max_members: usize,
}

/// What an app has switched on.
#[derive(Debug)]
struct Features {
    subscription_count: bool,
}

/// What is kept of the channels that share one lock.
#[derive(Debug)]
struct Stripe {
    members: HashMap<Topic, Members, RandomState>,
    cache: Cache,
    counts: Counts,
}

/// A client as the broker knows it.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// In the hub.
    pub id: ConnectionId,
    /// On the wire.
    pub socket: SocketId,
}

/// The last event of a cache channel.
#[derive(Debug)]
pub struct Cached {
    /// The event as it was published.
    pub frame: Frame,
    /// For how long it will still be replayed.
    pub ttl: Duration,
}

impl Broker {
    /// `max_members`: distinct users a presence channel may have. Must be called inside a runtime.
    pub fn start(
        hub: Arc<Hub>,
        webhooks: Arc<Webhooks>,
        apps: &Apps,
        max_members: usize,
    ) -> Arc<Broker> {
        let cached_bytes = Arc::new(AtomicUsize::new(0));
        let stripe = || {
            Mutex::new(Stripe {
                members: HashMap::default(),
                cache: Cache::new(CACHE_BYTES, cached_bytes.clone()),
                counts: Counts::default(),
            })
        };
        let features = apps.iter().map(|app| {
            let features = Features {
                subscription_count: app.subscription_count,
            };
            (app.index, features)
        });
        let broker = Arc::new(Broker {
            hub,
            webhooks,
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            hasher: RandomState::new(),
            apps: features.collect(),
            max_members,
        });
        if broker.apps.values().any(|app| app.subscription_count) {
            tokio::spawn(tell_counts(Arc::downgrade(&broker)));
        }
        broker
    }

    /// Subscribes a client to a channel and answers it; as `member` if it is a presence channel.
    ///
    /// # Errors
    /// The presence channel is full; nothing has changed and nothing has been sent.
    pub async fn subscribe(
        &self,
        who: Subscriber,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Result<(), ChannelFull> {
        let channel = topic.channel.as_str();
        if !self.remembers(topic) {
            let ack = server::subscription_succeeded(channel);
            self.hub.subscribe(who.id, topic, ack).await;
            return Ok(());
        }
        let mut stripe = self.lock(topic).await;
        let (ack, is_new) = match member {
            None => (server::subscription_succeeded(channel), false),
            Some(member) => {
                let members = stripe.members.entry(topic.clone()).or_default();
                // A channel is full only when somebody is in it: no empty entry stays behind.
                let is_new = members.join(member, self.max_members)?;
                (
                    server::presence_succeeded(channel, members.roster()),
                    is_new,
                )
            }
        };
        let count = self.hub.subscribe(who.id, topic, ack).await;
        if count == 1 {
            self.emit(topic, |channel| Event::ChannelOccupied { channel });
        }
        if topic.channel.kind().cache {
            let replay = match stripe.cache.get(topic, clock::now_ms()) {
                Some((frame, _)) => frame.clone(),
                None => {
                    self.emit(topic, |channel| Event::CacheMiss { channel });
                    server::cache_miss(channel)
                }
            };
            self.hub.send(who.id, replay).await;
        }
        if let (Some(member), true) = (member, is_new) {
            let info = member.user_info.as_deref();
            let added = server::member_added(channel, &member.user_id, info);
            self.hub.publish(topic, &added, Some(who.socket)).await;
            let user_id = member.user_id.clone();
            self.emit(topic, |channel| Event::MemberAdded { channel, user_id });
        }
        self.count_changed(&mut stripe, topic, count).await;
        Ok(())
    }

    /// Ends a subscription that [`Broker::subscribe`] has made, with the same member. A connection that is
    /// `going` altogether must be removed from the hub next.
    pub async fn unsubscribe(
        &self,
        id: ConnectionId,
        topic: &Topic,
        member: Option<&Member>,
        going: bool,
    ) {
        if !self.remembers(topic) {
            self.hub.unsubscribe(id, topic, going).await;
            return;
        }
        let mut stripe = self.lock(topic).await;
        let count = self.hub.unsubscribe(id, topic, going).await;
        if let Some(member) = member
            && let Some(members) = stripe.members.get_mut(topic)
            && members.leave(&member.user_id)
        {
            if members.is_empty() {
                stripe.members.remove(topic);
            }
            let removed = server::member_removed(topic.channel.as_str(), &member.user_id);
            self.hub.publish(topic, &removed, None).await;
            let user_id = member.user_id.clone();
            self.emit(topic, |channel| Event::MemberRemoved { channel, user_id });
        }
        if count == 0 {
            self.emit(topic, |channel| Event::ChannelVacated { channel });
        }
        self.count_changed(&mut stripe, topic, count).await;
    }

    /// Publishes an event of a back end to all subscribers but `except`. Cache channels remember it, whoever
    /// is there or left out. Cancel safe: it has happened altogether or not at all.
    pub async fn publish(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) {
        if topic.channel.kind().cache {
            let mut stripe = self.lock(topic).await;
            self.hub.publish(topic, frame, except).await;
            stripe.cache.put(topic, frame, clock::now_ms());
        } else {
            self.hub.publish(topic, frame, except).await;
        }
    }

    /// Publishes an event of a client to the other subscribers. No channel remembers it.
    pub async fn client_event(
        &self,
        from: SocketId,
        topic: &Topic,
        frame: &Frame,
        user_id: Option<Arc<str>>,
    ) {
        if !self.webhooks.wanted(topic.app) {
            return self.hub.publish(topic, frame, Some(from)).await;
        }
        let _order = self.lock(topic).await;
        self.hub.publish(topic, frame, Some(from)).await;
        self.emit(topic, |channel| Event::ClientEvent {
            channel,
            event: unescaped(frame.event()).unwrap_or_default(),
            // Half of a surrogate pair is no text; it is passed on as it was written.
            data: frame.data().map(|data| {
                let written = || data.trim_matches('"').to_owned();
                serde_json::from_str(data).unwrap_or_else(|_| written())
            }),
            socket_id: from,
            user_id,
        });
    }

    /// Subscriptions of a channel, zero when nobody is there.
    pub async fn subscription_count(&self, topic: &Topic) -> u32 {
        self.hub.subscription_count(topic).await
    }

    /// The occupied channels of an app whose names begin with `prefix`, with their subscriptions, by name.
    /// Those of single users are nobody else's business.
    pub async fn channels(&self, app: u32, prefix: &str) -> Vec<(ChannelName, u32)> {
        let mut channels = self.hub.channels(app, prefix).await;
        channels.retain(|(channel, _)| channel.kind().access != Access::ServerToUser);
        channels
    }

    /// The ids of the distinct users in a presence channel, sorted.
    pub async fn users(&self, topic: &Topic) -> Vec<Arc<str>> {
        let stripe = self.lock(topic).await;
        let members = stripe.members.get(topic);
        members.map_or_else(Vec::new, |members| members.ids().cloned().collect())
    }

    /// How many distinct users are in a presence channel.
    pub async fn user_count(&self, topic: &Topic) -> usize {
        let stripe = self.lock(topic).await;
        stripe.members.get(topic).map_or(0, Members::len)
    }

    /// The last event of a cache channel, if it is still replayed.
    pub async fn cached(&self, topic: &Topic) -> Option<Cached> {
        let stripe = self.lock(topic).await;
        let (frame, left_ms) = stripe.cache.get(topic, clock::now_ms())?;
        Some(Cached {
            frame: frame.clone(),
            ttl: Duration::from_millis(left_ms),
        })
    }

    /// Whether a change of this channel's subscribers means more than a place in the hub.
    fn remembers(&self, topic: &Topic) -> bool {
        let kind = topic.channel.kind();
        kind.access != Access::ServerToUser
            && (kind.is_presence()
                || kind.cache
                || self.counts(topic)
                || self.webhooks.wanted(topic.app))
    }

    /// Presence channels have their member events instead.
    fn counts(&self, topic: &Topic) -> bool {
        !topic.channel.kind().is_presence()
            && self
                .apps
                .get(&topic.app)
                .is_some_and(|app| app.subscription_count)
    }

    async fn count_changed(&self, stripe: &mut Stripe, topic: &Topic, count: u32) {
        if self.counts(topic) && stripe.counts.changed(topic, count, clock::now_ms()) {
            self.tell_count(topic, count).await;
        }
    }

    /// To the subscribers, and to the back end, which hears of the last one's leaving too.
    async fn tell_count(&self, topic: &Topic, count: u32) {
        let frame = server::subscription_count(topic.channel.as_str(), count);
        self.hub.publish(topic, &frame, None).await;
        self.emit(topic, |channel| Event::SubscriptionCount { channel, count });
    }

    /// Tells the app's back end, if it wants to know. Under the channel's lock: in the channel's order.
    fn emit(&self, topic: &Topic, event: impl FnOnce(ChannelName) -> Event) {
        if self.webhooks.wanted(topic.app) {
            self.webhooks.emit(topic.app, event(topic.channel.clone()));
        }
    }

    async fn lock(&self, topic: &Topic) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(topic) as usize;
        self.stripes[hash % STRIPES].lock().await
    }
}

/// What a JSON text between quotes says.
fn unescaped(text: Option<&str>) -> Option<String> {
    serde_json::from_str(&format!("\"{}\"", text?)).ok()
}

/// Tells the counts that had to wait, for as long as the broker is there.
async fn tell_counts(broker: Weak<Broker>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        for stripe in &broker.stripes {
            let mut stripe = stripe.lock().await;
            for topic in stripe.counts.due(clock::now_ms()) {
                let count = broker.hub.subscription_count(&topic).await;
                broker.tell_count(&topic, count).await;
            }
        }
    }
}
