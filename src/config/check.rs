//! From what is written to what it means: every value is checked and turned into the type that holds it.
//! Nothing stops at the first mistake, so one start shows all of them. Each section's values are judged in the file of its name.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Config;
use super::error::{ConfigError, Problem, Why};
use super::layers::Places;
use super::raw::Raw;
use crate::store::Tables;

/// The longest wait that can be configured, a day: long enough for anybody, and far from any overflow.
pub(super) const LONGEST_S: u64 = 86_400;

/// What gema calls its own table of apps.
const OWN_APPS: &str = "apps";

/// The mistakes found so far.
pub(super) struct Check<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Nothing is wrong yet.
    pub(super) fn new(places: &'a Places) -> Check<'a> {
        Check {
            places,
            problems: Vec::new(),
        }
    }

    /// What is wrong.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// The configuration, or all that is wrong with it.
pub(super) fn config(raw: &Raw, places: &Places) -> Result<Config, ConfigError> {
    let mut check = Check::new(places);
    let outbox = check.outbox(&raw.outbox);
    let chat = check.chat(&raw.chat);
    let tables = Tables {
        chat: chat.is_some(),
        outbox: outbox.is_some(),
        // Under another name it is somebody's who has made it.
        apps: raw.database.apps && raw.database.apps_table == OWN_APPS,
    };
    let database = check.database(&raw.database, tables);
    let config = Config {
        server: check.server(&raw.server),
        limits: check.limits(&raw.limits),
        apps: check.apps(&raw.apps),
        auth: check.auth(&raw.auth, &raw.apps),
        gateways: check.gateways(&raw.gateways, raw.limits.channel_name_chars),
        redis: check.redis(&raw.redis),
        admin: check.admin(&raw.admin),
        database,
        outbox,
        chat,
    };
    check.development_secret(&config.apps, &config.server.host);
    ConfigError::unless_none(config, check.problems)
}

impl Check<'_> {
    /// Notes a mistake.
    pub(super) fn refuse(&mut self, path: impl Into<String>, why: impl Into<Why>) {
        let path = path.into();
        self.problems.push(Problem::Invalid {
            at: self.places.at(&path),
            path,
            why: why.into(),
        });
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&mut self, path: &str, value: Option<&str>) -> String {
        match value {
            None => self.refuse(path, Why::Missing),
            Some("") => self.refuse(path, Why::Empty),
            Some(_) => {}
        }
        value.unwrap_or_default().to_owned()
    }

    /// An address or a name to listen on, without the brackets of IPv6.
    pub(super) fn host(&mut self, path: &str, given: &str) -> String {
        let host = given.trim();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_name = |host: &str| {
            host.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        };
        if host.is_empty() {
            self.refuse(path, Why::Empty);
        } else if host.parse::<IpAddr>().is_err() && !is_name(host) {
            let given = given.to_owned();
            self.refuse(path, Why::NotAHost { given });
        }
        host.to_owned()
    }

    pub(super) fn within(&mut self, path: &str, found: u64, min: u64, max: u64) -> u64 {
        if !(min..=max).contains(&found) {
            self.refuse(path, Why::OutOfRange { found, min, max });
        }
        found
    }

    /// A wait that may be none.
    pub(super) fn seconds(&mut self, path: &str, found: u64) -> u64 {
        self.within(path, found, 0, LONGEST_S)
    }

    /// A size or a count of which none would make the thing impossible.
    pub(super) fn at_least_one(&mut self, path: &str, found: usize) -> usize {
        if found == 0 {
            self.refuse(path, Why::Zero);
        }
        found
    }
}

/// The characters that need no escape anywhere in a URL (RFC 3986, section 2.3).
pub(super) fn is_url_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

/// What is set, which an empty text is not.
pub(super) fn text(given: &str) -> Option<String> {
    (!given.is_empty()).then(|| given.to_owned())
}

/// The same of a file.
pub(super) fn path(given: &str) -> Option<PathBuf> {
    text(given).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::KeySource;

    #[test]
    fn the_defaults_are_in_order() {
        let config = Config::from_toml("").unwrap();
        assert_eq!(
            (config.server.host.as_str(), config.server.port),
            ("127.0.0.1", 6001)
        );
        assert_eq!(config.server.tls_cert, None);
        assert!(config.server.shard_count() >= 1);
        assert_eq!(config.apps[0].key, "app-key");
        assert_eq!(config.auth.app, "app-id");
        assert!(matches!(config.auth.settings.key, KeySource::None));
        assert_eq!(config.auth.settings.rules.len(), 5);
        assert_eq!(config.auth.settings.guards, []);
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        let host = |text: &str| {
            let local =
                format!("server.host = '{text}'\napps = [{{ id = 'a', key = 'b', secret = 'c' }}]");
            Config::from_toml(&local).map(|config| config.server.host)
        };
        assert_eq!(host("[::1]").unwrap(), "::1");
        assert_eq!(host("push.example.com").unwrap(), "push.example.com");
        assert_eq!(
            host("").unwrap_err().to_string(),
            "config:1:15: server.host is empty"
        );
        assert_eq!(
            host("127.0.0.1:6001").unwrap_err().to_string(),
            "config:1:15: server.host is \"127.0.0.1:6001\", which is not an address or a host name; \
             the port has a key of its own"
        );
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let config = Config::from_toml("auth.jwt_secret = 'hush'\nadmin.token = 'hush'").unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(!shown.contains("app-secret"), "{shown}");
    }
}
