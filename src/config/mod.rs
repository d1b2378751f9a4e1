//! The configuration: what the `sources` say (`raw`), read and laid over each other (`document`, `variables`, `layers`),
//! becomes one checked [`Config`] or a [`ConfigError`] that names every mistake and its place. `check` judges; what is true of one
//! section only stands in the file of its name.

mod admin;
mod apps;
mod auth;
mod chat;
mod check;
mod database;
mod document;
mod error;
mod gateways;
mod layers;
mod limits;
mod outbox;
mod raw;
mod redis;
#[cfg(test)]
mod reference;
mod rows;
mod rules;
mod server;
mod sources;
mod variables;
mod webhooks;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gema_protocol::channel::ChannelName;
use ipnet::IpNet;

pub use self::apps::DEVELOPMENT_SECRET;
use crate::apps::App;
use crate::auth::{AuthSettings, Rule};
use crate::bus::redis::Servers;
use crate::store::{Address, Tables};
pub use error::{ConfigError, Place, Problem, Why};
pub use gateways::ChannelTemplate;
use layers::Layers;
pub use rows::{AppRows, RowError};
pub use sources::Sources;

/// Everything a server can be told, checked. Each key is explained in config/default.toml.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how it listens.
    pub server: Server,
    /// What it refuses.
    pub limits: Limits,
    /// The applications: at least one, ids and keys unique, `index` the place in this list.
    pub apps: Vec<App>,
    /// Who may subscribe to what.
    pub auth: Auth,
    /// Doors besides the WebSocket.
    pub gateways: Gateways,
    /// `[redis]`; none = one node.
    pub redis: Option<Redis>,
    /// The second listener; `None` when it is off.
    pub admin: Option<Admin>,
    /// The database, for the parts that need one.
    pub database: Database,
    /// `[outbox]`; none = the table `broadcasts` is not looked at.
    pub outbox: Option<Outbox>,
    /// `[chat]`, when it is on.
    pub chat: Option<Chat>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// An IP address, without the brackets of IPv6, or a host name; never empty.
    pub host: String,
    /// TCP port; 0 = the system chooses.
    pub port: u16,
    /// Empty, or a path that begins with `/` and does not end with it.
    pub path_prefix: String,
    /// PEM file of the certificate chain; set exactly when `tls_key` is.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Seconds that the drain after SIGTERM takes.
    pub shutdown_grace_s: u64,
    /// Threads that share the connections, as configured; 0 = one per core. [`Server::shard_count`] knows how many.
    pub shards: usize,
}

/// `[limits]`; 0 means no limit where that is said, and is refused elsewhere.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of the process; 0 = what the limit on open files allows.
    pub max_connections: usize,
    /// Bytes of an event's data.
    pub event_data_bytes: usize,
    /// Bytes of an HTTP request's body.
    pub request_bytes: usize,
    /// Bytes of one client message.
    pub message_bytes: usize,
    /// Channels one event names.
    pub channels_per_event: usize,
    /// Events in a batch.
    pub events_per_batch: usize,
    /// Characters of a channel's name.
    pub channel_name_chars: usize,
    /// Characters of an event's name.
    pub event_name_chars: usize,
    /// Channels of one connection; a file's 0 is 10,000 here.
    pub channels_per_connection: usize,
    /// Client events per second and connection; 0 = any number.
    pub client_events_per_s: u32,
    /// Users in a presence channel.
    pub presence_members: usize,
    /// Bytes of a member's `user_info`.
    pub presence_info_bytes: usize,
    /// Unsent bytes of a connection.
    pub outbox_bytes: usize,
    /// Seconds of silence before a client is pinged; 1 to 86400.
    pub activity_timeout_s: u64,
    /// Seconds it then has; 1 to 86400.
    pub pong_timeout_s: u64,
    /// Handshakes per second of the process; 0 = any number.
    pub handshakes_per_s: u32,
    /// HTTP API requests per second and app; 0 = any number.
    pub api_requests_per_s: u32,
}

/// `[auth]`, with the public key's file read.
#[derive(Clone)]
pub struct Auth {
    /// What the authorizer goes by.
    pub settings: AuthSettings,
    /// The id of the app whose secret signs; always one of the configured apps.
    pub app: String,
}

