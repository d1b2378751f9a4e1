//! Counting what goes from node to node in each channel: a receiver drops what it has had, and knows how much it
//! has missed.

use std::collections::HashMap;

use ahash::RandomState;
use gema_protocol::envelope::Envelope;

use crate::hub::Topic;

/// Channels that a sender counts. When there are more it begins anew, with the next run, and receivers see no gap
/// across that; about 8 MiB.
const MOST_COUNTED: usize = 65_536;

/// Senders that a receiver remembers in one channel. Nodes of a cluster are fewer; those that are gone make room.
const MOST_SENDERS: usize = 64;

/// What this node has sent.
#[derive(Debug)]
pub(super) struct Sent {
    run: u32,
    numbers: HashMap<Topic, u32, RandomState>,
}

impl Sent {
    pub(super) fn new() -> Sent {
        Sent {
            run: 1,
            numbers: HashMap::default(),
        }
    }

    /// The run and the number of the next envelope to this channel.
    pub(super) fn next(&mut self, topic: &Topic) -> (u32, u32) {
        if let Some(number) = self.numbers.get_mut(topic)
            && let Some(next) = number.checked_add(1)
        {
            *number = next;
            return (self.run, next);
        }
        if self.numbers.len() >= MOST_COUNTED || self.numbers.contains_key(topic) {
            self.numbers.clear();
            self.run = self.run.saturating_add(1);
        }
        self.numbers.insert(topic.clone(), 1);
        (self.run, 1)
    }
}

impl Sent {
    /// The run and the number of the last envelope to this channel.
    pub(super) fn last(&self, topic: &Topic) -> Option<(u32, u32)> {
        let number = self.numbers.get(topic)?;
        Some((self.run, *number))
    }
}

/// What has been heard in one channel, by sender.
#[derive(Debug, Default)]
pub struct Heard(Vec<Last>);

#[derive(Debug)]
struct Last {
    node: u64,
    run: u32,
    number: u32,
}

impl Heard {
    /// Whether the envelope is new here, and how many before it are missing.
    pub fn note(&mut self, envelope: &Envelope) -> Option<u32> {
        let Envelope {
            node, run, number, ..
        } = *envelope;
        let Some(last) = self.0.iter_mut().find(|last| last.node == node) else {
            if self.0.len() == MOST_SENDERS {
                self.0.remove(0);
            }
            self.0.push(Last { node, run, number });
            return Some(0);
        };
        if (run, number) <= (last.run, last.number) {
            return None;
        }
        let missing = if run == last.run {
            number - last.number - 1
        } else {
            0
        };
        (last.run, last.number) = (run, number);
        Some(missing)
    }
}

#[cfg(test)]
mod tests {
    use gema_protocol::channel::ChannelName;
    use gema_protocol::server;

    use super::*;

    fn topic(name: &str) -> Topic {
        let channel = ChannelName::parse(name, 200).unwrap();
        Topic { app: 0, channel }
    }

    fn envelope(node: u64, run: u32, number: u32) -> Envelope {
        Envelope {
            node,
            run,
            number,
            except: None,
            frame: server::event("a", "n", ""),
        }
    }

    #[test]
    fn each_channel_is_counted_by_itself_and_a_new_run_starts_when_there_are_too_many() {
        let mut sent = Sent::new();
        assert_eq!(
            [sent.next(&topic("a")), sent.next(&topic("a"))],
            [(1, 1), (1, 2)]
        );
        assert_eq!(sent.next(&topic("b")), (1, 1));
        for number in 0..MOST_COUNTED {
            sent.next(&topic(&format!("c-{number}")));
        }
        assert_eq!(sent.next(&topic("a")), (2, 1));
        assert!(sent.numbers.len() <= MOST_COUNTED);
    }

    #[test]
    fn a_repeated_envelope_is_none_and_a_gap_is_counted() {
        let mut heard = Heard::default();
        let mut note = |node, run, number| heard.note(&envelope(node, run, number));
        assert_eq!(note(1, 1, 5), Some(0));
        assert_eq!(note(1, 1, 6), Some(0));
        assert_eq!(note(1, 1, 6), None);
        assert_eq!(note(2, 1, 1), Some(0));
        assert_eq!(note(1, 1, 9), Some(2));
        assert_eq!(note(1, 1, 7), None);
        assert_eq!(note(1, 2, 1), Some(0));
        assert_eq!(note(1, 1, 10), None);
    }
}
