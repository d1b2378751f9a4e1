//! Who received what: losses, duplicates and order inversions by the sequence numbers in the payloads.
//! Invariant: per receiver and source, every number below `next` was received once or stands in `gaps`.

use std::ops::Range;

use crate::stamp::Stamp;

/// What one received message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one, or one further on (what was skipped may still come).
    InOrder,
    /// One that was overtaken by a later one.
    Inverted,
    /// One that this receiver already had.
    Duplicate,
    /// One that nobody published, or not to this receiver.
    Unknown,
}

/// The sums over all receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Deliveries that had to happen: publishes times those who hear them.
    pub(crate) expected: u64,
    /// Deliveries that happened, each counted once.
    pub(crate) delivered: u64,
    /// Messages that arrived again.
    pub(crate) duplicated: u64,
    /// Messages that arrived after a later one of the same source.
    pub(crate) inverted: u64,
    /// Messages that nobody published to their receiver.
    pub(crate) unknown: u64,
}

impl Totals {
    /// Deliveries that did not happen (yet).
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}

/// What one receiver has of one source.
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
    /// Per source: how many numbers it has given out.
    published: Vec<u64>,
    /// Per source: how many receivers hear it.
    audience: Vec<u64>,
    /// Per receiver: the sources it hears, sorted, and what it has of each.
    progress: Vec<Vec<(u32, Progress)>>,
    totals: Totals,
}

impl Ledger {
    /// An empty account for so many receivers who all hear so many sources.
    pub(crate) fn new(receivers: usize, sources: u32) -> Self {
        Self::of((0..receivers).map(|_| (0..sources).collect()), sources)
    }

    /// An empty account for receivers who hear the sources listed for each, out of so many.
    pub(crate) fn of(heard: impl IntoIterator<Item = Vec<u32>>, sources: u32) -> Self {
        let mut audience = vec![0; sources as usize];
        let progress = heard.into_iter().map(|mut list| {
            list.sort_unstable();
            list.dedup();
            list.retain(|&source| source < sources);
            for &source in &list {
                audience[source as usize] += 1;
            }
            let fresh = list.into_iter().map(|source| (source, Progress::default()));
            fresh.collect()
        });
        let progress = progress.collect();
        Self {
            published: vec![0; sources as usize],
            audience,
            progress,
            totals: Totals::default(),
        }
    }

    /// Gives the source's next number. From now on all who hear it have to receive it.
    pub(crate) fn publish(&mut self, source: u32) -> u64 {
        let published = &mut self.published[source as usize];
        let sequence = *published;
        *published += 1;
        self.totals.expected += self.audience[source as usize];
        sequence
    }

    /// Enters that the server refused the source's latest publish: nobody has to receive it.
    pub(crate) fn refused(&mut self, source: u32) {
        self.totals.expected -= self.audience[source as usize];
    }

    /// Enters that a receiver got a message.
    pub(crate) fn received(&mut self, receiver: usize, stamp: &Stamp) -> Verdict {
        let source = stamp.source;
        let known = self
            .published
            .get(source as usize)
            .is_some_and(|&published| stamp.sequence < published);
        let heard = &mut self.progress[receiver];
        // Who hears all sources has each in its own place.
        let at = match heard.get(source as usize) {
            Some((own, _)) if *own == source => Some(source as usize),
            _ => heard.binary_search_by_key(&source, |(own, _)| *own).ok(),
        };
        let verdict = match at {
            Some(at) if known => heard[at].1.received(stamp.sequence),
            _ => Verdict::Unknown,
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

    fn stamp(source: u32, sequence: u64) -> Stamp {
        Stamp {
            source,
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

    #[test]
    fn nobody_owes_what_others_hear_or_what_was_refused() {
        let mut ledger = Ledger::of([vec![2, 0], vec![2], vec![]], 3);
        for source in 0..3 {
            ledger.publish(source);
        }
        assert_eq!(ledger.totals().expected, 3);
        ledger.refused(2);
        assert_eq!(ledger.totals().expected, 1);
        assert_eq!(ledger.received(0, &stamp(0, 0)), Verdict::InOrder);
        assert_eq!(ledger.received(1, &stamp(0, 0)), Verdict::Unknown);
        assert_eq!(ledger.totals().lost(), 0);
    }
}
