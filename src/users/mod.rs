//! Signed-in users: which connections are whose, who watches whom, and sending a user away.
//! Rules: <https://pusher.com/docs/channels/using_channels/user-authentication/> and its watchlist events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use tokio::sync::Mutex;

use crate::apps::Apps;
use crate::hub::{ConnectionId, Farewell, Hub};

/// The signed-in users of all apps.
///
/// An app's lock is held until the shards have been told of a change, so that a client hears the comings and
/// goings of a user in the order in which they happened.
#[derive(Debug)]
pub struct Users {
    hub: Arc<Hub>,
    /// By the app's index.
    apps: HashMap<u32, OfApp>,
}

#[derive(Debug)]
struct OfApp {
    /// Whether watching is switched on.
    watchlist: bool,
    users: Mutex<HashMap<Arc<str>, User, RandomState>>,
}

/// A user who is here, or watched, or both; others are not kept.
#[derive(Debug, Default)]
struct User {
    connections: HashSet<ConnectionId, RandomState>,
    watchers: HashSet<ConnectionId, RandomState>,
}

impl Users {
    /// Nobody is signed in yet.
    pub fn new(hub: Arc<Hub>, apps: &Apps) -> Users {
        let of_app = |watchlist| OfApp {
            watchlist,
            users: Mutex::default(),
        };
        let apps = apps.iter().map(|app| (app.index, of_app(app.watchlist)));
        Users {
            apps: apps.collect(),
            hub,
        }
    }

    /// Notes that a connection is this user's, tells it who of its watchlist is online, and tells those who
    /// watch the user when this is the first connection.
    pub async fn arrive(&self, id: ConnectionId, app: u32, user: &gema_protocol::user::User) {
        let Some(app) = self.apps.get(&app) else {
            return;
        };
        let mut users = app.users.lock().await;
        let entry = users.entry(user.id.clone()).or_default();
        let first = entry.connections.is_empty();
        entry.connections.insert(id);
        if first {
            self.tell(&entry.watchers, &server::watchlist_events(&[&user.id], &[]))
                .await;
        }
        if !app.watchlist {
            return;
        }
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for watched in &user.watchlist {
            let entry = users.entry(watched.clone()).or_default();
            entry.watchers.insert(id);
            let list = if entry.connections.is_empty() {
                &mut offline
            } else {
                &mut online
            };
            list.push(&**watched);
        }
        if !user.watchlist.is_empty() {
            let state = server::watchlist_events(&online, &offline);
            self.hub.send(id, state).await;
        }
    }

    /// Ends the watching of a connection that goes on with another list, or ends.
    pub async fn unwatch(&self, id: ConnectionId, app: u32, watchlist: &[Arc<str>]) {
        let Some(app) = self.apps.get(&app) else {
            return;
        };
        let mut users = app.users.lock().await;
        for watched in watchlist {
            if let Some(entry) = users.get_mut(watched) {
                entry.watchers.remove(&id);
                forget_if_idle(&mut users, watched);
            }
        }
    }

    /// Notes that a connection of a user has gone, and tells those who watch the user when it was the last.
    pub async fn depart(&self, id: ConnectionId, app: u32, user: &gema_protocol::user::User) {
        self.unwatch(id, app, &user.watchlist).await;
        let Some(app) = self.apps.get(&app) else {
            return;
        };
        let mut users = app.users.lock().await;
        let Some(entry) = users.get_mut(&user.id) else {
            return;
        };
        if entry.connections.remove(&id) && entry.connections.is_empty() {
            let gone = server::watchlist_events(&[], &[&user.id]);
            self.tell(&entry.watchers, &gone).await;
            forget_if_idle(&mut users, &user.id);
        }
    }

    /// Closes every connection that has signed in as this user with 4009, after which clients stay away.
    pub async fn terminate(&self, app: u32, user_id: &str) {
        let Some(app) = self.apps.get(&app) else {
            return;
        };
        let connections: Vec<_> = {
            let users = app.users.lock().await;
            let user = users.get(user_id);
            user.map_or_else(Vec::new, |user| user.connections.iter().copied().collect())
        };
        let farewell = Farewell::with(Code::Unauthorized, "You got disconnected by the app.");
        for id in connections {
            self.hub.close(id, farewell.clone()).await;
        }
    }

    async fn tell(&self, watchers: &HashSet<ConnectionId, RandomState>, frame: &Frame) {
        for watcher in watchers {
            self.hub.send(*watcher, frame.clone()).await;
        }
    }
}

fn forget_if_idle(users: &mut HashMap<Arc<str>, User, RandomState>, id: &Arc<str>) {
    let idle = users
        .get(id)
        .is_some_and(|user| user.connections.is_empty() && user.watchers.is_empty());
    if idle {
        users.remove(id);
    }
}
