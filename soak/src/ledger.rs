//! Who has to hear what, and who heard it: by numbers that each source counts up in each channel.
//!
//! A source is a node that events are posted to, or a client that talks. Between its acknowledgement and its end a subscription
//! must hear each event once and in order; what was begun before the acknowledgement it may hear. The account of a
//! subscription is closed with it: an event that has not come by then is lost, unless it was on its way when the connection
//! was closed, failed for whoever posted it, or was announced ([`crate::outages`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::findings::Findings;
use crate::outages::Outages;

/// What was posted so shortly before a connection's end may have been on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The HTTP API of this node.
    Node(usize),
    /// Client events of the listener of this number, and the node that it is on.
    Talker(usize, usize),
}

/// One event.
#[derive(Clone, Copy, Debug)]
struct Publication {
    at: Instant,
    /// Taken for certain; who posted it and got no answer does not know.
    taken: bool,
}

/// What has been posted to one channel, by source. Kept to the end: 32 bytes for each.
type Channel = BTreeMap<Source, Vec<Publication>>;

/// The account of all.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    channels: RefCell<BTreeMap<String, Channel>>,
    pub(crate) sums: Sums,
}

/// What all accounts add up to.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) published: Cell<u64>,
    pub(crate) delivered: Cell<u64>,
    pub(crate) lost: Cell<u64>,
    pub(crate) duplicated: Cell<u64>,
    pub(crate) inverted: Cell<u64>,
    /// Lost in an outage that was announced.
    pub(crate) announced: Cell<u64>,
}

/// One subscription of one connection, from the acknowledgement on.
#[derive(Debug)]
pub(crate) struct Hearing {
    channel: String,
    /// Its own events are not told to it.
    own: Option<Source>,
    /// By source: what was begun before the acknowledgement.
    from: BTreeMap<Source, u64>,
    progress: BTreeMap<Source, Progress>,
}

/// What a subscription has of one source.
#[derive(Debug, Default)]
struct Progress {
    last: Option<u64>,
    missing: BTreeSet<u64>,
}

/// Why an account is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The connection has ended.
    Ended,
    /// The run has, and all was given time to arrive.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Inverted,
    Duplicate,
}

