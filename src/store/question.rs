//! A question in SQL that is answered by a row or by none: may this user have that channel?
//!
//! Its parameters come as text, and each database compares them in its own way:
//!
//! * PostgreSQL says what it takes each for, and they are sent as that. A text that is none, such as `abc` for a number,
//!   fits no row, so the answer is no.
//! * SQLite and MariaDB take text for what the column is. MariaDB and MySQL are generous there: `'7abc' = 7`.

use std::time::Duration;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgConnection, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Either, Encode, Executor, PgPool, Postgres, SqlSafeStr, Statement, Type,
    TypeInfo,
};
use tokio::time::timeout;

use super::{Pool, Store, StoreError};

/// How long an answer may take, waiting for a connection included: who asks is a client that waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// A question, ready to be asked of each kind of database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// With `$1`, as PostgreSQL and SQLite take it.
    numbered: String,
    /// With `?`, as MariaDB and MySQL take it.
    marked: String,
    /// Which parameter each `?` is, from 0.
    marks: Vec<usize>,
    /// The highest `$n`.
    parameters: usize,
}

/// Why a text cannot be asked. The fault is the config's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Nothing in it.
    #[error("sql is empty")]
    Empty,
    /// A parameter without a value.
    #[error(
        "sql uses ${found}, and there are {most} parameters: the captures in order, and the user's id"
    )]
    Parameter {
        /// The number.
        found: usize,
        /// How many there are.
        most: usize,
    },
    /// `$0`, or a number of many digits.
    #[error("sql uses ${found}; parameters are numbered from $1")]
    Number {
        /// What follows the `$`.
        found: String,
    },
}

/// Why there is no answer. Whoever asked is to be refused.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not in time.
    #[error("the database has not answered within {} s", PATIENCE.as_secs())]
    Slow,
    /// PostgreSQL wants a type that text is not turned into here.
    #[error("${parameter} is of type {kind}; write ${parameter}::text and compare that")]
    Type {
        /// Its number.
        parameter: usize,
        /// What PostgreSQL calls it.
        kind: String,
    },
}

impl Question {
    /// Reads a statement that may use `$1` up to `$most`. What stands in quotes and comments is left alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(sql: &str, most: usize) -> Result<Question, QuestionError> {
        let sql = sql.trim().trim_end_matches(';');
        if sql.is_empty() {
            return Err(QuestionError::Empty);
        }
        let mut question = Question {
            numbered: sql.to_owned(),
            marked: String::with_capacity(sql.len()),
            marks: Vec::new(),
            parameters: 0,
        };
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let length = quoted(rest).unwrap_or(first.len_utf8());
            let digits: &str = match first {
                '$' => {
                    let end = rest[1..].find(|c: char| !c.is_ascii_digit());
                    &rest[1..end.map_or(rest.len(), |end| end + 1)]
                }
                _ => "",
            };
            if digits.is_empty() {
                question.marked.push_str(&rest[..length]);
                rest = &rest[length..];
                continue;
            }
            let number: usize = digits.parse().unwrap_or(0);
            if number == 0 {
                let found = digits.to_owned();
                return Err(QuestionError::Number { found });
            }
            if number > most {
                let found = number;
                return Err(QuestionError::Parameter { found, most });
            }
            question.marked.push('?');
            question.marks.push(number - 1);
            question.parameters = question.parameters.max(number);
            rest = &rest[1 + digits.len()..];
        }
        Ok(question)
    }

    /// Whether the answer is a row. `values`: what `$1` and so on stand for, as many as were promised.
    ///
    /// # Errors
    /// Why that is not known, within two seconds.
    pub async fn ask(&self, store: &Store, values: &[&str]) -> Result<bool, AskError> {
        let pool = store.pool();
        let pool = timeout(PATIENCE, pool)
            .await
            .map_err(|_| AskError::Slow)??;
        match pool {
            Pool::Postgres(pool) => self.ask_postgres(pool, values).await,
            Pool::Sqlite(pool) => {
                let mut query = sqlx::query(AssertSqlSafe(self.numbered.clone()));
                for value in values.iter().take(self.parameters) {
                    query = query.bind((*value).to_owned());
                }
                Ok(in_time(pool.fetch_optional(query)).await?.is_some())
            }
            Pool::MySql(pool) => {
                let mut query = sqlx::query(AssertSqlSafe(self.marked.clone()));
                for mark in &self.marks {
                    query = query.bind(values.get(*mark).copied().unwrap_or_default().to_owned());
                }
                Ok(in_time(pool.fetch_optional(query)).await?.is_some())
            }
        }
    }

    async fn ask_postgres(&self, pool: &PgPool, values: &[&str]) -> Result<bool, AskError> {
        let mut connection = in_time(pool.acquire()).await?;
        let asked = timeout(PATIENCE, self.ask_connection(&mut connection, values)).await;
        if asked.is_err() {
            // It would go back with the question still under way.
            connection.close_on_drop();
        }
        asked.map_err(|_| AskError::Slow)?
    }

    async fn ask_connection(
        &self,
        connection: &mut PgConnection,
        values: &[&str],
    ) -> Result<bool, AskError> {
        let sql = AssertSqlSafe(self.numbered.clone()).into_sql_str();
        let statement = connection.prepare(sql).await.map_err(StoreError::Query)?;
        let mut query = statement.query();
        let kinds = match statement.parameters() {
            Some(Either::Left(kinds)) => kinds,
            _ => &[],
        };
        for (index, (kind, value)) in kinds.iter().zip(values).enumerate() {
            let Some(value) = Typed::read(kind, value).ok_or_else(|| AskError::Type {
                parameter: index + 1,
                kind: kind.name().to_owned(),
            })?
            else {
                return Ok(false);
            };
            query = query.bind(value);
        }
        let row = query.fetch_optional(connection).await;
        Ok(row.map_err(StoreError::Query)?.is_some())
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, AskError> {
    let answer = timeout(PATIENCE, asked).await.map_err(|_| AskError::Slow)?;
    Ok(answer.map_err(StoreError::Query)?)
}

/// How long the quoted text or comment is that `sql` begins with.
fn quoted(sql: &str) -> Option<usize> {
    let (skip, end) = match sql.as_bytes() {
        [b'\'', ..] => (1, "'"),
        [b'"', ..] => (1, "\""),
        [b'`', ..] => (1, "`"),
        [b'-', b'-', ..] => (2, "\n"),
        [b'/', b'*', ..] => (2, "*/"),
        _ => return None,
    };
    // A doubled quote ends one text and begins the next.
    let length = sql[skip..].find(end).map(|at| skip + at + end.len());
    Some(length.unwrap_or(sql.len()))
}

/// A text as what PostgreSQL takes the parameter for.
#[derive(Debug, PartialEq)]
enum Typed {
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Uuid([u8; 16]),
    Text(String),
}

impl Typed {
    /// `None` where the type is none of these; inside, `None` for a text that no value of the type is written as.
    fn read(kind: &PgTypeInfo, text: &str) -> Option<Option<Typed>> {
        Some(match kind.name() {
            "INT2" => whole(text).map(Typed::Int2),
            "INT4" => whole(text).map(Typed::Int4),
            "INT8" => whole(text).map(Typed::Int8),
            "UUID" => uuid(text).map(Typed::Uuid),
            "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => Some(Typed::Text(text.to_owned())),
            _ => return None,
        })
    }
}

/// A whole number in its one way of writing: a channel has one name.
fn whole<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    let number: N = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Thirty-two hexadecimal digits in groups.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let groups = text.split('-').map(str::len);
    if !groups.eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = text.replace('-', "");
    // `from_str_radix` would take a sign as well.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u128::from_str_radix(&digits, 16).ok();
    number.filter(|_| is_hex).map(u128::to_be_bytes)
}

