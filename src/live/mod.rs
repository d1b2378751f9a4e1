//! What happens now, for those who look on from the console: events as they are published and the coming and going of
//! clients.
//!
//! # Layout
//!
//! * [`entry`]: what can happen.
//!
//! A leaf: it is told and asks nobody. While nobody looks on, telling it is one relaxed load and nothing is kept. While
//! somebody does, what happens goes into a ring that has room for [`ENTRIES`] and [`BYTES`]; everybody reads it at their
//! own pace, and who is overtaken by it is told how much they have missed. So whoever tells never waits for who looks.

mod entry;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use self::entry::{Entry, What};

use crate::clock;

/// What a reader may be behind: at 10,000 events a second, a fifth of a second.
pub const ENTRIES: usize = 2048;

/// Of frames that are kept for the readers. They are shared with the outboxes while those have them.
pub const BYTES: usize = 4 * 1024 * 1024;

/// Readers at a time; each costs the server its share of serialising.
pub const WATCHERS: usize = 16;

/// Entries that a reader takes at a time.
const BATCH: usize = 256;

/// The ring, and who reads it. One per process.
#[derive(Debug, Default)]
pub struct Live {
    watchers: AtomicUsize,
    ring: Mutex<Ring>,
    news: Notify,
}

/// The last entries. Empty while nobody looks on.
#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// The number of the next entry; those in the ring are the ones right before it.
    next: u64,
}

/// One who looks on. Dropped, it ends.
#[derive(Debug)]
pub struct Watcher {
    live: Arc<Live>,
    /// The number of the entry to be read next.
    cursor: u64,
}

/// What a reader gets at a time.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries before these that the ring has lost before they were read.
    pub left_out: u64,
    /// In the order in which they happened; 256 at most.
    pub entries: Vec<Arc<Entry>>,
}

impl Live {
    /// Whether anybody looks on.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// How many look on.
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Tells that something has happened in an app. `what` is called only while somebody looks on. Never waits.
    pub fn note(&self, app: u32, what: impl FnOnce() -> What) {
        if !self.is_watched() {
            return;
        }
        let what = what();
        let mut ring = self.ring();
        let number = ring.next;
        ring.next += 1;
        ring.bytes += what.bytes();
        ring.entries.push_back(Arc::new(Entry {
            number,
            unix_ms: clock::unix_ms(),
            app,
            what,
        }));
        while ring.entries.len() > ENTRIES || ring.bytes > BYTES {
            let Some(oldest) = ring.entries.pop_front() else {
                break;
            };
            ring.bytes -= oldest.what.bytes();
        }
        drop(ring);
        self.news.notify_waiters();
    }

    /// Looks on from now on, or from the entry `from`, as far as it is still there. `None`: [`WATCHERS`] do already.
    pub fn watch(self: &Arc<Live>, from: Option<u64>) -> Option<Watcher> {
        let more = |now: usize| (now < WATCHERS).then_some(now + 1);
        self.watchers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        let next = self.ring().next;
        Some(Watcher {
            live: self.clone(),
            // A number from before a restart says nothing.
            cursor: from.unwrap_or(next).min(next),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing inside the lock can panic half-way.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The next entries, once there are any. Cancel safe.
    pub async fn next(&mut self) -> Batch {
        loop {
            let live = self.live.clone();
            let news = live.news.notified();
            let mut news = std::pin::pin!(news);
            // From here on nothing is missed that is noted after the look.
            news.as_mut().enable();
            if let Some(batch) = self.look() {
                return batch;
            }
            news.await;
        }
    }

    fn look(&mut self) -> Option<Batch> {
        let ring = self.live.ring();
        if self.cursor >= ring.next {
            return None;
        }
        let oldest = ring.next - ring.entries.len() as u64;
        let left_out = oldest.saturating_sub(self.cursor);
        let skip = self.cursor.max(oldest) - oldest;
        let unread = ring.entries.iter().skip(skip as usize);
        let entries: Vec<_> = unread.take(BATCH).cloned().collect();
        self.cursor = oldest + skip + entries.len() as u64;
        Some(Batch { left_out, entries })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.live.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut ring = self.live.ring();
            ring.entries = VecDeque::new();
            ring.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use gema_protocol::channel::ChannelName;
    use gema_protocol::server;

    use super::*;
    use crate::hub::Topic;
    use crate::metrics::Source;

    fn event(number: usize, bytes: usize) -> What {
        let data = "x".repeat(bytes);
        What::Event {
            topic: Topic {
                app: 0,
                channel: ChannelName::parse("a", 200).unwrap(),
            },
            frame: server::event("a", &number.to_string(), &data),
            source: Some(Source::Api),
        }
    }

    fn publish(live: &Live, count: usize, bytes: usize) {
        for number in 0..count {
            live.note(0, || event(number, bytes));
        }
    }

    #[tokio::test]
    async fn nothing_is_made_or_kept_while_nobody_looks_on() {
        let live = Arc::new(Live::default());
        live.note(0, || panic!("nobody looks"));
        let watcher = live.watch(None).unwrap();
        publish(&live, 3, 1);
        assert_eq!(live.ring().entries.len(), 3);
        drop(watcher);
        assert!(!live.is_watched() && live.ring().entries.is_empty() && live.ring().bytes == 0);
    }

    #[tokio::test]
    async fn who_is_overtaken_hears_how_much_they_have_missed_and_goes_on() {
        let live = Arc::new(Live::default());
        let (mut slow, mut quick) = (live.watch(None).unwrap(), live.watch(None).unwrap());
        publish(&live, 10, 1);
        assert_eq!(quick.next().await.entries.len(), 10);
        publish(&live, ENTRIES, 1);
        let batch = slow.next().await;
        assert_eq!((batch.left_out, batch.entries.len()), (10, BATCH));
        assert_eq!(batch.entries[0].number, 10);
        let batch = quick.next().await;
        assert_eq!((batch.left_out, batch.entries[0].number), (0, 10));
        let mut last = 0;
        while last + 1 < live.ring().next {
            last = slow.next().await.entries.last().unwrap().number;
        }
        assert_eq!(last, 10 + ENTRIES as u64 - 1);
        assert!(slow.look().is_none());
    }

    #[tokio::test]
    async fn the_ring_is_bounded_in_bytes_too() {
        let live = Arc::new(Live::default());
        let mut watcher = live.watch(None).unwrap();
        publish(&live, 10, BYTES / 4);
        assert!(live.ring().bytes <= BYTES);
        assert_eq!(watcher.next().await.left_out, 7);
        // One that has no room at all is only counted.
        publish(&live, 1, BYTES);
        let batch = watcher.next().await;
        assert_eq!((batch.left_out, batch.entries.len()), (1, 0));
        assert_eq!(live.ring().bytes, 0);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_there_are_so_many_at_most() {
        let live = Arc::new(Live::default());
        let mut watchers: Vec<_> = (0..WATCHERS).filter_map(|_| live.watch(None)).collect();
        assert!(live.watch(None).is_none() && watchers.len() == WATCHERS);
        publish(&live, 5, 1);
        watchers.pop();
        let mut again = live.watch(Some(3)).unwrap();
        assert_eq!(again.look().unwrap().entries.len(), 2);
        drop(again);
        let mut of_another_run = live.watch(Some(99)).unwrap();
        assert!(of_another_run.look().is_none());
    }
}
