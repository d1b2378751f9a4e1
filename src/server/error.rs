//! Why the server cannot start, or had to stop.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::auth::AuthSetupError;
use crate::config::ConfigError;
use crate::webhooks::WebhookSetupError;

/// Why the server cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}: {source} ({settings})")]
    Bind {
        /// Where it was to listen.
        address: String,
        /// The settings that say so.
        settings: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("{setting} = {path:?}: {problem}")]
    Tls {
        /// `server.tls_cert` or `server.tls_key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The authorizer's settings cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The webhooks cannot be sent.
    #[error(transparent)]
    Webhooks(#[from] WebhookSetupError),
    /// The embedded defaults are not in order.
    #[error(transparent)]
    Defaults(#[from] ConfigError),
    /// The operating system gave no random number for the node's id.
    #[error("no random number for the node's id: {0}")]
    Random(#[from] getrandom::Error),
    /// The operating system gave no thread for a shard.
    #[error("no thread for a shard (server.shards): {0}")]
    Threads(std::io::Error),
    /// A shard panicked; its connections are lost, so the process must be started anew.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl ServerError {
    /// Whether a setting is at fault.
    pub fn is_config(&self) -> bool {
        matches!(self, ServerError::Tls { .. } | ServerError::Auth(_))
    }

    pub(super) fn tls(setting: &'static str, path: &Path, problem: &dyn Display) -> ServerError {
        ServerError::Tls {
            setting,
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}
