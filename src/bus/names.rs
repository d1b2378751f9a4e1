//! What everything is called in Redis: below the prefix, with the part in braces that decides which server of a cluster has it.

use super::registry::Home;
use super::{Bus, NodeName, Place};
use crate::hub::Topic;

impl Bus {
    pub(super) fn home(&self, base: String) -> Home {
        Home {
            base,
            sharded: self.redis.is_sharded(),
        }
    }

    pub(super) fn base(&self, place: &Place) -> String {
        let (prefix, app) = (&self.prefix, self.app_id(place.app()));
        format!("{prefix}:{{{app}:{}:{}}}", place.kind(), place.name())
    }

    pub(super) fn channel_base(&self, topic: &Topic) -> String {
        let (prefix, app) = (&self.prefix, self.app_id(topic.app));
        format!("{prefix}:{{{app}:c:{}}}", topic.channel)
    }

    pub(super) fn nodes_key(&self) -> String {
        format!("{}:{{nodes}}", self.prefix)
    }

    pub(super) fn reaping_key(&self, node: NodeName) -> String {
        format!("{}:reaping:{node}", self.nodes_key())
    }

    pub(super) fn connections_key(&self, node: NodeName) -> String {
        format!("{}:{{node:{node}}}:connections", self.prefix)
    }

    pub(super) fn index_key(&self, node: NodeName) -> String {
        format!("{}:{{node:{node}}}", self.prefix)
    }

    /// Every place is of an app that there is or was.
    pub(super) fn app_id(&self, index: u32) -> &str {
        self.apps.id_of(index)
    }
}

/// The text as a pattern that matches just it.
pub(super) fn escape_glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
