//! Channel names and what their prefixes mean.
//!
//! Rules: Pusher's "Channel naming conventions" (the charset) and the prefixes of its channel types. A prefix counts
//! only at the start of the name and with its dash: `privateer` and `my-cache-x` are ordinary public channels.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The prefix of the pseudo-channel on which one signed-in user is reached.
const SERVER_TO_USER: &str = "#server-to-user-";

/// A channel name that has passed the rules. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Accepts 1 to `max_chars` characters out of `A-Z a-z 0-9 - _ = @ , . ;`, or `#server-to-user-` followed by a
    /// user id, which is free text without control characters.
    ///
    /// # Errors
    /// Says which rule the name breaks; the length is judged first.
    pub fn parse(name: &str, max_chars: usize) -> Result<Self, ChannelNameError> {
        if name.is_empty() {
            return Err(ChannelNameError::Empty);
        }
        let chars = name.chars().count();
        if chars > max_chars {
            return Err(ChannelNameError::TooLong {
                max: max_chars,
                chars,
            });
        }
        let illegal = match name.strip_prefix(SERVER_TO_USER) {
            Some("") => Some('#'),
            Some(user_id) => user_id.chars().find(|c| c.is_control()),
            None => name.chars().find(|&c| !is_legal(c)),
        };
        match illegal {
            Some(found) => Err(ChannelNameError::Illegal { found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the prefix of this name asks for.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        ChannelKind::of(&self.0)
    }

    /// The user whom this pseudo-channel reaches, when it is a `#server-to-user-` one.
    #[must_use]
    pub fn server_to_user(&self) -> Option<&str> {
        self.0.strip_prefix(SERVER_TO_USER)
    }
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '@' | ',' | '.' | ';')
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ChannelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a channel name was refused. The fault is the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelNameError {
    /// No character at all.
    #[error("Invalid channel name: it is empty")]
    Empty,
    /// More characters than the server is set to accept.
    #[error("Invalid channel name: {chars} characters, limits.channel_name_chars allows {max}")]
    TooLong {
        /// The limit in characters.
        max: usize,
        /// The length of the name in characters.
        chars: usize,
    },
    /// A character outside the charset; `#` when the name starts like a pseudo-channel but is none.
    #[error(
        "Invalid channel name: {found:?} is not allowed (letters, digits and - _ = @ , . ; are)"
    )]
    Illegal {
        /// The first such character.
        found: char,
    },
}

/// What the prefix of a channel name asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelKind {
    /// Who may subscribe.
    pub access: Access,
    /// Whether the last event is replayed to a new subscriber.
    pub cache: bool,
}

/// Who may subscribe to a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody.
    Public,
    /// `private-`: who brings a signature.
    Private,
    /// `private-encrypted-`: as private; the payload is opaque to the server.
    Encrypted,
    /// `presence-`: as private, and the subscribers see each other.
    Presence,
    /// `#server-to-user-ID`: who has signed in as that user.
    ServerToUser,
}

