//! The variables of a Laravel `.env`: Reverb's, those of Pusher's driver, and of Redis, in gema's words.
//! Source: the files config/reverb.php of laravel/reverb and config/broadcasting.php of laravel/laravel.

use std::collections::BTreeMap;

use super::draft::{Draft, DraftApp, userinfo};
use super::soketi::bracketed;
use super::value::{flag, number};

/// What says where clients and back ends connect to: they go on saying it, and gema does not need to know.
const ADDRESSES: [&str; 8] = [
    "REVERB_HOST",
    "REVERB_PORT",
    "REVERB_SCHEME",
    "PUSHER_HOST",
    "PUSHER_PORT",
    "PUSHER_SCHEME",
    "PUSHER_APP_CLUSTER",
    "PUSHER_CLUSTER",
];

/// Why a variable has no place in gema.toml.
const REASONS: [(&str, &str); 5] = [
    (
        "REVERB_APP_PING_INTERVAL",
        "limits.activity_timeout_s says when silent clients are pinged",
    ),
    (
        "REVERB_APP_RATE_LIMIT",
        "gema limits client events (limits.client_events_per_s), not messages",
    ),
    (
        "REVERB_PULSE",
        "the figures for Prometheus are at admin.port",
    ),
    (
        "REVERB_TELESCOPE",
        "the figures for Prometheus are at admin.port",
    ),
    ("PUSHER_", "it is a setting of the client"),
];

/// What of the environment may matter, by name; the last of a name counts.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, serde_json::Value>);

impl Variables {
    /// Notes a variable, if it is of interest.
    pub(super) fn lay(&mut self, name: String, value: String) {
        let ours = ["REVERB_", "PUSHER_", "REDIS_"];
        let also = ["BROADCAST_CONNECTION", "BROADCAST_DRIVER", "JWT_SECRET"];
        let wanted = ours.iter().any(|prefix| name.starts_with(prefix));
        if wanted || also.contains(&name.as_str()) {
            self.0.insert(name, value.into());
        }
    }

    /// Puts everything into the draft.
    pub(super) fn carry(mut self, draft: &mut Draft) {
        let driver = self.take("BROADCAST_CONNECTION");
        let driver = driver.or_else(|| self.take("BROADCAST_DRIVER"));
        let pusher = self.app("PUSHER_APP", draft);
        let reverb = self.app("REVERB_APP", draft);
        if reverb.is_some() {
            self.reverb(draft);
            draft.set(
                "server",
                "host",
                self.take("REVERB_SERVER_HOST").unwrap_or("0.0.0.0".into()),
            );
            // Reverb's own port, unless it is told another.
            let port = self.number("REVERB_SERVER_PORT").unwrap_or(8080);
            draft.set("server", "port", port);
        }
        let mut apps = [reverb, pusher];
        if driver.as_deref() == Some("pusher") {
            apps.reverse();
        }
        for app in apps.into_iter().flatten() {
            draft.add(app);
        }
        if let Some(secret) = self.take("JWT_SECRET") {
            draft.set("auth", "jwt_secret", secret);
        }
        self.rest(draft);
    }

    fn app(&mut self, prefix: &str, draft: &mut Draft) -> Option<DraftApp> {
        let mut part = |name: &str| self.take(&format!("{prefix}_{name}"));
        match (part("ID"), part("KEY"), part("SECRET")) {
            (Some(id), Some(key), Some(secret)) => Some(DraftApp {
                id,
                key,
                secret,
                ..DraftApp::default()
            }),
            (None, None, None) => None,
            _ => {
                draft.leave(&format!(
                    "the app of {prefix}_...: it takes all three, {prefix}_ID, {prefix}_KEY and {prefix}_SECRET"
                ));
                None
            }
        }
        .map(|app| match prefix {
            "REVERB_APP" => self.reverb_app(app, draft),
            _ => app,
        })
    }

    /// What Reverb lets its apps do.
    fn reverb_app(&mut self, mut app: DraftApp, draft: &mut Draft) -> DraftApp {
        if let Some(most) = self
            .number("REVERB_APP_MAX_CONNECTIONS")
            .filter(|most| *most > 0)
        {
            app.keys.push(("max_connections", most.into()));
        }
        match self.take("REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM").as_deref() {
            None | Some("members") => {}
            Some("none") => app.keys.push(("client_events", false.into())),
            Some(_) => draft.leave(
                "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM: client events are for members of private and presence channels only",
            ),
        }
        app
    }

    fn reverb(&mut self, draft: &mut Draft) {
        if let Some(path) = self.take("REVERB_SERVER_PATH") {
            draft.set("server", "path_prefix", path);
        }
        for (name, key) in [
            ("REVERB_APP_MAX_MESSAGE_SIZE", "message_bytes"),
            ("REVERB_MAX_REQUEST_SIZE", "request_bytes"),
            ("REVERB_APP_ACTIVITY_TIMEOUT", "activity_timeout_s"),
        ] {
            if let Some(limit) = self.number(name).filter(|limit| *limit > 0) {
                draft.set("limits", key, limit);
            }
        }
        let scales = self.0.remove("REVERB_SCALING_ENABLED");
        if scales.is_some_and(|scales| flag(&scales)) {
            draft.set("redis", "url", self.redis_url());
            if let Some(channel) = self.take("REVERB_SCALING_CHANNEL") {
                draft.set("redis", "prefix", channel);
            }
        }
        // One node has no use for it.
        self.take("REVERB_SCALING_CHANNEL");
    }

    /// As Laravel reads it: the URL, or else its parts.
    fn redis_url(&mut self) -> String {
        if let Some(url) = self.take("REDIS_URL") {
            return url
                .replacen("tls://", "rediss://", 1)
                .replacen("tcp://", "redis://", 1);
        }
        let filled = |value: Option<String>| value.filter(|value| value != "null");
        let user = filled(self.take("REDIS_USERNAME"));
        let password = filled(self.take("REDIS_PASSWORD"));
        let access = userinfo(user.as_deref(), password.as_deref());
        let host = filled(self.take("REDIS_HOST")).unwrap_or_else(|| "127.0.0.1".to_owned());
        let (scheme, host) = match host.strip_prefix("tls://") {
            Some(host) => ("rediss", host.to_owned()),
            None => ("redis", host),
        };
        let port = self.number("REDIS_PORT").unwrap_or(6379);
        let database = self.number("REDIS_DB").unwrap_or(0);
        format!("{scheme}://{access}{}:{port}/{database}", bracketed(&host))
    }

    fn rest(self, draft: &mut Draft) {
        let known = |name: &String| {
            // Those of Redis are the application's too, and REVERB_SERVER names a section of config/reverb.php.
            name.starts_with("REDIS_")
                || name == "REVERB_SERVER"
                || ADDRESSES.contains(&name.as_str())
        };
        for name in self.0.into_keys().filter(|name| !known(name)) {
            let reason = REASONS.iter().find(|(prefix, _)| name.starts_with(prefix));
            let reason = reason.map_or("gema has no counterpart", |(_, reason)| reason);
            draft.leave(&format!("{name}: {reason}"));
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let value = self.0.remove(name)?;
        value.as_str().map(str::to_owned)
    }

    fn number(&mut self, name: &str) -> Option<i64> {
        self.0.remove(name).as_ref().and_then(number)
    }
}
