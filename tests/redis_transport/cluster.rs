//! A cluster: names live where their slots do, and follow them.

use std::collections::{HashMap, HashSet};

use gema::bus::redis::{Command, Happening, LinkId};

use super::Node;
use crate::support::port::Port;
use crate::support::redis_cluster::RedisCluster;
use crate::support::until;

/// Names of three slots, one a third of them each.
const NAMES: [&str; 3] = ["a:{2}", "a:{3}", "a:{4}"];

impl Node {
    /// Waits until three links are up.
    async fn all_up(&mut self) -> HashSet<LinkId> {
        let mut links = HashSet::new();
        while links.len() < 3 {
            links.insert(self.up().await);
        }
        links
    }
}

async fn each_name_is_served_and_heard(node: &mut Node) {
    for name in NAMES {
        node.listen(name).await;
        assert_eq!(node.bump_quietly(name).await, 1);
        node.publish(name, format!("to {name}"));
        assert_eq!(node.message().await, (name.into(), format!("to {name}")));
    }
}

impl Node {
    /// Listens as soon as the link takes questions.
    async fn listens(&self, name: &str) {
        until("the link takes questions", async || {
            let listen = Command::Listen(name.into());
            self.redis.ask(name, listen).await.is_ok()
        })
        .await;
    }

    async fn bump_quietly(&self, name: &str) -> i64 {
        match self.redis.ask(name, super::plain(&["INCR", name])).await {
            Ok(redis::Value::Int(count)) => count,
            other => panic!("no number: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_node_leads_to_the_others_and_names_live_on_their_masters() {
    let cluster = RedisCluster::start(false, &[]).await;
    let mut node = Node::start(&cluster.servers[0].url());
    let links = node.all_up().await;
    assert!(node.redis.is_sharded());
    let homes: HashSet<LinkId> = NAMES
        .iter()
        .map(|name| node.redis.link_of(name).unwrap())
        .collect();
    assert_eq!(homes, links, "a name on each");
    each_name_is_served_and_heard(&mut node).await;
    assert_eq!(node.redis.health(), Ok(()));
}

#[tokio::test]
async fn seeds_that_are_away_do_not_matter_and_kept_publications_wait_for_the_slots() {
    let cluster = RedisCluster::start(false, &[]).await;
    let dead = Port::free();
    let good = cluster.servers[1].address();
    let url = format!("redis://{},{good}", dead.address());
    let mut node = Node::start(&url);
    node.publish(NAMES[0], "early");
    assert_eq!(node.redis.link_of(NAMES[0]), None);
    node.all_up().await;
    node.listen(NAMES[0]).await;
    assert_eq!(node.message().await.1, "early");
    each_name_is_served_and_heard(&mut node).await;
}

#[tokio::test]
async fn when_a_master_dies_its_replica_takes_over_and_kept_publications_arrive() {
    let mut cluster = RedisCluster::start(true, &[]).await;
    let mut node = Node::start(&cluster.servers[0].url());
    node.all_up().await;
    let (name, other) = (NAMES[0], NAMES[1]);
    node.listen(name).await;
    node.listen(other).await;
    let old = node.redis.link_of(name).unwrap();
    let victim = cluster.master_of(name).await;
    cluster.servers[victim].kill();
    loop {
        if let Happening::Down { link, .. } = node.next().await
            && link == old
        {
            break;
        }
    }
    node.publish(name, "kept");
    assert!(node.redis.health().is_err());
    // The others may go down with it while the cluster decides.
    let mut up: HashMap<LinkId, bool> = HashMap::new();
    let mut listening = false;
    loop {
        match node.next().await {
            Happening::Up { link } => {
                up.insert(link, true);
                if node.redis.link_of(name) == Some(link) && link != old {
                    node.listen(name).await;
                    listening = true;
                }
            }
            Happening::Down { link, .. } => {
                up.insert(link, false);
            }
            Happening::Mark(_) => panic!("nobody made a mark"),
            Happening::Message { channel, payload } => {
                assert_eq!(
                    (&channel[..], &payload[..]),
                    (name.as_bytes(), &b"kept"[..])
                );
                assert!(listening);
                break;
            }
        }
    }
    until("all is well again", async || node.redis.health().is_ok()).await;
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_names_along_and_both_links_say_so() {
    let cluster = RedisCluster::start(false, &[]).await;
    let mut node = Node::start(&cluster.servers[0].url());
    node.all_up().await;
    let (name, target_name) = (NAMES[0], NAMES[1]);
    node.listen(name).await;
    let (from, to) = (
        cluster.master_of(name).await,
        cluster.master_of(target_name).await,
    );
    let old = node.redis.link_of(name).unwrap();
    let new = node.redis.link_of(target_name).unwrap();
    let slot: i64 = cluster.servers[0]
        .command(&["CLUSTER", "KEYSLOT", name])
        .await;
    let slot = slot.to_string();
    let id: String = cluster.servers[to].command(&["CLUSTER", "MYID"]).await;
    for index in [to, from] {
        let _: String = cluster.servers[index]
            .command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id])
            .await;
    }
    let (mut down, mut back) = (HashSet::new(), HashSet::new());
    while !(back.contains(&old) && back.contains(&new)) {
        match node.next().await {
            Happening::Down { link, .. } => down.insert(link),
            Happening::Up { link } => down.contains(&link) && back.insert(link),
            other => panic!("neither up nor down: {other:?}"),
        };
    }
    until("the map is right", async || {
        node.redis.link_of(name) == Some(new)
    })
    .await;
    node.listens(name).await;
    node.publish(name, "moved");
    loop {
        if let Happening::Message { payload, .. } = node.next().await {
            assert_eq!(&payload[..], b"moved");
            break;
        }
        // The third server may still say that the slot is where it was: then the links begin anew once more.
        node.listens(name).await;
    }
}
