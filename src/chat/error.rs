//! Why something is refused, and the code that clients see: it stays the same when the words change.

use serde_json::{Value, json};

/// Why a message, a mark or a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The token's user cannot have messages. The client's fault, or its back end's.
    #[error("The user's id is '{0}'; the chat needs an integer")]
    UserId(String),
    /// A field is missing or of the wrong type. The client's fault.
    #[error("{0}")]
    Bad(String),
    /// There is nothing in the message. The client's fault.
    #[error("The message is empty")]
    Empty,
    /// The message is longer than this many characters. The client's fault.
    #[error("The message is longer than chat.content_chars ({0})")]
    TooLong(usize),
    /// Only the receiver may say that a message was read. The client's fault.
    #[error("The message is for another user")]
    NotYours,
    /// No message has this id. The client's fault.
    #[error("There is no such message")]
    NoSuchMessage,
    /// The database cannot be asked; why is for the log. The backend's fault: the client may try again.
    #[error("Messages cannot be stored at the moment")]
    Away(String),
}

impl ChatError {
    /// What programs go by.
    pub fn code(&self) -> &'static str {
        match self {
            ChatError::UserId(_) => "user_id",
            ChatError::Bad(_) => "bad_request",
            ChatError::Empty => "empty",
            ChatError::TooLong(_) => "too_long",
            ChatError::NotYours => "not_yours",
            ChatError::NoSuchMessage => "no_such_message",
            ChatError::Away(_) => "away",
        }
    }

    /// The data of the event `error` that doors send.
    pub fn data(&self) -> Value {
        json!({ "message": self.to_string(), "code": self.code() })
    }
}
