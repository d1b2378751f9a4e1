//! Messages between users: stored first, then announced in the channel of each, `private-chat.{user}`, where the clients
//! of all doors hear them.
//!
//! # Layout
//!
//! * [`profile`]: who a sender is to the others, out of a token. [`message`]: what is stored and listed.
//! * [`error`]: why something is refused, and the code that clients see.

mod error;
mod message;
mod profile;

pub use self::error::ChatError;
pub use self::message::{Message, Page, Recent};
pub use self::profile::Profile;

/// What the channel of a user begins with; the user's id is the rest.
pub const CHANNEL: &str = "private-chat.";

/// The chat of one app.
#[derive(Debug)]
pub struct Chat {
    /// The app in whose channels messages are announced, by its index.
    app: u32,
    /// The longest message, in characters.
    content_chars: usize,
}

impl Chat {
    /// The app in whose channels messages are announced, by its index.
    pub fn app(&self) -> u32 {
        self.app
    }

    /// Keeps what a token says about its user, for lists. Called at each connection of a door.
    ///
    /// # Errors
    /// The database is away; nothing else depends on it.
    pub async fn remember(&self, _profile: &Profile) -> Result<(), ChatError> {
        Err(ChatError::Away("the chat is not there yet".into()))
    }

    /// Stores a message, then tells the receiver (`receive_message`) and the sender (`message_sent`). The same
    /// `client_id` of the same sender again gives the same message and tells nobody.
    ///
    /// # Errors
    /// Why it is not stored; nobody has heard it.
    pub async fn send(
        &self,
        _from: &Profile,
        _receiver_id: i64,
        content: &str,
        _client_id: Option<&str>,
    ) -> Result<Message, ChatError> {
        if content.chars().count() > self.content_chars {
            return Err(ChatError::TooLong(self.content_chars));
        }
        Err(ChatError::Away("the chat is not there yet".into()))
    }

    /// Notes that its receiver has read a message, and tells the author (`messege_read`) the first time.
    ///
    /// # Errors
    /// There is no such message, or it is for somebody else.
    pub async fn mark_read(&self, _reader_id: i64, _message_id: i64) -> Result<(), ChatError> {
        Err(ChatError::Away("the chat is not there yet".into()))
    }

    /// What two users have written to each other, the newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn history(
        &self,
        _me: i64,
        _other: i64,
        _page: Page,
    ) -> Result<Vec<Message>, ChatError> {
        Err(ChatError::Away("the chat is not there yet".into()))
    }

    /// What a user has not read, the newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn unread(&self, _me: i64, _page: Page) -> Result<Vec<Message>, ChatError> {
        Err(ChatError::Away("the chat is not there yet".into()))
    }

    /// With whom a user has written, the newest conversation first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recent(&self, _me: i64, _page: Page) -> Result<Vec<Recent>, ChatError> {
        Err(ChatError::Away("the chat is not there yet".into()))
    }
}
