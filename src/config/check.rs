//! From what is written to what it means: every value is checked and turned into the type that holds it.
//! Nothing stops at the first mistake, so one start shows all of them.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::error::{ConfigError, Problem, Why};
use super::layers::{Places, Slot};
use super::raw::{Raw, RawApp, RawAuth, RawLimits, RawServer};
use super::{Auth, Config, Limits, Server, rules, variables};
use crate::apps::{App, OriginPatterns};

/// The secret of the embedded app, which the whole world knows.
const DEVELOPMENT_SECRET: &str = "app-secret";

/// The longest wait that can be configured, a day: long enough for anybody, and far from any overflow.
const LONGEST_S: u64 = 86_400;

/// More shards than any machine has cores; a larger number is a slip.
const MOST_SHARDS: u64 = 1024;

/// The mistakes found so far.
pub(super) struct Check<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

/// The configuration, or all that is wrong with it.
pub(super) fn config(raw: &Raw, places: &Places) -> Result<Config, ConfigError> {
    let mut check = Check {
        places,
        problems: Vec::new(),
    };
    let config = Config {
        server: check.server(&raw.server),
        limits: check.limits(&raw.limits),
        apps: check.apps(&raw.apps),
        auth: check.auth(&raw.auth, &raw.apps),
    };
    check.development_secret(&config);
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
            host: self.host(&raw.host),
            port: raw.port,
            path_prefix: self.path_prefix(&raw.path_prefix),
            tls_cert,
            tls_key,
            trusted_proxies: self.ranges(&raw.trusted_proxies),
            shutdown_grace_s: self.within(
                "server.shutdown_grace_s",
                raw.shutdown_grace_s,
                0,
                LONGEST_S,
            ),
            shards: match raw.shards {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                shards => {
                    self.within("server.shards", shards as u64, 1, MOST_SHARDS);
                    shards
                }
            },
        }
    }

    fn host(&mut self, given: &str) -> String {
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
            self.refuse("server.host", Why::Empty);
        } else if host.parse::<IpAddr>().is_err() && !is_name(host) {
            let given = given.to_owned();
            self.refuse("server.host", Why::NotAHost { given });
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
            channels_per_connection: raw.channels_per_connection,
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

    fn apps(&mut self, raw: &[RawApp]) -> Vec<App> {
        if raw.is_empty() {
            self.refuse("apps", Why::Empty);
        }
        self.unique(raw, "id", |app| app.id.as_deref());
        self.unique(raw, "key", |app| app.key.as_deref());
        let indices = 0u32..;
        indices
            .zip(raw)
            .map(|(index, app)| self.app(index, app))
            .collect()
    }

    fn app(&mut self, index: u32, raw: &RawApp) -> App {
        let path = |key: &str| format!("apps[{index}].{key}");
        App {
            index,
            id: self.url_safe(&path("id"), raw.id.as_deref()),
            key: self.url_safe(&path("key"), raw.key.as_deref()),
            secret: self.required(&path("secret"), raw.secret.as_deref()),
            enabled: raw.enabled,
            client_events: raw.client_events,
            allowed_origins: self.origins(path("allowed_origins"), &raw.allowed_origins),
            max_connections: raw.max_connections,
            encryption_master_key: self
                .master_key(path("encryption_master_key"), &raw.encryption_master_key),
        }
    }

    fn unique(&mut self, apps: &[RawApp], key: &str, of: impl Fn(&RawApp) -> Option<&str>) {
        for (index, app) in apps.iter().enumerate() {
            let Some(given) = of(app) else { continue };
            if let Some(other) = apps[..index].iter().position(|app| of(app) == Some(given)) {
                self.refuse(
                    format!("apps[{index}].{key}"),
                    Why::Taken {
                        given: given.to_owned(),
                        other: format!("apps[{other}].{key}"),
                    },
                );
            }
        }
    }

    /// Ids and keys stand in paths, and a key before the colon of a signature.
    fn url_safe(&mut self, path: &str, value: Option<&str>) -> String {
        let value = self.required(path, value);
        if !value.chars().all(is_url_safe) {
            let given = value.clone();
            self.refuse(path, Why::NotUrlSafe { given });
        }
        value
    }

    fn origins(&mut self, path: String, given: &[String]) -> OriginPatterns {
        OriginPatterns::parse(given).unwrap_or_else(|error| {
            self.refuse(path, error);
            OriginPatterns::default()
        })
    }

    fn master_key(&mut self, path: String, given: &str) -> Option<[u8; 32]> {
        if given.is_empty() {
            return None;
        }
        let key = STANDARD
            .decode(given.trim())
            .ok()
            .and_then(|key| key.try_into().ok());
        if key.is_none() {
            self.refuse(path, Why::NotAMasterKey);
        }
        key
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
        Auth {
            jwt_secret: text(&raw.jwt_secret),
            jwt_public_key: path(&raw.jwt_public_key),
            jwks_url: self.url("auth.jwks_url", &raw.jwks_url),
            jwt_issuer: text(&raw.jwt_issuer),
            jwt_audience: text(&raw.jwt_audience),
            claim_user: self.required("auth.claim_user", Some(&raw.claim_user)),
            claim_name: self.required("auth.claim_name", Some(&raw.claim_name)),
            claim_roles: self.required("auth.claim_roles", Some(&raw.claim_roles)),
            user_info: raw.user_info.clone(),
            app: self.signing_app(&raw.app, apps),
            channels: rules::rules(self, &raw.channels),
            guards: rules::guards(self, &raw.guards),
        }
    }

    fn url(&mut self, path: &str, given: &str) -> Option<String> {
        let given = text(given)?;
        let host = given
            .strip_prefix("https://")
            .or_else(|| given.strip_prefix("http://"));
        if host.is_none_or(str::is_empty) {
            let given = given.clone();
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

    /// Off loopback anybody who read the documentation could sign for an app with the embedded secret.
    fn development_secret(&mut self, config: &Config) {
        let host = &config.server.host;
        if host.is_empty() || is_loopback(host) {
            return;
        }
        for (index, app) in config.apps.iter().enumerate() {
            if app.secret == DEVELOPMENT_SECRET {
                let path = format!("apps[{index}].secret");
                let variable = match index {
                    0 => "PUSHER_APP_SECRET".to_owned(),
                    _ => variables::variable(&Slot::App(index, "secret")),
                };
                let host = host.clone();
                self.refuse(path.clone(), Why::DevelopmentSecret { host, variable });
            }
        }
    }

    fn within(&mut self, path: &str, found: u64, min: u64, max: u64) -> u64 {
        if !(min..=max).contains(&found) {
            self.refuse(path, Why::OutOfRange { found, min, max });
        }
        found
    }

    /// A size or a count of which none would make the thing impossible.
    fn at_least_one(&mut self, path: &str, found: usize) -> usize {
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
fn is_url_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
