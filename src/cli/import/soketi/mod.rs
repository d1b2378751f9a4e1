//! Soketi's options, as soketi.json and the SOKETI_ variables set them, in gema's words.
//! Source: "Configuring the server" and the pages behind it at docs.soketi.app, and the names in Soketi's command line.

//!
//! # Layout
//!
//! * `options`: what was set, as a tree. `app`, `webhook`: one of its apps.

mod app;
mod options;
mod webhook;

use serde_json::{Value, json};

pub(super) use self::options::Options;

use super::draft::{Draft, userinfo};
use super::value::{flag, number, parsed, text};

/// Why an option, or all below it, has no place in gema.toml.
const REASONS: &[(&str, &str)] = &[
    ("adapter", "the nodes of gema share a Redis (redis.url)"),
    ("appManager", "list the apps under [[apps]]"),
    ("cache", "gema needs no cache to be set up"),
    (
        "channelLimits.cacheTtl",
        "cache channels remember for 30 minutes",
    ),
    (
        "cors",
        "allowed_origins under [[apps]] is for WebSockets and HTTP alike",
    ),
    ("database.redis", "redis.url is all that gema takes"),
    (
        "database",
        "gema keeps no apps in a database that Soketi made",
    ),
    ("debug", "start with GEMA_LOG=debug"),
    (
        "metrics.prometheus",
        "the names of gema's figures begin with gema_",
    ),
    (
        "metrics",
        "figures are at 127.0.0.1; for others set admin.host and admin.token",
    ),
    ("queue", "webhooks need no queue"),
    ("rateLimiter", "limits count per node"),
    (
        "ssl.passphrase",
        "the key must come without one: openssl pkey -in key.pem -out plain.pem",
    ),
    ("ssl.caPath", "server.tls_cert holds the whole chain"),
];

impl Options {
    /// Puts everything into the draft.
    pub(super) fn carry(mut self, draft: &mut Draft) {
        if !self.given {
            return;
        }
        self.server(draft);
        self.limits(draft);
        self.redis(draft);
        self.metrics(draft);
        let batch_ms = self.batching();
        self.apps(draft, batch_ms);
        self.rest(draft);
    }

    fn server(&mut self, draft: &mut Draft) {
        // Soketi listens on every address unless it is told otherwise.
        let host = self.take("host").as_ref().and_then(text);
        draft.set(
            "server",
            "host",
            host.unwrap_or_else(|| "0.0.0.0".to_owned()),
        );
        self.number_into(draft, "port", "server", "port", |port| {
            (0..=65535).contains(&port).then_some(port)
        });
        if let Some(prefix) = self.take("pathPrefix").as_ref().and_then(text) {
            draft.set("server", "path_prefix", prefix);
        }
        // Milliseconds there, seconds here.
        self.number_into(
            draft,
            "shutdownGracePeriod",
            "server",
            "shutdown_grace_s",
            |ms| Some((ms.max(0) + 999) / 1000),
        );
        let mut path = |option: &str| {
            let path = self.take(option).as_ref().and_then(text);
            path.filter(|path| !path.is_empty())
        };
        match (path("ssl.certPath"), path("ssl.keyPath")) {
            (Some(cert), Some(key)) if is_file(&cert) && is_file(&key) => {
                draft.set("server", "tls_cert", cert);
                draft.set("server", "tls_key", key);
            }
            (None, None) => {}
            (cert, key) => draft.leave(&format!(
                "ssl: the files are not both here; where they are, set server.tls_cert = \"{}\" and server.tls_key = \"{}\"",
                cert.unwrap_or_default(),
                key.unwrap_or_default()
            )),
        }
    }

    /// What is not set is written too where Soketi's own default is wider than gema's: what clients do goes on working.
    fn limits(&mut self, draft: &mut Draft) {
        draft.set("limits", "event_data_bytes", 100 * 1024);
        draft.set("limits", "presence_info_bytes", 2 * 1024);
        for (option, key, factor) in [
            ("eventLimits.maxPayloadInKb", "event_data_bytes", 1024),
            ("eventLimits.maxChannelsAtOnce", "channels_per_event", 1),
            ("eventLimits.maxNameLength", "event_name_chars", 1),
            ("eventLimits.maxBatchSize", "events_per_batch", 1),
            ("channelLimits.maxNameLength", "channel_name_chars", 1),
            ("presence.maxMembersPerChannel", "presence_members", 1),
            ("presence.maxMemberSizeInKb", "presence_info_bytes", 1024),
            ("httpApi.requestLimitInMb", "request_bytes", 1024 * 1024),
        ] {
            self.number_into(draft, option, "limits", key, |number| {
                (number > 0).then(|| number.saturating_mul(factor))
            });
        }
    }

