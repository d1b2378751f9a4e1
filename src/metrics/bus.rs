//! What goes between nodes, counted by whoever sends and receives it.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// The bus as seen from this node. All relaxed: they are figures, and nothing is decided by them.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Connected now.
    pub up: AtomicBool,
    /// Messages published to other nodes.
    pub sent: AtomicU64,
    /// Messages of other nodes.
    pub received: AtomicU64,
    /// Messages that never left, since too many waited for the bus to come back.
    pub dropped: AtomicU64,
    /// Messages of other nodes that are known to be missing.
    pub gaps: AtomicU64,
    /// Nodes found dead whose members this node has removed.
    pub sweeps: AtomicU64,
}
