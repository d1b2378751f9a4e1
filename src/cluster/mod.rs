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

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
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

/// This node's part in the cluster. Dropped, it ends.
pub struct Cluster {
    bus: Arc<Bus>,
    webhooks: Arc<Webhooks>,
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
        tasks.spawn(claims::carry_out(node.clone(), lasted));
        tasks.spawn(assert_in_turn(node));
        Cluster {
            bus,
            webhooks,
            tasks,
        }
    }

    /// Ends this node's part, when its connections have gone: its lease ends, and the others, if there are any, inherit
    /// what is left.
    pub async fn leave(mut self) {
        self.tasks.shutdown().await;
        self.bus.settle().await;
        let own = self.bus.name();
        if let Ok(lease) = self.bus.lease(Duration::ZERO).await {
            if lease.live.iter().any(|node| !node.same_node(own)) {
                self.webhooks.leave_to_others();
            } else {
                // Nobody is left to forget this node.
                drop(self.bus.forget(own).await);
            }
        }
    }
}

/// Carries out what happens at Redis, in its order.
async fn hear(node: Node, mut inbox: Inbox) {
    let mut rereadings = JoinSet::new();
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
            Happening::Up { link } => {
                node.bus.note_up(link);
                if node.bus.home_link() == Some(link) {
                    lease::begin(&node).await;
                }
                node.broker.come_back(link).await;
                node.users.come_back(link).await;
                rereadings.spawn(read_when_settled(node.clone(), link));
            }
            Happening::Down { link, why } => {
                debug!(?link, why, "going by what is known here");
                node.broker.cut_off(link).await;
                node.users.cut_off(link).await;
            }
        }
        while rereadings.try_join_next().is_some() {}
    }
}

/// Reads all places of a link again when the other nodes have had time to come back: who is not there then is gone.
async fn read_when_settled(node: Node, link: LinkId) {
    sleep(Bus::SETTLING).await;
    debug!(?link, "all nodes have had time to come back");
    for part in 0..Broker::PARTS {
        node.broker.assert_part(part).await;
    }
    node.users.assert_all().await;
}

async fn assert_in_turn(node: Node) {
    let mut turn = interval(ROUND / Broker::PARTS as u32);
    let mut tidy = interval(TIDYING);
    let mut part = 0;
    loop {
        tokio::select! {
            _ = turn.tick() => {
                node.broker.assert_part(part).await;
                part = (part + 1) % Broker::PARTS;
                if part == 0 {
                    node.users.assert_all().await;
                }
            }
            _ = tidy.tick() => node.users.stop_listening().await,
        }
    }
}
