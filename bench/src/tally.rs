//! What publishers and receivers of one server share: a ledger of what has arrived, and how late it was.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::time::sleep;

use crate::{
    ledger::{Ledger, Totals, Verdict},
    report::{Figure, histogram},
    stamp::Stamp,
};

/// How long after the last publish its deliveries may still come; what is missing then is lost.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// All of those who use it run on one thread.
#[derive(Debug)]
pub(crate) struct Tally {
    epoch: Instant,
    ledger: RefCell<Ledger>,
    pub(crate) delivery_us: RefCell<Histogram<u64>>,
}

impl Tally {
    /// `epoch` is what the times in stamps count from.
    pub(crate) fn new(ledger: Ledger, epoch: Instant) -> Self {
        Self {
            epoch,
            ledger: RefCell::new(ledger),
            delivery_us: RefCell::new(histogram()),
        }
    }

    /// Enters a publish of the source, and gives the stamp for it.
    pub(crate) fn publish(&self, source: u32, due: Instant) -> Stamp {
        Stamp {
            source,
            sequence: self.ledger.borrow_mut().publish(source),
            due_ns: due.saturating_duration_since(self.epoch).as_nanos() as u64,
        }
    }

    /// Enters that the server refused the source's latest publish.
    pub(crate) fn refused(&self, source: u32) {
        self.ledger.borrow_mut().refused(source);
    }

    /// Enters a message that a receiver got. Gives its stamp, if it is one that was still missing there.
    pub(crate) fn received(
        &self,
        receiver: usize,
        message: &[u8],
        hint: &mut usize,
    ) -> Option<Stamp> {
        let stamp = Stamp::find(message, hint)?;
        match self.ledger.borrow_mut().received(receiver, &stamp) {
            Verdict::InOrder | Verdict::Inverted => {}
            Verdict::Duplicate | Verdict::Unknown => return None,
        }
        let now_ns = self.epoch.elapsed().as_nanos() as u64;
        let late_us = now_ns.saturating_sub(stamp.due_ns) / 1_000;
        self.delivery_us.borrow_mut().saturating_record(late_us);
        Some(stamp)
    }

    /// The sums over its receivers as of now.
    pub(crate) fn totals(&self) -> Totals {
        self.ledger.borrow().totals()
    }

    /// Waits until no more is missing than was before, or until the grace is over.
    pub(crate) async fn settle(&self, lost_before: u64) {
        let deadline = Instant::now() + GRACE;
        while self.totals().lost() > lost_before && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// What must not be.
    pub(crate) fn faults(&self) -> [Figure; 4] {
        let totals = self.totals();
        [
            Figure::count("lost", totals.lost()),
            Figure::count("duplicated", totals.duplicated),
            Figure::count("inverted", totals.inverted),
            Figure::count("unknown", totals.unknown),
        ]
    }
}
