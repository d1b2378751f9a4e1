//! The tables that gema makes, version by version: only those of the parts that are in use, for the database may be a
//! back end's own, with tables of its own.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Where it is written down which of them have been made; a back end may have such a table of its own under sqlx's name.
const JOURNAL: &str = "gema_migrations";

/// The parts of gema whose tables are to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `users` and `messages`.
    pub chat: bool,
    /// `broadcasts`.
    pub outbox: bool,
}

impl Tables {
    /// Whether there is anything to make.
    pub fn any(self) -> bool {
        self != Tables::default()
    }
}

/// One step, in the SQL of each kind of database. What has been released is never changed: databases hold its checksum.
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
];

/// The steps for SQLite. It has no lock to take: of two that migrate a file at once, one is refused and finds the work
/// done when it tries again.
pub(super) fn sqlite(tables: Tables) -> Migrator {
    migrator(tables, |step| step.sqlite)
}

/// The steps for PostgreSQL, under an advisory lock.
pub(super) fn postgres(tables: Tables) -> Migrator {
    migrator(tables, |step| step.postgres)
}

/// The steps for MariaDB and MySQL, under a named lock.
pub(super) fn mysql(tables: Tables) -> Migrator {
    migrator(tables, |step| step.mysql)
}

fn migrator(tables: Tables, sql: impl Fn(&Step) -> &'static str) -> Migrator {
    let wanted = STEPS.iter().filter(|step| (step.is_wanted)(tables));
    let migrations = wanted.map(|step| {
        Migration::new(
            step.version,
            Cow::Borrowed(step.name),
            MigrationType::Simple,
            SqlStr::from_static(sql(step)),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Those of parts that are off now, and of a newer gema while nodes are replaced one by one.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name(JOURNAL);
    migrator
}
