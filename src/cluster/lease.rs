//! A node's lease at Redis, and what becomes of nodes that have lost theirs: one of the others takes them out of every
//! place they were in. So the members of a node that was killed are gone soon after its lease.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::Node;
use crate::bus::{BusError, NodeName, Place};

/// How often the leases are looked at, at most; three times as often as they must be renewed, if that is less.
const LOOK: Duration = Duration::from_secs(1);

/// Renews this node's lease for ever, and cleans up after others.
pub(super) async fn keep(node: Node) {
    let length = node.bus.lease_length();
    let mut up_since = None;
    loop {
        // Not in step with the others.
        let pause = LOOK.min(length / 3);
        sleep(pause.mul_f64(0.9 + 0.1 * f64::from(random_byte()) / 255.0)).await;
        if !node.bus.is_home_up() {
            up_since = None;
            continue;
        }
        let since = *up_since.get_or_insert_with(Instant::now);
        let lease = match node.bus.lease(length).await {
            Ok(lease) => lease,
            Err(error) => {
                debug!(%error, "the lease was not renewed");
                continue;
            }
        };
        let admission = &node.gateway.admission;
        let apps = node.gateway.apps.iter();
        let connections = apps.map(|app| (app.index, admission.connections(app)));
        node.bus.report_connections(connections);
        if !lease.kept {
            lost(&node).await;
            continue;
        }
        // After a cut of all, the leases of those who are not back yet are over, but they are not dead.
        if since.elapsed() < length {
            continue;
        }
        for dead in lease.expired {
            if let Err(error) = clean_up(&node, dead).await {
                debug!(%dead, %error, "cleaning up was interrupted");
            }
        }
        for (place, dead) in node.bus.suspects() {
            if let Ok(true) = node.bus.is_gone(dead).await {
                drop(bury(&node, &place, dead).await);
            }
        }
    }
}

/// Takes a lease when Redis is back. Who has lost the one before begins under a new name.
pub(super) async fn begin(node: &Node) {
    let length = node.bus.lease_length();
    if let Ok(lease) = node.bus.lease(length).await
        && !lease.kept
    {
        node.bus.rename();
        drop(node.bus.lease(length).await);
    }
}

/// The others have taken this node for dead: it begins anew.
async fn lost(node: &Node) {
    warn!("this node's lease was lost; it registers anew");
    node.bus.rename();
    drop(node.bus.lease(node.bus.lease_length()).await);
    for part in 0..crate::broker::Broker::PARTS {
        node.broker.assert_part(part).await;
    }
    node.users.assert_all().await;
}

async fn clean_up(node: &Node, dead: NodeName) -> Result<(), BusError> {
    if !node.bus.lock_dead(dead).await? {
        return Ok(());
    }
    let (mut cursor, mut places) = (0, 0);
    loop {
        let (next, some) = node.bus.places_of(dead, cursor).await?;
        for place in some {
            bury(node, &place, dead).await?;
            places += 1;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    node.bus.forget(dead).await?;
    node.bus.count_sweep();
    info!(%dead, places, "cleaned up after a node whose lease was over");
    Ok(())
}

async fn bury(node: &Node, place: &Place, dead: NodeName) -> Result<(), BusError> {
    match place {
        Place::Channel(topic) => node.broker.bury(topic, dead).await,
        Place::User { app, id } => node.users.bury(*app, id, dead).await,
    }
}

/// Zero when the operating system has none, which only means that nodes may look at the same moment.
fn random_byte() -> u8 {
    let mut byte = [0];
    match getrandom::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 0,
    }
}