pub(crate) fn count(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

impl Ledger {
    /// Gives an event its number: from now on it may be heard.
    pub(crate) fn publish(&self, channel: &str, source: Source) -> u64 {
        count(&self.sums.published, 1);
        let mut channels = self.channels.borrow_mut();
        let channel = channels.entry(channel.to_owned()).or_default();
        let publications = channel.entry(source).or_default();
        publications.push(Publication {
            at: Instant::now(),
            taken: false,
        });
        publications.len() as u64 - 1
    }

    /// It was taken: from now on it must be heard.
    pub(crate) fn taken(&self, channel: &str, source: Source, number: u64) {
        self.change(channel, source, number, |event| event.taken = true);
    }

    /// What a source sent just before its connection ended may not have been taken.
    pub(crate) fn source_ended(&self, channel: &str, source: Source) {
        let mut channels = self.channels.borrow_mut();
        let publications = channels
            .get_mut(channel)
            .and_then(|channel| channel.get_mut(&source));
        for event in publications.into_iter().flatten().rev() {
            if event.at.elapsed() > ON_ITS_WAY {
                break;
            }
            event.taken = false;
        }
    }

    fn change(
        &self,
        channel: &str,
        source: Source,
        number: u64,
        how: impl FnOnce(&mut Publication),
    ) {
        let mut channels = self.channels.borrow_mut();
        let publications = channels
            .get_mut(channel)
            .and_then(|channel| channel.get_mut(&source));
        if let Some(event) = publications.and_then(|events| events.get_mut(number as usize)) {
            how(event);
        }
    }

    /// A subscription to this channel was acknowledged.
    pub(crate) fn acknowledged(&self, channel: &str, own: Option<Source>) -> Hearing {
        let channels = self.channels.borrow();
        let begun = channels.get(channel).into_iter().flatten();
        Hearing {
            channel: channel.to_owned(),
            own,
            from: begun
                .map(|(source, events)| (*source, events.len() as u64))
                .collect(),
            progress: BTreeMap::new(),
        }
    }

    /// An event has come.
    pub(crate) fn received(
        &self,
        hearing: &mut Hearing,
        source: Source,
        number: u64,
        findings: &Findings,
    ) {
        let from = hearing.from.get(&source).copied().unwrap_or(0);
        let progress = hearing.progress.entry(source).or_default();
        let last = progress.last;
        let (sum, kind) = match progress.received(from, number) {
            Verdict::Good => return count(&self.sums.delivered, 1),
            Verdict::Inverted => (&self.sums.inverted, "inverted"),
            Verdict::Duplicate => (&self.sums.duplicated, "duplicated"),
        };
        count(sum, 1);
        let channel = &hearing.channel;
        findings.add(
            kind,
            format!("{channel}, {source:?}: {number} after {last:?}"),
        );
    }

    /// Closes the account of a subscription.
    pub(crate) fn close(
        &self,
        hearing: Hearing,
        closing: Closing,
        outages: &Outages,
        findings: &Findings,
    ) {
        let channels = self.channels.borrow();
        for (source, events) in channels.get(&hearing.channel).into_iter().flatten() {
            if Some(*source) == hearing.own {
                continue;
            }
            let from = hearing.from.get(source).copied().unwrap_or(0);
            let progress = hearing.progress.get(source);
            let next = progress
                .and_then(|progress| progress.last)
                .map_or(from, |last| from.max(last + 1));
            let missing = progress
                .into_iter()
                .flat_map(|progress| progress.missing.iter().copied());
            for number in missing.chain(next..events.len() as u64) {
                let event = events[number as usize];
                let on_its_way = closing == Closing::Ended && event.at.elapsed() < ON_ITS_WAY;
                if !event.taken || on_its_way {
                    continue;
                }
                let (Source::Node(node) | Source::Talker(_, node)) = *source;
                if outages.announced(node, event.at) {
                    count(&self.sums.announced, 1);
                    continue;
                }
                count(&self.sums.lost, 1);
                let ago = event.at.elapsed().as_secs_f64();
                findings.add(
                    "lost",
                    format!(
                        "{}, {source:?}: {number}, posted {ago:.1} s ago ({closing:?})",
                        hearing.channel
                    ),
                );
            }
        }
    }
}

impl Progress {
    /// `from`: what is below it was begun before the acknowledgement and need not come.
    fn received(&mut self, from: u64, number: u64) -> Verdict {
        if let Some(last) = self.last
            && number <= last
        {
            return match self.missing.remove(&number) {
                true => Verdict::Inverted,
                false => Verdict::Duplicate,
            };
        }
        let next = self.last.map_or(from, |last| from.max(last + 1));
        self.missing.extend(next..number);
        self.last = Some(number);
        Verdict::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "a";
    const SOURCE: Source = Source::Node(0);

    fn published(ledger: &Ledger, count: u64) {
        for _ in 0..count {
            let number = ledger.publish(CHANNEL, SOURCE);
            ledger.taken(CHANNEL, SOURCE, number);
        }
    }

    /// Lost, duplicated, inverted, announced.
    fn sums(ledger: &Ledger) -> [u64; 4] {
        let sums = &ledger.sums;
        [
            &sums.lost,
            &sums.duplicated,
            &sums.inverted,
            &sums.announced,
        ]
        .map(Cell::get)
    }

    fn hear(before: u64, after: u64, numbers: &[u64], outages: &Outages) -> [u64; 4] {
        let (ledger, findings) = (Ledger::default(), Findings::default());
        published(&ledger, before);
        let mut hearing = ledger.acknowledged(CHANNEL, None);
        published(&ledger, after);
        for number in numbers {
            ledger.received(&mut hearing, SOURCE, *number, &findings);
        }
        ledger.close(hearing, Closing::Over, outages, &findings);
        let sums = sums(&ledger);
        assert_eq!(findings.count(), sums[..3].iter().sum::<u64>());
        sums
    }

    #[test]
    fn what_was_begun_before_the_acknowledgement_may_come_and_the_rest_must() {
        let quiet = Outages::default();
        assert_eq!(hear(3, 2, &[3, 4], &quiet), [0, 0, 0, 0]);
        assert_eq!(hear(3, 2, &[2, 3, 4], &quiet), [0, 0, 0, 0]);
        assert_eq!(hear(3, 2, &[4], &quiet), [1, 0, 0, 0]);
        assert_eq!(hear(3, 2, &[3], &quiet), [1, 0, 0, 0]);
        assert_eq!(hear(0, 5, &[], &quiet), [5, 0, 0, 0]);
    }

    #[test]
    fn what_comes_late_is_inverted_and_what_comes_again_is_duplicated() {
        let quiet = Outages::default();
        assert_eq!(hear(0, 4, &[0, 2, 1, 3], &quiet), [0, 0, 1, 0]);
        assert_eq!(hear(0, 4, &[0, 1, 1, 2, 3, 2], &quiet), [0, 2, 0, 0]);
    }

    #[test]
    fn what_was_announced_is_counted_apart() {
        let outages = Outages::default();
        outages.begin(crate::outages::Scope::Node(0));
        assert_eq!(hear(0, 4, &[3, 3], &outages), [0, 1, 0, 3]);
    }

    #[test]
    fn what_was_on_its_way_at_the_end_or_never_taken_is_not_lost() {
        let (ledger, findings) = (Ledger::default(), Findings::default());
        let outages = Outages::default();
        let one = ledger.acknowledged(CHANNEL, None);
        let two = ledger.acknowledged(CHANNEL, None);
        published(&ledger, 1);
        ledger.publish(CHANNEL, SOURCE);
        ledger.close(one, Closing::Ended, &outages, &findings);
        assert_eq!(sums(&ledger), [0; 4]);
        ledger.close(two, Closing::Over, &outages, &findings);
        assert_eq!(sums(&ledger), [1, 0, 0, 0]);
    }
}
