//! Coming back after a cut, what Redis refuses, and waiting until what has come in is heard.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::warn;

use super::redis::{AskError, LinkId};
use super::{Bus, BusError, Place, REFUSED, Settling, lock};

impl Bus {
    /// A link is there from now on, and this node has yet to say on it what it holds. Gives the number of this coming.
    pub fn begin_settling(&self, link: LinkId) -> u64 {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        let coming = self.next_mark.fetch_add(1, Ordering::Relaxed);
        let settling = Settling {
            coming,
            is_done: false,
        };
        lock(&self.settling).insert(link, settling);
        coming
    }

    /// This node has said on a link what it holds.
    pub fn has_said_all(&self) {
        self.unsettled.fetch_sub(1, Ordering::AcqRel);
    }

    /// All nodes have said what they hold on this link, or have had the time to; unless it has gone meanwhile.
    pub fn note_settled(&self, link: LinkId, coming: u64) {
        if let Some(settling) = lock(&self.settling).get_mut(&link) {
            settling.is_done = settling.coming == coming;
        }
    }

    /// A link is gone.
    pub fn note_down(&self, link: LinkId) {
        lock(&self.settling).remove(&link);
    }

    /// Whether who is not in a place any more is gone: all nodes have said what they hold there.
    pub fn is_settled(&self, place: &Place) -> bool {
        let Some(link) = self.link_of(place) else {
            return false;
        };
        let settling = lock(&self.settling);
        settling.get(&link).is_some_and(|settling| settling.is_done)
    }

    /// Waits until all that had come in before this call has been heard.
    pub async fn caught_up(&self) {
        let number = self.next_mark.fetch_add(1, Ordering::Relaxed);
        let (heard, hearing) = oneshot::channel();
        lock(&self.marks).insert(number, heard);
        self.redis.mark(number);
        // An error: nobody hears any more, and the process is ending.
        drop(hearing.await);
    }

    /// All that came before a mark has been heard.
    pub fn pass(&self, mark: u64) {
        if let Some(waiting) = lock(&self.marks).remove(&mark) {
            // Who waited may have given up.
            let _ = waiting.send(());
        }
    }

    /// Notes that Redis has refused something that this node has to say: it is not fit for traffic.
    pub fn note_refusal(&self, error: &BusError) {
        if *error == BusError::Redis(AskError::Away) {
            return;
        }
        let mut refusal = lock(&self.refusal);
        let is_new = refusal
            .as_ref()
            .is_none_or(|(since, _)| since.elapsed() > REFUSED);
        if is_new {
            warn!(%error, "Redis refuses what this node has to say; it is tried again every second");
        }
        *refusal = Some((Instant::now(), error.to_string()));
    }
}
