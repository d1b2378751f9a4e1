//! What a node knows of a place: how many are where, as of which version. News is applied in the order of the versions;
//! who has missed one reads the place anew, and what arrives meanwhile is put on top of what was read.

use std::collections::HashMap;
use std::sync::Arc;

use super::news::{News, Presence};
use super::place::NodeName;
use super::registry::Snapshot;

/// News that arrives during one reading, which lasts a millisecond, or two seconds at the very most. Above it the
/// place is read once more.
const MOST_SINCE: usize = 4096;

/// A place's version and counts, and the reading under way.
#[derive(Debug, Default)]
pub struct Replica {
    version: u64,
    loaded: bool,
    reading: Option<Reading>,
    readings: u32,
    counts: Vec<(NodeName, u32)>,
}

/// A reading under way.
#[derive(Debug)]
struct Reading {
    number: u32,
    /// Nodes that have been cut off have had time to come back: who is not there is gone.
    settled: bool,
    since: Vec<News>,
    /// It is not enough.
    again: bool,
}

/// Where a piece of news stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Known already.
    Old,
    /// The next one, to be applied.
    Next,
    /// To be applied, but others are missing: the place is to be read.
    Gap,
}

/// A place as it is to be, from a reading and from what has arrived since.
#[derive(Debug)]
pub struct Loaded {
    /// Who is there.
    pub members: HashMap<Arc<str>, Presence>,
    /// Who is not in there is gone; otherwise their node may not have come back yet.
    pub settled: bool,
    /// The place has to be read once more.
    pub again: bool,
    /// It is the first reading since the place was listened to or cut off.
    pub first: bool,
}

impl Replica {
    /// Whether the place has been read since this node listens to it, and is not cut off.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// As of which version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Subscriptions in the cluster, where their number is news.
    pub fn total(&self) -> u32 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Notes that a reading begins, and gives its number; nothing while one is under way, after which there is another.
    pub fn begin(&mut self, settled: bool) -> Option<u32> {
        if let Some(reading) = &mut self.reading {
            reading.again = true;
            return None;
        }
        self.readings = self.readings.wrapping_add(1);
        self.reading = Some(Reading {
            number: self.readings,
            settled,
            since: Vec::new(),
            again: false,
        });
        Some(self.readings)
    }

    /// A reading has failed: true when it was the one under way.
    pub fn fail(&mut self, number: u32) -> bool {
        let failed = self.reading.take_if(|reading| reading.number == number);
        failed.is_some()
    }

    /// Whether a reading is under way.
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Takes a piece of news about members or counts. Counts are kept here, members by the caller.
    pub fn take(&mut self, news: &News) -> Step {
        let version = match news {
            News::Member { version, .. }
            | News::Count { version, .. }
            | News::Cached { version, .. } => *version,
            News::Event(_) | News::Terminate => return Step::Next,
        };
        if version <= self.version {
            return Step::Old;
        }
        let step = if version == self.version + 1 || !self.loaded {
            Step::Next
        } else {
            Step::Gap
        };
        self.version = version;
        if let News::Count { node, count, .. } = *news {
            self.set_count(node, count);
        }
        if let Some(reading) = &mut self.reading {
            if reading.since.len() == MOST_SINCE {
                reading.again = true;
            } else {
                reading.since.push(news.clone());
            }
        }
        step
    }

    /// Ends a reading: what it found, and on top of it what has arrived since. Nothing if another has begun.
    pub fn load(&mut self, number: u32, snapshot: &Snapshot) -> Option<Loaded> {
        let reading = self.reading.take_if(|reading| reading.number == number)?;
        let first = !self.loaded;
        self.loaded = true;
        let members = snapshot.members.iter().cloned();
        let mut members: HashMap<_, _> = members
            .map(|member| (member.user_id.clone(), member))
            .collect();
        let old = std::mem::replace(&mut self.counts, snapshot.counts.clone());
        if !reading.settled {
            // Whose node is not back yet is still counted.
            for (node, count) in old {
                if self.counts.iter().all(|(known, _)| !known.same_node(node)) {
                    self.counts.push((node, count));
                }
            }
        }
        self.version = snapshot.version;
        for news in reading.since {
            match news {
                News::Member { version, member } if version > snapshot.version => {
                    self.version = version;
                    if member.nodes.is_empty() {
                        members.remove(&member.user_id);
                    } else {
                        members.insert(member.user_id.clone(), member);
                    }
                }
                News::Count {
                    version,
                    node,
                    count,
                } if version > snapshot.version => {
                    self.version = version;
                    self.set_count(node, count);
                }
                News::Cached { version, .. } if version > snapshot.version => {
                    self.version = version;
                }
                _ => {}
            }
        }
        Some(Loaded {
            members,
            settled: reading.settled,
            again: reading.again,
            first,
        })
    }

