//! The engine: which connection hears which channel, and the bytes on their way to it.
//! It knows frames and names; no JSON, no HTTP, no Redis, no SQL.
//!
//! # Layout
//!
//! * [`shard`]: a task that owns its connections without locks and alone writes to them.
//! * [`command`]: what a shard is told. [`connection`], [`draining`]: what it keeps, and how it is emptied.
//! * [`dirty`]: inside a shard, whose turn it is to be written to.
//! * [`subscribers`]: inside a shard, who hears a channel.
//! * [`outbox`]: inside a shard, the unsent frames of one connection.
//! * [`pool`]: inside a shard, the frames that outboxes share by number.
//! * [`farewell`]: the last frames of a connection.
//! * [`link`]: what a shard and a connection's reading task share: the socket.
//! * [`directory`]: channel -> which shards have subscribers, and how many.
//! * [`report`]: what the shards have done, for the figures.
//! * [`inspect`]: connections and channels as somebody who looks at the server sees them.
//!
//! # Promises
//!
//! * A connection hears the acknowledgement of a subscription before any event of it.
//! * All subscribers of a channel hear its events in one and the same order.
//! * A frame is delivered or its connection is closed; none is skipped.

mod command;
mod connection;
mod directory;
mod dirty;
mod draining;
mod farewell;
mod inspect;
mod link;
mod outbox;
mod pool;
mod report;
mod shard;
mod subscribers;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gema_protocol::channel::ChannelName;
use gema_protocol::frame::Frame;
use gema_protocol::liveness::Liveness;
use gema_protocol::socket_id::SocketId;
use tokio::sync::{mpsc, oneshot};

pub use self::farewell::Farewell;
pub use self::inspect::{Channels, Filter, Listing, Search, Seen};
pub use self::link::{Drained, Link, Origin};
pub use self::report::{Census, Report};

use self::command::Command;
use self::directory::Directory;
use self::shard::Shard;

/// Commands that wait for one shard. A publisher that finds it full waits, and so slows down with the
/// shard; 4,096 commands are about 400 KiB and a few milliseconds of work.
const INBOX: usize = 4096;

thread_local! {
    /// The shard that lives on this thread.
    static HOME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Says that the shard with this number lives on this thread, and the connections that are made here with it.
pub fn make_home(shard: usize) {
    HOME.set(Some(shard));
}

/// A channel of one app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The app's number, [`crate::apps::App::index`].
    pub app: u32,
    /// The channel's name.
    pub channel: ChannelName,
}

/// A connection within this process. Also the second half of its socket id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The second half of its socket id.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What the hub has to know from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many shards; at least 1.
    pub shards: usize,
    /// Unsent bytes a connection may have before it is closed with 4100.
    pub outbox_bytes: usize,
    /// When silence earns a ping, and when a missing pong ends the connection.
    pub liveness: Liveness,
}

/// The handle to the engine; one per process, shared by `Arc`.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<mpsc::Sender<Command>>,
    directory: Directory,
    /// First half of every socket id: random, so that two nodes do not share one.
    node: u64,
    next: AtomicU64,
}

impl Hub {
    /// The hub, and the work of its shards in their order: each is to be run as a task of its own, best on a thread of its
    /// own that calls [`make_home`] first. They end when the hub is dropped. A shard that ends earlier has panicked, and
    /// whoever runs it has to end the process: its connections are lost.
    pub fn new(
        settings: &Settings,
        node: u64,
    ) -> (Arc<Hub>, Vec<impl Future<Output = ()> + Send + use<>>) {
        let count = settings.shards.max(1);
        let (shards, work) = (0..count)
            .map(|_| {
                let (sender, inbox) = mpsc::channel(INBOX);
                let shard = Shard::new(settings.clone(), sender.downgrade());
                (sender, shard.run(inbox))
            })
            .unzip();
        let hub = Hub {
            directory: Directory::new(count),
            shards,
            node,
            next: AtomicU64::new(1),
        };
        (Arc::new(hub), work)
    }

