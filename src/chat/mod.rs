//! Messages between users: stored first, then announced in the channel of each, `private-chat.{user}`, where the clients
//! of all doors hear them.
//!
//! # Layout
//!
//! * [`profile`]: who a sender is to the others, out of a token. [`message`]: what is stored and listed.
//! * [`writer`]: the one task that writes; [`table`]: the SQL. [`announce`]: what is told of what was written.
//! * [`echo`]: what clients of the Pusher protocol say to the chat.
//! * [`error`]: why something is refused, and the code that clients see.

mod announce;
mod echo;
mod error;
mod message;
mod profile;
mod table;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

pub use self::echo::{MarkAsRead, SendMessage, Taken};
pub use self::error::ChatError;
pub use self::message::{Message, Page, Recent};
pub use self::profile::Profile;

use self::announce::Announcer;
use self::table::{Change, Done, New};
use self::writer::Writer;
use crate::auth::Identity;
use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::store::{Pool, Store};

/// What the channel of a user begins with; the user's id is the rest.
pub const CHANNEL: &str = "private-chat.";

/// The longest name that a client may give a message, in characters. An UUID has 36.
const CLIENT_ID_CHARS: usize = 64;

/// How long a list may take to be read. Whoever asks is a page that somebody looks at.
const READING: Duration = Duration::from_secs(5);

/// The chat of one app.
pub struct Chat {
    store: Arc<Store>,
    writer: Writer,
    /// In whose channels messages are announced, by its index.
    app: u32,
    /// The longest message, in characters.
    content_chars: usize,
}

impl Chat {
    /// Begins to take messages, for the app with this index; `content_chars`: the longest, in characters. Must be called
    /// inside a runtime.
    pub fn start(
        content_chars: usize,
        store: Arc<Store>,
        broker: Arc<Broker>,
        metrics: Arc<Metrics>,
        app: u32,
    ) -> Arc<Chat> {
        let announcer = Announcer {
            broker,
            metrics,
            app,
        };
        Arc::new(Chat {
            writer: Writer::start(store.clone(), announcer),
            store,
            app,
            content_chars,
        })
    }

    /// The app in whose channels messages are announced, by its index.
    pub fn app(&self) -> u32 {
        self.app
    }

    /// Keeps what a token says about its user, for lists. Called at each connection of a door.
    ///
    /// # Errors
    /// The database is away; nothing else depends on it.
    pub async fn remember(&self, profile: &Profile) -> Result<(), ChatError> {
        if profile.is_unknown() {
            return Ok(());
        }
        self.writer
            .write(Change::Remember(profile.clone()))
            .await
            .map(drop)
    }

    /// The same where nobody waits for it: it is kept soon, or not at all when there is much to do.
    pub fn note(&self, identity: &Identity) {
        if let Ok(profile) = Profile::of(identity)
            && !profile.is_unknown()
        {
            self.writer.note(Change::Remember(profile));
        }
    }

    /// Stores a message, then tells the receiver (`receive_message`) and the sender (`message_sent`). The same
    /// `client_id` of the same sender again gives the same message and tells nobody.
    ///
    /// # Errors
    /// Why it is not stored; nobody has heard it.
    pub async fn send(
        &self,
        from: &Profile,
        receiver_id: i64,
        content: &str,
        client_id: Option<&str>,
    ) -> Result<Message, ChatError> {
        let sent = self.store_message(from, receiver_id, content, client_id);
        Ok(sent.await?.0)
    }

    /// The message, and whether it was not there before.
    async fn store_message(
        &self,
        from: &Profile,
        receiver_id: i64,
        content: &str,
        client_id: Option<&str>,
    ) -> Result<(Message, bool), ChatError> {
        if content.trim().is_empty() {
            return Err(ChatError::Empty);
        }
        if content.chars().count() > self.content_chars {
            return Err(ChatError::TooLong(self.content_chars));
        }
        let client_id = client_id.filter(|id| !id.is_empty());
        if client_id.is_some_and(|id| id.chars().count() > CLIENT_ID_CHARS) {
            let message = format!("client_id is longer than {CLIENT_ID_CHARS} characters");
            return Err(ChatError::Bad(message));
        }
        if content.contains('\0') || client_id.is_some_and(|id| id.contains('\0')) {
            // PostgreSQL's texts cannot hold it.
            return Err(ChatError::Bad("The message holds the character NUL".into()));
        }
        let new = New {
            sender: from.clone(),
            receiver_id,
            content: content.to_owned(),
            client_id: client_id.map(str::to_owned),
        };
        match self.writer.write(Change::Insert(new)).await? {
            Done::Inserted(message, _) => Ok((message, true)),
            Done::Existing(message) => Ok((message, false)),
            other => Err(unexpected(&other)),
        }
    }

    /// Notes that its receiver has read a message, and tells the author (`messege_read`) the first time.
    ///
    /// # Errors
    /// There is no such message, or it is for somebody else.
    pub async fn mark_read(&self, reader_id: i64, message_id: i64) -> Result<(), ChatError> {
        let mark = Change::Mark {
            reader_id,
            message_id,
        };
        match self.writer.write(mark).await? {
            Done::Marked { .. } | Done::Unchanged => Ok(()),
            Done::NotYours => Err(ChatError::NotYours),
            Done::NoSuchMessage => Err(ChatError::NoSuchMessage),
            other => Err(unexpected(&other)),
        }
    }

    /// What two users have written to each other, the newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn history(
        &self,
        me: i64,
        other: i64,
        page: Page,
    ) -> Result<Vec<Message>, ChatError> {
        self.read(async |pool| table::history(pool, me, other, page).await)
            .await
    }

    /// What a user has not read, the newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn unread(&self, me: i64, page: Page) -> Result<Vec<Message>, ChatError> {
        self.read(async |pool| table::unread(pool, me, page).await)
            .await
    }

    /// With whom a user has written, the newest conversation first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recent(&self, me: i64, page: Page) -> Result<Vec<Recent>, ChatError> {
        self.read(async |pool| table::recent(pool, me, page).await)
            .await
    }

    async fn read<T>(
        &self,
        reading: impl AsyncFnOnce(&Pool) -> Result<T, sqlx::Error>,
    ) -> Result<T, ChatError> {
        let pool = self.store.chat_pool().await;
        let pool = pool.map_err(|error| ChatError::Away(error.to_string()))?;
        match timeout(READING, reading(pool)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(ChatError::Away(error.to_string())),
            Err(_) => Err(ChatError::Away("it has not answered in time".into())),
        }
    }
}

/// A change has one kind of outcome, so this does not happen.
fn unexpected(done: &Done) -> ChatError {
    ChatError::Away(format!("{done:?}"))
}
