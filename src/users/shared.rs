//! Users with other nodes: where a user has signed in is kept in Redis as the subscriptions of a channel are, and every
//! node that has the user, or somebody who watches the user, listens to the changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{Known, User, Users};
use crate::bus::redis::LinkId;
use crate::bus::{
    Bus, BusError, Holding, Interest, News, NodeName, Place, Replica, Snapshot, Step,
};
use crate::clock;

/// How long somebody who watches waits for Redis before the state known here is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how long a user is listened to after nobody here is the user or watches the user.
const LINGER_MS: u64 = 5000;

/// Users are read in so many parts, with others' commands in between.
const PARTS: usize = 64;

/// Every change of a user's sign-ins is news, and no webhook tells of it.
const INTEREST: Interest = Interest {
    hold: false,
    tell: true,
};

/// What is known of a user on the other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    replica: Replica,
    /// Redis sends its news over the connection there is.
    is_listening: bool,
    /// Redis may not have what this node holds.
    is_doubtful: bool,
    idle_since_ms: Option<u64>,
}

impl Users {
    /// A user's connections on this node have changed: Redis is told, or, while it is away, who watches.
    pub(super) async fn moved_shared(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        users: &mut Known,
        app: u32,
        user_id: &Arc<str>,
    ) {
        let Some(user) = users.get_mut(user_id) else {
            return;
        };
        let count = user.connections.len() as u32;
        let elsewhere = user.elsewhere.get_or_insert_default();
        elsewhere.idle_since_ms = None;
        if bus.is_up(&place(app, user_id)) {
            // Reading says how many are here, and is done again if that changes meanwhile. All hear of it as news.
            drop(self.read(bus, user, app, user_id));
        } else {
            elsewhere.replica.set_count(bus.name(), count);
            let is_online = elsewhere.replica.total() > 0;
            self.tell_if_changed(user, user_id, is_online).await;
        }
    }

    /// Listens to a user from now on; gives the first reading of where the user is, if it is still to come.
    pub(super) fn learn(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        users: &mut Known,
        app: u32,
        user_id: &Arc<str>,
    ) -> Option<JoinHandle<()>> {
        let user = users.get_mut(user_id)?;
        let elsewhere = user.elsewhere.get_or_insert_default();
        elsewhere.idle_since_ms = None;
        if elsewhere.replica.is_loaded() {
            return None;
        }
        self.read(bus, user, app, user_id)
    }

    /// Takes what another node has said about a user.
    pub async fn hear(self: &Arc<Self>, app: u32, user_id: &Arc<str>, news: News) {
        if news == News::Terminate {
            return self.close_here(app, user_id).await;
        }
        let (Some(bus), Some(known)) = (&self.bus, self.known.get(app)) else {
            return;
        };
        let mut users = known.lock().await;
        let Some(user) = users.get_mut(user_id) else {
            return;
        };
        let Some(elsewhere) = &mut user.elsewhere else {
            return;
        };
        let step = elsewhere.replica.take(&news);
        if step == Step::Old {
            return;
        }
        let is_online = elsewhere.replica.total() > 0;
        self.tell_if_changed(user, user_id, is_online).await;
        if step == Step::Gap {
            drop(self.read(bus, user, app, user_id));
        }
    }

    /// A link to Redis is there anew: its users are listened to and read, some at a time.
    pub async fn come_back(self: &Arc<Self>, link: LinkId) {
        for part in 0..PARTS {
            self.assert_some(Some(link), part, PARTS).await;
        }
    }

    /// Reads every user that this node listens to, and says where they are here; one part of so many.
    pub async fn assert_part(self: &Arc<Self>, part: usize, parts: usize) {
        self.assert_some(None, part, parts).await;
    }

    /// A link to Redis is gone: its users are where this node knows them.
    pub async fn cut_off(&self, link: LinkId) {
        let Some(bus) = &self.bus else { return };
        for (app, known) in self.known.iter() {
            let mut users = known.lock().await;
            for (user_id, user) in &mut *users {
                let Some(elsewhere) = &mut user.elsewhere else {
                    continue;
                };
                if bus.link_of(&place(app, user_id)) == Some(link) {
                    let count = user.connections.len() as u32;
                    elsewhere.is_listening = false;
                    elsewhere.replica.cut_off(bus.name(), count);
                    let is_online = elsewhere.replica.total() > 0;
                    self.tell_if_changed(user, user_id, is_online).await;
                }
            }
        }
    }

    /// Takes a dead node out of a user's places.
    ///
    /// # Errors
    /// Redis is away; the user is to be tried again.
    pub async fn bury(&self, app: u32, user_id: &Arc<str>, node: NodeName) -> Result<(), BusError> {
        if let Some(bus) = &self.bus {
            bus.drop_node(&place(app, user_id), node, INTEREST).await?;
        }
        Ok(())
    }

