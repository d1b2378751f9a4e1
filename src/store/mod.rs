//! The database: one pool for all that needs it, with its tables brought up to date.
//!
//! # Layout
//!
//! * [`Store`]: the pool, once it is there. Broadcasting does not wait for it and does not stop without it.
//! * [`Address`]: which database, of which kind.
//! * [`Question`]: SQL of a channel rule, answered by a row or by none.
//! * [`Notices`]: PostgreSQL tells when a table has changed.
//! * [`Tables`] and `migrations`: the tables that gema makes, for the parts that are in use.

mod address;
mod migrations;
mod notices;
mod question;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Database, MySqlPool, PgPool, SqlitePool};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

pub use self::address::{Address, AddressError};
pub use self::migrations::Tables;
pub use self::notices::Notices;
pub use self::question::{AskError, Question, QuestionError};

use crate::config;

/// How long a caller waits for the first answer of a database that has just been asked: longer than a healthy one takes.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// How long connecting and migrating may take at a time, another node's migration that is waited for included.
const OPENING: Duration = Duration::from_secs(60);

/// The pauses between attempts: the first, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The pool of the configured database. What is not alike among the three is written three times, in their own SQL.
#[derive(Clone, Debug)]
pub enum Pool {
    /// A file, or memory.
    Sqlite(SqlitePool),
    /// PostgreSQL.
    Postgres(PgPool),
    /// MariaDB or MySQL.
    MySql(MySqlPool),
}

/// The database of a server: away, or a pool. Opening it goes on in the background until the store is dropped.
pub struct Store {
    state: Arc<State>,
    first: watch::Receiver<bool>,
    opening: AbortHandle,
}

struct State {
    pool: OnceLock<Pool>,
    /// Why the chat cannot use it, if it cannot.
    no_chat: OnceLock<String>,
    /// Why there is none yet.
    away: RwLock<String>,
}

/// Why the database did not answer. The fault is the database's or the way's to it, never a client's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It has not been reached since the start.
    #[error("the database is away: {0}")]
    Away(String),
    /// It refused, or was lost on the way.
    #[error("the database failed: {0}")]
    Query(#[from] sqlx::Error),
}

impl Store {
    /// Begins to open the database and returns at once. It is connected to and its tables are brought up to date under a
    /// lock; what fails is tried again for ever, with growing pauses.
    pub fn start(settings: &config::Database) -> Arc<Store> {
        let state = Arc::new(State {
            pool: OnceLock::new(),
            no_chat: OnceLock::new(),
            away: RwLock::new("it has not answered yet".to_owned()),
        });
        let (answered, first) = watch::channel(false);
        let opening = tokio::spawn(open(settings.clone(), state.clone(), answered));
        Arc::new(Store {
            state,
            first,
            opening: opening.abort_handle(),
        })
    }

    /// The pool. Right after the start this waits up to a second for the first answer, later it does not wait at all.
    ///
    /// # Errors
    /// [`StoreError::Away`] with the reason, until the database has been opened once. From then on a database that is
    /// lost shows in the queries: each fails after `database.acquire_timeout_ms` at most.
    pub async fn pool(&self) -> Result<&Pool, StoreError> {
        if let Some(pool) = self.state.pool.get() {
            return Ok(pool);
        }
        let mut first = self.first.clone();
        drop(timeout(FIRST_ANSWER, first.wait_for(|answered| *answered)).await);
        self.state.pool.get().ok_or_else(|| {
            let away = self.state.away.read();
            StoreError::Away(away.unwrap_or_else(PoisonError::into_inner).clone())
        })
    }

    /// Whether the database answers now, asked with a limit of a second.
    ///
    /// # Errors
    /// Why it does not, in words for an operator.
    pub async fn health(&self) -> Result<(), String> {
        let asked = async {
            let pool = self.pool().await?;
            let asked = match pool {
                Pool::Sqlite(pool) => sqlx::query("select 1").execute(pool).await.map(|_| ()),
                Pool::Postgres(pool) => sqlx::query("select 1").execute(pool).await.map(|_| ()),
                Pool::MySql(pool) => sqlx::query("select 1").execute(pool).await.map(|_| ()),
            };
            asked.map_err(StoreError::from)
        };
        match timeout(FIRST_ANSWER, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the database has not answered within a second".to_owned()),
        }
    }

