//! Between the nodes of a cluster: events go to all who have subscribers of their channel, and a registry says who is
//! where. Both live in Redis. Nothing here knows what a subscription means; that is the broker's.
//!
//! # Layout
//!
//! * [`redis`]: connections, in order and for ever.
//! * [`place`]: what nodes share knowledge of, and its name.
//! * [`registry`]: who is in a place; the scripts, what goes into them and what comes out.
//! * [`news`]: what arrives about a place.
//! * [`numbers`]: what was sent and heard, by number: no repetition, and gaps are seen.
//! * [`replica`]: what a node knows of a place, version by version.
//! * [`names`]: what everything is called in Redis.
//! * [`publishing`]: what this node sends to the others. [`transitions`]: what it writes into the registry, and reads there.
//! * [`nodes`]: leases, and what nodes have where, dead ones too.
//! * [`settling`]: coming back after a cut; what Redis refuses; waiting until what has come in is heard.

mod names;
mod news;
mod nodes;
mod numbers;
mod place;
mod publishing;
pub mod redis;
mod registry;
mod replica;
mod settling;
mod transitions;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use gema_protocol::envelope::Envelope;
use tokio::sync::oneshot;
use tracing::warn;

pub use self::news::{News, NewsError, Presence};
pub use self::numbers::Heard;
pub use self::place::{NodeName, Place};
pub use self::registry::{CachedEvent, Holding, Interest, Lease, Move, Outcome, Snapshot};
pub use self::replica::{Loaded, Replica, Step};

use self::numbers::Sent;
use self::redis::{AskError, Command, Inbox, LinkId, Redis, Servers};
use self::registry::{FormError, SCRIPTS};
use crate::apps::Apps;
use crate::metrics::BusReading;

/// How long a lock on a dead node lasts, in milliseconds: longer than any step of the work done under it.
const REAPING_MS: u64 = 10_000;

/// For how long a refusal counts. What was refused is tried again every second.
const REFUSED: Duration = Duration::from_secs(3);

/// Contributions without a lease that are remembered; more are seen again when their places are read next.
const MOST_SUSPECTS: usize = 10_000;

/// Entries of an index looked at in one go.
const SCAN: usize = 512;

/// What the bus has to know from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis.url`
    pub servers: Servers,
    /// `redis.prefix`
    pub prefix: String,
    /// `redis.node_lease_s`
    pub lease: Duration,
}

impl Settings {
    /// The prefix with the database: Redis' publish and subscribe, unlike its keys, knows no databases.
    fn whole_prefix(&self) -> String {
        match self.servers.database() {
            0 => self.prefix.clone(),
            database => format!("{}:{database}", self.prefix),
        }
    }
}

/// This node's hold on the bus; one per process.
pub struct Bus {
    redis: Redis,
    settings: Settings,
    /// Stands before every name.
    prefix: String,
    /// The first half of this node's socket ids.
    node: u64,
    /// This node in the registry.
    name: AtomicU64,
    /// It has had a lease under this name.
    has_lease: AtomicBool,
    /// Between nodes apps go by their ids.
    apps: Arc<Apps>,
    /// What this node listens to, by its channel at Redis.
    listening: Mutex<HashMap<String, Place, RandomState>>,
    sent: Mutex<Sent>,
    /// Who had a lease when it was last looked.
    live: Mutex<HashSet<NodeName>>,
    /// Links that are there, by when they came: whether all nodes have said on them what they hold.
    settling: Mutex<HashMap<LinkId, Settling>>,
    /// How many links this node has yet to say on what it holds.
    unsettled: AtomicUsize,
    /// Who waits until what has come in is heard.
    marks: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    next_mark: AtomicU64,
    /// What Redis has refused last.
    refusal: Mutex<Option<(Instant, String)>>,
    /// Who holds something without a lease, where, and since when that is known.
    suspects: Mutex<HashMap<(Place, NodeName), Instant>>,
    counters: Counters,
}

/// What has gone over the bus, since the start.
#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    gaps: AtomicU64,
    sweeps: AtomicU64,
}

/// A link that is there.
#[derive(Debug)]
struct Settling {
    coming: u64,
    is_done: bool,
}

/// A node as Redis knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// In the registry.
    pub name: NodeName,
    /// It is this one, under this or an earlier name.
    pub is_self: bool,
    /// How long its lease lasts yet; below zero, it is over.
    pub lease_left_ms: i64,
    /// Open connections, as it last said.
    pub connections: u64,
}

