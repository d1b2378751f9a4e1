//! What a client is told when something it asks for is not done: words for people, and a code that stays the same when
//! the words change.

use std::fmt;

use crate::chat::ChatError;
use crate::gateway::guest::{JoinError, SayError};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    /// A message that cannot be read.
    pub(super) fn bad(message: impl Into<String>) -> Refusal {
        Refusal {
            code: "bad_request",
            message: message.into(),
        }
    }

    pub(super) fn unknown_type(kind: &str) -> Refusal {
        Refusal {
            code: "unknown_type",
            message: format!("Unknown type '{}'", kind.escape_debug()),
        }
    }

    pub(super) fn chat_is_off() -> Refusal {
        Refusal {
            code: "off",
            message: "The chat is switched off (chat.enabled)".into(),
        }
    }

    pub(super) fn joined_already(channel: &str) -> Refusal {
        Refusal {
            code: "joined",
            message: format!("Joined to the channel {channel} already"),
        }
    }

    pub(super) fn not_joined(channel: &str) -> Refusal {
        SayError::NotJoined(channel.to_owned()).into()
    }

    /// What programs go by.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Refusal {
        Refusal {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Refusal {
        let code = match &error {
            JoinError::Name(_) => "bad_request",
            JoinError::Full(_) | JoinError::TooMany(_) => "full",
            JoinError::Member(_) => "too_large",
            JoinError::Signature(_)
            | JoinError::Rules(_)
            | JoinError::Guard(_)
            | JoinError::NoToken(_)
            | JoinError::NotThisUser(_) => "forbidden",
        };
        Refusal {
            code,
            message: error.to_string(),
        }
    }
}

impl From<SayError> for Refusal {
    fn from(error: SayError) -> Refusal {
        let code = match &error {
            SayError::Off => "off",
            SayError::TooMany(_) => "rate",
            SayError::NotJoined(_) => "not_joined",
            SayError::OpenChannel(_) => "forbidden",
            SayError::TooLarge(_) => "too_large",
        };
        Refusal {
            code,
            message: error.to_string(),
        }
    }
}
