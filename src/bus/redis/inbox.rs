//! What the links tell, in order, for one consumer. Bounded by bytes: a link that would exceed them is cut instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::LinkId;

/// The most that may wait for the consumer. A consumer that is so far behind is better off reading everything anew.
pub const INBOX_BYTES: usize = 64 * 1024 * 1024;
/// What a message costs beyond its text.
const OVERHEAD: usize = 96;

/// What a link tells. Those of one link are in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Happening {
    /// Connected, and the scripts are loaded. Nothing is subscribed.
    Up {
        /// Which.
        link: LinkId,
    },
    /// Cut off; exactly one between two `Up`s of a link.
    Down {
        /// Which.
        link: LinkId,
        /// In words, without secrets.
        why: String,
    },
    /// What [`super::Redis::mark`] was asked for: all that came before has been read.
    Mark(u64),
    /// Somebody published.
    Message {
        /// The channel it was published to.
        channel: Bytes,
        /// As it was published.
        payload: Bytes,
    },
}

impl Happening {
    fn size(&self) -> usize {
        match self {
            Happening::Mark(_) => OVERHEAD,
            Happening::Message { channel, payload } => channel.len() + payload.len() + OVERHEAD,
            Happening::Up { .. } | Happening::Down { .. } => 0,
        }
    }
}

/// The consumer's end.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

/// The links' end.
#[derive(Clone, Debug)]
pub(super) struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    happenings: VecDeque<Happening>,
    bytes: usize,
    /// No link is left.
    ended: bool,
    /// Nobody reads any more.
    deaf: bool,
}

/// Both ends.
pub(super) fn inbox() -> (Feed, Inbox) {
    let shared = Arc::new(Shared::default());
    (Feed(Arc::clone(&shared)), Inbox(shared))
}

impl Inbox {
    /// The next happening; `None` once the last handle is gone. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<Happening> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(happening) = waiting.take() {
                    return Some(happening);
                }
                if waiting.ended {
                    return None;
                }
            }
            // One consumer: a permit left by an earlier push costs one more round.
            self.0.wake.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        *waiting = Waiting {
            deaf: true,
            ..Waiting::default()
        };
    }
}

impl Feed {
    /// Hands a message over; false when there is no room for it.
    pub(super) fn message(&self, channel: Bytes, payload: Bytes) -> bool {
        let message = Happening::Message { channel, payload };
        let mut waiting = self.0.waiting();
        if waiting.bytes + message.size() > INBOX_BYTES {
            return false;
        }
        waiting.put(message);
        drop(waiting);
        self.0.wake.notify_one();
        true
    }

    /// Hands over an `Up` or a `Down`; there are few of them.
    pub(super) fn state(&self, happening: Happening) {
        self.0.waiting().put(happening);
        self.0.wake.notify_one();
    }

    /// Whether a link that comes up would not fill it at once again.
    pub(super) fn has_room(&self) -> bool {
        self.0.waiting().bytes <= INBOX_BYTES / 2
    }

    /// Tells the consumer that nothing will follow.
    pub(super) fn end(&self) {
        self.0.waiting().ended = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in there can leave it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, happening: Happening) {
        if self.deaf {
            return;
        }
        self.bytes += happening.size();
        self.happenings.push_back(happening);
    }

    fn take(&mut self) -> Option<Happening> {
        let happening = self.happenings.pop_front()?;
        self.bytes -= happening.size();
        Some(happening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_counted_in_bytes_and_given_back() {
        let (feed, mut inbox) = inbox();
        let half = Bytes::from(vec![0; INBOX_BYTES / 2]);
        assert!(feed.message(Bytes::new(), half.clone()));
        assert!(!feed.has_room());
        assert!(!feed.message(Bytes::new(), half.clone()));
        assert!(inbox.next().await.is_some());
        assert!(feed.has_room());
        assert!(feed.message(Bytes::new(), half));
    }

    #[tokio::test]
    async fn what_is_there_is_read_before_the_end() {
        let (feed, mut inbox) = inbox();
        feed.message(Bytes::from_static(b"a"), Bytes::new());
        feed.end();
        assert!(matches!(
            inbox.next().await,
            Some(Happening::Message { .. })
        ));
        assert_eq!(inbox.next().await, None);
    }
}
