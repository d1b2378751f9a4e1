//! Signed-in users: which connections are whose, who watches whom, and sending a user away.
//! Rules: <https://pusher.com/docs/channels/using_channels/user-authentication/> and its watchlist events.
//!
//! # Layout
//!
//! * [`shared`]: the same with other nodes, where a user may be on any of them.

mod shared;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use gema_protocol::code::Code;
use gema_protocol::frame::Frame;
use gema_protocol::server;
use tokio::sync::Mutex;

use self::shared::Elsewhere;
use crate::apps::{Apps, PerApp};
use crate::bus::Bus;
use crate::hub::{ConnectionId, Farewell, Hub};

/// The signed-in users of all apps.
///
/// An app's lock is held until the shards have been told of a change, so that a client hears the comings and
/// goings of a user in the order in which they happened. It is not held while Redis is asked.
pub struct Users {
    hub: Arc<Hub>,
    /// The other nodes, if there are any.
    bus: Option<Arc<Bus>>,
    /// What each app has switched on.
    apps: Arc<Apps>,
    known: PerApp<Mutex<Known>>,
}

/// Users who are here, or watched, or both; with other nodes, for a while after. Others are not kept.
type Known = HashMap<Arc<str>, User, RandomState>;

#[derive(Debug, Default)]
struct User {
    connections: HashSet<ConnectionId, RandomState>,
    watchers: HashSet<ConnectionId, RandomState>,
    /// What the watchers have been told last.
    is_online: bool,
    /// With other nodes.
    elsewhere: Option<Box<Elsewhere>>,
}

impl Users {
    /// Nobody is signed in yet.
    pub fn new(hub: Arc<Hub>, bus: Option<Arc<Bus>>, apps: Arc<Apps>) -> Arc<Users> {
        Arc::new(Users {
            apps,
            known: PerApp::default(),
            hub,
            bus,
        })
    }

    /// Notes that a connection is this user's, tells it who of its watchlist is online, and tells those who
    /// watch the user when this is the first connection.
    pub async fn arrive(
        self: &Arc<Self>,
        id: ConnectionId,
        app: u32,
        user: &gema_protocol::user::User,
    ) {
        let known = self.known.get_or_init(app, Mutex::default);
        {
            let mut users = known.lock().await;
            let entry = users.entry(user.id.clone()).or_default();
            entry.connections.insert(id);
            self.moved(&mut users, app, &user.id).await;
        }
        if user.watchlist.is_empty() || !self.apps.is(app, |app| app.watchlist) {
            return;
        }
        self.learn_all(known, app, &user.watchlist).await;
        let mut users = known.lock().await;
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for watched in &user.watchlist {
            let entry = users.entry(watched.clone()).or_default();
            entry.watchers.insert(id);
            let list = if entry.is_online {
                &mut online
            } else {
                &mut offline
            };
            list.push(&**watched);
        }
        let state = server::watchlist_events(&online, &offline);
        self.hub.send(id, state).await;
    }

    /// Ends the watching of a connection that goes on with another list, or ends.
    pub async fn unwatch(&self, id: ConnectionId, app: u32, watchlist: &[Arc<str>]) {
        let Some(known) = self.known.get(app) else {
            return;
        };
        let mut users = known.lock().await;
        for watched in watchlist {
            if let Some(entry) = users.get_mut(watched) {
                entry.watchers.remove(&id);
                self.forget_if_idle(&mut users, watched);
            }
        }
    }

    /// Notes that a connection of a user has gone, and tells those who watch the user when it was the last.
    pub async fn depart(
        self: &Arc<Self>,
        id: ConnectionId,
        app: u32,
        user: &gema_protocol::user::User,
    ) {
        self.unwatch(id, app, &user.watchlist).await;
        let Some(known) = self.known.get(app) else {
            return;
        };
        let mut users = known.lock().await;
        let Some(entry) = users.get_mut(&user.id) else {
            return;
        };
        if entry.connections.remove(&id) {
            self.moved(&mut users, app, &user.id).await;
            self.forget_if_idle(&mut users, &user.id);
        }
    }

    /// Closes every connection that has signed in as this user with 4009, after which clients stay away; on all nodes.
    pub async fn terminate(&self, app: u32, user_id: &str) {
        if let Some(bus) = &self.bus {
            bus.terminate(app, user_id);
        }
        self.close_here(app, user_id).await;
    }

    async fn close_here(&self, app: u32, user_id: &str) {
        let Some(known) = self.known.get(app) else {
            return;
        };
        let connections: Vec<_> = {
            let users = known.lock().await;
            let user = users.get(user_id);
            user.map_or_else(Vec::new, |user| user.connections.iter().copied().collect())
        };
        let farewell = Farewell::with(Code::Unauthorized, "You got disconnected by the app.");
        for id in connections {
            self.hub.close(id, farewell.clone()).await;
        }
    }

    /// A user's connections on this node have changed.
    async fn moved(self: &Arc<Self>, users: &mut Known, app: u32, user_id: &Arc<str>) {
        match &self.bus {
            Some(bus) => self.moved_shared(bus, users, app, user_id).await,
            None => {
                if let Some(user) = users.get_mut(user_id) {
                    let is_online = !user.connections.is_empty();
                    self.tell_if_changed(user, user_id, is_online).await;
                }
            }
        }
    }

    /// Sees to it that the state of these users is known, as far as it can be within a moment.
    async fn learn_all(self: &Arc<Self>, known: &Mutex<Known>, app: u32, user_ids: &[Arc<str>]) {
        let Some(bus) = &self.bus else { return };
        let readings: Vec<_> = {
            let mut users = known.lock().await;
            let learn = |user_id: &Arc<str>| {
                users.entry(user_id.clone()).or_default();
                self.learn(bus, &mut users, app, user_id)
            };
            user_ids.iter().filter_map(learn).collect()
        };
        shared::await_all(readings).await;
    }

    async fn tell_if_changed(&self, user: &mut User, user_id: &str, is_online: bool) {
        if user.is_online == is_online {
            return;
        }
        user.is_online = is_online;
        let frame = if is_online {
            server::watchlist_events(&[user_id], &[])
        } else {
            server::watchlist_events(&[], &[user_id])
        };
        self.tell(&user.watchers, &frame).await;
    }

    async fn tell(&self, watchers: &HashSet<ConnectionId, RandomState>, frame: &Frame) {
        for watcher in watchers {
            self.hub.send(*watcher, frame.clone()).await;
        }
    }

    fn forget_if_idle(&self, users: &mut Known, id: &Arc<str>) {
        let Some(user) = users.get_mut(id) else {
            return;
        };
        if !user.connections.is_empty() || !user.watchers.is_empty() {
            return;
        }
        if self.bus.is_some() {
            shared::begin_idling(user);
        } else {
            users.remove(id);
        }
    }
}