    /// A socket id that no other connection of the cluster has. Its shard is the one whose home this thread is, if it is
    /// one: what goes on between a connection and its shard then wakes no other core.
    pub fn next_socket_id(&self) -> SocketId {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let shards = self.shards.len() as u64;
        let shard = HOME.get().map_or(turn, |shard| shard as u64) % shards;
        SocketId {
            node: self.node,
            number: turn * shards + shard,
        }
    }

    /// Makes a connection of an app known; `hello` is its first frame. From now on frames can be sent to it.
    /// Unless [`Hub::authorized`] is called within `patience`, the connection is closed with 4009.
    pub async fn add(
        &self,
        app: u32,
        socket: SocketId,
        link: Arc<Link>,
        hello: Frame,
        patience: Option<Duration>,
    ) -> ConnectionId {
        let id = ConnectionId(socket.number);
        let add = Command::Add {
            id,
            app,
            link,
            hello,
            patience,
        };
        self.tell(id, add).await;
        id
    }

    /// The connection has shown who it is: it may stay.
    pub async fn authorized(&self, id: ConnectionId) {
        self.tell(id, Command::Authorized { id }).await;
    }

    /// Forgets a connection and closes its socket once the caller's own hold on the link is gone.
    /// Its subscriptions must have been ended by [`Hub::unsubscribe`].
    pub async fn remove(&self, id: ConnectionId) {
        self.tell(id, Command::Remove { id, code: None }).await;
    }

    /// The same, and gives the code with which the connection ended; 1006 without a close frame.
    pub async fn remove_and_tell(&self, id: ConnectionId) -> Option<u16> {
        let (code, ended) = oneshot::channel();
        let code = Some(code);
        self.tell(id, Command::Remove { id, code }).await;
        ended.await.ok()
    }

    /// Subscribes a connection to a channel and sends it `ack` ahead of the channel's first event. Gives the
    /// channel's subscriptions, this one included.
    pub async fn subscribe(&self, id: ConnectionId, topic: &Topic, ack: Frame) -> u32 {
        let shard = self.shard_of(id);
        let mut entries = self.directory.lock(topic).await;
        entries.add(topic, shard);
        let count = entries.count(topic);
        let topic = topic.clone();
        self.tell(id, Command::Subscribe { id, topic, ack }).await;
        count
    }

    /// Ends the subscription of a connection to a channel, which it must have. Gives those that are left.
    /// A connection that is `going` altogether is taken out of its shard by [`Hub::remove`], which must follow.
    pub async fn unsubscribe(&self, id: ConnectionId, topic: &Topic, going: bool) -> u32 {
        let shard = self.shard_of(id);
        let mut entries = self.directory.lock(topic).await;
        entries.remove(topic, shard);
        let count = entries.count(topic);
        if !going {
            let topic = topic.clone();
            self.tell(id, Command::Unsubscribe { id, topic }).await;
        }
        count
    }

    /// Hands a frame to all subscribers of a channel but the connection `except`. When this returns, the
    /// frame has its place in the channel's order; the writing goes on in the shards.
    pub async fn publish(&self, topic: &Topic, frame: &Frame, except: Option<SocketId>) {
        self.publish_and(topic, frame, except, || {}).await;
    }

    /// The same, and `also` in the same moment: in the channel's order, and not if the caller gives up before.
    pub async fn publish_and(
        &self,
        topic: &Topic,
        frame: &Frame,
        except: Option<SocketId>,
        also: impl FnOnce(),
    ) {
        let except = except
            .filter(|socket| socket.node == self.node)
            .map(|socket| ConnectionId(socket.number));
        let entries = self.directory.lock(topic).await;
        // A place in every inbox first: a caller that gives up while waiting has told all shards or none.
        let mut places = Vec::with_capacity(self.shards.len());
        for shard in entries.shards(topic) {
            // The inbox is closed only when the process is ending.
            if let Ok(place) = self.shards[shard].reserve().await {
                places.push(place);
            }
        }
        also();
        for place in places {
            place.send(Command::Publish {
                topic: topic.clone(),
                frame: frame.clone(),
                except,
            });
        }
    }

