//! What happens in channels, for all doors alike: subscribing, leaving, publishing, and all that follows from
//! it: member events, replays, counts, webhooks. The hub below it moves frames and knows none of this.
//!
//! # Layout
//!
//! * [`alone`]: subscribing and leaving on the only node.
//! * [`shared`]: the same on one of several, where Redis decides.
//! * [`sync`]: keeping what this node knows of a channel true: news, readings, cuts.
//! * [`tell`]: what subscribers and webhooks are told of a change.
//! * [`questions`]: what the HTTP API asks.
//! * [`cache`]: the last event of cache channels.
//! * [`counts`]: when a number of subscriptions is told.
//!
//! A channel that has any of these is changed under a lock, held until the shards have been told: a joiner's
//! list and the events after it add up, a replay is older than what follows it, webhooks tell the changes in
//! the order in which they happened. On the only node, a channel that has none needs no lock of ours. No lock is
//! held while Redis is asked.

mod alone;
mod cache;
mod counts;
mod questions;
mod shared;
mod sync;
mod tell;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::RandomState;
use gema_protocol::channel::Access;
use gema_protocol::frame::Frame;
use gema_protocol::presence::Member;
use gema_protocol::socket_id::SocketId;
use tokio::sync::{Mutex, MutexGuard};

pub use self::questions::Cached;

use self::cache::Cache;
use self::counts::Counts;
use self::shared::Shared;
use crate::apps::Apps;
use crate::bus::Bus;
use crate::clock;
use crate::hub::{ConnectionId, Hub, Topic};
use crate::live::{Live, What};
use crate::metrics::Source;
use crate::presence::{ChannelFull, Members};
use crate::webhooks::{Event, Webhooks};

/// Locks that the channels share.
const STRIPES: usize = 64;

/// Memory of all cached events together: about 6,000 of the largest, or 100,000 of 400 bytes. Above it the
/// oldest of those that share the new one's lock give way.
const CACHE_BYTES: usize = 64 << 20;

/// How often counts are looked at that had to wait, and channels that nobody here listens to any more.
const TICK: Duration = Duration::from_secs(1);

/// The channels of all apps.
pub struct Broker {
    hub: Arc<Hub>,
    webhooks: Arc<Webhooks>,
    /// Told of what happens, for those who look on.
    live: Arc<Live>,
    /// The other nodes, if there are any.
    bus: Option<Arc<Bus>>,
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
    /// What each app has switched on.
    apps: Arc<Apps>,
    /// Distinct users a presence channel may have.
    max_members: usize,
}

/// What is kept of the channels that share one lock.
#[derive(Debug)]
struct Stripe {
    members: HashMap<Topic, Members, RandomState>,
    /// With other nodes: every channel that this one listens to.
    shared: HashMap<Topic, Shared, RandomState>,
    cache: Cache,
    /// Told to subscribers.
    counts: Counts,
    /// Told to webhooks.
    reports: Counts,
}

/// A client as the broker knows it.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// In the hub.
    pub id: ConnectionId,
    /// On the wire.
    pub socket: SocketId,
}

impl Broker {
    /// `max_members`: distinct users a presence channel may have. Must be called inside a runtime.
    pub fn start(
        hub: Arc<Hub>,
        webhooks: Arc<Webhooks>,
        live: Arc<Live>,
        bus: Option<Arc<Bus>>,
        apps: Arc<Apps>,
        max_members: usize,
    ) -> Arc<Broker> {
        let cached_bytes = Arc::new(AtomicUsize::new(0));
        let stripe = || {
            Mutex::new(Stripe {
                members: HashMap::default(),
                shared: HashMap::default(),
                cache: Cache::new(CACHE_BYTES, cached_bytes.clone()),
                counts: Counts::default(),
                reports: Counts::default(),
            })
        };
        let broker = Arc::new(Broker {
            hub,
            webhooks,
            live,
            bus,
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            hasher: RandomState::new(),
            apps,
            max_members,
        });
        tokio::spawn(tick(Arc::downgrade(&broker)));
        broker
    }

