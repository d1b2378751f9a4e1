//! What is written: many changes in one transaction, since a transaction costs the same with one change and with a
//! hundred.

use sqlx::{Error, MySqlConnection, PgConnection, SqliteConnection};

use super::{MessageRow, marks};
use crate::chat::{Message, Profile};
use crate::store::Pool;

const USERS_OF: &str = "select sender_id, receiver_id from messages where id = $1";

const BY_CLIENT_ID: &str = "select id, sender_id, receiver_id, content, is_read, created_at_ms, client_id \
     from messages where sender_id = $1 and client_id = $2";

const INSERT: &str = "insert into messages \
     (sender_id, receiver_id, content, client_id, created_at_ms, updated_at_ms, is_read) \
     values ($1, $2, $3, $4, $5, $6, false)";

const INSERT_RETURNING: &str = "insert into messages \
     (sender_id, receiver_id, content, client_id, created_at_ms, updated_at_ms, is_read) \
     values ($1, $2, $3, $4, $5, $6, false) returning id";

const MARK: &str = "update messages set is_read = true, updated_at_ms = $1 \
                    where id = $2 and receiver_id = $3 and is_read = false";

/// What a token does not say stays as an earlier one has said it.
const REMEMBER: &str = "insert into users (id, username, avatar, table_number, updated_at_ms) \
     values ($1, $2, $3, $4, $5) on conflict (id) do update set \
     username = coalesce(excluded.username, users.username), \
     avatar = coalesce(excluded.avatar, users.avatar), \
     table_number = coalesce(excluded.table_number, users.table_number), \
     updated_at_ms = excluded.updated_at_ms";

const REMEMBER_MYSQL: &str = "insert into users (id, username, avatar, table_number, updated_at_ms) \
     values (?, ?, ?, ?, ?) on duplicate key update \
     username = coalesce(values(username), username), \
     avatar = coalesce(values(avatar), avatar), \
     table_number = coalesce(values(table_number), table_number), \
     updated_at_ms = values(updated_at_ms)";

/// Those whose parameters become marks for MySQL.
#[cfg(test)]
pub(super) const TEXTS: [&str; 4] = [USERS_OF, BY_CLIENT_ID, INSERT, MARK];

/// One change of the tables.
#[derive(Clone, Debug)]
pub(in crate::chat) enum Change {
    /// A new message.
    Insert(New),
    /// A message is read.
    Mark { reader_id: i64, message_id: i64 },
    /// What a token says.
    Remember(Profile),
}

/// A message that is to be stored.
#[derive(Clone, Debug)]
pub(in crate::chat) struct New {
    pub(in crate::chat) sender: Profile,
    pub(in crate::chat) receiver_id: i64,
    pub(in crate::chat) content: String,
    pub(in crate::chat) client_id: Option<String>,
}

/// What became of a change.
#[derive(Clone, Debug)]
pub(in crate::chat) enum Done {
    /// A message that was not there before.
    Inserted(Message),
    /// The sender has sent it before.
    Existing(Message),
    /// It was not read before.
    Marked {
        author_id: i64,
    },
    /// It is read already.
    Unchanged,
    /// It is for somebody else.
    NotYours,
    NoSuchMessage,
    Remembered,
}

/// Makes all the changes in one transaction, in their order, or none of them. `now_ms`: milliseconds since 1970.
pub(in crate::chat) async fn change(
    pool: &Pool,
    changes: &[Change],
    now_ms: i64,
) -> Result<Vec<Done>, Error> {
    match pool {
        Pool::Sqlite(pool) => {
            // Its one lock for writing is taken at once: begun as a reader, it could be refused half-way.
            let mut transaction = pool.begin_with("begin immediate").await?;
            let done = sqlite::all(&mut transaction, changes, now_ms).await?;
            transaction.commit().await?;
            Ok(done)
        }
        Pool::Postgres(pool) => {
            let mut transaction = pool.begin().await?;
            let done = postgres::all(&mut transaction, changes, now_ms).await?;
            transaction.commit().await?;
            Ok(done)
        }
        Pool::MySql(pool) => {
            let mut transaction = pool.begin().await?;
            let done = mysql::all(&mut transaction, changes, now_ms).await?;
            transaction.commit().await?;
            Ok(done)
        }
    }
}