    /// The pool for the chat, whose tables may not be there: the database may be a back end's, with a table `users` of its
    /// own.
    ///
    /// # Errors
    /// As [`Store::pool`].
    pub async fn chat_pool(&self) -> Result<&Pool, StoreError> {
        let pool = self.pool().await?;
        match self.state.no_chat.get() {
            Some(why) => Err(StoreError::Away(why.clone())),
            None => Ok(pool),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.opening.abort();
    }
}

async fn open(settings: config::Database, state: Arc<State>, answered: watch::Sender<bool>) {
    let address = &settings.address;
    let mut pause = PAUSES.0;
    let mut said = String::new();
    loop {
        let attempt = timeout(OPENING, attempt(&settings)).await;
        let why = match attempt {
            Ok(Ok((pool, no_chat))) => {
                info!(%address, "the database is open");
                if let Some(why) = no_chat {
                    warn!(%address, %why, "the chat is off: it needs a database of its own, or chat.enabled = false");
                    drop(state.no_chat.set(why));
                }
                // Nobody else sets it.
                drop(state.pool.set(pool));
                answered.send_replace(true);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not open after {} s", OPENING.as_secs()),
        };
        // One line a reason, not one an attempt.
        if why == said {
            debug!(%address, %why, "the database is still away");
        } else {
            warn!(%address, %why, "the database is away; broadcasting goes on, and it is tried again");
            said.clone_from(&why);
        }
        *state.away.write().unwrap_or_else(PoisonError::into_inner) = why;
        answered.send_replace(true);
        sleep(pause + jitter(pause)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Up to half of the pause, so that nodes do not come back in step.
fn jitter(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    pause.mul_f64(share / 2.0)
}

/// Gives the pool, and why the chat cannot use it.
async fn attempt(settings: &config::Database) -> Result<(Pool, Option<String>), sqlx::Error> {
    let [others, chat, apps] = settings.tables.apart();
    match &settings.address {
        Address::Sqlite(options) => {
            let options = (**options).clone();
            let pool: SqlitePoolOptions = bounded(settings);
            // Each connection to memory is a database of its own, which ends with it.
            let pool = if settings.address.is_memory() {
                pool.max_connections(1)
                    .idle_timeout(None)
                    .max_lifetime(None)
            } else {
                pool
            };
            let pool = pool.connect_with(options).await?;
            if let Some(migrations) = migrations::sqlite(others) {
                migrations.run(&pool).await?;
            }
            let found = sqlx::query(migrations::SQLITE_HAS_APPS).fetch_optional(&pool);
            if let (true, None) = (apps.any(), found.await?)
                && let Some(migrations) = migrations::sqlite(apps)
            {
                without_apps(clash(migrations.run(&pool).await)?);
            }
            let Some(migrations) = migrations::sqlite(chat) else {
                return Ok((Pool::Sqlite(pool), None));
            };
            let mut no_chat = clash(migrations.run(&pool).await)?;
            for probe in migrations::CHAT_PROBES {
                no_chat = no_chat.or(refused(sqlx::query(probe).execute(&pool).await)?);
            }
            Ok((Pool::Sqlite(pool), no_chat))
        }
        Address::Postgres(options) => {
            let pool: PgPoolOptions = bounded(settings);
            let pool = pool.connect_with((**options).clone()).await?;
            if let Some(migrations) = migrations::postgres(others) {
                migrations.run(&pool).await?;
            }
            let found = sqlx::query(migrations::POSTGRES_HAS_APPS).fetch_optional(&pool);
            if let (true, None) = (apps.any(), found.await?)
                && let Some(migrations) = migrations::postgres(apps)
            {
                without_apps(clash(migrations.run(&pool).await)?);
            }
            let Some(migrations) = migrations::postgres(chat) else {
                return Ok((Pool::Postgres(pool), None));
            };
            let mut no_chat = clash(migrations.run(&pool).await)?;
            for probe in migrations::CHAT_PROBES {
                no_chat = no_chat.or(refused(sqlx::query(probe).execute(&pool).await)?);
            }
            Ok((Pool::Postgres(pool), no_chat))
        }
        Address::MySql(options) => {
            migrations::mysql((**options).clone(), others).await?;
            let mut no_chat = clash(migrations::mysql((**options).clone(), chat).await)?;
            let pool: MySqlPoolOptions = bounded(settings);
            let pool = pool.connect_with((**options).clone()).await?;
            let found = sqlx::query(migrations::MYSQL_HAS_APPS).fetch_optional(&pool);
            if let (true, None) = (apps.any(), found.await?) {
                without_apps(clash(migrations::mysql((**options).clone(), apps).await)?);
            }
            if chat.any() {
                for probe in migrations::CHAT_PROBES {
                    no_chat = no_chat.or(refused(sqlx::query(probe).execute(&pool).await)?);
                }
            }
            Ok((Pool::MySql(pool), no_chat))
        }
    }
}

/// There is no table of apps yet, and none can be made: who reads it will say so each time, and this says why.
fn without_apps(why: Option<String>) {
    if let Some(why) = why {
        warn!(%why, "the table of apps (database.apps) cannot be made");
    }
}

/// What the database says against a step; whatever else went wrong is worth another attempt.
fn clash(made: Result<(), MigrateError>) -> Result<Option<String>, sqlx::Error> {
    match made {
        Ok(()) => Ok(None),
        Err(MigrateError::ExecuteMigration(sqlx::Error::Database(error), _)) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the database says against a question; whatever else went wrong is worth another attempt.
fn refused<T>(answer: Result<T, sqlx::Error>) -> Result<Option<String>, sqlx::Error> {
    match answer {
        Ok(_) => Ok(None),
        Err(sqlx::Error::Database(error)) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

fn bounded<D: Database>(settings: &config::Database) -> PoolOptions<D> {
    PoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(settings.idle_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn store(toml: &str) -> Arc<Store> {
        let config = Config::from_toml(&format!(
            "chat.enabled = false\noutbox.enabled = true\n{toml}"
        ))
        .unwrap();
        Store::start(&config.database)
    }

    #[tokio::test]
    async fn the_tables_of_what_is_in_use_are_made_and_a_second_start_finds_them() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!(
            "database.url = 'sqlite://{}/x.db'",
            directory.path().display()
        );
        for _ in 0..2 {
            let store = store(&url);
            let Pool::Sqlite(pool) = store.pool().await.unwrap() else {
                panic!("another kind of database")
            };
            sqlx::query("insert into broadcasts (channel, event, data) values ('c', 'e', '1')")
                .execute(pool)
                .await
                .unwrap();
            let users = sqlx::query("select 1 from users").execute(pool).await;
            assert!(users.is_err(), "a table that nothing needs");
            pool.close().await;
        }
    }

    #[tokio::test]
    async fn in_a_database_that_has_other_users_the_chat_is_off_and_the_rest_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}/x.db", directory.path().display());
        let theirs = SqlitePool::connect(&format!("{file}?mode=rwc"))
            .await
            .unwrap();
        let table = "create table users (id integer primary key, email text)";
        sqlx::query(table).execute(&theirs).await.unwrap();
        let toml = format!("outbox.enabled = true\ndatabase.url = '{file}'");
        let store = Store::start(&Config::from_toml(&toml).unwrap().database);
        let Pool::Sqlite(pool) = store.pool().await.unwrap() else {
            panic!("another kind of database")
        };
        let rows = sqlx::query("select id from broadcasts").fetch_all(pool);
        assert_eq!(rows.await.unwrap().len(), 0);
        let why = store.chat_pool().await.err().unwrap().to_string();
        assert!(why.contains("users"), "{why}");
    }

    #[tokio::test]
    async fn nothing_is_made_where_only_questions_are_asked() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db", directory.path().display());
        let toml = format!("chat.enabled = false\ndatabase.url = '{url}'");
        let config = Config::from_toml(&toml).unwrap();
        let store = Store::start(&config.database);
        let Pool::Sqlite(pool) = store.pool().await.unwrap() else {
            panic!("another kind of database")
        };
        let tables = sqlx::query("select 1 from sqlite_master").fetch_all(pool);
        assert_eq!(tables.await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_told_within_a_second_and_why() {
        // A port of our own on which nobody accepts: the listener is gone before the first attempt.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let asked = std::time::Instant::now();
        let store = store(&format!(
            "database = {{ url = 'postgres://127.0.0.1:{port}/x', acquire_timeout_ms = 100 }}"
        ));
        let why = store.pool().await.err().unwrap().to_string();
        assert!(why.starts_with("the database is away: "), "{why}");
        assert!(asked.elapsed() < Duration::from_millis(1500));
    }
}
