//! What a shard is told; its inbox is the only way in.

use std::sync::Arc;
use std::time::Duration;

use gema_protocol::frame::Frame;
use tokio::sync::oneshot;

use super::inspect::{Found, Search, Seen};
use super::link::Link;
use super::{ConnectionId, Farewell, Report, Topic};

#[derive(Debug)]
pub(super) enum Command {
    Add {
        id: ConnectionId,
        app: u32,
        link: Arc<Link>,
        hello: Frame,
        patience: Option<Duration>,
    },
    Authorized {
        id: ConnectionId,
    },
    Remove {
        id: ConnectionId,
        /// Who wants to know with which close code it ended.
        code: Option<oneshot::Sender<u16>>,
    },
    Subscribe {
        id: ConnectionId,
        topic: Topic,
        ack: Frame,
    },
    Unsubscribe {
        id: ConnectionId,
        topic: Topic,
    },
    Publish {
        topic: Topic,
        frame: Frame,
        except: Option<ConnectionId>,
    },
    Send {
        id: ConnectionId,
        frame: Frame,
    },
    Close {
        id: ConnectionId,
        farewell: Farewell,
    },
    /// The kernel takes bytes of this connection again.
    Writable {
        id: ConnectionId,
    },
    Drain {
        farewell: Farewell,
        grace: Duration,
    },
    /// Nobody of this app may stay, nor who still comes.
    CloseApp {
        app: u32,
        farewell: Farewell,
    },
    /// Who comes from now on may stay again.
    ReopenApp {
        app: u32,
    },
    /// What have you done, and what waits?
    Inspect {
        report: oneshot::Sender<Report>,
    },
    /// Which of some of your connections are searched for?
    Search {
        search: Arc<Search>,
        /// The place of the first to look at.
        from: usize,
        found: oneshot::Sender<Found>,
    },
    /// What is there to see of this connection?
    Show {
        id: ConnectionId,
        seen: oneshot::Sender<Option<Seen>>,
    },
}