/// The statements of a transaction, over one kind of connection.
macro_rules! statements {
    ($kind:ident, $connection:ty, $sql:ident, $remember:ident, $insert:ident) => {
        mod $kind {
            use super::*;

            pub(super) async fn all(
                connection: &mut $connection,
                changes: &[Change],
                now_ms: i64,
            ) -> Result<Vec<Done>, Error> {
                let mut done = Vec::with_capacity(changes.len());
                for change in changes {
                    done.push(match change {
                        Change::Insert(new) => insert(connection, new, now_ms).await?,
                        Change::Mark {
                            reader_id,
                            message_id,
                        } => mark(connection, *reader_id, *message_id, now_ms).await?,
                        Change::Remember(profile) => remember(connection, profile, now_ms).await?,
                    });
                }
                Ok(done)
            }

            async fn insert(
                connection: &mut $connection,
                new: &New,
                now_ms: i64,
            ) -> Result<Done, Error> {
                if let Some(client_id) = &new.client_id {
                    let existing: Option<MessageRow> = sqlx::query_as($sql(BY_CLIENT_ID))
                        .bind(new.sender.user_id)
                        .bind(client_id)
                        .fetch_optional(&mut *connection)
                        .await?;
                    if let Some(row) = existing {
                        return Ok(Done::Existing(row.into()));
                    }
                }
                let id = $insert!(connection, new, now_ms);
                Ok(Done::Inserted(Message {
                    id,
                    sender_id: new.sender.user_id,
                    receiver_id: new.receiver_id,
                    content: new.content.clone(),
                    is_read: false,
                    created_at_ms: now_ms,
                    client_id: new.client_id.clone(),
                }))
            }

            async fn mark(
                connection: &mut $connection,
                reader_id: i64,
                message_id: i64,
                now_ms: i64,
            ) -> Result<Done, Error> {
                let marked = sqlx::query($sql(MARK))
                    .bind(now_ms)
                    .bind(message_id)
                    .bind(reader_id)
                    .execute(&mut *connection)
                    .await?
                    .rows_affected();
                let users: Option<(i64, i64)> = sqlx::query_as($sql(USERS_OF))
                    .bind(message_id)
                    .fetch_optional(&mut *connection)
                    .await?;
                Ok(match users {
                    None => Done::NoSuchMessage,
                    Some((_, receiver_id)) if receiver_id != reader_id => Done::NotYours,
                    Some((author_id, _)) if marked > 0 => Done::Marked { author_id },
                    Some(_) => Done::Unchanged,
                })
            }

            async fn remember(
                connection: &mut $connection,
                profile: &Profile,
                now_ms: i64,
            ) -> Result<Done, Error> {
                sqlx::query($remember)
                    .bind(profile.user_id)
                    .bind(&profile.name)
                    .bind(&profile.photo_url)
                    .bind(&profile.table_number)
                    .bind(now_ms)
                    .execute(&mut *connection)
                    .await?;
                Ok(Done::Remembered)
            }
        }
    };
}

/// Inserts a message and gives its id.
macro_rules! insert_returning {
    ($connection:expr, $new:expr, $now_ms:expr) => {
        sqlx::query_scalar::<_, i64>(INSERT_RETURNING)
            .bind($new.sender.user_id)
            .bind($new.receiver_id)
            .bind(&$new.content)
            .bind(&$new.client_id)
            .bind($now_ms)
            .bind($now_ms)
            .fetch_one(&mut *$connection)
            .await?
    };
}

/// The same for MySQL, which does not know `returning`.
macro_rules! insert_and_ask {
    ($connection:expr, $new:expr, $now_ms:expr) => {
        sqlx::query(marks(INSERT))
            .bind($new.sender.user_id)
            .bind($new.receiver_id)
            .bind(&$new.content)
            .bind(&$new.client_id)
            .bind($now_ms)
            .bind($now_ms)
            .execute(&mut *$connection)
            .await?
            .last_insert_id() as i64
    };
}

statements!(
    sqlite,
    SqliteConnection,
    as_it_is,
    REMEMBER,
    insert_returning
);
statements!(postgres, PgConnection, as_it_is, REMEMBER, insert_returning);
statements!(
    mysql,
    MySqlConnection,
    marks,
    REMEMBER_MYSQL,
    insert_and_ask
);

fn as_it_is(text: &'static str) -> &'static str {
    text
}
