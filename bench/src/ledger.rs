//! Who received what: losses, duplicates and order inversions by the sequence numbers in the payloads.
//! Invariant: per subscriber and publisher, every number below `next` was received once or stands in `gaps`.

use std::ops::Range;

use crate::stamp::Stamp;

/// What one received message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one, or one further on (what was skipped may still come).
    InOrder,
    /// One that was overtaken by a later one.
    Inverted,
    /// One that this subscriber already had.
    Duplicate,
    /// One that nobody published.
    Unknown,
}

/// The sums over all subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Deliveries that had to happen: publishes times subscribers.
    pub(crate) expected: u64,
    /// Deliveries that happened, each counted once.
    pub(crate) delivered: u64,
    /// Messages that arrived again.
    pub(crate) duplicated: u64,
    /// Messages that arrived after a later one of the same publisher.
    pub(crate) inverted: u64,
    /// Messages that carried a number nobody published.
    pub(crate) unknown: u64,
}

impl Totals {
    /// Deliveries that did not happen (yet).
    pub(crate) fn lost(&self) -> u64 {
        self.expected - self.delivered
    }
}

/// What one subscriber has of one publisher.
#[derive(Clone, Debug, Default)]
struct Progress {
    next: u64,
    gaps: Vec<Range<u64>>,
}

impl Progress {
    fn received(&mut self, sequence: u64) -> Verdict {
        if sequence >= self.next {
            if sequence > self.next {
                self.gaps.push(self.next..sequence);
            }
            self.next = sequence + 1;
            return Verdict::InOrder;
        }
        let Some(at) = self.gaps.iter().position(|gap| gap.contains(&sequence)) else {
            return Verdict::Duplicate;
        };
        let gap = self.gaps.swap_remove(at);
        let parts = [gap.start..sequence, sequence + 1..gap.end];
        self.gaps
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
        Verdict::Inverted
    }
}

/// The account of one scenario.
#[derive(Debug)]
pub(crate) struct Ledger {
    published: Vec<u64>,
    progress: Vec<Vec<Progress>>,
    totals: Totals,
}

impl Ledger {
    /// An empty account for so many subscribers of one channel and publishers to it.
    pub(crate) fn new(subscribers: usize, publishers: usize) -> Self {
        Self {
            published: vec![0; publishers],
            progress: vec![vec![Progress::default(); publishers]; subscribers],
            totals: Totals::default(),
        }
    }

    /// Gives the publisher's next number. From now on every subscriber has to receive it.
    pub(crate) fn publish(&mut self, publisher: u16) -> u64 {
        let published = &mut self.published[usize::from(publisher)];
        let sequence = *published;
        *published += 1;
        self.totals.expected += self.progress.len() as u64;
        sequence
    }

    /// Enters that a subscriber received a message.
    pub(crate) fn received(&mut self, subscriber: usize, stamp: &Stamp) -> Verdict {
        let publisher = usize::from(stamp.publisher);
        let known = self
            .published
            .get(publisher)
            .is_some_and(|&published| stamp.sequence < published);
        let verdict = if known {
            self.progress[subscriber][publisher].received(stamp.sequence)
        } else {
            Verdict::Unknown
        };
        match verdict {
            Verdict::InOrder => self.totals.delivered += 1,
            Verdict::Inverted => {
                self.totals.delivered += 1;
                self.totals.inverted += 1;
            }
            Verdict::Duplicate => self.totals.duplicated += 1,
            Verdict::Unknown => self.totals.unknown += 1,
        }
        verdict
    }

    /// The sums as of now.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(subscribers: usize, count: u64) -> Ledger {
        let mut ledger = Ledger::new(subscribers, 1);
        for expected in 0..count {
            assert_eq!(ledger.publish(0), expected);
        }
        ledger
    }

    fn stamp(publisher: u16, sequence: u64) -> Stamp {
        Stamp {
            publisher,
            sequence,
            due_ns: 0,
        }
    }

    fn receive(ledger: &mut Ledger, sequences: &[u64]) -> Vec<Verdict> {
        sequences
            .iter()
            .map(|&s| ledger.received(0, &stamp(0, s)))
            .collect()
    }

    #[test]
    fn everything_in_order_is_no_finding() {
        let mut ledger = published(1, 3);
        receive(&mut ledger, &[0, 1, 2]);
        let totals = ledger.totals();
        assert_eq!((totals.expected, totals.delivered), (3, 3));
        assert_eq!(
            (totals.lost(), totals.duplicated, totals.inverted),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_message_that_never_comes_is_lost_at_the_start_in_the_middle_and_at_the_end() {
        let mut ledger = published(1, 6);
        receive(&mut ledger, &[1, 2, 4]);
        assert_eq!(ledger.totals().lost(), 3);
        assert_eq!(ledger.totals().inverted, 0);
    }

    #[test]
    fn a_message_that_comes_late_is_inverted_and_not_lost() {
        use Verdict::{Duplicate, InOrder, Inverted};
        let mut ledger = published(1, 6);
        assert_eq!(
            receive(&mut ledger, &[5, 2, 0, 2, 4, 1, 3, 5]),
            [
                InOrder, Inverted, Inverted, Duplicate, Inverted, Inverted, Inverted, Duplicate
            ]
        );
        let totals = ledger.totals();
        assert_eq!(
            (totals.lost(), totals.duplicated, totals.inverted),
            (0, 2, 5)
        );
    }

    #[test]
    fn a_number_nobody_published_is_unknown_and_leaves_the_account_alone() {
        let mut ledger = published(1, 1);
        assert_eq!(
            receive(&mut ledger, &[1, 0]),
            [Verdict::Unknown, Verdict::InOrder]
        );
        assert_eq!(ledger.received(0, &stamp(7, 0)), Verdict::Unknown);
        assert_eq!((ledger.totals().lost(), ledger.totals().unknown), (0, 2));
    }

    #[test]
    fn publishers_and_subscribers_are_accounted_apart() {
        let mut ledger = Ledger::new(2, 2);
        ledger.publish(0);
        ledger.publish(1);
        for subscriber in [0, 1] {
            assert_eq!(ledger.received(subscriber, &stamp(1, 0)), Verdict::InOrder);
        }
        assert_eq!(ledger.received(1, &stamp(0, 0)), Verdict::InOrder);
        assert_eq!((ledger.totals().expected, ledger.totals().lost()), (4, 1));
    }
}
