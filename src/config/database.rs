//! `[database]`: where it is, and how many connections are kept to it.

use std::time::Duration;

use super::check::Check;
use super::error::Why;
use super::raw::RawDatabase;
use super::{AppTable, Database};
use crate::store::{Address, Tables};

/// More connections than a database server takes from one client; a larger number is a slip.
const MOST_CONNECTIONS: u64 = 1000;

/// The longest wait for a free connection: who waits is a client.
const LONGEST_ACQUIRE_MS: u64 = 60_000;

/// An app that is switched off goes on for so long where nobody is told of it; longer is a slip.
const LONGEST_REFRESH_S: u64 = 3600;

/// The longest name that each of the databases takes.
const LONGEST_NAME: usize = 63;

/// What all databases take for a name, so that it can be put between quotes as it is.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    (1..=LONGEST_NAME).contains(&name.len())
        && bytes.next().is_some_and(is_start)
        && bytes.all(|byte| is_start(byte) || byte.is_ascii_digit())
}

impl Check<'_> {
    /// The database, whether anything needs it or not.
    pub(super) fn database(&mut self, raw: &RawDatabase, tables: Tables) -> Database {
        let path = |key: &str| format!("database.{key}");
        let most = self.within(
            &path("max_connections"),
            raw.max_connections.into(),
            1,
            MOST_CONNECTIONS,
        );
        let acquire_ms = self.within(
            &path("acquire_timeout_ms"),
            raw.acquire_timeout_ms,
            1,
            LONGEST_ACQUIRE_MS,
        );
        let idle_s = self.seconds(&path("idle_timeout_s"), raw.idle_timeout_s);
        let address = Address::parse(&raw.url).unwrap_or_else(|error| {
            let reason = error.to_string();
            self.refuse(path("url"), Why::NotADatabase { reason });
            // Never used: the mistake has been noted.
            Address::memory()
        });
        Database {
            address,
            max_connections: most as u32,
            acquire_timeout: Duration::from_millis(acquire_ms),
            idle_timeout: (idle_s > 0).then(|| Duration::from_secs(idle_s)),
            tables,
            apps: self.app_table(raw),
        }
    }

    fn app_table(&mut self, raw: &RawDatabase) -> Option<AppTable> {
        let path = "database.apps_refresh_s";
        let refresh_s = self.within(path, raw.apps_refresh_s, 1, LONGEST_REFRESH_S);
        let given = &raw.apps_table;
        let name: Vec<String> = given.split('.').map(str::to_owned).collect();
        if name.len() > 2 || !name.iter().all(|part| is_identifier(part)) {
            let given = given.clone();
            self.refuse("database.apps_table", Why::NotATable { given });
        }
        raw.apps.then(|| AppTable {
            name,
            refresh: Duration::from_secs(refresh_s),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn the_database_is_a_file_unless_another_is_named() {
        let config = Config::from_toml("").unwrap();
        assert_eq!(config.database.address.to_string(), "sqlite:gema.db");
        let config = Config::from_toml("database.url = 'postgres://u:hush@db/x'").unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("postgres://db:5432/x"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_is_no_database_is_refused_without_repeating_it() {
        assert_eq!(
            complaint("database.url = 'oracle://u:hush@db'"),
            "config:1:16: database.url cannot be used: it must begin with sqlite:, postgres:// or mysql://"
        );
        let said = complaint("[database]\nmax_connections = 0\nacquire_timeout_ms = 0");
        assert_eq!(
            said,
            "config:2:19: database.max_connections is 0; it must be from 1 to 1000\n\
             config:3:22: database.acquire_timeout_ms is 0; it must be from 1 to 60000"
        );
    }

    #[test]
    fn the_table_of_apps_is_not_read_unless_it_is_switched_on_and_made_under_its_own_name_alone() {
        let config = Config::from_toml("chat.enabled = false").unwrap();
        assert!(config.database.apps.is_none() && !config.needs_database());
        let config = Config::from_toml("database.apps = true").unwrap();
        let table = config.database.apps.clone().unwrap();
        assert_eq!(
            (table.name, table.refresh.as_secs()),
            (vec!["apps".to_owned()], 10)
        );
        assert!(config.database.tables.apps);
        let toml =
            "chat.enabled = false\n[database]\napps = true\napps_table = 'shop.websockets_apps'";
        let config = Config::from_toml(toml).unwrap();
        let table = config.database.apps.clone().unwrap();
        assert_eq!(table.name, ["shop", "websockets_apps"]);
        assert!(!config.database.tables.apps && config.needs_database());
    }

    #[test]
    fn a_table_that_needs_quotes_of_its_own_is_refused() {
        for name in ["", "a b", "a\"", "a;", "a.b.c", "1a", "a-b", "é"] {
            let toml = format!("database.apps_table = '{name}'");
            let wanted = format!(
                "config:1:23: database.apps_table is \"{name}\", which is no table's name: \
                 use letters, digits and underscores, with a schema and a dot before it if need be"
            );
            assert_eq!(complaint(&toml), wanted);
        }
        assert_eq!(
            complaint("database.apps_refresh_s = 0"),
            "config:1:27: database.apps_refresh_s is 0; it must be from 1 to 3600"
        );
    }

    #[test]
    fn the_usual_variable_names_it_and_its_password_is_not_shown() {
        let sources = Sources {
            env: vec![(
                "DATABASE_URL".to_owned(),
                "mysql://u:hush@db:3306/x".to_owned(),
            )],
            ..Sources::default()
        };
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.database.address.to_string(), "mysql://db:3306/x");
        let shown = Config::explain(&sources).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("@db:3306/x"), "{shown}");
    }
}
