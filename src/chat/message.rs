//! What is stored and listed, in the shapes that clients get.

use serde::{Serialize, Serializer};

use crate::clock;

/// The most entries of a list that are given at once.
const MAX_LIMIT: u32 = 200;

/// As many as a screen shows, where the caller does not say.
const DEFAULT_LIMIT: u32 = 50;

/// A stored message. It serializes to an entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The database's number; later messages have larger ones.
    pub id: i64,
    /// The author.
    pub sender_id: i64,
    /// For whom it is.
    pub receiver_id: i64,
    /// The text.
    pub content: String,
    /// Whether the receiver has said so.
    pub is_read: bool,
    /// When it was stored, in milliseconds since 1970; on the wire RFC 3339 in UTC, in seconds.
    #[serde(rename = "created_at", serialize_with = "rfc3339")]
    pub created_at_ms: i64,
    /// The name that the sender's program gave it.
    #[serde(skip)]
    pub client_id: Option<String>,
}

/// A conversation, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// The other user.
    pub user_id: i64,
    /// The other's name, once a token has told it.
    pub username: Option<String>,
    /// The address of the other's photo.
    pub avatar: Option<String>,
    /// The last message, whoever wrote it.
    pub last_message: String,
    /// When that was, in milliseconds since 1970; on the wire as [`Message::created_at_ms`].
    #[serde(serialize_with = "rfc3339")]
    pub last_message_time: i64,
    /// The last message's id: `before` of the next page.
    pub last_message_id: i64,
    /// What the other wrote and this user has not read.
    pub unread_count: i64,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only messages with smaller ids.
    pub before: i64,
    /// How many entries, 1 to 200.
    pub limit: u32,
}

impl Page {
    /// The newest 50, unless something else is asked for; never more than 200.
    pub fn new(limit: Option<u32>, before: Option<i64>) -> Page {
        Page {
            before: before.unwrap_or(i64::MAX),
            limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
        }
    }
}

fn rfc3339<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&clock::rfc3339(*ms))
}
