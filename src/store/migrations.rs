//! The tables that gema makes, version by version: only those of the parts that are in use, for the database may be a
//! back end's own, with tables of its own.

use std::borrow::Cow;
use std::io;

use sqlx::SqlStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

/// Where it is written down which of them have been made; a back end may have such a table of its own under sqlx's name.
const JOURNAL: &str = "gema_migrations";

/// Waits half a minute for another node; names of locks are the server's, so this is the database's own.
const MYSQL_LOCK: &str = "select get_lock(left(concat('gema.', database()), 64), 30)";

/// The parts of gema whose tables are to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `users` and `messages`.
    pub chat: bool,
    /// `broadcasts`.
    pub outbox: bool,
    /// `apps`, unless there is such a table already, whoever's it is.
    pub apps: bool,
}

impl Tables {
    /// Those of everything else, those of the chat, and the one of apps; both of these may clash with a back end's.
    pub(super) fn apart(self) -> [Tables; 3] {
        let chat = Tables {
            chat: self.chat,
            ..Tables::default()
        };
        let apps = Tables {
            apps: self.apps,
            ..Tables::default()
        };
        let others = Tables {
            chat: false,
            apps: false,
            ..self
        };
        [others, chat, apps]
    }

    /// Whether there is anything to make.
    pub fn any(self) -> bool {
        self != Tables::default()
    }
}

/// What the chat's tables answer. A back end's own, under the same names, would not.
pub(super) const CHAT_PROBES: [&str; 2] = [
    "select id, username, avatar, table_number, updated_at_ms from users where 1 = 0",
    "select id, sender_id, receiver_id, content, is_read, client_id, created_at_ms, updated_at_ms from messages where 1 = 0",
];

/// A row where there is a table `apps`, or something else of that name.
pub(super) const SQLITE_HAS_APPS: &str = "select 1 from sqlite_master where name = 'apps'";
pub(super) const POSTGRES_HAS_APPS: &str = "select 1 where to_regclass('apps') is not null";
pub(super) const MYSQL_HAS_APPS: &str = "select 1 from information_schema.tables where table_schema = database() and table_name = 'apps'";

/// One step, in the SQL of each kind of database. What has been released is never changed: databases hold its checksum.
/// That for MariaDB and MySQL must be fit to run twice (`if not exists`, `insert ignore`).
struct Step {
    version: i64,
    name: &'static str,
    is_wanted: fn(Tables) -> bool,
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

macro_rules! step {
    ($version:literal, $name:literal, $file:literal, $is_wanted:expr) => {
        Step {
            version: $version,
            name: $name,
            is_wanted: $is_wanted,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $file)),
            postgres: include_str!(concat!("../../migrations/postgres/", $file)),
            mysql: include_str!(concat!("../../migrations/mysql/", $file)),
        }
    };
}

const STEPS: &[Step] = &[
    step!(1, "chat", "0001_chat.sql", |tables| tables.chat),
    step!(2, "broadcasts", "0002_broadcasts.sql", |tables| {
        tables.outbox
    }),
    step!(3, "apps", "0003_apps.sql", |tables| tables.apps),
];

/// SQLite: it has no lock to take. Of two that migrate a file at once, one is refused and finds the work done when it tries
/// again.
pub(super) fn sqlite(tables: Tables) -> Option<Migrator> {
    migrator(tables, |step| step.sqlite)
}

/// PostgreSQL: under an advisory lock, each step in a transaction.
pub(super) fn postgres(tables: Tables) -> Option<Migrator> {
    migrator(tables, |step| step.postgres)
}

/// MariaDB and MySQL. sqlx waits without a limit for its lock, which MariaDB takes for no wait at all and gives none; so
/// it is taken here. Tables are made outside of transactions, so a step may have been left half done: its SQL does no harm
/// when it is run again.
pub(super) async fn mysql(
    options: MySqlConnectOptions,
    tables: Tables,
) -> Result<(), MigrateError> {
    let Some(mut migrator) = migrator(tables, |step| step.mysql) else {
        return Ok(());
    };
    migrator.set_locking(false);
    // The lock is a connection's: whatever happens, it ends with this one.
    let one = MySqlPoolOptions::new().max_connections(1);
    let one = one.connect_with(options).await?;
    let held: Option<i64> = sqlx::query_scalar(MYSQL_LOCK).fetch_one(&one).await?;
    if held != Some(1) {
        let busy = io::Error::other("another node is migrating the database");
        return Err(sqlx::Error::Io(busy).into());
    }
    one.acquire()
        .await?
        .ensure_migrations_table(JOURNAL)
        .await?;
    sqlx::query("delete from gema_migrations where success = false")
        .execute(&one)
        .await?;
    migrator.run(&one).await?;
    one.close().await;
    Ok(())
}

/// `None` when there is nothing to make: then a user who may read and no more is enough.
fn migrator(tables: Tables, sql: impl Fn(&Step) -> &'static str) -> Option<Migrator> {
    let wanted = STEPS.iter().filter(|step| (step.is_wanted)(tables));
    let migrations: Vec<Migration> = wanted
        .map(|step| {
            Migration::new(
                step.version,
                Cow::Borrowed(step.name),
                MigrationType::Simple,
                SqlStr::from_static(sql(step)),
                false,
            )
        })
        .collect();
    if migrations.is_empty() {
        return None;
    }
    let mut migrator = Migrator::with_migrations(migrations);
    // Those of parts that are off now, and of a newer gema while nodes are replaced one by one.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name(JOURNAL);
    Some(migrator)
}
