//! Memory and descriptors of the nodes over time, and whether they grow.
//!
//! Judged is the node that nobody restarts, on samples after the warm-up: in the first third of a run tables reach their size,
//! and the allocator its. Memory is VmRSS, its trend the median of all slopes ([`crate::trend`]). Of the descriptors those that
//! are not a client's count: open files less `gema_connections`, the middle of the last third against that of the first.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::procfs::{descriptors, rss_kib};
use crate::scene::Scene;
use crate::trend::{Sample, median, slope};

/// The node that is judged.
pub(crate) const JUDGED: usize = 0;
/// Memory may grow by so much in a minute: at 20 connections a second 30 bytes that each left behind would show. Half an hour was
/// measured at 15, most of it before the middle.
pub(crate) const KIB_PER_MINUTE: f64 = 32.0;
/// So many seconds after the warm-up make a trend: over three minutes 67 KiB a minute were measured where 15 were over twenty.
const ENOUGH_S: f64 = 600.0;
const EVERY: Duration = Duration::from_secs(2);
/// Descriptors that may be more: connections to Redis and the webhooks' receiver are made anew now and then.
const MORE_DESCRIPTORS: f64 = 4.0;

/// One look at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Seconds since the start.
    at: f64,
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) connections: f64,
}

/// All looks, by node.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    looks: RefCell<Vec<Vec<Look>>>,
}

/// What is judged, in KiB a minute and descriptors; `None` where the run was too short to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) kib_per_minute: f64,
    /// How many more descriptors the last third has than the first.
    pub(crate) descriptors: f64,
}

impl Growth {
    pub(crate) fn memory_is_flat(&self) -> bool {
        self.kib_per_minute <= KIB_PER_MINUTE
    }

    pub(crate) fn descriptors_are_flat(&self) -> bool {
        self.descriptors <= MORE_DESCRIPTORS
    }
}

impl Samples {
    /// Looks at all nodes again and again.
    pub(crate) async fn take(&self, scene: &Scene) {
        let began = Instant::now();
        loop {
            for node in &scene.nodes {
                if node.may_fail() {
                    continue;
                }
                let figures = node.figures(&scene.http).await;
                let process = node.process();
                let read = rss_kib(process).zip(descriptors(process));
                if let (Some((rss_kib, descriptors)), Some(figures)) = (read, figures) {
                    let mut looks = self.looks.borrow_mut();
                    looks.resize(scene.nodes.len(), Vec::new());
                    looks[node.index].push(Look {
                        at: began.elapsed().as_secs_f64(),
                        rss_kib,
                        descriptors,
                        connections: figures.sum("connections"),
                    });
                }
            }
            sleep(EVERY).await;
        }
    }

    /// The last look at each node.
    pub(crate) fn last(&self) -> Vec<Look> {
        let looks = self.looks.borrow();
        looks.iter().filter_map(|of| of.last().copied()).collect()
    }

    /// All looks at the node that is judged: seconds, KiB, descriptors.
    pub(crate) fn judged(&self) -> Vec<(f64, u64, u64)> {
        let looks = self.looks.borrow();
        let judged = looks.get(JUDGED).into_iter().flatten();
        judged
            .map(|look| (look.at, look.rss_kib, look.descriptors))
            .collect()
    }

    /// Whether something grows.
    pub(crate) fn growth(&self) -> Option<Growth> {
        let looks = self.looks.borrow();
        growth(looks.get(JUDGED)?)
    }
}

fn growth(looks: &[Look]) -> Option<Growth> {
    let after = looks.last()?.at / 3.0;
    let warm: Vec<&Look> = looks.iter().filter(|look| look.at >= after).collect();
    if looks.last()?.at - after < ENOUGH_S {
        return None;
    }
    let memory: Vec<Sample> = warm
        .iter()
        .map(|look| (look.at, look.rss_kib as f64))
        .collect();
    let of_its_own = |looks: &[&Look]| {
        let mut counts: Vec<f64> = looks
            .iter()
            .map(|look| look.descriptors as f64 - look.connections)
            .collect();
        median(&mut counts)
    };
    let third = warm.len() / 3;
    let (first, last) = (
        of_its_own(&warm[..third])?,
        of_its_own(&warm[warm.len() - third..])?,
    );
    Some(Growth {
        kib_per_minute: slope(&memory)? * 60.0,
        descriptors: last - first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(count: u32, rss: impl Fn(u32) -> u64, descriptors: impl Fn(u32) -> u64) -> Vec<Look> {
        let look = |n| Look {
            at: f64::from(n) * 5.0,
            rss_kib: rss(n),
            descriptors: descriptors(n) + 40,
            connections: 40.0,
        };
        (0..count).map(look).collect()
    }

    #[test]
    fn a_node_that_fills_its_tables_first_is_flat_and_one_that_never_stops_is_not() {
        let filling = looks(360, |n| 20_000 + u64::from(n.min(100)) * 50, |_| 20);
        let growth = super::growth(&filling).unwrap();
        assert!(growth.memory_is_flat() && growth.descriptors_are_flat());
        let leaking = looks(
            360,
            |n| 20_000 + u64::from(n) * 6,
            |n| 20 + u64::from(n / 20),
        );
        let growth = super::growth(&leaking).unwrap();
        assert_eq!(growth.kib_per_minute, 72.0);
        assert!(!growth.memory_is_flat() && !growth.descriptors_are_flat());
    }

    #[test]
    fn a_short_run_is_not_judged() {
        assert_eq!(growth(&looks(60, |_| 1, |_| 1)), None);
    }
}