    /// Subscribes a client to a channel and answers it; as `member` if it is a presence channel.
    ///
    /// # Errors
    /// The presence channel is full; nothing has changed and nothing has been sent.
    pub async fn subscribe(
        self: &Arc<Self>,
        who: Subscriber,
        topic: &Topic,
        member: Option<&Member>,
    ) -> Result<(), ChannelFull> {
        match &self.bus {
            None => self.subscribe_alone(who, topic, member).await?,
            Some(bus) => self.subscribe_shared(bus, who, topic, member).await?,
        }
        self.live.note(topic.app, || What::Subscribed {
            socket: who.socket,
            topic: topic.clone(),
            user: member.map(|member| member.user_id.clone()),
        });
        Ok(())
    }

    /// Ends a subscription that [`Broker::subscribe`] has made, with the same member. A connection that is
    /// `going` altogether must be removed from the hub next.
    pub async fn unsubscribe(
        self: &Arc<Self>,
        id: ConnectionId,
        topic: &Topic,
        member: Option<&Member>,
        going: bool,
    ) {
        match &self.bus {
            None => self.unsubscribe_alone(id, topic, member, going).await,
            Some(bus) => {
                self.unsubscribe_shared(bus, id, topic, member, going).await;
            }
        }
        if !going {
            self.live.note(topic.app, || What::Unsubscribed {
                socket: self.hub.socket_of(id),
                topic: topic.clone(),
            });
        }
    }

    /// Publishes an event of a back end to all subscribers but `except`. Cache channels remember it, whoever
    /// is there or left out. Cancel safe: it has happened altogether or not at all.
    pub async fn publish(
        &self,
        topic: &Topic,
        frame: &Frame,
        except: Option<SocketId>,
        source: Source,
    ) {
        let show = || self.show(topic, frame, Some(source));
        let Some(bus) = &self.bus else {
            if !topic.channel.kind().cache {
                return self.hub.publish_and(topic, frame, except, show).await;
            }
            let mut stripe = self.lock(topic).await;
            self.hub.publish_and(topic, frame, except, show).await;
            return stripe.cache.put(topic, frame, clock::now_ms());
        };
        if !topic.channel.kind().cache {
            // To Redis first: it takes no time here, and the shards are busy for as long as they write.
            let also = || {
                bus.publish(topic, frame, except);
                show();
            };
            return self.hub.publish_and(topic, frame, except, also).await;
        }
        let mut stripe = self.lock(topic).await;
        let also = || {
            bus.publish_cached(topic, frame, except, cache::LIFETIME);
            show();
        };
        self.hub.publish_and(topic, frame, except, also).await;
        // Where the channel is not listened to, what others publish is not heard, and what is remembered would grow old.
        if stripe.shared.contains_key(topic) {
            stripe.cache.put(topic, frame, clock::now_ms());
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
        let also = || {
            if let Some(bus) = &self.bus {
                bus.publish(topic, frame, Some(from));
            }
            self.show(topic, frame, Some(Source::Client));
        };
        if !self.webhooks.wanted(topic.app) {
            return self.hub.publish_and(topic, frame, Some(from), also).await;
        }
        let _order = self.lock(topic).await;
        self.hub.publish_and(topic, frame, Some(from), also).await;
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

    /// Shows an event to those who look on; `None`: it is another node's.
    fn show(&self, topic: &Topic, frame: &Frame, source: Option<Source>) {
        self.live.note(topic.app, || What::Event {
            topic: topic.clone(),
            frame: frame.clone(),
            source,
        });
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

    /// Whether the number of subscriptions is told. Presence channels have their member events instead.
    fn counts(&self, topic: &Topic) -> bool {
        let kind = topic.channel.kind();
        !kind.is_presence()
            && kind.access != Access::ServerToUser
            && self.apps.is(topic.app, |app| app.subscription_count)
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

/// Does what had to wait, for as long as the broker is there.
async fn tick(broker: Weak<Broker>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        for stripe in &broker.stripes {
            let mut stripe = stripe.lock().await;
            broker.tell_waiting_counts(&mut stripe).await;
            if let Some(bus) = &broker.bus {
                broker.tidy(bus, &mut stripe);
            }
        }
    }
}
