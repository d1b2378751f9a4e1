//! The rows of the table, all of them in one question. Every value comes as a text, whatever its column's type: what they
//! mean is told by their columns, and types differ between the databases and those who made the table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Column, ColumnIndex, Database, Decode};
use tokio::time::timeout;

use super::layout::Row;
use crate::store::{Pool, StoreError};

/// The most apps that come from a table: some 50 MB, and half a second to judge them all.
pub(super) const MOST_ROWS: usize = 10_000;

/// How long the database may take. A healthy one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a look at the table finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// Empty where there is no row to have any.
    pub(super) columns: BTreeSet<String>,
    /// In the order of their ids, [`MOST_ROWS`] at most.
    pub(super) rows: Vec<Arc<Row>>,
    /// There are more.
    pub(super) is_cut: bool,
}

/// Reads the table with this name, or this schema and name.
///
/// # Errors
/// The database's, or it took too long.
pub(super) async fn read(pool: &Pool, name: &[String]) -> Result<Rows, StoreError> {
    let answer = timeout(PATIENCE, ask(pool, name)).await;
    let late = || StoreError::Away(format!("no answer within {} s", PATIENCE.as_secs()));
    let mut rows = answer.map_err(|_| late())??;
    rows.is_cut = rows.rows.len() > MOST_ROWS;
    rows.rows.truncate(MOST_ROWS);
    Ok(rows)
}

async fn ask(pool: &Pool, name: &[String]) -> Result<Rows, sqlx::Error> {
    let quote = match pool {
        Pool::MySql(_) => '`',
        Pool::Sqlite(_) | Pool::Postgres(_) => '"',
    };
    // Letters, digits and underscores: the configuration has seen to that.
    let parts = name.iter().map(|part| format!("{quote}{part}{quote}"));
    let table = parts.collect::<Vec<_>>().join(".");
    let most = MOST_ROWS + 1;
    let sql = AssertSqlSafe(format!("select * from {table} order by id limit {most}"));
    // Not prepared: then all three databases send values as texts, of any type.
    let sql = sqlx::raw_sql(sql);
    Ok(match pool {
        Pool::Sqlite(pool) => {
            // Whoever has just given the table another column has changed what `*` means behind the back of this connection,
            // and sqlx counts on that not to happen. The first question has SQLite see it; the transaction keeps it.
            let mut still = pool.begin().await?;
            let glance = AssertSqlSafe(format!("select 1 from {table} limit 1"));
            sqlx::raw_sql(glance).fetch_optional(&mut *still).await?;
            texts(&sql.fetch_all(&mut *still).await?)
        }
        Pool::Postgres(pool) => texts(&sql.fetch_all(pool).await?),
        Pool::MySql(pool) => texts(&sql.fetch_all(pool).await?),
    })
}

fn texts<R>(rows: &[R]) -> Rows
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database>,
    R::Database: Database,
{
    let name = |column: &<R::Database as Database>::Column| column.name().to_ascii_lowercase();
    let columns = rows.first().map(|row| row.columns().iter().map(name));
    let read = |row: &R| {
        let columns = row.columns().iter().enumerate();
        let there = columns.filter_map(|(place, column)| {
            // What is no text at all (a BLOB) is as good as not there.
            let value: Option<String> = row.try_get_unchecked(place).ok()?;
            Some((name(column), value?))
        });
        Arc::new(there.collect::<Row>())
    };
    Rows {
        columns: columns.map(Iterator::collect).unwrap_or_default(),
        rows: rows.iter().map(read).collect(),
        is_cut: false,
    }
}
