//! What the HTTP API asks about channels. With other nodes, Redis is asked for what this one does not know; while it
//! is away, the answer is what is known here.

use std::sync::Arc;
use std::time::Duration;

use gema_protocol::channel::{Access, ChannelName};
use gema_protocol::frame::Frame;

use super::Broker;
use crate::bus::{Bus, Place};
use crate::clock;
use crate::hub::Topic;
use crate::presence::Members;

/// The last event of a cache channel.
#[derive(Debug)]
pub struct Cached {
    /// The event as it was published.
    pub frame: Frame,
    /// For how long it will still be replayed.
    pub ttl: Duration,
}

impl Broker {
    /// Subscriptions of a channel, zero when nobody is there.
    pub async fn subscription_count(&self, topic: &Topic) -> u32 {
        let here = self.hub.subscription_count(topic).await;
        let Some(bus) = &self.bus else { return here };
        here + self.elsewhere(bus, topic).await
    }

    /// The occupied channels of an app whose names begin with `prefix`, with their subscriptions, by name.
    /// Those of single users are nobody else's business.
    pub async fn channels(&self, app: u32, prefix: &str) -> Vec<(ChannelName, u32)> {
        let mut channels = self.hub.channels(app, prefix).await;
        if let Some(bus) = &self.bus
            && let Ok(mut elsewhere) = bus.channels_elsewhere(app, prefix).await
        {
            for (channel, count) in &mut channels {
                *count += elsewhere.remove(channel.as_str()).unwrap_or(0);
            }
            for (name, count) in elsewhere {
                if let Ok(channel) = ChannelName::parse(&name, usize::MAX) {
                    channels.push((channel, count));
                }
            }
            channels.sort_unstable();
        }
        channels.retain(|(channel, _)| channel.kind().access != Access::ServerToUser);
        channels
    }

    /// The ids of the distinct users in a presence channel, sorted.
    pub async fn users(&self, topic: &Topic) -> Vec<Arc<str>> {
        let (known, is_loaded) = {
            let stripe = self.lock(topic).await;
            let members = stripe.members.get(topic);
            let ids = members.map_or_else(Vec::new, |members| members.ids().cloned().collect());
            let shared = stripe.shared.get(topic);
            (ids, shared.is_some_and(|shared| shared.replica.is_loaded()))
        };
        if let (Some(bus), false) = (&self.bus, is_loaded)
            && let Ok(mut ids) = bus.members(topic).await
        {
            ids.sort_unstable();
            return ids;
        }
        known
    }

    /// How many distinct users are in a presence channel.
    pub async fn user_count(&self, topic: &Topic) -> usize {
        if self.bus.is_some() {
            return self.users(topic).await.len();
        }
        let stripe = self.lock(topic).await;
        stripe.members.get(topic).map_or(0, Members::len)
    }

    /// The last event of a cache channel, if it is still replayed.
    pub async fn cached(&self, topic: &Topic) -> Option<Cached> {
        let (known, is_loaded) = {
            let stripe = self.lock(topic).await;
            let cached = stripe.cache.get(topic, clock::now_ms());
            let cached = cached.map(|(frame, left_ms)| Cached {
                frame: frame.clone(),
                ttl: Duration::from_millis(left_ms),
            });
            let shared = stripe.shared.get(topic);
            (
                cached,
                shared.is_some_and(|shared| shared.replica.is_loaded()),
            )
        };
        if let (Some(bus), false) = (&self.bus, is_loaded)
            && let Ok(cached) = bus.cached(topic).await
        {
            return cached.map(|(frame, ttl)| Cached { frame, ttl });
        }
        known
    }

    /// Subscriptions on the other nodes.
    async fn elsewhere(&self, bus: &Bus, topic: &Topic) -> u32 {
        let place = Place::Channel(topic.clone());
        let Ok(counts) = bus.counts(&place).await else {
            return 0;
        };
        let own = bus.name();
        let others = counts.iter().filter(|(node, _)| !node.same_node(own));
        others.map(|(_, count)| count).sum()
    }
}
