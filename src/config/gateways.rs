//! `[gateways]`: the doors besides the Pusher WebSocket, where they stand, and what their clients hear unasked.

use gema_protocol::channel::{Access, ChannelName};

use super::Gateways;
use super::check::{Check, is_url_safe};
use super::error::Why;
use super::raw::RawGateways;

/// What stands for the user's id in a channel's name.
const USER: &str = "{user}";

/// A channel's name in which `{user}` stands for the id of whoever has connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTemplate(String);

impl ChannelTemplate {
    /// The channel of this user. Not every user id fits a channel's name: joining says so.
    pub fn fill(&self, user_id: &str) -> String {
        self.0.replace(USER, user_id)
    }
}

impl Check<'_> {
    /// `channel_name_chars`: how long a channel's name may be.
    pub(super) fn gateways(&mut self, raw: &RawGateways, channel_name_chars: usize) -> Gateways {
        Gateways {
            http_fallback: raw.http_fallback,
            plain_path: self.door("gateways.plain_path", &raw.plain_path),
            socketio_path: self.door("gateways.socketio_path", &raw.socketio_path),
            anonymous_channels: self.open_channels(&raw.anonymous_channels, channel_name_chars),
            user_channels: self.templates(&raw.user_channels, channel_name_chars),
        }
    }

    /// The path of a door, with a slash before it and none behind it; `None` when the door is closed.
    pub(super) fn door(&mut self, key: &str, given: &str) -> Option<String> {
        let path = given.trim().trim_matches('/');
        if path.is_empty() {
            if !given.is_empty() {
                // A slash alone would be the landing page.
                let given = given.to_owned();
                self.refuse(key, Why::NotAPath { given });
            }
            return None;
        }
        let is_plain = |part: &str| !part.is_empty() && part.chars().all(is_url_safe);
        if !path.split('/').all(is_plain) {
            let given = given.to_owned();
            self.refuse(key, Why::NotAPath { given });
        }
        Some(format!("/{path}"))
    }

    /// Channels that anybody may hear.
    fn open_channels(&mut self, given: &[String], max_chars: usize) -> Vec<ChannelName> {
        let mut channels = Vec::with_capacity(given.len());
        for (index, name) in given.iter().enumerate() {
            let path = format!("gateways.anonymous_channels[{index}]");
            match ChannelName::parse(name, max_chars) {
                Err(error) => self.refuse(path, Why::NotAChannel(error)),
                Ok(channel) if channel.kind().access != Access::Public => {
                    let given = name.clone();
                    self.refuse(path, Why::NotPublic { given });
                }
                Ok(channel) => channels.push(channel),
            }
        }
        channels
    }

    fn templates(&mut self, given: &[String], max_chars: usize) -> Vec<ChannelTemplate> {
        for (index, text) in given.iter().enumerate() {
            // The shortest user there can be: what is wrong now is wrong for everybody.
            let example = text.replace(USER, "7");
            let path = format!("gateways.user_channels[{index}]");
            if example.contains(['{', '}']) {
                let given = text.clone();
                self.refuse(path, Why::NotATemplate { given });
            } else if let Err(error) = ChannelName::parse(&example, max_chars) {
                self.refuse(path, Why::NotAChannel(error));
            }
        }
        given.iter().cloned().map(ChannelTemplate).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn the_doors_stand_where_the_documents_of_their_clients_say() {
        let gateways = Config::from_toml("").unwrap().gateways;
        assert_eq!(gateways.plain_path.as_deref(), Some("/ws"));
        let anonymous: Vec<_> = gateways.anonymous_channels.iter().collect();
        assert_eq!(anonymous.len(), 2);
        assert_eq!(anonymous[1].as_str(), "orders");
        assert_eq!(gateways.user_channels[0].fill("7"), "private-chat.7");
    }

    #[test]
    fn a_door_is_a_path_or_closed() {
        let door = |path: &str| {
            let text = format!("gateways.plain_path = '{path}'");
            Config::from_toml(&text).map(|config| config.gateways.plain_path)
        };
        assert_eq!(door("").unwrap(), None);
        assert_eq!(door("chat/ws/").unwrap().as_deref(), Some("/chat/ws"));
        for wrong in ["/", "/ws?x", "/a//b"] {
            let said = door(wrong).unwrap_err().to_string();
            let expected = format!(
                "config:1:23: gateways.plain_path is \"{wrong}\", which is not a path such as /realtime"
            );
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn what_is_heard_unasked_has_a_name_that_a_channel_can_have() {
        assert_eq!(
            complaint("gateways.anonymous_channels = ['orders', 'private-orders']"),
            "config:1:42: gateways.anonymous_channels[1] is \"private-orders\", which is no public channel"
        );
        assert_eq!(
            complaint("gateways.user_channels = ['private-chat.{usr}']"),
            "config:1:27: gateways.user_channels[0] is \"private-chat.{usr}\"; only {user} can be filled in, with the \
             user's id"
        );
        let said = complaint("gateways.user_channels = ['a b{user}']");
        assert!(
            said.starts_with("config:1:27: gateways.user_channels[0] cannot be a channel: "),
            "{said}"
        );
    }
}