/// No answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Redis is away or refuses.
    #[error(transparent)]
    Redis(#[from] AskError),
    /// Something else writes to our keys.
    #[error(transparent)]
    Form(#[from] FormError),
}

impl Bus {
    /// Connects, for ever, in tasks of its own. `node` is the first half of this node's socket ids.
    pub fn start(settings: Settings, node: u64, apps: &Arc<Apps>) -> (Arc<Bus>, Inbox) {
        let (redis, inbox) = Redis::start(settings.servers.clone(), SCRIPTS);
        let bus = Bus {
            redis,
            prefix: settings.whole_prefix(),
            settings,
            node,
            name: AtomicU64::new(NodeName::first(node).number()),
            has_lease: AtomicBool::new(false),
            apps: apps.clone(),
            listening: Mutex::default(),
            sent: Mutex::new(Sent::new()),
            live: Mutex::default(),
            settling: Mutex::default(),
            unsettled: AtomicUsize::new(0),
            marks: Mutex::default(),
            next_mark: AtomicU64::new(0),
            refusal: Mutex::default(),
            suspects: Mutex::default(),
            counters: Counters::default(),
        };
        (Arc::new(bus), inbox)
    }

    /// This node in the registry.
    pub fn name(&self) -> NodeName {
        NodeName::of_number(self.name.load(Ordering::Acquire))
    }

    /// Takes another name: the old one's lease was lost.
    pub fn rename(&self) {
        let next = self.name().next();
        self.has_lease.store(false, Ordering::Release);
        self.name.store(next.number(), Ordering::Release);
    }

    /// Whether `envelope` came from this node.
    pub fn is_own(&self, envelope: &Envelope) -> bool {
        envelope.node == self.node
    }

    /// Whether the place can be reached.
    pub fn is_up(&self, place: &Place) -> bool {
        self.redis.is_up(&self.base(place))
    }

    /// Whether the nodes and their leases can be reached.
    pub fn is_home_up(&self) -> bool {
        self.redis.is_up(&self.nodes_key())
    }

    /// The link that a place lives on.
    pub fn link_of(&self, place: &Place) -> Option<LinkId> {
        self.redis.link_of(&self.base(place))
    }

    /// The link that the leases live on.
    pub fn home_link(&self) -> Option<LinkId> {
        self.redis.link_of(&self.nodes_key())
    }

    /// Counts a message of another node.
    pub fn count_received(&self) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts events of other nodes that did not arrive.
    pub fn count_gaps(&self, missing: u32) {
        let gaps = &self.counters.gaps;
        gaps.fetch_add(u64::from(missing), Ordering::Relaxed);
    }

    /// Counts a dead node that was cleaned up after.
    pub fn count_sweep(&self) {
        self.counters.sweeps.fetch_add(1, Ordering::Relaxed);
    }

    /// Ok, or since when and why this node is cut off.
    ///
    /// # Errors
    /// In words for an operator.
    pub fn health(&self) -> Result<(), String> {
        self.redis.health()?;
        match &*lock(&self.refusal) {
            Some((since, why)) if since.elapsed() < REFUSED => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// What has gone over the bus, since the start.
    pub fn figures(&self) -> BusReading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusReading {
            up: self.health().is_ok(),
            sent: load(&self.counters.sent),
            received: load(&self.counters.received),
            dropped: self.redis.dropped(),
            gaps: load(&self.counters.gaps),
            sweeps: load(&self.counters.sweeps),
        }
    }

    /// Hears the news of a place, from when this is answered.
    pub fn listen(
        &self,
        place: &Place,
    ) -> impl Future<Output = Result<(), BusError>> + Send + use<> {
        let base = self.base(place);
        self.listening().insert(base.clone(), place.clone());
        let answer = self.redis.ask(&base, Command::Listen(base.clone()));
        async move {
            answer.await?;
            Ok(())
        }
    }

    /// Waits until Redis has carried out what this node has asked of a place's link.
    pub async fn reached(&self, place: &Place) {
        let base = self.base(place);
        let ping = Command::Plain(::redis::cmd("PING"));
        drop(self.redis.ask(&base, ping).await);
    }

    /// Hears no more of it, and takes it out of this node's index.
    pub fn unlisten(&self, place: &Place) {
        let base = self.base(place);
        self.listening().remove(&base);
        drop(self.redis.ask(&base, Command::Unlisten(base.clone())));
        let entry = place::entry(place.kind(), self.app_id(place.app()), place.name());
        let key = self.index_key(self.name());
        self.index(::redis::Cmd::hdel(key, entry));
    }

    /// The place that a message is about, and what it says. Nothing for messages that are not ours to read.
    pub fn read(&self, channel: &[u8], payload: &Bytes) -> Option<(Place, News)> {
        let channel = std::str::from_utf8(channel).ok()?;
        let place = self.listening().get(channel)?.clone();
        match News::parse(payload) {
            Ok(news) => Some((place, news)),
            Err(error) => {
                warn!(channel, %error, "a message of the bus was dropped");
                None
            }
        }
    }

    fn listening(&self) -> MutexGuard<'_, HashMap<String, Place, RandomState>> {
        lock(&self.listening)
    }
}

/// None of these maps can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
