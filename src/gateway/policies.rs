//! The session rules of each app, shared by its connections. They are made anew when the app has changed; who is connected
//! keeps those it came with, since what it has signed is signed with their secret.

use std::sync::{Arc, Mutex, PoisonError};

use gema_protocol::session::Policy;

use crate::apps::{App, PerApp};
use crate::config::Limits;

/// The rules of all apps.
pub struct Policies {
    limits: Limits,
    /// The last that was made, and of what.
    made: PerApp<Mutex<Option<Made>>>,
}

type Made = (Arc<App>, Arc<Policy>);

impl Policies {
    /// `limits` are those of every app.
    pub fn new(limits: Limits) -> Policies {
        Policies {
            limits,
            made: PerApp::default(),
        }
    }

    /// Client events per second and connection, of every app; 0 = any number.
    pub fn client_events_per_s(&self) -> u32 {
        self.limits.client_events_per_s
    }

    /// The rules for connections that come to this app now.
    pub fn of(&self, app: &Arc<App>) -> Arc<Policy> {
        let made = self.made.get_or_init(app.index, Mutex::default);
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((of, policy)) if Arc::ptr_eq(of, app) => policy.clone(),
            _ => {
                let policy = Arc::new(self.make(app));
                *made = Some((app.clone(), policy.clone()));
                policy
            }
        }
    }

    fn make(&self, app: &App) -> Policy {
        let limits = &self.limits;
        Policy {
            key: app.key.clone(),
            secret: app.secret.clone(),
            client_events: app.client_events,
            channel_name_chars: limits.channel_name_chars,
            event_name_chars: limits.event_name_chars,
            event_data_bytes: limits.event_data_bytes,
            channels_per_connection: limits.channels_per_connection,
            client_events_per_s: limits.client_events_per_s,
            presence_info_bytes: limits.presence_info_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::Apps;
    use crate::config::Config;

    #[test]
    fn connections_of_an_app_share_their_rules_until_it_changes() {
        let config = Config::from_toml("").unwrap();
        let policies = Policies::new(config.limits);
        let apps = Apps::new(config.apps.clone());
        let find = || apps.by_id("app-id").unwrap();
        let first = policies.of(&find());
        assert!(Arc::ptr_eq(&first, &policies.of(&find())));
        let mut changed = config.apps;
        changed[0].secret = "other".to_owned();
        apps.replace(changed);
        assert_eq!(policies.of(&find()).secret, "other");
        assert_eq!(first.secret, "app-secret");
    }
}
