//! One connection as its shard keeps it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::ConnectionId;
use super::command::Command;
use super::dirty::Listed;
use super::link::{Link, Wire};
use super::outbox::Outbox;
use super::pool::Pool;
use super::report::NO_CLOSE_FRAME;
use crate::clock;

/// How long a peer may take to read its farewell and end its side before both are cut.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Whose it is: [`crate::apps::App::index`].
    pub(super) app: u32,
    pub(super) link: Arc<Link>,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    /// As one to be flushed.
    pub(super) listed: Listed,
    /// Waiting for the kernel; a task holds the promise to send [`Command::Writable`].
    pub(super) blocked: bool,
    /// When it must have shown who it is; `None` when it has, or need not.
    pub(super) authorize_by_ms: Option<u64>,
    /// The last ping; it may be old.
    pub(super) pinged_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The farewell is in the outbox; frames are no longer taken.
    Closing {
        until_ms: u64,
        finished: bool,
        /// Of the close frame.
        code: u16,
    },
    /// Cut; its own task is about to remove it.
    Severed {
        code: u16,
    },
}

impl Connection {
    /// `patience`: how long it may take to show who it is.
    pub(super) fn new(
        id: ConnectionId,
        app: u32,
        link: Arc<Link>,
        patience: Option<Duration>,
    ) -> Connection {
        Connection {
            id,
            app,
            link,
            outbox: Outbox::default(),
            phase: Phase::Open,
            listed: Listed::default(),
            blocked: false,
            authorize_by_ms: patience.map(|patience| clock::now_ms() + patience.as_millis() as u64),
            pinged_ms: None,
        }
    }

    /// From now on only what is in the outbox is sent; `code` is that of the close frame there.
    pub(super) fn begin_closing(&mut self, code: u16) {
        self.link.set_closing();
        self.phase = Phase::Closing {
            until_ms: clock::now_ms() + FAREWELL.as_millis() as u64,
            finished: false,
            code,
        };
    }

    /// The outbox is empty: if the farewell was in it, the stream ends here.
    pub(super) fn drained(&mut self) {
        if let Phase::Closing { finished, .. } = &mut self.phase
            && !std::mem::replace(finished, true)
        {
            self.link.finish();
        }
    }

    /// Cuts both directions; its own task sees that and removes it.
    pub(super) fn sever(&mut self, pool: &mut Pool) {
        self.phase = Phase::Severed { code: self.code() };
        self.outbox.clear(pool);
        self.link.sever();
    }

    /// With which close code it ends, if it ended now.
    pub(super) fn code(&self) -> u16 {
        match self.phase {
            Phase::Open => NO_CLOSE_FRAME,
            Phase::Closing { code, .. } | Phase::Severed { code } => code,
        }
    }

    /// The kernel takes no more: promises one [`Command::Writable`] for when it does. At most one such task
    /// exists per connection, and it ends with the socket.
    pub(super) fn wait_writable(&mut self, inbox: &mpsc::WeakSender<Command>) {
        self.blocked = true;
        let (id, link) = (self.id, self.link.clone());
        let inbox = inbox.clone();
        tokio::spawn(async move {
            if let Wire::Tcp(stream) = &link.wire {
                // An error means the socket is gone: the flush that follows finds that out.
                drop(stream.writable().await);
            }
            drop(link);
            if let Some(inbox) = inbox.upgrade() {
                // The inbox is closed only when the process is ending.
                drop(inbox.send(Command::Writable { id }).await);
            }
        });
    }
}
