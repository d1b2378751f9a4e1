//! The last event of each cache channel, for those who subscribe after it. It outlives the channel's
//! subscribers but not its time: <https://pusher.com/docs/channels/using_channels/cache-channels/>.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use gema_protocol::frame::Frame;

use crate::hub::Topic;

/// How long an event is replayed: 30 minutes from its publishing.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Cached events by channel. Several caches share a budget of bytes; the one that exceeds it gives up its
/// oldest events, but never the new one.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Topic, Entry, RandomState>,
    /// By the order of coming here, which is nearly that of running out.
    by_age: BTreeMap<u64, Topic>,
    next_age: u64,
    /// Of all caches that share the budget.
    bytes: Arc<AtomicUsize>,
    budget: usize,
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    until_ms: u64,
    age: u64,
}

impl Cache {
    pub(super) fn new(budget: usize, bytes: Arc<AtomicUsize>) -> Cache {
        Cache {
            entries: HashMap::default(),
            by_age: BTreeMap::new(),
            next_age: 0,
            bytes,
            budget,
        }
    }

    /// Makes this the channel's last event, published now.
    pub(super) fn put(&mut self, topic: &Topic, frame: &Frame, now_ms: u64) {
        self.put_for(topic, frame, LIFETIME, now_ms);
    }

    /// Makes this the channel's last event, which has so long left.
    pub(super) fn put_for(&mut self, topic: &Topic, frame: &Frame, left: Duration, now_ms: u64) {
        self.forget(topic);
        let age = self.next_age;
        self.next_age += 1;
        self.bytes.fetch_add(cost(topic, frame), Ordering::Relaxed);
        self.by_age.insert(age, topic.clone());
        let entry = Entry {
            frame: frame.clone(),
            until_ms: now_ms + left.as_millis() as u64,
            age,
        };
        self.entries.insert(topic.clone(), entry);
        while let Some(oldest) = self.by_age.values().next() {
            let expired = self.entries[oldest].until_ms <= now_ms;
            let fits = self.bytes.load(Ordering::Relaxed) <= self.budget;
            if oldest == topic || !expired && fits {
                break;
            }
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
    }

    /// The channel's last event and the milliseconds for which it will still be replayed.
    pub(super) fn get(&self, topic: &Topic, now_ms: u64) -> Option<(&Frame, u64)> {
        let entry = self.entries.get(topic)?;
        let left_ms = entry.until_ms.checked_sub(now_ms)?;
        (left_ms > 0).then_some((&entry.frame, left_ms))
    }

    /// Gives up the channel's last event.
    pub(super) fn forget(&mut self, topic: &Topic) {
        if let Some(entry) = self.entries.remove(topic) {
            self.by_age.remove(&entry.age);
            self.bytes
                .fetch_sub(cost(topic, &entry.frame), Ordering::Relaxed);
        }
    }
}

/// What an entry keeps in memory, near enough: the frame, the name, and the two maps' places.
fn cost(topic: &Topic, frame: &Frame) -> usize {
    frame.len() + topic.channel.as_str().len() + 256
}

#[cfg(test)]
mod tests {
    use gema_protocol::channel::ChannelName;
    use gema_protocol::server;

    use super::*;

    const LIFETIME_MS: u64 = LIFETIME.as_millis() as u64;

    fn topic(name: &str) -> Topic {
        let channel = ChannelName::parse(name, 200).unwrap();
        Topic { app: 0, channel }
    }

    fn cache(budget: usize) -> Cache {
        Cache::new(budget, Arc::default())
    }

    fn event(data: &str) -> Frame {
        server::event("cache-a", "n", data)
    }

    #[test]
    fn the_last_event_is_replayed_until_its_time_is_over() {
        let mut cache = cache(1 << 20);
        cache.put(&topic("cache-a"), &event("1"), 0);
        cache.put(&topic("cache-a"), &event("2"), 1000);
        let (frame, left_ms) = cache.get(&topic("cache-a"), 61_000).unwrap();
        assert_eq!(
            (frame.data(), left_ms),
            (Some("\"2\""), LIFETIME_MS - 60_000)
        );
        assert!(cache.get(&topic("cache-a"), 1000 + LIFETIME_MS).is_none());
        assert!(cache.get(&topic("cache-b"), 0).is_none());
    }

    #[test]
    fn the_oldest_give_way_and_nothing_is_left_behind() {
        let mut cache = cache(10_000);
        for number in 0..1000 {
            cache.put(
                &topic(&format!("cache-{}", number % 70)),
                &event("x"),
                number,
            );
        }
        assert!(cache.bytes.load(Ordering::Relaxed) <= 10_000 && cache.entries.len() > 20);
        assert_eq!(cache.entries.len(), cache.by_age.len());
        assert!(
            cache
                .get(&topic(&format!("cache-{}", 999 % 70)), 1000)
                .is_some()
        );
        cache.put(&topic("cache-late"), &event("x"), 2000 + LIFETIME_MS);
        assert_eq!(cache.entries.len(), 1);
    }

    #[test]
    fn the_new_event_stays_however_large_it_is() {
        let mut cache = cache(1000);
        cache.put(&topic("cache-a"), &event("x"), 0);
        cache.put(&topic("cache-b"), &event(&"x".repeat(5000)), 0);
        assert!(cache.get(&topic("cache-b"), 1).is_some());
        assert!(cache.get(&topic("cache-a"), 1).is_none());
    }
}
