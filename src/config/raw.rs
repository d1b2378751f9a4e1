//! The configuration as it is written: one struct a table, keys and types as in config/default.toml.
//! The structs are the only list of keys there is; reading a file and the environment goes by [`Table::KEYS`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::webhooks::{host_alone, without_secrets};

/// The keys of a table in the order they are written.
pub(super) type Keys = &'static [(&'static str, Kind)];

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// true or false.
    Flag,
    /// A whole number from 0 to this one.
    Whole(u64),
    /// A list of strings.
    TextList,
    /// A table of strings under free names.
    TextMap,
    /// `[name]`
    Table(Keys),
    /// `[[name]]`
    Tables(Keys),
}

/// A type that can stand behind a key.
pub(super) trait Typed {
    /// What to write for it.
    const KIND: Kind;
}

/// A struct that is a table of the file.
pub(super) trait Table {
    /// Its keys.
    const KEYS: Keys;
}

macro_rules! typed {
    ($($type:ty => $kind:expr,)*) => { $(impl Typed for $type { const KIND: Kind = $kind; })* };
}

typed! {
    String => Kind::Text,
    bool => Kind::Flag,
    u16 => Kind::Whole(u16::MAX as u64),
    u32 => Kind::Whole(u32::MAX as u64),
    // TOML's whole numbers are signed.
    u64 => Kind::Whole(i64::MAX as u64),
    usize => Kind::Whole(i64::MAX as u64),
    Vec<String> => Kind::TextList,
    BTreeMap<String, String> => Kind::TextMap,
}

impl<T: Typed> Typed for Option<T> {
    const KIND: Kind = T::KIND;
}

