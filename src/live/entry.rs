//! Something that has happened, as it is kept: nothing in it is copied or parsed before somebody reads it.

use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::frame::Frame;
use gema_protocol::socket_id::SocketId;

use crate::hub::Topic;
use crate::metrics::Source;

/// Something that has happened.
#[derive(Debug)]
pub struct Entry {
    /// Counted from the start of the process, while somebody looks on.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// In which app, by its index.
    pub app: u32,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named after what they hold")]
pub enum What {
    /// An event was published in a channel; without a source it came from another node.
    Event {
        topic: Topic,
        frame: Frame,
        source: Option<Source>,
    },
    /// A client has been let in; `gateway` is the label of its door.
    Connected {
        socket: SocketId,
        gateway: &'static str,
        client: IpAddr,
    },
    /// A client has shown whose it is.
    SignedIn { socket: SocketId, user: Arc<str> },
    /// A client hears a channel from now on, as a member if it is a presence channel.
    Subscribed {
        socket: SocketId,
        topic: Topic,
        user: Option<Arc<str>>,
    },
    /// A client has left a channel and stays connected.
    Unsubscribed { socket: SocketId, topic: Topic },
    /// A connection has ended with this close code; 1006 is none.
    Disconnected {
        socket: SocketId,
        code: u16,
        user: Option<Arc<str>>,
    },
}

impl What {
    /// What it holds of the ring's room.
    pub(super) fn bytes(&self) -> usize {
        match self {
            What::Event { frame, .. } => frame.len(),
            _ => 0,
        }
    }
}
