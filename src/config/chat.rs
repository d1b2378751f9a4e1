//! `[chat]`: whether there is one, and how long its messages may be.

use super::Chat;
use super::check::Check;
use super::raw::RawChat;

impl Check<'_> {
    /// The chat, or `None` when it is off.
    pub(super) fn chat(&mut self, raw: &RawChat) -> Option<Chat> {
        let content_chars = self.at_least_one("chat.content_chars", raw.content_chars);
        raw.enabled.then_some(Chat { content_chars })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn the_chat_is_on_and_needs_its_tables_unless_it_is_switched_off() {
        let config = Config::from_toml("").unwrap();
        assert!(config.chat.is_some_and(|chat| chat.content_chars == 4000));
        assert!(config.database.tables.chat);
        let config = Config::from_toml("chat.enabled = false").unwrap();
        assert!(config.chat.is_none() && !config.database.tables.chat);
        assert!(!config.needs_database());
    }

    #[test]
    fn a_chat_without_room_for_a_message_is_refused() {
        let error = Config::from_toml("chat.content_chars = 0").unwrap_err();
        assert!(error.to_string().contains("chat.content_chars"), "{error}");
    }
}