impl<T: Table> Typed for Vec<T> {
    const KIND: Kind = Kind::Tables(T::KEYS);
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name { $($(#[$attr])* pub(super) $key: $type,)* }

        impl Table for $name {
            const KEYS: Keys = &[$((stringify!($key), <$type as Typed>::KIND),)*];
        }
    };
}

/// The whole file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) limits: RawLimits,
    pub(super) apps: Vec<RawApp>,
    pub(super) auth: RawAuth,
    pub(super) gateways: RawGateways,
    pub(super) redis: RawRedis,
    pub(super) admin: RawAdmin,
    pub(super) database: RawDatabase,
    pub(super) outbox: RawOutbox,
    pub(super) chat: RawChat,
}

impl Table for Raw {
    const KEYS: Keys = &[
        ("server", Kind::Table(RawServer::KEYS)),
        ("limits", Kind::Table(RawLimits::KEYS)),
        ("apps", Kind::Tables(RawApp::KEYS)),
        ("auth", Kind::Table(RawAuth::KEYS)),
        ("gateways", Kind::Table(RawGateways::KEYS)),
        ("redis", Kind::Table(RawRedis::KEYS)),
        ("admin", Kind::Table(RawAdmin::KEYS)),
        ("database", Kind::Table(RawDatabase::KEYS)),
        ("outbox", Kind::Table(RawOutbox::KEYS)),
        ("chat", Kind::Table(RawChat::KEYS)),
    ];
}

table! {
    /// `[server]`
    RawServer {
        host: String,
        port: u16,
        path_prefix: String,
        tls_cert: String,
        tls_key: String,
        trusted_proxies: Vec<String>,
        shutdown_grace_s: u64,
        shards: usize,
    }
}

table! {
    /// `[limits]`
    RawLimits {
        max_connections: usize,
        event_data_bytes: usize,
        request_bytes: usize,
        message_bytes: usize,
        channels_per_event: usize,
        events_per_batch: usize,
        channel_name_chars: usize,
        event_name_chars: usize,
        channels_per_connection: usize,
        client_events_per_s: u32,
        presence_members: usize,
        presence_info_bytes: usize,
        outbox_bytes: usize,
        activity_timeout_s: u64,
        pong_timeout_s: u64,
        handshakes_per_s: u32,
        api_requests_per_s: u32,
    }
}

table! {
    /// `[[apps]]`; the first three have no default.
    RawApp {
        id: Option<String>,
        key: Option<String>,
        secret: Option<String>,
        enabled: bool,
        client_events: bool,
        subscription_count: bool,
        watchlist: bool,
        allowed_origins: Vec<String>,
        max_connections: u32,
        authorized_only_s: u64,
        encryption_master_key: String,
        #[serde(default)]
        webhooks: Vec<RawWebhook>,
    }
}

table! {
    /// `[[apps.webhooks]]`
    RawWebhook {
        url: Option<String>,
        events: Option<Vec<String>>,
        #[serde(default)]
        channel_prefix: String,
        #[serde(default)]
        batch_ms: u64,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    }
}

table! {
    /// `[auth]`
    RawAuth {
        jwt_secret: String,
        jwt_public_key: String,
        jwks_url: String,
        jwt_issuer: String,
        jwt_audience: String,
        claim_user: String,
        claim_name: String,
        claim_roles: String,
        user_info: Vec<String>,
        app: String,
        channels: Vec<RawRule>,
        #[serde(default)]
        guards: Vec<RawGuard>,
    }
}

table! {
    /// `[[auth.channels]]`
    RawRule {
        channel: Option<String>,
        user: Option<String>,
        roles: Option<Vec<String>>,
        claim: Option<BTreeMap<String, String>>,
        sql: Option<String>,
    }
}

table! {
    /// `[[auth.guards]]`
    RawGuard {
        channel: Option<String>,
        roles: Option<Vec<String>>,
    }
}

table! {
    /// `[gateways]`
    RawGateways {
        http_fallback: bool,
        plain_path: String,
        socketio_path: String,
        anonymous_channels: Vec<String>,
        user_channels: Vec<String>,
    }
}

table! {
    /// `[redis]`
    RawRedis {
        url: String,
        prefix: String,
        node_lease_s: u64,
    }
}

table! {
    /// `[admin]`
    RawAdmin {
        host: String,
        port: u16,
        token: String,
    }
}

table! {
    /// `[database]`
    RawDatabase {
        url: String,
        max_connections: u32,
        acquire_timeout_ms: u64,
        idle_timeout_s: u64,
        apps: bool,
        apps_table: String,
        apps_refresh_s: u64,
    }
}

table! {
    /// `[outbox]`
    RawOutbox {
        enabled: bool,
        poll_ms: u64,
        batch: u32,
    }
}

table! {
    /// `[chat]`
    RawChat {
        enabled: bool,
        content_chars: usize,
    }
}

impl Raw {
    /// The effective configuration as TOML. A secret that is set shows as `***`, so this may be printed and shared.
    pub(super) fn into_masked_toml(mut self) -> String {
        let apps = self.apps.iter_mut().flat_map(|app| {
            app.secret
                .iter_mut()
                .chain([&mut app.encryption_master_key])
        });
        for secret in apps.chain([&mut self.auth.jwt_secret, &mut self.admin.token]) {
            if !secret.is_empty() {
                *secret = "***".to_owned();
            }
        }
        let servers = self.redis.url.split(',').map(without_secrets);
        self.redis.url = servers.collect::<Vec<_>>().join(",");
        self.database.url = without_secrets(&self.database.url);
        self.auth.jwks_url = without_secrets(&self.auth.jwks_url);
        for webhook in self.apps.iter_mut().flat_map(|app| &mut app.webhooks) {
            webhook.url = webhook.url.as_deref().map(host_alone);
            for value in webhook.headers.values_mut() {
                *value = "***".to_owned();
            }
        }
        // Tables of texts, numbers and lists of them are all there is, and TOML can write each.
        toml::to_string(&self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// The full paths of all keys below `path`, tables and leaves, a list of tables by its first entry.
pub(super) fn paths(keys: Keys, path: &str, found: &mut Vec<String>) {
    for (key, kind) in keys {
        let full = join(path, key);
        match kind {
            Kind::Table(keys) => {
                found.push(full.clone());
                paths(keys, &full, found);
            }
            Kind::Tables(keys) => {
                found.push(full.clone());
                paths(keys, &format!("{full}[0]"), found);
            }
            _ => found.push(full),
        }
    }
}

/// `path.key`, or `key` alone at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
