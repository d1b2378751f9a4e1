//! A turn with the table `broadcasts`: one transaction of one node, in the SQL of each database.
//!
//! Whoever has the turn holds a lock until the transaction ends, or the connection: of a node that dies at once, of one
//! that hangs after [`HANGING`]. The rows themselves are read without locks, so back ends are not held up; on SQLite,
//! which has one writer, they wait for the turn's end.

use std::time::Duration;

use sqlx::{AssertSqlSafe, MySql, Postgres, Sqlite, Transaction};

use crate::store::Pool;

/// How long a turn may stand still before the database ends it, and another node is next.
const HANGING: Duration = Duration::from_secs(10);

/// Rows that wait, as the index knows them. MariaDB and MySQL have no partial indexes.
const WAITING: &str = "error is null";
const WAITING_MYSQL: &str = "set_aside = 0";

/// One event that a back end has inserted.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) app: Option<String>,
    pub(crate) channel: String,
    pub(crate) event: String,
    /// Cut off one character behind the limit.
    pub(crate) data: String,
    pub(crate) socket_id: Option<String>,
}

type Columns = (i64, Option<String>, String, String, String, Option<String>);

/// The transaction; dropped without [`Turn::finish`] it leaves everything as it was.
pub(super) enum Turn {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
    MySql(Transaction<'static, MySql>),
}

/// When the row that is next was made, in unix milliseconds; `None` when none waits.
pub(super) async fn oldest(pool: &Pool) -> Result<Option<i64>, sqlx::Error> {
    let sql = |waiting| {
        AssertSqlSafe(format!(
            "select created_at from broadcasts where {waiting} order by id limit 1"
        ))
    };
    match pool {
        Pool::Sqlite(pool) => sqlx::query_scalar(sql(WAITING)).fetch_optional(pool).await,
        Pool::Postgres(pool) => sqlx::query_scalar(sql(WAITING)).fetch_optional(pool).await,
        Pool::MySql(pool) => {
            let sql = sql(WAITING_MYSQL);
            sqlx::query_scalar(sql).fetch_optional(pool).await
        }
    }
}

/// Does the same with whichever transaction it is.
macro_rules! within {
    ($turn:expr, $transaction:ident => $do:expr) => {
        match $turn {
            Turn::Sqlite($transaction) => $do,
            Turn::Postgres($transaction) => $do,
            Turn::MySql($transaction) => $do,
        }
    };
}

impl Turn {
    /// Takes the turn; `None` when another node has it.
    pub(super) async fn take(pool: &Pool) -> Result<Option<Turn>, sqlx::Error> {
        const HOLD: &str = "select id from broadcasts_turn where id = 1 for update skip locked";
        Ok(match pool {
            Pool::Sqlite(pool) => Some(Turn::Sqlite(pool.begin_with("begin immediate").await?)),
            Pool::Postgres(pool) => {
                let mut turn = pool.begin().await?;
                let ms = HANGING.as_millis();
                let sql = format!("set local idle_in_transaction_session_timeout = {ms}");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut *turn).await?;
                let held: Option<i32> = sqlx::query_scalar(HOLD).fetch_optional(&mut *turn).await?;
                held.map(|_| Turn::Postgres(turn))
            }
            Pool::MySql(pool) => {
                let mut turn = pool.begin().await?;
                let held: Option<i32> = sqlx::query_scalar(HOLD).fetch_optional(&mut *turn).await?;
                if held.is_none() {
                    return Ok(None);
                }
                let sql = format!("set session wait_timeout = {}", HANGING.as_secs());
                sqlx::query(AssertSqlSafe(sql)).execute(&mut *turn).await?;
                Some(Turn::MySql(turn))
            }
        })
    }

    /// The next rows in the order of their ids, `most` of them. Of their data so much is read that what is over
    /// `data_bytes` shows.
    pub(super) async fn rows(
        &mut self,
        most: u32,
        data_bytes: usize,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let (waiting, shown) = (self.waiting(), data_bytes.saturating_add(1));
        let sql = AssertSqlSafe(format!(
            "select id, app, channel, event, substr(data, 1, {shown}), socket_id from broadcasts \
             where {waiting} order by id limit {most}"
        ));
        let rows: Vec<Columns> =
            within!(self, turn => sqlx::query_as(sql).fetch_all(&mut **turn).await)?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|(id, app, channel, event, data, socket_id)| Row {
                id,
                app,
                channel,
                event,
                data,
                socket_id,
            })
            .collect())
    }

    /// Leaves a row in the table, to be looked at by people.
    pub(super) async fn set_aside(&mut self, id: i64, why: &str) -> Result<(), sqlx::Error> {
        let why: String = why.chars().take(1000).collect();
        match self {
            Turn::MySql(turn) => {
                let query = sqlx::query("update broadcasts set error = ? where id = ?");
                query.bind(why).bind(id).execute(&mut **turn).await?;
            }
            Turn::Sqlite(turn) => {
                let query = sqlx::query("update broadcasts set error = $1 where id = $2");
                query.bind(why).bind(id).execute(&mut **turn).await?;
            }
            Turn::Postgres(turn) => {
                let query = sqlx::query("update broadcasts set error = $1 where id = $2");
                query.bind(why).bind(id).execute(&mut **turn).await?;
            }
        }
        Ok(())
    }

    /// Deletes what has been published, and ends the turn.
    pub(super) async fn finish(mut self, published: &[i64]) -> Result<(), sqlx::Error> {
        if !published.is_empty() {
            let ids: Vec<String> = published.iter().map(i64::to_string).collect();
            let sql = format!("delete from broadcasts where id in ({})", ids.join(", "));
            let sql = AssertSqlSafe(sql);
            within!(&mut self, turn => sqlx::raw_sql(sql).execute(&mut **turn).await.map(drop))?;
        }
        if let Turn::MySql(turn) = &mut self {
            let sql = "set session wait_timeout = default";
            sqlx::query(sql).execute(&mut **turn).await?;
        }
        within!(self, turn => turn.commit().await)
    }

    fn waiting(&self) -> &'static str {
        match self {
            Turn::MySql(_) => WAITING_MYSQL,
            Turn::Sqlite(_) | Turn::Postgres(_) => WAITING,
        }
    }
}
