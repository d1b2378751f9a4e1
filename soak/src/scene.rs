//! What all tasks of a run share. One thread runs them all, so cells are enough.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::findings::Findings;
use crate::http::HttpClient;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::outages::Outages;
use crate::webhooks::Webhooks;

/// After Redis has been away a cluster may take so long to agree.
const AGREEMENT: Duration = Duration::from_secs(5);

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Everything goes on.
    Busy,
    /// Nothing is published, nobody visits.
    Quiet,
    /// Listeners close their accounts and go.
    Over,
}

/// Counts for the lines that are printed.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// Connections made, by listeners and visitors.
    pub(crate) connected: Cell<u64>,
    pub(crate) talked: Cell<u64>,
    /// Connections that ended by a fault that was made here.
    pub(crate) sent_away: Cell<u64>,
    /// Posts that failed in a fault that was made here.
    pub(crate) failed_posts: Cell<u64>,
    /// Places of webhooks that did not balance after a fault for which that is announced.
    pub(crate) announced_webhooks: Cell<u64>,
}

/// The run.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) nodes: Vec<Node>,
    pub(crate) http: HttpClient,
    pub(crate) ledger: Ledger,
    pub(crate) outages: Outages,
    pub(crate) findings: Rc<Findings>,
    pub(crate) webhooks: Rc<Webhooks>,
    /// The era of visits that begin now.
    pub(crate) era: Rc<Cell<u32>>,
    /// Visits under way, by era.
    pub(crate) visits: RefCell<BTreeMap<u32, u64>>,
    pub(crate) tallies: Tallies,
    pub(crate) stage: watch::Sender<Stage>,
}

impl Scene {
    pub(crate) fn is(&self, stage: Stage) -> bool {
        *self.stage.borrow() == stage
    }

    /// Waits until the run is that far.
    pub(crate) async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        // The sender is ours: it lives as long as this.
        stages.wait_for(|now| *now >= stage).await.ok();
    }

    /// Whether what a client of this node sees may be owed to a fault that was made here.
    pub(crate) fn is_troubled(&self, node: usize) -> bool {
        self.nodes[node].may_fail() || self.outages.everybody_within(AGREEMENT)
    }
}
