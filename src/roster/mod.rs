//! Which apps are in force while the server runs, and what follows when that changes: their connections are closed, their
//! webhooks begin and end.
//!
//! # Layout
//!
//! * [`Roster`]: the apps of the configuration and those of a table, put in force together.
//! * [`table`]: the task that reads the table. [`rows`]: its rows, from each kind of database.
//! * [`layout`]: whose table it is, and what its columns mean. [`columns`]: what is written in them.

mod columns;
mod layout;
mod rows;
mod table;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gema_protocol::code::Code;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

pub use self::table::AppTable;

use crate::apps::{App, Apps, Changes, MOST_IDS};
use crate::gateway::pusher::Gateway;
use crate::hub::Farewell;
use crate::webhooks::Webhooks;

/// How long the connections of an app that is gone may take to go before its webhooks end without having been told of it:
/// the hub closes them within a second, and they have five for their farewell.
const LEAVING: Duration = Duration::from_secs(10);

/// With other nodes an absence is told once it has lasted three seconds and Redis has said who tells it, which takes
/// milliseconds, or seconds on a machine that is overloaded. Waiting longer costs no more than to keep what the app had.
const CLAIMED: Duration = Duration::from_secs(15);

/// Between two looks at whether they have gone.
const GLANCE: Duration = Duration::from_millis(100);

/// The apps in force. There is one; whoever has new apps tells it.
pub struct Roster {
    gateway: Arc<Gateway>,
    webhooks: Arc<Webhooks>,
    /// Held while a change is carried out, so that they come one after another.
    sources: Mutex<Sources>,
}

/// Where the apps come from.
struct Sources {
    config: Vec<App>,
    table: Vec<App>,
    /// The apps of which nobody may stay, by index.
    closed: HashSet<u32>,
}

impl Roster {
    /// The apps of the configuration are in force already.
    pub fn new(gateway: Arc<Gateway>, webhooks: Arc<Webhooks>, config: Vec<App>) -> Arc<Roster> {
        Arc::new(Roster {
            gateway,
            webhooks,
            sources: Mutex::new(Sources {
                config,
                table: Vec::new(),
                closed: HashSet::new(),
            }),
        })
    }

    /// The configuration has been read again.
    pub async fn set_config(self: &Arc<Self>, apps: Vec<App>) {
        let mut sources = self.sources.lock().await;
        sources.config = apps;
        self.put_in_force(&mut sources).await;
    }

    /// The table has been read. Of two apps with the same id or key the configuration's is in force, else the first; gives
    /// what is wrong with the others.
    pub async fn set_table(self: &Arc<Self>, apps: Vec<App>) -> Vec<String> {
        let mut sources = self.sources.lock().await;
        sources.table = apps;
        self.put_in_force(&mut sources).await
    }

    fn apps(&self) -> &Apps {
        &self.gateway.apps
    }

    async fn put_in_force(self: &Arc<Self>, sources: &mut Sources) -> Vec<String> {
        let (apps, clashes) = together(&sources.config, &sources.table);
        let changes = self.apps().replace(apps);
        if changes.any() {
            info!(
                added = changes.added.len(),
                changed = changes.changed.len(),
                removed = changes.removed.len(),
                "the apps have changed"
            );
        }
        if !changes.left_out.is_empty() {
            let ids = changes.left_out.len();
            error!(
                ids,
                most = MOST_IDS,
                "this process has had too many apps; new ones are in force after a restart"
            );
        }
        self.carry_out(changes, sources).await;
        clashes
    }