impl ChannelKind {
    /// Reads the prefix of `name`, which need not be a valid name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        if name.starts_with(SERVER_TO_USER) {
            return Self {
                access: Access::ServerToUser,
                cache: false,
            };
        }
        let (access, rest) = if let Some(rest) = name.strip_prefix("private-encrypted-") {
            (Access::Encrypted, rest)
        } else if let Some(rest) = name.strip_prefix("private-") {
            (Access::Private, rest)
        } else if let Some(rest) = name.strip_prefix("presence-") {
            (Access::Presence, rest)
        } else {
            (Access::Public, name)
        };
        Self {
            access,
            cache: rest.starts_with("cache-"),
        }
    }

    /// Whether a subscription must carry a signature of the app.
    #[must_use]
    pub fn needs_signature(self) -> bool {
        matches!(
            self.access,
            Access::Private | Access::Encrypted | Access::Presence
        )
    }

    /// Whether the subscribers see each other.
    #[must_use]
    pub fn is_presence(self) -> bool {
        self.access == Access::Presence
    }

    /// Whether subscribers may send each other `client-` events here, should the app allow them.
    #[must_use]
    pub fn allows_client_events(self) -> bool {
        self.needs_signature()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> ChannelNameError {
        ChannelName::parse(name, 200).unwrap_err()
    }

    #[test]
    fn every_legal_character_is_accepted() {
        let name = "private-Az09_=@,.;-";
        assert_eq!(ChannelName::parse(name, 200).unwrap().as_str(), name);
    }

    #[test]
    fn length_is_counted_in_characters_and_the_limit_itself_is_legal() {
        assert!(ChannelName::parse(&"a".repeat(200), 200).is_ok());
        assert_eq!(
            refusal(&"a".repeat(201)),
            ChannelNameError::TooLong {
                max: 200,
                chars: 201
            }
        );
        let user = format!("#server-to-user-{}", "é".repeat(184));
        assert!(ChannelName::parse(&user, 200).is_ok());
        assert!(
            refusal(&"a".repeat(201))
                .to_string()
                .contains("limits.channel_name_chars")
        );
    }

    #[test]
    fn illegal_characters_are_named() {
        assert_eq!(refusal(""), ChannelNameError::Empty);
        for (name, found) in [
            ("a b", ' '),
            ("a/b", '/'),
            ("naïve", 'ï'),
            ("a:b", ':'),
            ("a\n", '\n'),
        ] {
            assert_eq!(
                refusal(name),
                ChannelNameError::Illegal { found },
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_only_name_with_a_hash_is_a_users_own() {
        for name in [
            "#a",
            "#",
            "#server-to-user-",
            "#server-to-users-1",
            "a#b",
            "##server-to-user-1",
        ] {
            assert_eq!(
                refusal(name),
                ChannelNameError::Illegal { found: '#' },
                "{name}"
            );
        }
        let name = ChannelName::parse("#server-to-user-j d/ü#1", 200).unwrap();
        assert_eq!(name.server_to_user(), Some("j d/ü#1"));
        assert_eq!(
            refusal("#server-to-user-a\u{7}"),
            ChannelNameError::Illegal { found: '\u{7}' }
        );
    }

    #[test]
    fn prefixes_decide_the_kind() {
        use Access::{Encrypted, Presence, Private, Public, ServerToUser};
        for (name, access, cache) in [
            ("a", Public, false),
            ("cache-a", Public, true),
            ("private-a", Private, false),
            ("private-cache-a", Private, true),
            ("private-encrypted-a", Encrypted, false),
            ("private-encrypted-cache-a", Encrypted, true),
            ("presence-a", Presence, false),
            ("presence-cache-a", Presence, true),
            ("#server-to-user-7", ServerToUser, false),
        ] {
            assert_eq!(
                ChannelKind::of(name),
                ChannelKind { access, cache },
                "{name}"
            );
        }
    }

    #[test]
    fn a_prefix_counts_only_at_the_start_and_with_its_dash() {
        for name in [
            "cachet",
            "presences",
            "privateer",
            "private",
            "my-cache-x",
            "my-private-x",
            "Private-x",
        ] {
            assert_eq!(
                ChannelKind::of(name),
                ChannelKind {
                    access: Access::Public,
                    cache: false
                },
                "{name}"
            );
        }
        assert_eq!(
            ChannelKind::of("private-x-cache-y"),
            ChannelKind {
                access: Access::Private,
                cache: false
            }
        );
        assert_eq!(
            ChannelKind::of("private-encrypted"),
            ChannelKind {
                access: Access::Private,
                cache: false
            }
        );
        assert_eq!(
            ChannelKind::of("presence-encrypted-x"),
            ChannelKind {
                access: Access::Presence,
                cache: false
            }
        );
    }

    #[test]
    fn signatures_and_client_events_go_with_the_kind() {
        for (name, signed, client_events) in [
            ("a", false, false),
            ("private-a", true, true),
            ("private-encrypted-a", true, true),
            ("presence-a", true, true),
            ("#server-to-user-7", false, false),
        ] {
            let kind = ChannelKind::of(name);
            assert_eq!(
                (kind.needs_signature(), kind.allows_client_events()),
                (signed, client_events),
                "{name}"
            );
        }
    }
}
