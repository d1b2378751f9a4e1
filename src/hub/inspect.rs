//! Connections and channels as somebody who looks at the server sees them. Nothing is kept for it: shards and directory
//! are asked, some entries at a time, so that nobody who publishes waits long for who looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use gema_protocol::channel::ChannelName;
use gema_protocol::socket_id::SocketId;
use slab::Slab;
use tokio::sync::oneshot;

use super::command::Command;
use super::connection::{Connection, Phase};
use super::link::Origin;
use super::subscribers::Subscribers;
use super::{ConnectionId, Hub, Topic};
use crate::clock;

/// Connections that a shard looks at between two batches of its work: less than a millisecond.
const AT_ONCE: usize = 4096;

/// Channels of a connection that a list names.
const NAMED: usize = 3;

/// Channels of a connection that are named when it is looked at alone.
const NAMED_ALONE: usize = 1000;

/// Whether a connection is one of those that are searched for.
pub type Filter = Box<dyn Fn(&Seen) -> bool + Send + Sync>;

/// Which connections are searched for. The newest come first.
pub struct Search {
    /// Those that came before this one, by the number of its socket id; `None`: from the newest on.
    pub before: Option<u64>,
    /// So many at most.
    pub limit: usize,
    /// Those who hear this channel; `None`: all.
    pub channel: Option<Topic>,
    /// Those of which this is true. It is called by the shards and must be quick.
    pub filter: Filter,
}

/// A connection, now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The connection.
    pub id: ConnectionId,
    /// Where it came from.
    pub origin: Origin,
    /// Whose it is, if that is known.
    pub user: Option<Arc<str>>,
    /// Bytes that wait for it.
    pub outbox_bytes: usize,
    /// For how long nothing has come from it, in milliseconds.
    pub silent_ms: u64,
    /// The code of its close frame, when it is about to end.
    pub closing: Option<u16>,
    /// How many channels it hears.
    pub channel_count: usize,
    /// The names of some of them.
    pub channels: Vec<ChannelName>,
}

/// What a search has found.
#[derive(Clone, Debug, Default)]
pub struct Listing<T> {
    /// In order.
    pub items: Vec<T>,
    /// How many there are altogether, wherever the list begins and ends.
    pub total: usize,
}

/// What one look at a shard has found.
#[derive(Debug)]
pub(super) struct Found {
    seen: Vec<Seen>,
    total: usize,
    /// Where to look next; `None` at the end.
    next: Option<usize>,
}

/// Which channels of an app are searched for.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The app's number.
    pub app: u32,
    /// What the name contains, in lower case.
    pub contains: String,
    /// Those with the most subscriptions first, else by name.
    pub busiest: bool,
    /// Those after this one, with the subscriptions it had.
    pub after: Option<(u32, ChannelName)>,
    /// So many at most.
    pub limit: usize,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("before", &self.before)
            .field("limit", &self.limit)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// The connections that are searched for.
    pub async fn search(&self, search: Search) -> Listing<Seen> {
        let search = Arc::new(search);
        let (mut newest, mut total) = (BTreeMap::new(), 0);
        for shard in &self.shards {
            let mut next = Some(0);
            while let Some(from) = next {
                let (found, answer) = oneshot::channel();
                let command = Command::Search {
                    search: search.clone(),
                    from,
                    found,
                };
                // The inbox is closed only when the process is ending.
                drop(shard.send(command).await);
                let Ok(found) = answer.await else { break };
                total += found.total;
                newest.extend(found.seen.into_iter().map(|seen| (seen.id.0, seen)));
                while newest.len() > search.limit {
                    newest.pop_first();
                }
                next = found.next;
            }
        }
        Listing {
            items: newest.into_values().rev().collect(),
            total,
        }
    }

    /// What there is to see of a connection of this node.
    pub async fn show(&self, socket: SocketId) -> Option<Seen> {
        let id = self.connection(socket)?;
        let (seen, answer) = oneshot::channel();
        self.tell(id, Command::Show { id, seen }).await;
        answer.await.ok().flatten()
    }

    /// The first half of this node's socket ids.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// The connection with this socket id, whether it is there or not; `None` when it is another node's.
    pub fn connection(&self, socket: SocketId) -> Option<ConnectionId> {
        (socket.node == self.node).then_some(ConnectionId(socket.number))
    }

    /// The socket id of a connection of this node.
    pub fn socket_of(&self, id: ConnectionId) -> SocketId {
        SocketId {
            node: self.node,
            number: id.0,
        }
    }

    /// The occupied channels that are searched for, with their subscriptions here.
    pub async fn search_channels(&self, search: &Channels) -> Listing<(ChannelName, u32)> {
        let mut first = BTreeSet::new();
        let after = search
            .after
            .as_ref()
            .map(|(count, name)| search.place(*count, name));
        let mut total = 0;
        self.directory
            .each(|topic, count| {
                let name = &topic.channel;
                if topic.app != search.app || !contains(name.as_str(), &search.contains) {
                    return;
                }
                total += 1;
                let place = search.place(count, name);
                if after.as_ref().is_none_or(|after| place > *after) {
                    first.insert((place, count));
                    if first.len() > search.limit {
                        first.pop_last();
                    }
                }
            })
            .await;
        let items = first.into_iter().map(|((_, name), count)| (name, count));
        Listing {
            items: items.collect(),
            total,
        }
    }
}