    async fn carry_out(self: &Arc<Self>, changes: Changes, sources: &mut Sources) {
        let hub = &self.gateway.hub;
        let mut leaving = Vec::new();
        for app in changes.added.iter().chain(&changes.changed) {
            if !app.enabled {
                if sources.closed.insert(app.index) {
                    hub.close_app(app.index, Farewell::of(Code::AppDisabled))
                        .await;
                    leaving.push(app.index);
                }
                continue;
            }
            if sources.closed.remove(&app.index) {
                hub.reopen_app(app.index).await;
            }
            if let Err(why) = self.webhooks.set(app) {
                error!(app = app.id, %why, "the app is served, its webhooks are not");
            }
        }
        for app in &changes.removed {
            let farewell = Farewell::of(Code::AppNotFound);
            // Whoever still comes to one that was disabled before is told the latest.
            hub.close_app(app.index, farewell).await;
            if sources.closed.insert(app.index) {
                leaving.push(app.index);
            }
        }
        if !leaving.is_empty() {
            tokio::spawn(self.clone().see_off(leaving));
        }
    }

    /// Ends the webhooks of apps once their connections have gone, so that the back ends hear of that.
    async fn see_off(self: Arc<Self>, apps: Vec<u32>) {
        let deadline = Instant::now() + LEAVING;
        let admission = &self.gateway.admission;
        while apps.iter().any(|app| admission.connections(*app) > 0) && Instant::now() < deadline {
            sleep(GLANCE).await;
        }
        if self.webhooks.are_shared() {
            sleep(CLAIMED).await;
        }
        let sources = self.sources.lock().await;
        // Some may have come back meanwhile.
        for app in apps.into_iter().filter(|app| sources.closed.contains(app)) {
            self.webhooks.retire(app);
        }
    }
}

/// The apps of both, and what is wrong with those that are left out: ids and keys are unique.
fn together(config: &[App], table: &[App]) -> (Vec<App>, Vec<String>) {
    let mut ids: HashSet<&str> = config.iter().map(|app| app.id.as_str()).collect();
    let mut keys: HashSet<&str> = config.iter().map(|app| app.key.as_str()).collect();
    let (mut apps, mut clashes) = (config.to_vec(), Vec::new());
    for app in table {
        let taken = match (ids.insert(&app.id), keys.insert(&app.key)) {
            (true, true) => {
                apps.push(app.clone());
                continue;
            }
            (false, is_new) => {
                if is_new {
                    keys.remove(app.key.as_str());
                }
                "id"
            }
            (true, false) => {
                ids.remove(app.id.as_str());
                "key"
            }
        };
        let is_config = config
            .iter()
            .any(|one| one.id == app.id || one.key == app.key);
        let whose = match is_config {
            true => "an app of the configuration has the same, which wins",
            false => "another row has the same; the first by id is in force",
        };
        clashes.push(format!(
            "the row with the id '{}': {taken}: {whose}",
            app.id
        ));
    }
    (apps, clashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn apps(credentials: &[(&str, &str)]) -> Vec<App> {
        let toml = credentials
            .iter()
            .map(|(id, key)| format!("[[apps]]\nid = '{id}'\nkey = '{key}'\nsecret = 'hush'\n"));
        let toml: String = toml.collect();
        Config::from_toml(&toml).unwrap().apps
    }

    #[test]
    fn the_configuration_wins_over_the_table_and_the_first_row_over_the_second() {
        let config = apps(&[("a", "ka")]);
        let table = [
            apps(&[("a", "other")]),
            apps(&[("b", "ka")]),
            apps(&[("c", "kc")]),
            apps(&[("d", "kc")]),
            apps(&[("b", "other")]),
        ];
        let (apps, clashes) = together(&config, &table.concat());
        let ids: Vec<_> = apps.iter().map(|app| (&*app.id, &*app.key)).collect();
        assert_eq!(ids, [("a", "ka"), ("c", "kc"), ("b", "other")]);
        assert_eq!(clashes.len(), 3);
        assert!(clashes[0].starts_with("the row with the id 'a': id: an app of the configuration"));
        assert!(
            clashes[1].starts_with("the row with the id 'b': key: an app of the configuration")
        );
        assert!(clashes[2].starts_with("the row with the id 'd': key: another row"));
    }
}
