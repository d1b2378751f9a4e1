//! Channel -> which shards have subscribers of it, and how many. Holding the lock of a channel while
//! telling the shards is what gives all its subscribers one order.

use std::collections::HashMap;

use ahash::RandomState;
use gema_protocol::channel::ChannelName;
use tokio::sync::{Mutex, MutexGuard};

use super::{Census, Topic};

/// Locks that the channels share. With 64, two busy channels rarely meet on one.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(super) struct Directory {
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
}

/// The channels that share one lock.
#[derive(Debug)]
pub(super) struct Stripe {
    /// Subscriptions per shard. A channel without any is not in here.
    counts: HashMap<Topic, Box<[u32]>, RandomState>,
    shards: usize,
}

impl Directory {
    pub(super) fn new(shards: usize) -> Directory {
        let hasher = RandomState::new();
        let stripe = || {
            Mutex::new(Stripe {
                counts: HashMap::with_hasher(hasher.clone()),
                shards,
            })
        };
        Directory {
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
            hasher,
        }
    }

    pub(super) async fn lock(&self, topic: &Topic) -> MutexGuard<'_, Stripe> {
        let hash = self.hasher.hash_one(topic) as usize;
        self.stripes[hash % STRIPES].lock().await
    }

    pub(super) async fn list(&self, app: u32, prefix: &str) -> Vec<(ChannelName, u32)> {
        let mut found = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock().await;
            let of_app = stripe.counts.iter().filter(|(topic, _)| {
                topic.app == app && topic.channel.as_str().starts_with(prefix)
            });
            found
                .extend(of_app.map(|(topic, counts)| (topic.channel.clone(), counts.iter().sum())));
        }
        found.sort_unstable();
        found
    }

    /// Looks at every channel with its subscriptions, one lock after the other.
    pub(super) async fn each(&self, mut look: impl FnMut(&Topic, u32)) {
        for stripe in &self.stripes {
            let stripe = stripe.lock().await;
            for (topic, counts) in &stripe.counts {
                look(topic, counts.iter().sum());
            }
        }
    }

    /// Counts all channels, one lock after the other: what changes meanwhile is counted before or after the change.
    pub(super) async fn census(&self) -> Census {
        let mut census = Census::default();
        for stripe in &self.stripes {
            let stripe = stripe.lock().await;
            for (topic, counts) in &stripe.counts {
                census.count(topic.channel.kind().access, counts.iter().sum());
            }
        }
        census
    }
}

impl Stripe {
    pub(super) fn add(&mut self, topic: &Topic, shard: usize) {
        if let Some(counts) = self.counts.get_mut(topic) {
            counts[shard] += 1;
            return;
        }
        let mut counts = vec![0; self.shards].into_boxed_slice();
        counts[shard] = 1;
        self.counts.insert(topic.clone(), counts);
    }

    pub(super) fn remove(&mut self, topic: &Topic, shard: usize) {
        if let Some(counts) = self.counts.get_mut(topic) {
            counts[shard] = counts[shard].saturating_sub(1);
            if counts.iter().all(|count| *count == 0) {
                self.counts.remove(topic);
            }
        }
    }

    pub(super) fn count(&self, topic: &Topic) -> u32 {
        self.counts
            .get(topic)
            .map_or(0, |counts| counts.iter().sum())
    }

    /// The shards that have subscribers of the channel.
    pub(super) fn shards(&self, topic: &Topic) -> impl Iterator<Item = usize> {
        let counts = self.counts.get(topic).map_or(&[][..], |counts| counts);
        counts
            .iter()
            .enumerate()
            .filter_map(|(shard, count)| (*count > 0).then_some(shard))
    }
}
