//! The tables `users` and `messages`, in the SQL of each kind of database. One text serves all three where it can.
//!
//! # Layout
//!
//! * [`changes`]: what is written, many changes in one transaction. Here: what is read.

mod changes;

use sqlx::{AssertSqlSafe, Error};

pub(super) use self::changes::{Change, Done, New, change};

use super::{Message, Page, Profile, Recent};
use crate::store::Pool;

const PROFILE: &str = "select id, username, avatar, table_number from users where id = $1";

/// Each direction by its index, so that a page costs the same however long the two have been writing. `union` and not
/// `union all`: with oneself both directions are one.
const HISTORY: &str = "select id, sender_id, receiver_id, content, is_read, created_at_ms, client_id from ( \
       select * from (select id, sender_id, receiver_id, content, is_read, created_at_ms, client_id \
         from messages where sender_id = $1 and receiver_id = $2 and id < $3 \
         order by id desc limit $4) as mine \
       union \
       select * from (select id, sender_id, receiver_id, content, is_read, created_at_ms, client_id \
         from messages where sender_id = $5 and receiver_id = $6 and id < $7 \
         order by id desc limit $8) as theirs \
     ) as both_ways order by id desc limit $9";

const UNREAD: &str = "select id, sender_id, receiver_id, content, is_read, created_at_ms, client_id from messages \
     where receiver_id = $1 and is_read = false and id < $2 order by id desc limit $3";

const RECENT: &str = "select other.other_id, other.last_id, last.content, last.created_at_ms, \
       users.username, users.avatar, coalesce(unread.number, 0) as unread_count \
     from ( \
       select other_id, max(last_id) as last_id from ( \
         select receiver_id as other_id, max(id) as last_id from messages where sender_id = $1 group by receiver_id \
         union all \
         select sender_id as other_id, max(id) as last_id from messages where receiver_id = $2 group by sender_id \
       ) as both_ways group by other_id \
     ) as other \
     join messages as last on last.id = other.last_id \
     left join users on users.id = other.other_id \
     left join ( \
       select sender_id, count(*) as number from messages where receiver_id = $3 and is_read = false group by sender_id \
     ) as unread on unread.sender_id = other.other_id \
     where other.last_id < $4 order by other.last_id desc limit $5";

/// `id, sender_id, receiver_id, content, is_read, created_at_ms, client_id`
type MessageRow = (i64, i64, i64, String, bool, i64, Option<String>);

/// `other_id, last_id, content, created_at_ms, username, avatar, unread_count`
type RecentRow = (i64, i64, String, i64, Option<String>, Option<String>, i64);

/// `id, username, avatar, table_number`
type UserRow = (i64, Option<String>, Option<String>, Option<String>);

/// Runs a body for whichever database it is, with the text in its manner of writing parameters.
macro_rules! each {
    ($pool:expr, $text:ident => $sql:ident, $with:ident => $body:expr) => {
        match $pool {
            Pool::Sqlite($with) => {
                let $sql = $text;
                $body
            }
            Pool::Postgres($with) => {
                let $sql = $text;
                $body
            }
            Pool::MySql($with) => {
                let $sql = marks($text);
                $body
            }
        }
    };
}

pub(super) async fn profile(pool: &Pool, user_id: i64) -> Result<Option<Profile>, Error> {
    let row: Option<UserRow> = each!(pool, PROFILE => sql, pool => {
        sqlx::query_as(sql).bind(user_id).fetch_optional(pool).await?
    });
    Ok(row.map(|(user_id, name, photo_url, table_number)| Profile {
        user_id,
        name,
        photo_url,
        table_number,
    }))
}

pub(super) async fn history(
    pool: &Pool,
    me: i64,
    other: i64,
    page: Page,
) -> Result<Vec<Message>, Error> {
    let (before, limit) = (page.before, i64::from(page.limit));
    let rows: Vec<MessageRow> = each!(pool, HISTORY => sql, pool => {
        sqlx::query_as(sql)
            .bind(me).bind(other).bind(before).bind(limit)
            .bind(other).bind(me).bind(before).bind(limit)
            .bind(limit)
            .fetch_all(pool)
            .await?
    });
    Ok(rows.into_iter().map(Message::from).collect())
}

pub(super) async fn unread(pool: &Pool, me: i64, page: Page) -> Result<Vec<Message>, Error> {
    let (before, limit) = (page.before, i64::from(page.limit));
    let rows: Vec<MessageRow> = each!(pool, UNREAD => sql, pool => {
        sqlx::query_as(sql).bind(me).bind(before).bind(limit).fetch_all(pool).await?
    });
    Ok(rows.into_iter().map(Message::from).collect())
}

pub(super) async fn recent(pool: &Pool, me: i64, page: Page) -> Result<Vec<Recent>, Error> {
    let (before, limit) = (page.before, i64::from(page.limit));
    let rows: Vec<RecentRow> = each!(pool, RECENT => sql, pool => {
        sqlx::query_as(sql)
            .bind(me).bind(me).bind(me).bind(before).bind(limit)
            .fetch_all(pool)
            .await?
    });
    let recent = rows.into_iter().map(
        |(user_id, last_message_id, last_message, at_ms, username, avatar, unread_count)| Recent {
            user_id,
            username,
            avatar,
            last_message,
            last_message_time: at_ms,
            last_message_id,
            unread_count,
        },
    );
    Ok(recent.collect())
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Message {
        let (id, sender_id, receiver_id, content, is_read, created_at_ms, client_id) = row;
        Message {
            id,
            sender_id,
            receiver_id,
            content,
            is_read,
            created_at_ms,
            client_id,
        }
    }
}

/// The text with the parameters of MySQL: `?` for `$1`, `$2`, ..., which must stand in their order.
fn marks(text: &'static str) -> AssertSqlSafe<String> {
    let mut pieces = text.split('$');
    let mut marked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        marked.push('?');
        marked.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    AssertSqlSafe(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_becomes_a_mark_and_stands_in_its_place() {
        assert_eq!(marks("a = $1 and b = $2)").0, "a = ? and b = ?)");
        for text in [PROFILE, HISTORY, UNREAD, RECENT]
            .into_iter()
            .chain(changes::TEXTS)
        {
            let numbers = text.split('$').skip(1).map(|piece| {
                let end = piece.find(|c: char| !c.is_ascii_digit());
                piece[..end.unwrap_or(piece.len())]
                    .parse::<usize>()
                    .unwrap()
            });
            assert!(numbers.eq(1..=text.matches('$').count()), "{text}");
        }
    }
}
