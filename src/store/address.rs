//! Where the database is: `database.url`, read into what its driver connects with. It shows no password.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

/// How long a writer of a SQLite file waits for another: far longer than any transaction here takes.
const BUSY: Duration = Duration::from_secs(5);

/// A database, of one of three kinds.
#[derive(Clone)]
pub enum Address {
    /// `sqlite://file.db`, made when it is not there, or `sqlite::memory:`.
    Sqlite(SqliteConnectOptions),
    /// `postgres://user:password@host:port/database`
    Postgres(Box<PgConnectOptions>),
    /// `mysql://` or `mariadb://`, as above.
    MySql(Box<MySqlConnectOptions>),
}

/// Why a URL is none of a database. The fault is the config's; the URL is not repeated, it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// None of the three kinds.
    #[error("it must begin with sqlite:, postgres:// or mysql://")]
    Kind,
    /// The driver cannot read it.
    #[error("{0}")]
    Form(String),
}

impl Address {
    /// Reads a URL as the drivers know them, with their parameters (`?sslmode=`, `?mode=`).
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(url: &str) -> Result<Address, AddressError> {
        let url = url.trim();
        let (scheme, _) = url.split_once(':').ok_or(AddressError::Kind)?;
        match scheme {
            // Readers and the one writer of a file do not wait for each other with a write-ahead log.
            "sqlite" => Ok(Address::Sqlite(
                read::<SqliteConnectOptions>(url)?
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .busy_timeout(BUSY)
                    .disable_statement_logging(),
            )),
            "postgres" | "postgresql" => Ok(Address::Postgres(Box::new(
                read::<PgConnectOptions>(url)?.disable_statement_logging(),
            ))),
            "mysql" | "mariadb" => Ok(Address::MySql(Box::new(
                read::<MySqlConnectOptions>(url)?.disable_statement_logging(),
            ))),
            _ => Err(AddressError::Kind),
        }
    }

    /// A SQLite database in memory, empty.
    pub fn memory() -> Address {
        Address::Sqlite(SqliteConnectOptions::new().disable_statement_logging())
    }

    /// Whether it is a SQLite database in memory, which belongs to one connection and ends with it.
    pub fn is_memory(&self) -> bool {
        match self {
            Address::Sqlite(options) => {
                let file = options.get_filename().to_string_lossy();
                file == ":memory:" || file.starts_with("file:sqlx-in-memory-")
            }
            _ => false,
        }
    }
}

fn read<O: FromStr<Err = sqlx::Error>>(url: &str) -> Result<O, AddressError> {
    url.parse().map_err(|error: sqlx::Error| match error {
        sqlx::Error::Configuration(reason) => AddressError::Form(reason.to_string()),
        error => AddressError::Form(error.to_string()),
    })
}

/// Where it is, without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Sqlite(options) => write!(f, "sqlite:{}", options.get_filename().display()),
            Address::Postgres(options) => write!(
                f,
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
            Address::MySql(options) => write!(
                f,
                "mysql://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

/// As it displays.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_are_known_by_their_scheme_and_show_no_password() {
        let shown = |url: &str| Address::parse(url).unwrap().to_string();
        assert_eq!(shown("sqlite://gema.db"), "sqlite:gema.db");
        let postgres = "postgres://localhost:5432/app";
        assert_eq!(shown("postgres://u:hush@localhost/app"), postgres);
        assert_eq!(shown("postgresql://u:hush@localhost:5432/app"), postgres);
        let mysql = "mysql://db:3307/app";
        assert_eq!(shown("mysql://u:hush@db:3307/app"), mysql);
        assert_eq!(shown("mariadb://u:hush@db:3307/app"), mysql);
        for wrong in ["", "gema.db", "oracle://x"] {
            assert_eq!(Address::parse(wrong).err(), Some(AddressError::Kind));
        }
    }

    #[test]
    fn memory_is_told_from_a_file() {
        assert!(Address::parse("sqlite::memory:").unwrap().is_memory());
        assert!(!Address::parse("sqlite://gema.db").unwrap().is_memory());
        assert!(
            !Address::parse("postgres://localhost/memory")
                .unwrap()
                .is_memory()
        );
    }
}
