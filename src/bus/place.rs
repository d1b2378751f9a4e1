//! What nodes share knowledge of, and what it is called in Redis.

use std::fmt;
use std::sync::Arc;

use gema_protocol::channel::ChannelName;

use crate::hub::Topic;

/// Something that several nodes may be part of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A channel: who subscribes, who is a member, what was said last.
    Channel(Topic),
    /// A user: where they have signed in.
    User {
        /// The app's number.
        app: u32,
        /// The user's id.
        id: Arc<str>,
    },
}

/// A node in the registry. The upper bits are the node's id, the lower sixteen count how often it has lost its lease
/// and begun anew: what others take away from the old name does not touch the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(u64);

impl NodeName {
    /// A node without a cluster.
    pub const ONLY: NodeName = NodeName(0);

    /// The first name of a node, whose id has 32 bits.
    pub fn first(node: u64) -> NodeName {
        NodeName(node << 16)
    }

    /// The name after a lost lease.
    #[must_use]
    pub fn next(self) -> NodeName {
        NodeName(self.0 & !0xffff | (self.0 + 1) & 0xffff)
    }

    /// Whether both are names of one node.
    pub fn same_node(self, other: NodeName) -> bool {
        self.0 >> 16 == other.0 >> 16
    }

    /// The node's id: the first half of its socket ids.
    pub fn id(self) -> u64 {
        self.0 >> 16
    }

    pub(super) fn of_number(number: u64) -> NodeName {
        NodeName(number)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a place stands in a node's index: its kind, the app's id, a line feed, its name. Ids of apps have no line feed.
pub(super) fn entry(kind: char, app_id: &str, name: &str) -> String {
    format!("{kind}{app_id}\n{name}")
}

impl Place {
    /// The app's number.
    pub fn app(&self) -> u32 {
        match self {
            Place::Channel(topic) => topic.app,
            Place::User { app, .. } => *app,
        }
    }

    pub(super) fn kind(&self) -> char {
        match self {
            Place::Channel(_) => 'c',
            Place::User { .. } => 'u',
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Place::Channel(topic) => topic.channel.as_str(),
            Place::User { id, .. } => id,
        }
    }

    /// The place that an index names, `app` being what the app's id stands for here.
    pub(super) fn parse(entry: &str, app: impl FnOnce(&str) -> Option<u32>) -> Option<Place> {
        let (head, name) = entry.split_once('\n')?;
        let (kind, app_id) = head.split_at_checked(1)?;
        let app = app(app_id)?;
        match kind {
            // As long as it may be there, it may be here.
            "c" => Some(Place::Channel(Topic {
                app,
                channel: ChannelName::parse(name, usize::MAX).ok()?,
            })),
            "u" => Some(Place::User {
                app,
                id: name.into(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_by_its_entry() {
        let channel = ChannelName::parse("#server-to-user-a\u{2028}b", 200).unwrap();
        let user = Place::User {
            app: 3,
            id: "a\nb".into(),
        };
        for place in [Place::Channel(Topic { app: 3, channel }), user] {
            let entry = entry(place.kind(), "shop", place.name());
            let found = Place::parse(&entry, |id| (id == "shop").then_some(3));
            assert_eq!(found, Some(place));
            assert_eq!(Place::parse(&entry, |_| None), None);
        }
        assert_eq!(Place::parse("x", |_| Some(0)), None);
    }

    #[test]
    fn a_new_name_is_another_name_of_the_same_node() {
        let name = NodeName::first(u64::from(u32::MAX));
        assert!(name.same_node(name.next()) && name != name.next());
        assert!(!name.same_node(NodeName::first(7)));
        let mut last = name;
        for _ in 0..0x1_0000 {
            last = last.next();
        }
        assert_eq!(last, name);
    }
}