    /// Sends one frame to one connection.
    pub async fn send(&self, id: ConnectionId, frame: Frame) {
        self.tell(id, Command::Send { id, frame }).await;
    }

    /// Sends the farewell after all that waits for this connection, then ends its stream. The reading task
    /// sees the end of its socket and calls [`Hub::remove`].
    pub async fn close(&self, id: ConnectionId, farewell: Farewell) {
        self.tell(id, Command::Close { id, farewell }).await;
    }

    /// Closes every connection with `farewell`, evenly spread over `grace`, so that not all clients come
    /// back in the same moment.
    pub async fn drain(&self, farewell: Farewell, grace: Duration) {
        for shard in &self.shards {
            let farewell = farewell.clone();
            drop(shard.send(Command::Drain { farewell, grace }).await);
        }
    }

    /// Closes every connection of an app with `farewell`, within about a second, and whoever still comes: nobody stays
    /// until [`Hub::reopen_app`].
    pub async fn close_app(&self, app: u32, farewell: Farewell) {
        for shard in &self.shards {
            let farewell = farewell.clone();
            drop(shard.send(Command::CloseApp { app, farewell }).await);
        }
    }

    /// Who comes to this app from now on may stay.
    pub async fn reopen_app(&self, app: u32) {
        for shard in &self.shards {
            drop(shard.send(Command::ReopenApp { app }).await);
        }
    }

    /// Subscriptions of a channel, zero when nobody is there.
    pub async fn subscription_count(&self, topic: &Topic) -> u32 {
        self.directory.lock(topic).await.count(topic)
    }

    /// The occupied channels of an app whose names begin with `prefix`, with their subscriptions, by name.
    pub async fn channels(&self, app: u32, prefix: &str) -> Vec<(ChannelName, u32)> {
        self.directory.list(app, prefix).await
    }

    /// What all shards have done so far. Each answers between two batches of its work, after a walk over its connections.
    pub async fn report(&self) -> Report {
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (report, answer) = oneshot::channel();
            // The inbox is closed only when the process is ending.
            drop(shard.send(Command::Inspect { report }).await);
            answers.push(answer);
        }
        let mut all = Report::default();
        for answer in answers {
            if let Ok(report) = answer.await {
                all.add(&report);
            }
        }
        all
    }

    /// How many channels and subscriptions there are.
    pub async fn census(&self) -> Census {
        self.directory.census().await
    }

    fn shard_of(&self, id: ConnectionId) -> usize {
        (id.0 % self.shards.len() as u64) as usize
    }

    async fn tell(&self, id: ConnectionId, command: Command) {
        // The inbox is closed only when the process is ending.
        drop(self.shards[self.shard_of(id)].send(command).await);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn a_connection_made_on_a_shards_thread_is_that_shards() {
        let settings = Settings {
            shards: 3,
            outbox_bytes: 1000,
            liveness: Liveness {
                activity_timeout_ms: 1000,
                pong_timeout_ms: 1000,
            },
        };
        let (hub, _work) = Hub::new(&settings, 7);
        let made = |hub: &Hub| {
            let socket = hub.next_socket_id();
            (socket.number, hub.shard_of(ConnectionId(socket.number)))
        };
        let mut numbers = HashSet::new();
        for shard in 0..3 {
            let hub = hub.clone();
            let here = move || {
                make_home(shard);
                [made(&hub), made(&hub)]
            };
            for (number, of) in thread::spawn(here).join().unwrap() {
                assert_eq!(of, shard);
                assert!(numbers.insert(number), "{number} twice");
            }
        }
        let elsewhere: HashSet<usize> = (0..3).map(|_| made(&hub).1).collect();
        assert_eq!(elsewhere.len(), 3, "they take turns where no shard lives");
    }
}