impl Channels {
    /// Where a channel stands in the order that is asked for.
    fn place(&self, count: u32, name: &ChannelName) -> (u32, ChannelName) {
        let rank = if self.busiest { u32::MAX - count } else { 0 };
        (rank, name.clone())
    }
}

/// Whether the text contains another, which is in lower case, whatever case it has itself.
fn contains(text: &str, lower: &str) -> bool {
    lower.is_empty() || text.to_lowercase().contains(lower)
}

/// Looks at some of a shard's connections.
pub(super) fn search(
    connections: &Slab<Connection>,
    subscribers: &Subscribers,
    search: &Search,
    from: usize,
) -> Found {
    let end = from + AT_ONCE;
    let (mut seen, mut total) = (BTreeMap::new(), 0);
    for index in from..end.min(connections.capacity()) {
        let Some(connection) = connections.get(index) else {
            continue;
        };
        let index = index as u32;
        let hears = |topic| subscribers.hears(index, topic);
        if !search.channel.as_ref().is_none_or(hears) {
            continue;
        }
        let Some(one) = look(connection, subscribers, index, NAMED) else {
            continue;
        };
        if !(search.filter)(&one) {
            continue;
        }
        total += 1;
        let number = one.id.0;
        if search.before.is_none_or(|before| number < before) {
            seen.insert(number, one);
            if seen.len() > search.limit {
                seen.pop_first();
            }
        }
    }
    let next = (end < connections.capacity()).then_some(end);
    Found {
        seen: seen.into_values().collect(),
        total,
        next,
    }
}

/// Looks at one connection.
pub(super) fn show(
    connections: &Slab<Connection>,
    subscribers: &Subscribers,
    index: u32,
) -> Option<Seen> {
    let connection = connections.get(index as usize)?;
    look(connection, subscribers, index, NAMED_ALONE)
}

/// `None` for one that has not been let in.
fn look(
    connection: &Connection,
    subscribers: &Subscribers,
    index: u32,
    names: usize,
) -> Option<Seen> {
    let link = &connection.link;
    let topics = subscribers.heard_by(index).take(names);
    Some(Seen {
        id: connection.id,
        origin: link.origin()?,
        user: link.user(),
        outbox_bytes: connection.outbox.bytes(link),
        silent_ms: clock::now_ms().saturating_sub(link.heard_ms()),
        closing: (connection.phase != Phase::Open).then(|| connection.code()),
        channel_count: subscribers.count(index),
        channels: topics.map(|topic| topic.channel.clone()).collect(),
    })
}
