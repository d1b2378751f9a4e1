//! From what is written to what it means: every value is checked and turned into the type that holds it.
//! Nothing stops at the first mistake, so one start shows all of them.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::error::{ConfigError, Problem, Why};
use super::layers::Places;
use super::raw::{Raw, RawApp, RawAuth, RawLimits, RawRedis, RawServer};
use super::webhooks::without_secrets;
use super::{Auth, Config, Limits, Redis, Server, rules};
use crate::auth::{AuthSettings, KeySource};
use crate::bus::redis::Servers;
use crate::store::Tables;

/// The longest wait that can be configured, a day: long enough for anybody, and far from any overflow.
const LONGEST_S: u64 = 86_400;

/// The longest lease of a node: ghosts of an hour are a mistake in any case.
const LONGEST_LEASE_S: u64 = 3600;

/// What gema calls its own table of apps.
const OWN_APPS: &str = "apps";

/// What `limits.channels_per_connection = 0` stands for. A subscription to a channel of one's own takes 430 bytes with a name
/// of 8 characters and 620 with one of 200, so without a number one connection could fill the memory.
const MANY_CHANNELS: usize = 10_000;

/// More shards than any machine has cores; a larger number is a slip.
const MOST_SHARDS: u64 = 1024;

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

    fn server(&mut self, raw: &RawServer) -> Server {
        let (tls_cert, tls_key) = (path(&raw.tls_cert), path(&raw.tls_key));
        match (&tls_cert, &tls_key) {
            (Some(_), None) => {
                self.refuse("server.tls_cert", Why::HalfOfTls { missing: "tls_key" })
            }
            (None, Some(_)) => self.refuse(
                "server.tls_key",
                Why::HalfOfTls {
                    missing: "tls_cert",
                },
            ),
            _ => {}
        }
        Server {
            host: self.host("server.host", &raw.host),
            port: raw.port,
            path_prefix: self.path_prefix(&raw.path_prefix),
            tls_cert,
            tls_key,
            trusted_proxies: self.ranges(&raw.trusted_proxies),
            shutdown_grace_s: self.seconds("server.shutdown_grace_s", raw.shutdown_grace_s),
            shards: self.shards(raw.shards),
        }
    }

    fn redis(&mut self, raw: &RawRedis) -> Option<Redis> {
        let prefix = raw.prefix.trim();
        if prefix.is_empty() {
            self.refuse("redis.prefix", Why::Empty);
        } else if prefix.contains(['{', '}']) {
            // They would decide which server of a cluster has the key.
            let given = raw.prefix.clone();
            self.refuse("redis.prefix", Why::HasBraces { given });
        }
        let node_lease_s = self.within("redis.node_lease_s", raw.node_lease_s, 2, LONGEST_LEASE_S);
        if raw.url.trim().is_empty() {
            return None;
        }
        match Servers::parse(&raw.url) {
            Ok(servers) => Some(Redis {
                servers,
                prefix: prefix.to_owned(),
                node_lease_s,
            }),
            Err(error) => {
                let reason = error.to_string();
                self.refuse("redis.url", Why::NotRedis { reason });
                None
            }
        }
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

    fn path_prefix(&mut self, given: &str) -> String {
        let path = given.trim().trim_matches('/');
        if path.is_empty() {
            return String::new();
        }
        let is_plain = |part: &str| !part.is_empty() && part.chars().all(is_url_safe);
        if !path.split('/').all(is_plain) {
            let given = given.to_owned();
            self.refuse("server.path_prefix", Why::NotAPath { given });
        }
        format!("/{path}")
    }

    fn ranges(&mut self, given: &[String]) -> Vec<IpNet> {
        let mut ranges = Vec::with_capacity(given.len());
        for (index, text) in given.iter().enumerate() {
            let range = text.trim();
            let alone = || range.parse::<IpAddr>().map(IpNet::from);
            match range.parse().or_else(|_| alone()) {
                Ok(range) => ranges.push(range),
                Err(_) => self.refuse(
                    format!("server.trusted_proxies[{index}]"),
                    Why::NotARange {
                        given: text.clone(),
                    },
                ),
            }
        }
        ranges
    }

    fn shards(&mut self, given: usize) -> usize {
        self.within("server.shards", given as u64, 0, MOST_SHARDS);
        given
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        Limits {
            max_connections: raw.max_connections,
            event_data_bytes: self.at_least_one("limits.event_data_bytes", raw.event_data_bytes),
            request_bytes: self.at_least_one("limits.request_bytes", raw.request_bytes),
            message_bytes: self.at_least_one("limits.message_bytes", raw.message_bytes),
            channels_per_event: self
                .at_least_one("limits.channels_per_event", raw.channels_per_event),
            events_per_batch: self.at_least_one("limits.events_per_batch", raw.events_per_batch),
            channel_name_chars: self
                .at_least_one("limits.channel_name_chars", raw.channel_name_chars),
            event_name_chars: self.at_least_one("limits.event_name_chars", raw.event_name_chars),
            channels_per_connection: match raw.channels_per_connection {
                0 => MANY_CHANNELS,
                given => given,
            },
            client_events_per_s: raw.client_events_per_s,
            presence_members: self.at_least_one("limits.presence_members", raw.presence_members),
            presence_info_bytes: self
                .at_least_one("limits.presence_info_bytes", raw.presence_info_bytes),
            outbox_bytes: self.at_least_one("limits.outbox_bytes", raw.outbox_bytes),
            activity_timeout_s: self.within(
                "limits.activity_timeout_s",
                raw.activity_timeout_s,
                1,
                LONGEST_S,
            ),
            pong_timeout_s: self.within("limits.pong_timeout_s", raw.pong_timeout_s, 1, LONGEST_S),
            handshakes_per_s: raw.handshakes_per_s,
            api_requests_per_s: raw.api_requests_per_s,
        }
    }

    fn auth(&mut self, raw: &RawAuth, apps: &[RawApp]) -> Auth {
        let keys = [
            ("jwt_secret", &raw.jwt_secret),
            ("jwt_public_key", &raw.jwt_public_key),
            ("jwks_url", &raw.jwks_url),
        ];
        let mut set = keys.iter().filter(|(_, value)| !value.is_empty());
        if let (Some((other, _)), Some((second, _))) = (set.next(), set.next()) {
            self.refuse(format!("auth.{second}"), Why::SecondTokenKey { other });
        }
        let settings = AuthSettings {
            key: self.token_key(raw),
            issuer: text(&raw.jwt_issuer),
            audience: text(&raw.jwt_audience),
            claim_user: self.required("auth.claim_user", Some(&raw.claim_user)),
            claim_name: self.required("auth.claim_name", Some(&raw.claim_name)),
            claim_roles: self.required("auth.claim_roles", Some(&raw.claim_roles)),
            user_info: raw.user_info.clone(),
            rules: rules::rules(self, &raw.channels),
            guards: rules::guards(self, &raw.guards),
        };
        Auth {
            settings,
            app: self.signing_app(&raw.app, apps),
        }
    }

    /// What tokens are checked with: the one setting of three that is there.
    fn token_key(&mut self, raw: &RawAuth) -> KeySource {
        if let Some(secret) = text(&raw.jwt_secret) {
            return KeySource::Secret(secret);
        }
        if let Some(path) = path(&raw.jwt_public_key) {
            let pem = std::fs::read(&path).unwrap_or_else(|error| {
                let reason = error.to_string();
                self.refuse("auth.jwt_public_key", Why::Unreadable { reason });
                Vec::new()
            });
            return KeySource::PublicKeyPem { path, pem };
        }
        self.url("auth.jwks_url", &raw.jwks_url)
            .map_or(KeySource::None, KeySource::Jwks)
    }

    fn url(&mut self, path: &str, given: &str) -> Option<String> {
        let given = text(given)?;
        let host = given
            .strip_prefix("https://")
            .or_else(|| given.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) {
            let given = without_secrets(&given);
            self.refuse(path, Why::NotAUrl { given });
        }
        Some(given)
    }

    fn signing_app(&mut self, given: &str, apps: &[RawApp]) -> String {
        let mut ids = apps.iter().filter_map(|app| app.id.as_deref());
        if given.is_empty() {
            return ids.next().unwrap_or_default().to_owned();
        }
        if !ids.any(|id| id == given) {
            let given = given.to_owned();
            self.refuse("auth.app", Why::NoSuchApp { given });
        }
        given.to_owned()
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

fn text(given: &str) -> Option<String> {
    (!given.is_empty()).then(|| given.to_owned())
}

fn path(given: &str) -> Option<PathBuf> {
    text(given).map(PathBuf::from)
}

/// The characters that need no escape anywhere in a URL (RFC 3986, section 2.3).
pub(super) fn is_url_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

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
    fn a_path_prefix_begins_with_a_slash_and_does_not_end_with_one() {
        let prefix = |text: &str| {
            Config::from_toml(&format!("server.path_prefix = '{text}'"))
                .map(|config| config.server.path_prefix)
        };
        assert_eq!(prefix("").unwrap(), "");
        assert_eq!(prefix("/").unwrap(), "");
        assert_eq!(prefix("a/b/").unwrap(), "/a/b");
        assert_eq!(prefix("/a").unwrap(), "/a");
        assert_eq!(
            prefix("/a?b").unwrap_err().to_string(),
            "config:1:22: server.path_prefix is \"/a?b\", which is not a path such as /realtime"
        );
    }

    #[test]
    fn proxies_are_address_ranges_or_single_addresses() {
        let config = Config::from_toml("server.trusted_proxies = ['10.0.0.0/8', '::1']").unwrap();
        let ranges: Vec<String> = config
            .server
            .trusted_proxies
            .iter()
            .map(IpNet::to_string)
            .collect();
        assert_eq!(ranges, ["10.0.0.0/8", "::1/128"]);
        assert_eq!(
            complaint("server.trusted_proxies = ['::1', '10.0.0.0/33']"),
            "config:1:34: server.trusted_proxies[1] is \"10.0.0.0/33\", which is not an address range \
             such as 10.0.0.0/8"
        );
    }

    #[test]
    fn tls_needs_certificate_and_key() {
        assert_eq!(
            complaint("[server]\ntls_cert = 'cert.pem'"),
            "config:2:12: server.tls_cert is set and tls_key is not; TLS needs both"
        );
        assert_eq!(
            complaint("[server]\ntls_key = 'key.pem'"),
            "config:2:11: server.tls_key is set and tls_cert is not; TLS needs both"
        );
        let both = Config::from_toml("server = { tls_cert = 'c', tls_key = 'k' }")
            .unwrap()
            .server;
        assert_eq!(both.tls_cert, Some(PathBuf::from("c")));
        assert_eq!(both.tls_key, Some(PathBuf::from("k")));
    }

    #[test]
    fn limits_that_would_let_nothing_through_are_refused() {
        assert_eq!(
            complaint("[limits]\nmessage_bytes = 0\npong_timeout_s = 0"),
            "config:2:17: limits.message_bytes is 0; it must be at least 1\n\
             config:3:18: limits.pong_timeout_s is 0; it must be from 1 to 86400"
        );
        assert!(Config::from_toml("limits.client_events_per_s = 0").is_ok());
    }

    #[test]
    fn tokens_are_checked_with_one_key_only() {
        assert_eq!(
            complaint("[auth]\njwks_url = 'https://a.b/keys'\njwt_secret = 'c'"),
            "config:2:12: auth.jwks_url is set, and jwt_secret is too; tokens are checked with one of \
             jwt_secret, jwt_public_key and jwks_url"
        );
        assert_eq!(
            complaint("auth.jwt_public_key = '/no/such.pem'"),
            "config:1:23: auth.jwt_public_key cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(
            complaint("auth.jwks_url = 'login.example.com'"),
            "config:1:17: auth.jwks_url is \"login.example.com\", which is not an http:// or https:// address"
        );
    }

    #[test]
    fn the_app_that_signs_must_exist() {
        assert_eq!(
            complaint("auth.app = 'other'"),
            "config:1:12: auth.app is \"other\", which is not the id of an app"
        );
    }

    #[test]
    fn a_claim_needs_a_name() {
        assert_eq!(
            complaint("auth.claim_user = ''"),
            "config:1:19: auth.claim_user is empty"
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