/// `[gateways]`
#[derive(Clone, Debug)]
pub struct Gateways {
    /// Whether pusher-js may come over plain HTTP.
    pub http_fallback: bool,
    /// Where clients speak JSON over WebSocket: a path that begins with `/`, or `None` when that door is closed.
    pub plain_path: Option<String>,
    /// Where clients of Socket.IO are answered, as `plain_path`.
    pub socketio_path: Option<String>,
    /// What a client of another protocol hears without a token: public channels.
    pub anonymous_channels: Vec<ChannelName>,
    /// What a client of another protocol hears with a token.
    pub user_channels: Vec<ChannelTemplate>,
}

/// `[redis]`
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where it is.
    pub servers: Servers,
    /// What all keys and channels begin with; not empty.
    pub prefix: String,
    /// Seconds after which a node that does not renew its lease is taken for dead; 2 to 3600.
    pub node_lease_s: u64,
}

/// `[database]`
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub address: Address,
    /// The most connections that are kept; one for SQLite in memory, whatever it says here.
    pub max_connections: u32,
    /// How long a query waits for a free connection, or for a database that is away.
    pub acquire_timeout: Duration,
    /// After what time an unused connection is closed; `None` = never.
    pub idle_timeout: Option<Duration>,
    /// The tables that the parts in use need.
    pub tables: Tables,
    /// Where apps are read from; `None` = from the configuration alone.
    pub apps: Option<AppTable>,
}

/// The table of apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTable {
    /// Its name, or the schema's and its name: letters, digits and underscores alone.
    pub name: Vec<String>,
    /// The time between two looks at it; at least a second.
    pub refresh: Duration,
}

/// `[outbox]`, when it is on.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// How long to wait before looking again where nothing was found.
    pub poll: Duration,
    /// Rows that are taken at a time; at least one.
    pub batch: u32,
}

/// `[admin]`, when it is on.
#[derive(Clone)]
pub struct Admin {
    /// As [`Server::host`].
    pub host: String,
    /// TCP port. A file's 0 means off and does not come here; in here it lets the system choose, as tests do.
    pub port: u16,
    /// What callers must know; empty lets everybody in, which only a loopback host may have.
    pub token: String,
}

/// `[chat]`, when it is on.
#[derive(Clone, Debug)]
pub struct Chat {
    /// The longest message, in characters.
    pub content_chars: usize,
}

impl Config {
    /// Reads all sources: embedded defaults < file < environment < flags.
    ///
    /// # Errors
    ///
    /// Everything that is wrong at the first stage that finds something: reading the file, keys and types
    /// of the file, those of the environment, and then what the values mean.
    pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
        let (raw, places) = sources.read()?;
        check::config(&raw, &places)
    }

    /// The defaults under this TOML text; no file, environment or flag is looked at.
    ///
    /// # Errors
    ///
    /// As [`Config::load`], in the text.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults()?;
        sources::lay_file(&mut layers, text, "config")?;
        let (raw, places) = layers.into_raw()?;
        check::config(&raw, &places)
    }

    /// Checks the sources as [`Config::load`] does and gives the effective configuration back as TOML,
    /// with `***` in the place of every secret that is set.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn explain(sources: &Sources) -> Result<String, ConfigError> {
        let (raw, places) = sources.read()?;
        check::config(&raw, &places)?;
        Ok(raw.into_masked_toml())
    }
}

impl Config {
    /// Whether anything needs the database; otherwise it is not touched.
    pub fn needs_database(&self) -> bool {
        let rules = &self.auth.settings.rules;
        let database = &self.database;
        database.tables.any() || database.apps.is_some() || rules.iter().any(Rule::has_sql)
    }
}

impl Server {
    /// Threads that share the connections, at least one: as configured, or the cores this process may use.
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        }
    }
}

/// Shows no secret, so a configuration may be logged.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("app", &self.app)
            .field("rules", &self.settings.rules)
            .field("guards", &self.settings.guards)
            .finish_non_exhaustive()
    }
}

/// Shows no secret.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
