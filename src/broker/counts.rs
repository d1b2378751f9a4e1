//! When a changed number of subscriptions is told to the subscribers: at once while the channel is small,
//! at most every five seconds above a hundred, or the counting would be the traffic.
//! Rule: <https://pusher.com/docs/channels/using_channels/events/#pusher-subscription-count>.

use std::collections::HashMap;

use ahash::RandomState;

use crate::hub::Topic;

/// Up to this many subscriptions every change is told.
const SMALL: u32 = 100;

/// Above that, the least time between two tellings, in milliseconds.
const PAUSE_MS: u64 = 5000;

/// The larger channels whose count has been told lately. Smaller ones are not in here.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<Topic, Told, RandomState>);

#[derive(Debug)]
struct Told {
    at_ms: u64,
    /// The count has changed since.
    stale: bool,
}

impl Counts {
    /// Notes a change: true when it is to be told now.
    pub(super) fn changed(&mut self, topic: &Topic, count: u32, now_ms: u64) -> bool {
        if count <= SMALL {
            self.0.remove(topic);
            return true;
        }
        match self.0.get_mut(topic) {
            Some(told) if now_ms < told.at_ms + PAUSE_MS => {
                told.stale = true;
                false
            }
            _ => {
                let told = Told {
                    at_ms: now_ms,
                    stale: false,
                };
                self.0.insert(topic.clone(), told);
                true
            }
        }
    }

    /// The channels whose latest count is still to be told, which it now will be.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Topic> {
        let mut due = Vec::new();
        self.0.retain(|topic, told| {
            if now_ms < told.at_ms + PAUSE_MS {
                return true;
            }
            if told.stale {
                told.at_ms = now_ms;
                due.push(topic.clone());
            }
            // One that was told long ago is as good as one that never was.
            std::mem::replace(&mut told.stale, false)
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use gema_protocol::channel::ChannelName;

    use super::*;

    #[test]
    fn small_channels_hear_every_change_and_large_ones_the_latest_in_time() {
        let channel = ChannelName::parse("a", 200).unwrap();
        let topic = Topic { app: 0, channel };
        let mut counts = Counts::default();
        assert!((1..=100).all(|count| counts.changed(&topic, count, 0)));
        assert!(counts.changed(&topic, 101, 10));
        assert!(!counts.changed(&topic, 102, 20));
        assert!(counts.due(5009).is_empty());
        assert_eq!(counts.due(5010), std::slice::from_ref(&topic));
        assert!(counts.due(20_000).is_empty());
        assert!(counts.changed(&topic, 103, 20_000));
        assert!(counts.changed(&topic, 99, 20_001) && counts.0.is_empty());
    }
}
