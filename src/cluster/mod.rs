//! Being one of several nodes: what the others say is heard in its order, a lease says that this node lives, and what
//! dead ones have left behind is cleaned up.
//!
//! # Layout
//!
//! * [`lease`]: the lease, and cleaning up after those who have lost theirs.
//! * [`claims`]: absences that have lasted, told by one node only.

mod claims;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tracing::debug;

use crate::broker::Broker;
use crate::bus::redis::{Happening, Inbox, LinkId};
use crate::bus::{Bus, Place};
use crate::gateway::pusher::Gateway;
use crate::users::Users;
use crate::webhooks::{Lasted, Webhooks};

/// Every place is read anew once in this time, whatever has or has not been heard: what is wrong for a reason that
/// nobody has thought of is right again after it.
const ROUND: Duration = Duration::from_secs(45);

/// How often users are looked at whom nobody here is or watches any more.
const TIDYING: Duration = Duration::from_secs(1);

/// How long after a cut the other nodes may take to come back: their pauses between two attempts, and some more.
const RETURN: Duration = Duration::from_millis(1500);

/// How often nodes that have come back are asked whether they have said all.
const ASKING: Duration = Duration::from_millis(250);

/// How long the end may take until all that was held back is told.
const LAST_CLAIMS: Duration = Duration::from_secs(1);

/// This node's part in the cluster. Dropped, it ends.
pub struct Cluster {
    bus: Arc<Bus>,
    webhooks: Arc<Webhooks>,
    claims: JoinHandle<()>,
    end_claims: Arc<Notify>,
    tasks: JoinSet<()>,
}

/// What the tasks share.
#[derive(Clone)]
struct Node {
    bus: Arc<Bus>,
    broker: Arc<Broker>,
    users: Arc<Users>,
    gateway: Arc<Gateway>,
    webhooks: Arc<Webhooks>,
}

impl Cluster {
    /// Starts hearing the others.
    pub fn start(
        bus: Arc<Bus>,
        inbox: Inbox,
        gateway: Arc<Gateway>,
        webhooks: Arc<Webhooks>,
        lasted: Receiver<Lasted>,
    ) -> Cluster {
        let node = Node {
            bus: bus.clone(),
            broker: gateway.broker.clone(),
            users: gateway.users.clone(),
            gateway,
            webhooks: webhooks.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(hear(node.clone(), inbox));
        tasks.spawn(lease::keep(node.clone()));
        tasks.spawn(assert_in_turn(node.clone()));
        let end_claims = Arc::new(Notify::new());
        let claims = tokio::spawn(claims::carry_out(node, lasted, end_claims.clone()));
        Cluster {
            bus,
            webhooks,
            claims,
            end_claims,
            tasks,
        }
    }

    /// Ends this node's part, when its connections have gone: its lease ends, and the others, if there are any, inherit
    /// what is left. If there are none, the webhooks are told of it now.
    pub async fn leave(mut self) {
        let own = self.bus.name();
        let lease = self.bus.lease(Duration::ZERO).await;
        let has_heirs = lease.is_ok_and(|lease| lease.live.iter().any(|node| !node.same_node(own)));
        if has_heirs {
            self.webhooks.leave_to_others();
        } else {
            self.webhooks.end_graces();
            let told = async {
                while self.webhooks.holds_back() {
                    sleep(Duration::from_millis(2)).await;
                }
            };
            drop(timeout(LAST_CLAIMS, told).await);
        }
        self.end_claims.notify_one();
        drop(timeout(LAST_CLAIMS, &mut self.claims).await);
        self.claims.abort();
        self.tasks.shutdown().await;
        if !has_heirs {
            // Nobody is left to forget this node.
            drop(timeout(LAST_CLAIMS, self.bus.forget(own)).await);
        }
    }
}

/// Carries out what happens at Redis, in its order.
async fn hear(node: Node, mut inbox: Inbox) {
    let mut returns = JoinSet::new();
    while let Some(happening) = inbox.next().await {
        match happening {
            Happening::Message { channel, payload } => {
                if let Some((place, news)) = node.bus.read(&channel, &payload) {
                    node.bus.count_received();
                    match place {
                        Place::Channel(topic) => node.broker.hear(&topic, news).await,
                        Place::User { app, id } => node.users.hear(app, &id, news).await,
                    }
                }
            }
            Happening::Mark(number) => node.bus.pass(number),
            Happening::Up { link } => {
                let coming = node.bus.begin_settling(link);
                returns.spawn(come_back(node.clone(), link, coming));
            }
            Happening::Down { link, why } => {
                debug!(?link, why, "going by what is known here");
                node.bus.note_down(link);
                node.broker.cut_off(link).await;
                node.users.cut_off(link).await;
            }
        }
        while returns.try_join_next().is_some() {}
    }
}

/// Says on a link that is there anew what this node holds and reads what the others do; and once more when they have all
/// said theirs: who is not there then is gone.
async fn come_back(node: Node, link: LinkId, coming: u64) {
    let returned = Instant::now();
    if node.bus.home_link() == Some(link) {
        lease::begin(&node).await;
    }
    node.broker.come_back(link).await;
    node.users.come_back(link).await;
    node.bus.has_said_all();
    sleep_until(returned + RETURN).await;
    let length = node.bus.lease_length();
    while returned.elapsed() < RETURN + length {
        match node.bus.lease(length).await {
            Ok(lease) if lease.unsettled.is_empty() => break,
            _ => sleep(ASKING).await,
        }
    }
    node.bus.note_settled(link, coming);
    debug!(?link, "all nodes have said what they hold");
    assert_all(&node).await;
}

/// Says what this node holds everywhere, and reads what the others do.
async fn assert_all(node: &Node) {
    for part in 0..Broker::PARTS {
        node.broker.assert_part(part).await;
        node.users.assert_part(part, Broker::PARTS).await;
    }
}

async fn assert_in_turn(node: Node) {
    let mut turn = interval(ROUND / Broker::PARTS as u32);
    let mut tidy = interval(TIDYING);
    let mut part = 0;
    loop {
        tokio::select! {
            _ = turn.tick() => {
                node.broker.assert_part(part).await;
                node.users.assert_part(part, Broker::PARTS).await;
                part = (part + 1) % Broker::PARTS;
            }
            _ = tidy.tick() => node.users.tidy().await,
        }
    }
}