    fn redis(&mut self, draft: &mut Draft) {
        let driver = self.take("adapter.driver").as_ref().and_then(text);
        match driver.as_deref() {
            Some("redis") => {}
            None | Some("local") => {
                // It is there for Soketi's queue or cache, if at all.
                self.take("database.redis");
                self.take("adapter.redis");
                return;
            }
            Some(other) => {
                draft.leave(&format!(
                    "adapter.driver = \"{other}\": the nodes of gema share a Redis; set redis.url"
                ));
                return;
            }
        }
        let mut option = |name: &str| self.take(&format!("database.redis.{name}"));
        let word = |value: Option<Value>| {
            let word = value.as_ref().and_then(text);
            word.filter(|word| !word.is_empty())
        };
        let user = word(option("username"));
        let password = word(option("password"));
        let access = userinfo(user.as_deref(), password.as_deref());
        let database = option("db").as_ref().and_then(number).unwrap_or(0);
        let host = word(option("host")).unwrap_or_else(|| "127.0.0.1".to_owned());
        let port = option("port").as_ref().and_then(number).unwrap_or(6379);
        let service = word(option("name")).unwrap_or_else(|| "mymaster".to_owned());
        let sentinels = addresses(option("sentinels"));
        let sentinel_password = word(option("sentinelPassword"));
        let nodes = addresses(option("clusterNodes"));
        let scheme = match option("tls") {
            Some(_) => "rediss",
            None => "redis",
        };
        let cluster = self.take("adapter.redis.clusterMode");
        let url = if !sentinels.is_empty() {
            let mut url = format!(
                "{scheme}+sentinel://{access}{}/{service}?db={database}",
                sentinels.join(",")
            );
            if let Some(password) = sentinel_password {
                let password = userinfo(None, Some(&password));
                let password = password.trim_start_matches(':').trim_end_matches('@');
                url = format!("{url}&sentinel_password={password}");
            }
            url
        } else if cluster.is_some_and(|cluster| flag(&cluster)) && !nodes.is_empty() {
            let nodes = nodes
                .iter()
                .map(|node| format!("{scheme}://{access}{node}"));
            nodes.collect::<Vec<_>>().join(",")
        } else {
            format!("{scheme}://{access}{}:{port}/{database}", bracketed(&host))
        };
        draft.set("redis", "url", url);
        if let Some(prefix) = word(self.take("adapter.redis.prefix")) {
            draft.set("redis", "prefix", prefix);
        }
    }

    fn metrics(&mut self, draft: &mut Draft) {
        let on = self.take("metrics.enabled").is_some_and(|on| flag(&on));
        let port = self.take("metrics.port").as_ref().and_then(number);
        self.take("metrics.driver");
        if on && let Some(port) = port {
            draft.set("admin", "port", port);
        }
    }

    /// For how long Soketi collects webhooks; 0 = not.
    fn batching(&mut self) -> i64 {
        let on = self.take("webhooks.batching.enabled");
        let ms = self.take("webhooks.batching.duration");
        match on.is_some_and(|on| flag(&on)) {
            true => ms.as_ref().and_then(number).unwrap_or(50).clamp(0, 60_000),
            false => 0,
        }
    }

    fn apps(&mut self, draft: &mut Draft, batch_ms: i64) {
        let driver = self.take("appManager.driver").as_ref().and_then(text);
        if let Some(driver) = driver.filter(|driver| driver != "array") {
            draft.leave(&format!(
                "appManager.driver = \"{driver}\": its apps are not read; list them under [[apps]]"
            ));
        }
        let apps = match self.take("appManager.array.apps").map(parsed) {
            Some(Value::Array(apps)) => apps,
            // Soketi serves one app when it is told of none.
            _ => vec![json!({})],
        };
        let mut rates = Vec::new();
        for app in apps {
            let Value::Object(mut app) = app else {
                draft.leave("appManager.array.apps: an entry that is no object");
                continue;
            };
            rates.push(app::rate(&mut app));
            let app = app::read(app, draft, batch_ms);
            draft.add(app);
        }
        // gema counts each connection's, for all apps alike; Soketi's -1 is any number.
        let widest = match rates.contains(&0) {
            true => 0,
            false => rates.iter().copied().max().unwrap_or(0),
        };
        draft.set("limits", "client_events_per_s", widest);
        if rates.iter().any(|rate| *rate != widest) {
            draft.leave(
                "maxClientEventsPerSecond of each app: limits.client_events_per_s is for all apps, and is the widest of them",
            );
        }
    }

    /// Says of every option that nobody took why.
    fn rest(self, draft: &mut Draft) {
        for (path, value) in self.leaves() {
            let means_nothing = !flag(&value) || value == json!([]) || value == json!({});
            let is_default = matches!(
                (path.as_str(), value.as_str()),
                ("queue.driver", Some("sync"))
                    | (
                        "rateLimiter.driver" | "cache.driver",
                        Some("local" | "memory")
                    )
            );
            // Everybody may in gema too, unless an app says otherwise.
            let open_cors =
                path.starts_with("cors.") && (path != "cors.origin" || value == json!(["*"]));
            if means_nothing || is_default || open_cors {
                continue;
            }
            let reason = REASONS.iter().find(|(prefix, _)| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            let reason = reason.map_or("gema has no counterpart", |(_, reason)| reason);
            draft.leave(&format!("{path}: {reason}"));
        }
    }

    fn number_into(
        &mut self,
        draft: &mut Draft,
        option: &str,
        section: &'static str,
        key: &'static str,
        scale: impl Fn(i64) -> Option<i64>,
    ) {
        let Some(value) = self.take(option) else {
            return;
        };
        match number(&value).and_then(scale) {
            Some(number) => draft.set(section, key, number),
            None => draft.leave(&format!(
                "{option} = {value}: no number for {section}.{key}"
            )),
        }
    }
}

/// `[{"host": "a", "port": 1}]`, or text that holds it, as `a:1`.
fn addresses(value: Option<Value>) -> Vec<String> {
    let Some(Value::Array(list)) = value.map(parsed) else {
        return Vec::new();
    };
    let address = |entry: &Value| {
        let host = text(&entry["host"])?;
        let host = bracketed(&host);
        Some(match number(&entry["port"]) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        })
    };
    list.iter().filter_map(address).collect()
}

/// IPv6 addresses stand in brackets in a URL.
pub(super) fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

fn is_file(path: &str) -> bool {
    std::path::Path::new(path).is_file()
}