impl Type<Postgres> for Typed {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Typed {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Typed::Int2(number) => Encode::<Postgres>::encode_by_ref(number, buffer),
            Typed::Int4(number) => Encode::<Postgres>::encode_by_ref(number, buffer),
            Typed::Int8(number) => Encode::<Postgres>::encode_by_ref(number, buffer),
            Typed::Uuid(bytes) => {
                buffer.extend(bytes);
                Ok(IsNull::No)
            }
            Typed::Text(text) => Encode::<Postgres>::encode_by_ref(text, buffer),
        }
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(match self {
            Typed::Int2(_) => <i16 as Type<Postgres>>::type_info(),
            Typed::Int4(_) => <i32 as Type<Postgres>>::type_info(),
            Typed::Int8(_) => <i64 as Type<Postgres>>::type_info(),
            Typed::Uuid(_) => PgTypeInfo::with_name("uuid"),
            Typed::Text(_) => <String as Type<Postgres>>::type_info(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_and_marked_outside_of_quotes_and_comments() {
        let sql =
            "select 1 from o where b = $2 and a = $1 and c = '$9' and \"$8\" = `$7` /* $6 */ -- $5";
        let question = Question::parse(sql, 2).unwrap();
        assert_eq!(question.numbered, sql);
        assert_eq!(
            question.marked,
            "select 1 from o where b = ? and a = ? and c = '$9' and \"$8\" = `$7` /* $6 */ -- $5"
        );
        assert_eq!((&question.marks[..], question.parameters), (&[1, 0][..], 2));
    }

    #[test]
    fn a_parameter_without_a_value_is_refused() {
        let wrong = |sql: &str| Question::parse(sql, 2).unwrap_err().to_string();
        assert_eq!(
            wrong("select $3"),
            "sql uses $3, and there are 2 parameters: the captures in order, and the user's id"
        );
        assert_eq!(
            wrong("select $0"),
            "sql uses $0; parameters are numbered from $1"
        );
        assert_eq!(wrong(" ; "), "sql is empty");
    }

    #[test]
    fn a_number_is_written_in_one_way_and_a_uuid_with_its_dashes() {
        assert_eq!(whole::<i64>("7"), Some(7));
        assert_eq!(whole::<i64>("-7"), Some(-7));
        for other in ["07", "+7", " 7", "7.0", "7abc", "", "9223372036854775808"] {
            assert_eq!(whole::<i64>(other), None, "{other}");
        }
        assert!(uuid("0188e3ce-6a1d-7b1c-8f0e-aabbccddeeff").is_some());
        assert!(uuid("0188e3ce6a1d7b1c8f0eaabbccddeeff").is_none());
    }
}