    /// Redis is away: from now on only what happens on this node is known.
    pub fn cut_off(&mut self, own: NodeName, count: u32) {
        self.loaded = false;
        self.reading = None;
        self.counts.retain(|(node, _)| !node.same_node(own));
        self.set_count(own, count);
    }

    /// Notes what this node has, while Redis is away.
    pub fn set_count(&mut self, node: NodeName, count: u32) {
        self.counts.retain(|(known, _)| *known != node);
        if count > 0 {
            self.counts.push((node, count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(version: u64, user: &str, nodes: &[u64]) -> News {
        let member = presence(user, nodes);
        News::Member { version, member }
    }

    fn presence(user: &str, nodes: &[u64]) -> Presence {
        Presence {
            user_id: user.into(),
            user_info: None,
            nodes: nodes.iter().copied().map(NodeName::first).collect(),
        }
    }

    fn snapshot(version: u64, members: Vec<Presence>, counts: &[(u64, u32)]) -> Snapshot {
        let counts = counts.iter();
        Snapshot {
            birth_before: 1,
            birth: 1,
            version,
            before: 0,
            after: 0,
            reoccupied: false,
            added: Vec::new(),
            removed: Vec::new(),
            held: Vec::new(),
            members,
            counts: counts
                .map(|(node, count)| (NodeName::first(*node), *count))
                .collect(),
            cached: None,
        }
    }

    fn loaded(version: u64) -> Replica {
        let mut replica = Replica::default();
        let number = replica.begin(true).unwrap();
        replica
            .load(number, &snapshot(version, Vec::new(), &[]))
            .unwrap();
        replica
    }

    #[test]
    fn news_is_taken_once_and_a_gap_is_seen() {
        let mut replica = loaded(10);
        assert_eq!(replica.take(&member(11, "a", &[1])), Step::Next);
        assert_eq!(replica.take(&member(11, "a", &[1])), Step::Old);
        assert_eq!(replica.take(&member(13, "a", &[])), Step::Gap);
        assert_eq!(replica.version(), 13);
    }

    #[test]
    fn what_arrives_during_a_reading_stands_above_it_and_what_is_older_does_not() {
        let mut replica = loaded(10);
        let number = replica.begin(true).unwrap();
        assert_eq!(replica.begin(true), None);
        replica.take(&member(11, "a", &[1]));
        replica.take(&member(12, "b", &[]));
        let node = NodeName::first(2);
        replica.take(&News::Count {
            version: 13,
            node,
            count: 5,
        });
        let found = snapshot(
            11,
            vec![presence("a", &[1]), presence("b", &[1])],
            &[(2, 4), (3, 1)],
        );
        let loaded = replica.load(number, &found).unwrap();
        assert_eq!(
            loaded.members.keys().map(|id| &**id).collect::<Vec<_>>(),
            ["a"]
        );
        assert_eq!((replica.version(), replica.total()), (13, 6));
    }

    #[test]
    fn a_reading_from_before_a_cut_is_none_and_counts_of_nodes_that_are_not_back_stay() {
        let mut replica = loaded(10);
        for (version, node) in [(11, 1), (12, 2)] {
            let node = NodeName::first(node);
            replica.take(&News::Count {
                version,
                node,
                count: 3,
            });
        }
        let stale = replica.begin(true).unwrap();
        replica.cut_off(NodeName::first(1), 2);
        assert!(!replica.is_loaded() && replica.total() == 5);
        let number = replica.begin(false).unwrap();
        assert!(
            replica
                .load(stale, &snapshot(20, Vec::new(), &[]))
                .is_none()
        );
        replica
            .load(number, &snapshot(20, Vec::new(), &[(1, 2)]))
            .unwrap();
        assert_eq!(replica.total(), 5);
        let number = replica.begin(true).unwrap();
        replica
            .load(number, &snapshot(20, Vec::new(), &[(1, 2)]))
            .unwrap();
        assert_eq!(replica.total(), 2);
    }
}
