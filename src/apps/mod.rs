//! The applications a server serves, and finding one by its id or its key.
//! Where apps come from is another's business: this is what they are.
//!
//! # Layout
//!
//! * [`App`]: one of them. [`origin`], [`webhook`]: parts of it.
//! * [`registry`]: those in force, which can be replaced while others look; [`signing`]: the one of `auth.app`.
//! * [`refresh`]: asking for an app that is not known yet.
//! * [`per_app`]: what others keep for each app.

mod origin;
mod per_app;
mod refresh;
mod registry;
mod signing;
mod webhook;

use std::fmt;

pub use origin::{OriginPatternError, OriginPatterns};
pub use per_app::PerApp;
pub use refresh::{Asker, Refresh};
pub use registry::{Apps, Changes, MOST_IDS, Missing};
pub use signing::SigningApp;
pub use webhook::{Webhook, WebhookEvent, WebhookEvents};

/// One application: its credentials and what its clients may do.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    /// The engine's name for it, from 0: its id's for the life of the process. Given by [`Apps`].
    pub index: u32,
    /// Stands in the path of the HTTP API, `/apps/{id}`.
    pub id: String,
    /// What clients connect with, `/app/{key}`; public.
    pub key: String,
    /// Signs channels, users and HTTP API requests.
    pub secret: String,
    /// Whether anybody may connect or publish.
    pub enabled: bool,
    /// Whether members of private and presence channels may send client events.
    pub client_events: bool,
    /// Whether subscribers are told how many they are.
    pub subscription_count: bool,
    /// Whether users hear of the coming and going of those on their watchlists.
    pub watchlist: bool,
    /// The pages that may connect.
    pub allowed_origins: OriginPatterns,
    /// The most connections at a time; 0 = any number.
    pub max_connections: u32,
    /// Seconds within which a connection must sign in or join a private or presence channel; 0 = it need not.
    pub authorized_only_s: u64,
    /// From which the keys of encrypted channels are made, if the server is to hand them out.
    pub encryption_master_key: Option<[u8; 32]>,
    /// Who is told of what happens in its channels.
    pub webhooks: Vec<Webhook>,
}

/// Shows everything but the two secrets, so an app may be logged.
impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("index", &self.index)
            .field("id", &self.id)
            .field("key", &self.key)
            .field("secret", &"***")
            .field("enabled", &self.enabled)
            .field("client_events", &self.client_events)
            .field("subscription_count", &self.subscription_count)
            .field("watchlist", &self.watchlist)
            .field("allowed_origins", &self.allowed_origins)
            .field("max_connections", &self.max_connections)
            .field("authorized_only_s", &self.authorized_only_s)
            .field(
                "encryption_master_key",
                &self.encryption_master_key.map(|_| "***"),
            )
            .field("webhooks", &self.webhooks)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn app(id: &str, key: &str) -> App {
        App {
            index: 0,
            id: id.to_owned(),
            key: key.to_owned(),
            secret: "hush".to_owned(),
            enabled: true,
            client_events: true,
            subscription_count: false,
            watchlist: true,
            allowed_origins: OriginPatterns::parse(&["*".to_owned()]).unwrap(),
            max_connections: 0,
            authorized_only_s: 0,
            encryption_master_key: Some([7; 32]),
            webhooks: Vec::new(),
        }
    }
}
