//! Hundreds of members come, go and move between nodes at once; whoever stays ends up seeing the truth, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::support::node::cluster;
use crate::support::redis::Redis;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, until};

const ROOM: &str = "presence-room.1";
const MEMBERS: u64 = 500;
const NODES: usize = 3;

/// Decides what each member does, the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }

    fn node(&mut self) -> usize {
        self.throw(NODES as u64) as usize
    }
}

/// One connection of a user: some visits, between which it leaves or goes to another node. Stays at the end or not.
async fn restless(nodes: Arc<[Server; NODES]>, user: u64, mut dice: Dice) -> Option<View> {
    let user = user.to_string();
    let mut view = View::join(&nodes[dice.node()], ROOM, &user).await;
    for _ in 0..dice.throw(3) {
        view.catch_up().await;
        if dice.throw(2) == 0 {
            view.leave().await;
            view.enter().await;
        } else {
            view.client.vanish();
            view = View::join(&nodes[dice.node()], ROOM, &user).await;
        }
    }
    (dice.throw(3) > 0).then_some(view)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_over_three_nodes_ends_with_the_truth_in_every_view() {
    let redis = Redis::start().await;
    let nodes: [Server; NODES] = cluster(&redis, "[limits]\npresence_members = 1000").await;
    let nodes = Arc::new(nodes);
    let mut storm = JoinSet::new();
    for member in 0..MEMBERS {
        // Every fifth connection is the second one of a user.
        let user = if member % 5 == 4 { member - 1 } else { member };
        storm.spawn(restless(nodes.clone(), user, Dice(member)));
    }
    let staying: Vec<View> = storm.join_all().await.into_iter().flatten().collect();
    let truth: BTreeSet<String> = users(staying.iter().map(|view| &view.user));
    assert!((200..400).contains(&truth.len()), "{}", truth.len());

    let deadline = Instant::now() + DEADLINE;
    for node in nodes.iter() {
        node.agrees(ROOM, &truth, deadline).await;
    }
    let mut calm = JoinSet::new();
    for mut view in staying {
        let truth = truth.clone();
        calm.spawn(async move {
            view.agrees(&truth, deadline).await;
            view
        });
    }
    let staying = calm.join_all().await;
    let path = "/apps/app-id/channels/presence-room.1";
    for node in nodes.iter() {
        let answer = node.get(path, "info=user_count,subscription_count").await;
        let answer = answer.json();
        assert_eq!(answer["user_count"], truth.len());
        assert_eq!(answer["subscription_count"], staying.len());
    }
    drop(staying);
    for node in nodes.iter() {
        let deadline = Instant::now() + DEADLINE;
        node.agrees(ROOM, &BTreeSet::new(), deadline).await;
    }
}

#[tokio::test]
async fn what_all_have_left_does_not_stay_in_redis_for_ever() {
    let redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, "").await;
    for round in 0..10 {
        let channel = format!("presence-{round}");
        let here = View::join(&nodes[0], &channel, "1").await;
        let there = View::join(&nodes[1], &channel, "2").await;
        assert_eq!(there.members, users([1, 2]));
        assert_ne!(redis.keys("gema:{*").await, [""; 0]);
        drop((here, there));
    }
    until("every key of an empty channel has its end", async || {
        for key in redis.keys("gema:{*").await {
            // -1: it has none; -2: it is gone already.
            let left: i64 = redis.command(&["TTL", &key]).await;
            if left == -1 {
                return false;
            }
        }
        true
    })
    .await;
}
