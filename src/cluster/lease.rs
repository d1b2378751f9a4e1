//! A node's lease at Redis, and what becomes of nodes that have lost theirs: one of the others takes them out of every
//! place they were in. So the members of a node that was killed are gone soon after its lease.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{Node, assert_all};
use crate::bus::{BusError, NodeName, Place};

/// How often the leases are looked at, at most; three times as often as they must be renewed, if that is less.
const LOOK: Duration = Duration::from_secs(1);

/// Places of a dead node that are seen to at a time: Redis is asked for so many in one go, and others get in between.
const AT_ONCE: usize = 64;

/// Renews this node's lease for ever, and cleans up after others.
pub(super) async fn keep(node: Node) {
    let length = node.bus.lease_length();
    let mut up_since = None;
    let mut cleaning = JoinSet::new();
    let mut dying = HashSet::new();
    loop {
        // Not in step with the others.
        let pause = LOOK.min(length / 3);
        sleep(pause.mul_f64(0.9 + 0.1 * f64::from(random_byte()) / 255.0)).await;
        while let Some(done) = cleaning.try_join_next() {
            // One that panicked is not tried again; its places are right when they are read next.
            if let Ok(dead) = done {
                dying.remove(&dead);
            }
        }
        if !node.bus.is_home_up() {
            up_since = None;
            continue;
        }
        let since = *up_since.get_or_insert_with(Instant::now);
        let lease = match node.bus.lease(length).await {
            Ok(lease) => lease,
            Err(error) => {
                node.bus.note_refusal(&error);
                debug!(%error, "the lease was not renewed");
                continue;
            }
        };
        let admission = &node.gateway.admission;
        node.bus.report_connections(admission.all_connections());
        if !lease.kept {
            warn!("this node's lease was lost; it registers anew");
            begin(&node).await;
            let node = node.clone();
            tokio::spawn(async move { assert_all(&node).await });
            continue;
        }
        // After a cut of all, the leases of those who are not back yet are over, but they are not dead.
        if since.elapsed() < length {
            continue;
        }
        for dead in lease.expired {
            if dying.insert(dead) {
                cleaning.spawn(clean_up(node.clone(), dead));
            }
        }
        let suspects = node.bus.suspects();
        if !suspects.is_empty() {
            let node = node.clone();
            tokio::spawn(async move { clear(&node, suspects).await });
        }
    }
}

/// Takes a lease. Who has lost the one before begins under a new name.
pub(super) async fn begin(node: &Node) {
    let length = node.bus.lease_length();
    if let Ok(lease) = node.bus.lease(length).await
        && !lease.kept
    {
        node.bus.rename();
        drop(node.bus.lease(length).await);
    }
}

/// Cleans up after a dead node, if no other does; gives its name.
async fn clean_up(node: Node, dead: NodeName) -> NodeName {
    if let Err(error) = take_away(&node, dead).await {
        debug!(%dead, %error, "cleaning up was interrupted");
    }
    dead
}

async fn take_away(node: &Node, dead: NodeName) -> Result<(), BusError> {
    if !node.bus.lock_dead(dead).await? {
        return Ok(());
    }
    let (mut cursor, mut count) = (0, 0);
    loop {
        let (next, places) = node.bus.places_of(dead, cursor).await?;
        count += places.len();
        node.bus.prolong_lock(dead);
        let each = stream::iter(places.into_iter().map(Ok));
        each.try_for_each_concurrent(
            AT_ONCE,
            |place| async move { bury(node, &place, dead).await },
        )
        .await?;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    node.bus.forget(dead).await?;
    node.bus.count_sweep();
    info!(%dead, places = count, "cleaned up after a node whose lease was over");
    Ok(())
}

/// Takes what nodes without a lease hold out of the places where it was seen.
async fn clear(node: &Node, suspects: Vec<(Place, NodeName)>) {
    for (place, dead) in suspects {
        if let Ok(true) = node.bus.is_gone(dead).await {
            drop(bury(node, &place, dead).await);
        }
    }
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