    /// Says again what Redis may not have, and ends listening to users whom nobody here is or watches any more. A user
    /// is not forgotten before Redis has it that they are not here.
    pub async fn tidy(self: &Arc<Self>) {
        let Some(bus) = &self.bus else { return };
        let now_ms = clock::now_ms();
        for (app, known) in self.known.iter() {
            let mut users = known.lock().await;
            users.retain(|user_id, user| {
                let Some(elsewhere) = &user.elsewhere else {
                    return true;
                };
                if elsewhere.is_doubtful {
                    drop(self.read(bus, user, app, user_id));
                    return true;
                }
                let is_over = elsewhere
                    .idle_since_ms
                    .is_some_and(|since| now_ms >= since + LINGER_MS);
                let place = place(app, user_id);
                let is_known = elsewhere.replica.is_loaded()
                    && !elsewhere.replica.is_reading()
                    && bus.is_up(&place);
                if is_over && is_known {
                    bus.unlisten(&place);
                }
                !(is_over && is_known)
            });
        }
    }

    async fn assert_some(self: &Arc<Self>, link: Option<LinkId>, part: usize, parts: usize) {
        let Some(bus) = &self.bus else { return };
        for (app, known) in self.known.iter() {
            let mut last = None;
            {
                let mut users = known.lock().await;
                let hasher = users.hasher().clone();
                for (user_id, user) in &mut *users {
                    if hasher.hash_one(user_id) as usize % parts != part {
                        continue;
                    }
                    let place = place(app, user_id);
                    let is_meant = link.is_none() || bus.link_of(&place) == link;
                    if user.elsewhere.is_some() && is_meant {
                        drop(self.read(bus, user, app, user_id));
                        last = Some(place);
                    }
                }
            }
            if let Some(place) = last {
                bus.reached(&place).await;
            }
        }
    }

    fn read(
        self: &Arc<Self>,
        bus: &Arc<Bus>,
        user: &mut User,
        app: u32,
        user_id: &Arc<str>,
    ) -> Option<JoinHandle<()>> {
        let place = place(app, user_id);
        if !bus.is_up(&place) {
            return None;
        }
        let elsewhere = user.elsewhere.as_mut()?;
        let number = elsewhere.replica.begin(bus.is_settled(&place))?;
        let holding = Holding {
            count: user.connections.len() as u32,
            seats: Vec::new(),
        };
        elsewhere.is_doubtful = false;
        let listening = (!elsewhere.is_listening).then(|| bus.listen(&place));
        let answer = bus.sync(&place, &holding, INTEREST);
        let (users, bus, user_id) = (self.clone(), bus.clone(), user_id.clone());
        Some(tokio::spawn(async move {
            let listening = match listening {
                Some(listening) => listening.await,
                None => Ok(()),
            };
            let answer = listening.and(answer.await);
            // What was said before this answer is heard before it.
            bus.caught_up().await;
            users.loaded(app, &user_id, number, answer).await;
        }))
    }

    async fn loaded(
        self: &Arc<Self>,
        app: u32,
        user_id: &Arc<str>,
        number: u32,
        answer: Result<Snapshot, BusError>,
    ) {
        let (Some(bus), Some(known)) = (&self.bus, self.known.get(app)) else {
            return;
        };
        let mut users = known.lock().await;
        let Some(user) = users.get_mut(user_id) else {
            return;
        };
        let Some(elsewhere) = &mut user.elsewhere else {
            return;
        };
        let snapshot = match answer {
            Ok(snapshot) => snapshot,
            Err(error) => {
                bus.note_refusal(&error);
                elsewhere.is_doubtful |= elsewhere.replica.fail(number);
                return;
            }
        };
        bus.suspect(&place(app, user_id), &snapshot);
        let Some(loaded) = elsewhere.replica.load(number, &snapshot) else {
            return;
        };
        elsewhere.is_listening = true;
        let is_online = elsewhere.replica.total() > 0;
        self.tell_if_changed(user, user_id, is_online).await;
        if loaded.again {
            drop(self.read(bus, user, app, user_id));
        }
    }
}

/// Waits for readings, within the patience of one who watches.
pub(super) async fn await_all(readings: Vec<JoinHandle<()>>) {
    let deadline = Instant::now() + PATIENCE;
    for reading in readings {
        drop(timeout_at(deadline, reading).await);
    }
}

/// Nobody here is the user or watches the user any more.
pub(super) fn begin_idling(user: &mut User) {
    if let Some(elsewhere) = &mut user.elsewhere {
        elsewhere.idle_since_ms = Some(clock::now_ms());
    }
}

fn place(app: u32, user_id: &Arc<str>) -> Place {
    Place::User {
        app,
        id: user_id.clone(),
    }
}
