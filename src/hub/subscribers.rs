//! Who hears a channel, inside one shard. Channels list connections and connections list channels, each
//! by index into the other, so that leaving costs the same in a channel of ten and of a million.

use std::collections::HashMap;

use ahash::RandomState;
use slab::Slab;

use super::Topic;

/// Both directions of "connection hears channel". A connection is its index in the shard.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    names: HashMap<Topic, u32, RandomState>,
    channels: Slab<Channel>,
    /// By connection; as long as the highest index that ever subscribed.
    heard: Vec<Vec<Slot>>,
}

#[derive(Debug)]
struct Channel {
    topic: Topic,
    seats: Vec<Seat>,
}

/// A connection in a channel's list.
#[derive(Clone, Copy, Debug)]
struct Seat {
    connection: u32,
    /// Where that connection's list names this channel.
    slot: u32,
}

/// A channel in a connection's list.
#[derive(Clone, Copy, Debug)]
struct Slot {
    channel: u32,
    /// Where that channel's list names this connection.
    seat: u32,
}

impl Subscribers {
    /// Adds a connection to a channel that it does not hear yet.
    pub(super) fn add(&mut self, topic: Topic, connection: u32) {
        let channels = &mut self.channels;
        let channel = *self.names.entry(topic).or_insert_with_key(|topic| {
            channels.insert(Channel {
                topic: topic.clone(),
                seats: Vec::new(),
            }) as u32
        });
        if self.heard.len() <= connection as usize {
            self.heard.resize_with(connection as usize + 1, Vec::new);
        }
        let seats = &mut self.channels[channel as usize].seats;
        let slots = &mut self.heard[connection as usize];
        if slots.capacity() == 0 {
            slots.reserve_exact(1);
        }
        let slot = slots.len() as u32;
        let seat = seats.len() as u32;
        slots.push(Slot { channel, seat });
        seats.push(Seat { connection, slot });
    }

    /// Takes a connection out of a channel; nothing happens when it is not in there.
    pub(super) fn remove(&mut self, topic: &Topic, connection: u32) {
        let Some(&channel) = self.names.get(topic) else {
            return;
        };
        let slots = self.slots(connection);
        if let Some(slot) = slots.iter().position(|slot| slot.channel == channel) {
            self.vacate(connection, slot);
        }
    }

    /// Takes a connection out of all its channels.
    pub(super) fn forget(&mut self, connection: u32) {
        while let Some(last) = self.slots(connection).len().checked_sub(1) {
            self.vacate(connection, last);
        }
        if let Some(slots) = self.heard.get_mut(connection as usize) {
            *slots = Vec::new();
        }
    }

    /// The connections that hear a channel.
    pub(super) fn of(&self, topic: &Topic) -> impl ExactSizeIterator<Item = u32> {
        let seats = match self.names.get(topic) {
            Some(channel) => &self.channels[*channel as usize].seats[..],
            None => &[],
        };
        seats.iter().map(|seat| seat.connection)
    }

    /// Whether the connection hears the channel.
    pub(super) fn hears(&self, connection: u32, topic: &Topic) -> bool {
        let channel = self.names.get(topic);
        let mut slots = self.slots(connection).iter();
        channel.is_some_and(|channel| slots.any(|slot| slot.channel == *channel))
    }

    /// How many channels the connection hears.
    pub(super) fn count(&self, connection: u32) -> usize {
        self.slots(connection).len()
    }

    /// The channels that the connection hears, in no order.
    pub(super) fn heard_by(&self, connection: u32) -> impl Iterator<Item = &Topic> {
        let slots = self.slots(connection).iter();
        slots.map(|slot| &self.channels[slot.channel as usize].topic)
    }

    fn slots(&self, connection: u32) -> &[Slot] {
        self.heard
            .get(connection as usize)
            .map_or(&[], |slots| slots)
    }

    fn vacate(&mut self, connection: u32, slot: usize) {
        let slots = &mut self.heard[connection as usize];
        let Slot { channel, seat } = slots.swap_remove(slot);
        // The connection's last slot has moved into the gap: its channel must know.
        if let Some(moved) = slots.get(slot) {
            self.channels[moved.channel as usize].seats[moved.seat as usize].slot = slot as u32;
        }
        let seats = &mut self.channels[channel as usize].seats;
        seats.swap_remove(seat as usize);
        // Likewise the channel's last seat: its connection must know.
        if let Some(moved) = seats.get(seat as usize) {
            self.heard[moved.connection as usize][moved.slot as usize].seat = seat;
        }
        if seats.is_empty() {
            let channel = self.channels.remove(channel as usize);
            self.names.remove(&channel.topic);
        } else if seats.len() * 4 < seats.capacity() {
            seats.shrink_to(seats.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gema_protocol::channel::ChannelName;
    use proptest::prelude::*;

    use super::*;

    fn topic(number: u32) -> Topic {
        Topic {
            app: number % 2,
            channel: ChannelName::parse(&format!("c{number}"), 200).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn agree_with_a_set_of_pairs(
            steps in prop::collection::vec((0u32..6, 0u32..5, any::<bool>()), 1..200)
        ) {
            let mut subscribers = Subscribers::default();
            let mut truth = BTreeSet::new();
            for (connection, channel, join) in steps {
                if !join {
                    truth.remove(&(channel, connection));
                    subscribers.remove(&topic(channel), connection);
                } else if truth.insert((channel, connection)) {
                    subscribers.add(topic(channel), connection);
                }
                for channel in 0..5 {
                    let heard: BTreeSet<_> = subscribers.of(&topic(channel)).collect();
                    let expected: BTreeSet<_> = truth
                        .iter()
                        .filter_map(|(of, who)| (*of == channel).then_some(*who))
                        .collect();
                    prop_assert_eq!(&heard, &expected);
                    let name = topic(channel);
                    for connection in 0..6 {
                        let hears = subscribers.hears(connection, &name);
                        prop_assert_eq!(hears, expected.contains(&connection));
                        let named = subscribers.heard_by(connection).any(|heard| *heard == name);
                        prop_assert_eq!(hears, named);
                    }
                }
            }
            for connection in 0..6 {
                subscribers.forget(connection);
            }
            prop_assert!(subscribers.names.is_empty() && subscribers.channels.is_empty());
        }
    }
}
