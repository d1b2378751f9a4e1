//! The applications a server serves, and finding one by its id or its key.
//! Where apps come from is another's business: this is what they are.

mod origin;
mod webhook;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use origin::{OriginPatternError, OriginPatterns};
pub use webhook::{Webhook, WebhookEvent, WebhookEvents};

/// One application: its credentials and what its clients may do.
#[derive(Clone)]
pub struct App {
    /// Its place in the list of apps, from 0; the engine's name for it.
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

/// The apps of a server. Ids are unique and so are keys; the configuration sees to it.
#[derive(Debug, Default)]
pub struct Apps {
    apps: Vec<Arc<App>>,
    by_id: HashMap<String, usize>,
    by_key: HashMap<String, usize>,
}

impl Apps {
    /// A registry of these apps. Of two with the same id or key the later is found.
    pub fn new(apps: Vec<App>) -> Apps {
        let by_id = apps
            .iter()
            .enumerate()
            .map(|(n, app)| (app.id.clone(), n))
            .collect();
        let by_key = apps
            .iter()
            .enumerate()
            .map(|(n, app)| (app.key.clone(), n))
            .collect();
        Apps {
            apps: apps.into_iter().map(Arc::new).collect(),
            by_id,
            by_key,
        }
    }

    /// The app with this id, enabled or not.
    pub fn by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.get(*self.by_id.get(id)?)
    }

    /// The app with this key, enabled or not.
    pub fn by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.apps.get(*self.by_key.get(key)?)
    }

    /// All apps, in the order of their `index`.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(index: u32, id: &str, key: &str) -> App {
        App {
            index,
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

    #[test]
    fn an_app_is_found_by_its_id_and_by_its_key() {
        let apps = Apps::new(vec![app(0, "1", "a"), app(1, "2", "b")]);
        assert_eq!(apps.by_id("2").map(|app| app.index), Some(1));
        assert_eq!(apps.by_key("b").map(|app| app.index), Some(1));
        assert!(apps.by_id("b").is_none());
        assert!(apps.by_key("2").is_none());
        assert_eq!(apps.iter().map(|app| app.index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let shown = format!("{:?}", Apps::new(vec![app(0, "1", "a")]));
        assert!(!shown.contains("hush"), "{shown}");
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
