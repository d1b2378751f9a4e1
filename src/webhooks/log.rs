//! The last deliveries of one app, so that somebody can see what its back end was told and what it said to it. Kept whether
//! anybody looks or not: one looks when something has gone wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

/// Deliveries of an app that are kept.
const DELIVERIES: usize = 200;

/// Bytes of their bodies; a body alone may have 64 KiB.
const BYTES: usize = 1024 * 1024;

/// An attempt to deliver a request.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Counted from the start, within its app.
    pub number: u64,
    /// When it was sent, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The place of the webhook in the app's list.
    pub webhook: usize,
    /// The receiver's number among all that the app has had.
    pub(super) sender: u32,
    /// Scheme, host and port of the URL; what follows them may be a secret.
    pub receiver: String,
    /// What was sent.
    pub body: Bytes,
    /// What became of it.
    pub outcome: Outcome,
    /// How long that took.
    pub took: Duration,
    /// Sent by hand, once more.
    pub is_replay: bool,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered.
    Answered(StatusCode),
    /// It did not, for this reason.
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    deliveries: VecDeque<Arc<Delivery>>,
    bytes: usize,
    next: u64,
}

impl Log {
    /// Writes a delivery down, which is given its number.
    pub(super) fn write(&self, delivery: impl FnOnce(u64) -> Delivery) -> Arc<Delivery> {
        let mut kept = self.kept();
        kept.next += 1;
        let delivery = Arc::new(delivery(kept.next));
        kept.bytes += delivery.body.len();
        kept.deliveries.push_back(delivery.clone());
        while kept.deliveries.len() > DELIVERIES || kept.bytes > BYTES {
            let Some(oldest) = kept.deliveries.pop_front() else {
                break;
            };
            kept.bytes -= oldest.body.len();
        }
        delivery
    }

    pub(super) fn newest_first(&self) -> Vec<Arc<Delivery>> {
        self.kept().deliveries.iter().rev().cloned().collect()
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Delivery>> {
        let kept = self.kept();
        let mut deliveries = kept.deliveries.iter();
        deliveries.find(|kept| kept.number == number).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing inside the lock can panic half-way but what makes the delivery, before anything is changed for it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(number: u64, bytes: usize) -> Delivery {
        Delivery {
            number,
            unix_ms: 0,
            webhook: 0,
            sender: 1,
            receiver: String::new(),
            body: vec![b'x'; bytes].into(),
            outcome: Outcome::Answered(StatusCode::OK),
            took: Duration::ZERO,
            is_replay: false,
        }
    }

    #[test]
    fn the_newest_are_kept_within_their_number_and_their_bytes() {
        let log = Log::default();
        for _ in 0..=DELIVERIES {
            log.write(|number| delivery(number, 10));
        }
        let kept = log.newest_first();
        assert_eq!((kept.len(), kept[0].number), (DELIVERIES, 201));
        assert!(log.get(1).is_none() && log.get(2).is_some());
        log.write(|number| delivery(number, BYTES - 100));
        assert_eq!(log.newest_first().len(), 11);
        log.write(|number| delivery(number, BYTES + 1));
        assert!(log.newest_first().is_empty());
    }
}
