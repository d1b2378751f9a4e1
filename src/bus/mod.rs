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

mod news;
mod numbers;
mod place;
pub mod redis;
mod registry;
mod replica;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use gema_protocol::envelope::Envelope;
use gema_protocol::frame::Frame;
use gema_protocol::socket_id::SocketId;
use tracing::warn;

pub use self::news::{News, NewsError, Presence};
pub use self::numbers::Heard;
pub use self::place::{NodeName, Place};
pub use self::registry::{Holding, Interest, Lease, Move, Outcome, Snapshot};
pub use self::replica::{Loaded, Replica, Step};

use self::numbers::Sent;
use self::redis::{AskError, Command, Inbox, LinkId, Redis, Servers};
use self::registry::{FormError, Home, SCRIPTS};
use crate::apps::Apps;
use crate::hub::Topic;
use crate::metrics::BusReading;

/// How long a lock on a dead node lasts, in milliseconds: longer than any step of the work done under it.
const REAPING_MS: u64 = 10_000;

/// How long after a cut the other nodes may take to come back and say what they hold: their pauses between two
/// attempts, and the saying.
const SETTLING: Duration = Duration::from_millis(1500);

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

/// This node's hold on the bus; one per process.
pub struct Bus {
    redis: Redis,
    settings: Settings,
    /// The first half of this node's socket ids.
    node: u64,
    /// This node in the registry.
    name: AtomicU64,
    /// It has had a lease under this name.
    has_lease: AtomicBool,
    app_ids: HashMap<u32, String>,
    app_indexes: HashMap<String, u32>,
    /// What this node listens to, by its channel at Redis.
    listening: Mutex<HashMap<String, Place, RandomState>>,
    sent: Mutex<Sent>,
    /// Who had a lease when it was last looked.
    live: Mutex<HashSet<NodeName>>,
    /// Since when each link is there.
    up_since: Mutex<HashMap<LinkId, Instant>>,
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
    pub fn start(settings: Settings, node: u64, apps: &Apps) -> (Arc<Bus>, Inbox) {
        let (redis, inbox) = Redis::start(settings.servers.clone(), SCRIPTS);
        let bus = Bus {
            redis,
            settings,
            node,
            name: AtomicU64::new(NodeName::first(node).number()),
            has_lease: AtomicBool::new(false),
            app_ids: apps.iter().map(|app| (app.index, app.id.clone())).collect(),
            app_indexes: apps.iter().map(|app| (app.id.clone(), app.index)).collect(),
            listening: Mutex::default(),
            sent: Mutex::new(Sent::new()),
            live: Mutex::default(),
            up_since: Mutex::default(),
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

    /// Notes that a link is there from now on.
    pub fn note_up(&self, link: LinkId) {
        let mut links = self.up_since.lock().unwrap_or_else(PoisonError::into_inner);
        links.insert(link, Instant::now());
    }

    /// How long after [`Bus::note_up`] the other nodes have had time to come back too.
    pub const SETTLING: Duration = SETTLING;

    /// Whether the place's link is there for so long that all nodes have had time to come back.
    pub fn is_settled(&self, place: &Place) -> bool {
        let links = self.up_since.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self
            .link_of(place)
            .and_then(|link| links.get(&link).copied());
        since.is_some_and(|since| since.elapsed() >= SETTLING)
    }

    /// Notes who holds something in the place and has no lease.
    pub fn suspect(&self, place: &Place, snapshot: &Snapshot) {
        let counted = snapshot.counts.iter().map(|(node, _)| *node);
        let present = snapshot.members.iter().flat_map(|member| &member.nodes);
        for node in counted.chain(present.copied()) {
            if !self.is_live(node) {
                let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
                if suspects.len() < MOST_SUSPECTS {
                    suspects
                        .entry((place.clone(), node))
                        .or_insert_with(Instant::now);
                }
            }
        }
    }

    /// Those suspected for longer than a lease, who are forgotten with that.
    pub fn suspects(&self) -> Vec<(Place, NodeName)> {
        let lease = self.settings.lease;
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let due = suspects.extract_if(|_, since| since.elapsed() > lease);
        due.map(|(suspect, _)| suspect).collect()
    }

    /// Ok, or since when and why this node is cut off.
    ///
    /// # Errors
    /// In words for an operator.
    pub fn health(&self) -> Result<(), String> {
        self.redis.health()
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

    /// Hears the news of a place from now on.
    pub fn listen(&self, place: &Place) {
        let base = self.base(place);
        self.listening().insert(base.clone(), place.clone());
        drop(self.redis.ask(&base, Command::Listen(base.clone())));
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

    /// Sends an event to the other nodes, when Redis is back if it is away. Never waits.
    pub fn publish(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) {
        let base = self.channel_base(topic);
        let payload = self.envelope(topic, frame, except).encode();
        let channel = base.clone();
        self.redis
            .keep(&base, Command::Publish { channel, payload });
    }

    /// Whether Redis has had everything published in this channel so far. It asks, and so may take a moment.
    ///
    /// # Errors
    /// Redis is away; then nobody knows.
    pub async fn has_had(&self, topic: &Topic) -> Result<bool, BusError> {
        // The answer comes after the publications before it, unless they are being held after an outage.
        self.counts(&Place::Channel(topic.clone())).await?;
        Ok(!self.redis.keeps_any(&self.channel_base(topic)))
    }

    /// The same for an event of a cache channel, which Redis remembers for `life`.
    pub fn publish_cached(
        &self,
        topic: &Topic,
        frame: &Frame,
        except: Option<SocketId>,
        life: Duration,
    ) {
        let home = self.home(self.channel_base(topic));
        let payload = self.envelope(topic, frame, except).encode();
        let command = home.cache(payload, life.as_millis() as u64, false);
        self.redis.keep(&home.base, command);
    }

    /// Gives Redis the last event of a cache channel back, which it has lost.
    pub fn restore(&self, topic: &Topic, frame: &Frame, life: Duration) {
        let home = self.home(self.channel_base(topic));
        // Counted by nobody: it is not sent.
        let envelope = Envelope {
            node: self.node,
            run: 0,
            number: 0,
            except: None,
            frame: frame.clone(),
        };
        let command = home.cache(envelope.encode(), life.as_millis() as u64, true);
        drop(self.redis.ask(&home.base, command));
    }

    /// Asks all nodes to close the connections of a user.
    pub fn terminate(&self, app: u32, user: &str) {
        let id = user.into();
        let base = self.base(&Place::User { app, id });
        let (channel, payload) = (base.clone(), news::TERMINATE.to_vec());
        self.redis
            .keep(&base, Command::Publish { channel, payload });
    }

    /// Writes a transition into the registry. It has its place in the order of this node's commands when this returns.
    pub fn change(
        &self,
        place: &Place,
        count: u32,
        change: Move<'_>,
        interest: Interest,
    ) -> impl Future<Output = Result<Outcome, BusError>> + Send + use<> {
        self.note(place, count);
        let home = self.home(self.base(place));
        let command = home.change(self.name(), count, change, interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Outcome::read(answer.await?)?) }
    }

    /// Makes what this node holds in the place what it says here, and reads the place.
    pub fn sync(
        &self,
        place: &Place,
        holding: &Holding,
        interest: Interest,
    ) -> impl Future<Output = Result<Snapshot, BusError>> + Send + use<> {
        self.note(place, holding.count);
        let home = self.home(self.base(place));
        let command = home.sync(self.name(), holding, None, interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Snapshot::read(answer.await?)?) }
    }

    /// Takes a dead node out of a place; this one is its heir.
    pub fn drop_node(
        &self,
        place: &Place,
        node: NodeName,
        interest: Interest,
    ) -> impl Future<Output = Result<Snapshot, BusError>> + Send + use<> {
        let nothing = Holding {
            count: 0,
            seats: Vec::new(),
        };
        let home = self.home(self.base(place));
        let command = home.sync(node, &nothing, Some(self.name()), interest);
        let answer = self.redis.ask(&home.base, command);
        async move { Ok(Snapshot::read(answer.await?)?) }
    }

    /// Ends an absence that this node holds: whether it was still held. An empty user is the place itself.
    pub async fn claim(&self, place: &Place, user: &str) -> Result<bool, BusError> {
        let home = self.home(self.base(place));
        let answer = self.redis.ask(&home.base, home.claim(user, self.name()));
        Ok(registry::read::<u8>(answer.await?)? == 1)
    }

    /// Subscriptions of a place by node.
    pub async fn counts(&self, place: &Place) -> Result<HashMap<NodeName, u32>, BusError> {
        let home = self.home(self.base(place));
        let answer = self.redis.ask(&home.base, home.counts());
        let counts: HashMap<u64, u32> = registry::read(answer.await?)?;
        let named = counts.into_iter();
        Ok(named
            .map(|(node, count)| (NodeName::of_number(node), count))
            .collect())
    }

    /// The ids of the members of a channel, in no order.
    pub async fn members(&self, topic: &Topic) -> Result<Vec<Arc<str>>, BusError> {
        let home = self.home(self.channel_base(topic));
        let answer = self.redis.ask(&home.base, home.members());
        let ids: Vec<String> = registry::read(answer.await?)?;
        Ok(ids.into_iter().map(Arc::from).collect())
    }

    /// The last event of a cache channel, and how long it will be replayed.
    pub async fn cached(&self, topic: &Topic) -> Result<Option<(Frame, Duration)>, BusError> {
        let home = self.home(self.channel_base(topic));
        let [event, life] = home
            .cached()
            .map(|command| self.redis.ask(&home.base, command));
        let event: Option<Vec<u8>> = registry::read(event.await?)?;
        let life: i64 = registry::read(life.await?)?;
        let envelope = event.and_then(|event| Envelope::decode(&event.into()).ok());
        let life = Duration::from_millis(u64::try_from(life).unwrap_or(0));
        Ok(envelope.map(|envelope| (envelope.frame, life)))
    }

    /// The channels of an app whose names begin with `prefix`, with their subscriptions on all other nodes.
    pub async fn channels_elsewhere(
        &self,
        app: u32,
        prefix: &str,
    ) -> Result<HashMap<String, u32>, BusError> {
        let head = place::entry('c', self.app_id(app), "");
        let pattern = format!(
            "{}*",
            escape_glob(&place::entry('c', self.app_id(app), prefix))
        );
        let (live, own) = (self.live().clone(), self.name());
        let mut found = HashMap::new();
        for node in live.into_iter().filter(|node| !node.same_node(own)) {
            let mut cursor = 0_u64;
            loop {
                let (next, entries) = self.scan(node, cursor, Some(&pattern)).await?;
                for (entry, count) in entries {
                    if let Some(name) = entry.strip_prefix(&head)
                        && count > 0
                    {
                        *found.entry(name.to_owned()).or_default() += count;
                    }
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Renews this node's lease, and sees who else has one. A length of zero gives it up.
    pub async fn lease(&self, length: Duration) -> Result<Lease, BusError> {
        let key = self.nodes_key();
        let command = registry::lease(key.clone(), self.name(), length.as_millis() as u64);
        let mut lease = Lease::read(self.redis.ask(&key, command).await?)?;
        lease.kept |= !self.has_lease.swap(true, Ordering::Relaxed);
        *self.live() = lease.live.iter().copied().collect();
        // An index that nobody is left to clean up goes by itself, a day later.
        let key = self.index_key(self.name());
        self.index(::redis::Cmd::expire(key, 86_400));
        Ok(lease)
    }

    /// Tells the others how many connections each app has here; for as long as a lease.
    pub fn report_connections(&self, connections: impl Iterator<Item = (u32, usize)>) {
        let key = self.connections_key(self.name());
        for (app, count) in connections {
            let command = ::redis::Cmd::hset(&key, self.app_id(app), count);
            drop(self.redis.ask(&key, Command::Plain(command)));
        }
        let life_s = self.settings.lease.as_secs() as i64;
        let command = ::redis::Cmd::expire(&key, life_s);
        drop(self.redis.ask(&key, Command::Plain(command)));
    }

    /// How many connections an app has on the other nodes, as they last said.
    pub async fn connections_elsewhere(&self, app: u32) -> Result<usize, BusError> {
        let (live, own) = (self.live().clone(), self.name());
        let mut sum = 0;
        for node in live.into_iter().filter(|node| !node.same_node(own)) {
            let key = self.connections_key(node);
            let command = ::redis::Cmd::hget(&key, self.app_id(app));
            let count = self.redis.ask(&key, Command::Plain(command)).await?;
            sum += registry::read::<Option<usize>>(count)?.unwrap_or(0);
        }
        Ok(sum)
    }

    /// Whether a node had a lease when it was last looked.
    pub fn is_live(&self, node: NodeName) -> bool {
        self.live().contains(&node) || node.same_node(self.name())
    }

    /// Whether a node has no lease, by Redis itself.
    pub async fn is_gone(&self, node: NodeName) -> Result<bool, BusError> {
        let key = self.nodes_key();
        let command = Command::Plain(::redis::Cmd::zscore(&key, node.number()));
        let score: Option<f64> = registry::read(self.redis.ask(&key, command).await?)?;
        Ok(score.is_none())
    }

    /// The length of a lease.
    pub fn lease_length(&self) -> Duration {
        self.settings.lease
    }

    /// Whether it is this node that cleans up after a dead one.
    pub async fn lock_dead(&self, node: NodeName) -> Result<bool, BusError> {
        let key = format!("{}:reaping:{node}", self.nodes_key());
        let mut command = ::redis::cmd("SET");
        command
            .arg(&key)
            .arg(self.name().number())
            .arg("NX")
            .arg("PX")
            .arg(REAPING_MS);
        let answer = self.redis.ask(&key, Command::Plain(command)).await?;
        Ok(registry::read::<Option<String>>(answer)?.is_some())
    }

    /// Some of the places in a node's index, from a cursor on, and the next cursor; 0 is the first and the last.
    pub async fn places_of(
        &self,
        node: NodeName,
        cursor: u64,
    ) -> Result<(u64, Vec<Place>), BusError> {
        let (next, entries) = self.scan(node, cursor, None).await?;
        let places = entries
            .iter()
            .filter_map(|(entry, _)| Place::parse(entry, |id| self.app_indexes.get(id).copied()));
        Ok((next, places.collect()))
    }

    /// Forgets a dead node, whose places have all been seen to.
    pub async fn forget(&self, node: NodeName) -> Result<(), BusError> {
        let key = self.index_key(node);
        let deleted = self
            .redis
            .ask(&key, Command::Plain(::redis::Cmd::unlink(&key)));
        deleted.await?;
        let key = self.nodes_key();
        let command = Command::Plain(::redis::Cmd::zrem(&key, node.number()));
        self.redis.ask(&key, command).await?;
        Ok(())
    }

    /// Waits until Redis has carried out what this node has asked of the home of the leases.
    pub async fn settle(&self) {
        let key = self.nodes_key();
        drop(
            self.redis
                .ask(&key, Command::Plain(::redis::cmd("PING")))
                .await,
        );
    }

    async fn scan(
        &self,
        node: NodeName,
        cursor: u64,
        pattern: Option<&str>,
    ) -> Result<(u64, Vec<(String, u32)>), BusError> {
        let key = self.index_key(node);
        let mut command = ::redis::cmd("HSCAN");
        command.arg(&key).arg(cursor);
        if let Some(pattern) = pattern {
            command.arg("MATCH").arg(pattern);
        }
        command.arg("COUNT").arg(SCAN);
        let answer = self.redis.ask(&key, Command::Plain(command)).await?;
        let (cursor, flat): (u64, Vec<Vec<u8>>) = registry::read(answer)?;
        let entries = flat.chunks_exact(2).filter_map(|pair| {
            let entry = String::from_utf8(pair[0].clone()).ok()?;
            let count = std::str::from_utf8(&pair[1]).ok()?.parse().ok()?;
            Some((entry, count))
        });
        Ok((cursor, entries.collect()))
    }

    fn envelope(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) -> Envelope {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (run, number) = sent.next(topic);
        Envelope {
            node: self.node,
            run,
            number,
            except,
            frame: frame.clone(),
        }
    }

    /// Writes into this node's index that it has, or has just had, to do with a place.
    fn note(&self, place: &Place, count: u32) {
        let entry = place::entry(place.kind(), self.app_id(place.app()), place.name());
        let key = self.index_key(self.name());
        self.index(::redis::Cmd::hset(key, entry, count));
    }

    fn index(&self, command: ::redis::Cmd) {
        let key = self.index_key(self.name());
        drop(self.redis.ask(&key, Command::Plain(command)));
    }

    fn home(&self, base: String) -> Home {
        Home {
            base,
            sharded: self.redis.is_sharded(),
        }
    }

    fn base(&self, place: &Place) -> String {
        let (prefix, app) = (&self.settings.prefix, self.app_id(place.app()));
        format!("{prefix}:{{{app}:{}:{}}}", place.kind(), place.name())
    }

    fn channel_base(&self, topic: &Topic) -> String {
        let (prefix, app) = (&self.settings.prefix, self.app_id(topic.app));
        format!("{prefix}:{{{app}:c:{}}}", topic.channel)
    }

    fn nodes_key(&self) -> String {
        format!("{}:{{nodes}}", self.settings.prefix)
    }

    fn connections_key(&self, node: NodeName) -> String {
        format!("{}:{{node:{node}}}:connections", self.settings.prefix)
    }

    fn index_key(&self, node: NodeName) -> String {
        format!("{}:{{node:{node}}}", self.settings.prefix)
    }

    /// Every place is of an app that there is.
    fn app_id(&self, index: u32) -> &str {
        self.app_ids.get(&index).map_or("", String::as_str)
    }

    fn listening(&self) -> MutexGuard<'_, HashMap<String, Place, RandomState>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, HashSet<NodeName>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text as a pattern that matches just it.
fn escape_glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
