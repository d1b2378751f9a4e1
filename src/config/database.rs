//! `[database]`: where it is, and how many connections are kept to it.

use std::time::Duration;

use super::Database;
use super::check::Check;
use super::error::Why;
use super::raw::RawDatabase;
use crate::store::{Address, Tables};

/// More connections than a database server takes from one client; a larger number is a slip.
const MOST_CONNECTIONS: u64 = 1000;

/// The longest wait for a free connection: who waits is a client.
const LONGEST_ACQUIRE_MS: u64 = 60_000;

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
        }
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
