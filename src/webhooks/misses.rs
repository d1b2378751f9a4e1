//! Many subscribers of an empty cache channel miss at the same time, and one request to fill it is enough.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use gema_protocol::channel::ChannelName;

/// Channels remembered at a time, of one app; of more the oldest may be told of twice.
const MOST_REMEMBERED: usize = 65_536;

/// The cache channels of one app that were missed in just now.
pub(super) struct Misses {
    pause: Duration,
    known: HashSet<ChannelName>,
    line: VecDeque<(Instant, ChannelName)>,
}

impl Misses {
    /// `pause`: for how long one miss stands for all others in its channel.
    pub(super) fn new(pause: Duration) -> Misses {
        Misses {
            pause,
            known: HashSet::new(),
            line: VecDeque::new(),
        }
    }

    /// Whether this miss is to be told, as the channel's first in a while.
    pub(super) fn is_first(&mut self, channel: &ChannelName, now: Instant) -> bool {
        while let Some((since, known)) = self.line.front()
            && (now.duration_since(*since) >= self.pause || self.line.len() >= MOST_REMEMBERED)
        {
            self.known.remove(known);
            self.line.pop_front();
        }
        let is_first = self.known.insert(channel.clone());
        if is_first {
            self.line.push_back((now, channel.clone()));
        }
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_miss_stands_for_those_that_follow_at_once() {
        let pause = Duration::from_secs(1);
        let (mut misses, start) = (Misses::new(pause), Instant::now());
        let [a, b] = ["cache-a", "cache-b"].map(|name| ChannelName::parse(name, 200).unwrap());
        assert!(misses.is_first(&a, start));
        assert!(!misses.is_first(&a, start + pause / 2));
        assert!(misses.is_first(&b, start + pause / 2));
        assert!(misses.is_first(&a, start + pause));
        assert!(!misses.is_first(&b, start + pause));
    }
}
