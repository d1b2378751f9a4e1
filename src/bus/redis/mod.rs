//! Connections to Redis, and what is asked and heard over them. Nothing in here knows what the names stand for.
//!
//! Redis must be of version 6 or newer (7 in a cluster) and let its user run `HELLO`, `PING`, `SCRIPT LOAD`, in a cluster
//! `CLUSTER INFO` and `CLUSTER SLOTS`, besides what is asked.
//!
//! # Layout
//!
//! * this file: [`Redis`], the handle; [`Inbox`], what is heard.
//! * `url`, `tls`: where Redis is and how to get in.
//! * `command`: what can be asked. `queue`: what waits. `inbox`: what has come in.
//! * `link`: one connection for life; `route` gets it to its server, `connect` is one connection.
//! * `map`: which link a name lives on. `sentinel`, `cluster`: asking where the servers are.

mod cluster;
mod command;
mod connect;
mod inbox;
mod link;
mod map;
mod queue;
mod route;
mod sentinel;
mod tls;
mod url;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::task::AbortHandle;

pub use self::command::{Answer, AskError, Command, Script};
pub use self::inbox::{Happening, INBOX_BYTES, Inbox};
pub use self::link::LinkId;
pub use self::queue::{BACKLOG_BYTES, SETTLE};
pub use self::tls::TlsError;
pub use self::url::{Servers, UrlError};

use self::link::{Link, Ties};
use self::map::{Map, NOBODY, slot_of};
use self::route::{Outcome, Route, Target};
use self::url::Place;

/// The handle. Clones are cheap; with the last one the connections end.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Owner>);

/// Ends the tasks, which know only what it shares with them.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// Between the handle and the tasks.
#[derive(Debug)]
struct Shared {
    map: RwLock<Map>,
    ties: Ties,
}

impl Redis {
    /// Connects for ever in background tasks; must be called within a tokio runtime. `scripts` are all that will be
    /// run; a link is up once its server knows them.
    pub fn start(servers: Servers, scripts: &'static [&'static Script]) -> (Redis, Inbox) {
        let (feed, inbox) = inbox::inbox();
        let ties = Ties {
            feed,
            doubt: Arc::default(),
            dropped: Arc::default(),
        };
        let shared = Arc::new(Shared {
            map: RwLock::new(Map {
                lobby: Link::new(ties.clone(), false, false),
                sharded: matches!(servers.place, Place::Cluster(_)),
                shards: Vec::new(),
                slots: Vec::new(),
            }),
            ties,
        });
        let task = tokio::spawn(supervise(Arc::clone(&shared), servers, scripts)).abort_handle();
        (Redis(Arc::new(Owner { shared, task })), inbox)
    }

    /// The link that `name` lives on: by its hash tag in a cluster, else the only one. `None` while no server of a
    /// cluster is known to have the name's slot.
    pub fn link_of(&self, name: &str) -> Option<LinkId> {
        let map = self.map();
        map.owner(slot_of(name)).map(|link| link.id)
    }

    /// Whether a question about `name` would be asked.
    pub fn is_up(&self, name: &str) -> bool {
        let map = self.map();
        map.owner(slot_of(name)).is_some_and(|link| link.is_up())
    }

    /// Whether the servers are a cluster, where channels have slots as keys do. Known for sure once a link
    /// is up.
    pub fn is_sharded(&self) -> bool {
        self.map().sharded
    }

    /// Hands a command to the link of `name`; never waits. The commands of one link are carried out in the order of the
    /// calls, those of [`Redis::keep`] included, but for publications that are held after an outage.
    ///
    /// Nothing here bounds what waits: callers have one command under way for each connection and place.
    ///
    /// # Errors
    ///
    /// The answer is [`AskError::Away`] at once while the link is down, and when it goes down before the reply is
    /// there; [`AskError::Refused`] is Redis' own error.
    pub fn ask(&self, name: &str, command: Command) -> Answer {
        let slot = slot_of(name);
        match self.map().owner(slot) {
            Some(link) => link.ask(slot, command),
            None => Answer::away(),
        }
    }

    /// The same for publications, which outlive an outage: they are kept in order, and sent [`SETTLE`] after the link
    /// is up again, new ones behind them. Those that were under way when it went down are sent again, so receivers may
    /// get them twice. Above [`BACKLOG_BYTES`] in a link the oldest are dropped.
    pub fn keep(&self, name: &str, command: Command) {
        let slot = slot_of(name);
        // Under the lock, so that a slot that changes hands does not leave this one behind.
        self.map().keeper(slot).keep(slot, command);
    }

    /// Whether publications wait on the link of `name`, this one's or others'.
    pub fn keeps_any(&self, name: &str) -> bool {
        self.map().keeper(slot_of(name)).keeps_any()
    }

    /// Fine when every link is up.
    ///
    /// # Errors
    ///
    /// Since when and why not, in words for `/ready`, without addresses and secrets.
    pub fn health(&self) -> Result<(), String> {
        let map = self.map();
        let links = map.links();
        let away: Vec<(Instant, String)> = links.iter().filter_map(|link| link.away()).collect();
        let unserved = map.slots.iter().filter(|slot| **slot == NOBODY).count();
        let Some((since, why)) = away.iter().min() else {
            return match unserved {
                0 => Ok(()),
                _ => Err(format!("{unserved} slots of Redis Cluster have no server")),
            };
        };
        let seconds = since.elapsed().as_secs();
        if links.len() > 1 {
            let (away, all) = (away.len(), links.len());
            return Err(format!(
                "cut off from {away} of {all} servers of Redis for {seconds} s: {why}"
            ));
        }
        Err(format!("cut off from Redis for {seconds} s: {why}"))
    }

    /// Publications that were given up since the start: dropped for want of room, or refused by Redis.
    pub fn dropped(&self) -> u64 {
        self.0.shared.ties.dropped.load(Ordering::Relaxed)
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.0.shared.map()
    }
}

impl Shared {
    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.ties.feed.end();
    }
}

/// The task from which all others hang.
async fn supervise(shared: Arc<Shared>, servers: Servers, scripts: &'static [&'static Script]) {
    let access = servers.access;
    let seeds = match servers.place {
        Place::Cluster(seeds) => seeds,
        Place::One(address) => {
            let lobby = Arc::clone(&shared.map().lobby);
            let target = Target::One(address.clone());
            let route = Route {
                target,
                access: access.clone(),
                scripts,
            };
            if lobby.run(route).await == Outcome::Ended {
                return;
            }
            vec![address]
        }
        Place::Sentinel {
            sentinels,
            service,
            access: to_sentinels,
        } => {
            let lobby = Arc::clone(&shared.map().lobby);
            let target = Target::Sentinel {
                sentinels,
                service,
                access: to_sentinels,
            };
            lobby
                .run(Route {
                    target,
                    access,
                    scripts,
                })
                .await;
            return;
        }
    };
    cluster::run(&shared, &seeds, &access, scripts).await;
}
