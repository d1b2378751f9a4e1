//! What happens at the worst moment: Redis refuses, an answer is lost in a cut, a channel is forgotten while Redis is
//! away. Each of these once left a ghost, a silent node, or a webhook too many or too few.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::text_of;
use crate::support::node::{app, cluster, settings, settings_with_lease, until_ready};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, until};

const ROOM: &str = "presence-room.1";

/// Longer than any cut here: whatever comes right does so without a dead node's being cleaned up after.
const LONG_LEASE_S: u64 = 30;

/// For how long a channel without subscribers is listened to, and more.
const FORGOTTEN: Duration = Duration::from_secs(7);

/// The webhooks' grace, and more.
const GRACE: Duration = Duration::from_secs(5);

async fn node(url: &str, toml: &str) -> Server {
    let server = Server::with(&settings_with_lease(LONG_LEASE_S, url, toml)).await;
    until_ready(&server).await;
    server
}

fn told_at(receiver: &Receiver) -> String {
    app(&format!("[[apps.webhooks]]\nurl = '{}'", receiver.url()))
}

#[tokio::test]
async fn who_left_during_a_cut_is_no_ghost_when_the_channel_was_forgotten_meanwhile() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address());
    let (far, near) = (node(&relay.url(), "").await, node(&redis.url(), "").await);
    let mut view = View::join(&near, ROOM, "near").await;
    let gone = View::join(&far, ROOM, "far").await;
    let both = users(["near", "far"]);
    view.agrees(&both, Instant::now() + DEADLINE).await;
    relay.stop();
    until("it is cut off", async || far.ready().await.status == 503).await;
    gone.client.close().await;
    tokio::time::sleep(FORGOTTEN).await;
    relay.open();
    view.agrees(&users(["near"]), Instant::now() + DEADLINE)
        .await;
}

#[tokio::test]
async fn what_redis_refuses_is_said_again_until_it_is_taken_and_the_node_says_why() {
    let redis = Redis::start().await;
    let (far, near) = (node(&redis.url(), "").await, node(&redis.url(), "").await);
    let mut view = View::join(&near, ROOM, "near").await;
    let gone = View::join(&far, ROOM, "far").await;
    let both = users(["near", "far"]);
    view.agrees(&both, Instant::now() + DEADLINE).await;
    let refuse = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    let _: String = redis.command(&refuse).await;
    gone.client.close().await;
    until("the node says what Redis refuses", async || {
        let ready = far.ready().await;
        ready.status == 503 && ready.text.contains("NOREPLICAS")
    })
    .await;
    let allow = ["CONFIG", "SET", "min-replicas-to-write", "0"];
    let _: String = redis.command(&allow).await;
    view.agrees(&users(["near"]), Instant::now() + DEADLINE)
        .await;
    until_ready(&far).await;
}

#[tokio::test]
async fn a_node_that_may_not_listen_is_not_ready() {
    let redis = Redis::start().await;
    let rights = ["on", ">p", "~*", "+@all", "resetchannels"];
    let user = [&["ACL", "SETUSER", "deaf"], &rights[..]].concat();
    let _: String = redis.command(&user).await;
    let node = node(&format!("redis://deaf:p@{}", redis.address()), "").await;
    let mut client = node.client().await;
    client.subscribe("a").await;
    until("it says that it may not", async || {
        let ready = node.ready().await;
        ready.status == 503 && ready.text.contains("NOPERM")
    })
    .await;
}

/// A change that Redis carries out while its answer is lost: the webhooks are told nonetheless, once.
async fn a_change_whose_answer_is_lost(leave: bool) {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address());
    let mut receiver = Receiver::start();
    let toml = told_at(&receiver);
    let far = node(&relay.url(), &toml).await;
    let near = node(&redis.url(), &toml).await;
    let mut seven = far.client().await;
    if leave {
        seven.join(ROOM, "7").await;
        receiver.has_taken(2).await;
    }
    let _other = View::join(&near, ROOM, "8").await;
    let before = if leave { 3 } else { 2 };
    receiver.has_taken(before).await;
    relay.freeze();
    let mut stays = None;
    if leave {
        seven.close().await;
    } else {
        seven.join(ROOM, "7").await;
        stays = Some(seven);
    }
    until("it is cut off", async || far.ready().await.status == 503).await;
    relay.open();
    let told = receiver.taken_after(GRACE + GRACE).await;
    let name = if leave {
        "member_removed"
    } else {
        "member_added"
    };
    let event = json!({ "name": name, "channel": ROOM, "user_id": "7" });
    let times = told[before..].iter().filter(|told| **told == event).count();
    assert_eq!((times, told.len()), (1, before + 1), "{told:#?}");
    drop(stays);
}

#[tokio::test]
async fn a_join_whose_answer_is_lost_is_told_once() {
    a_change_whose_answer_is_lost(false).await;
}

#[tokio::test]
async fn a_leave_whose_answer_is_lost_is_told_once() {
    a_change_whose_answer_is_lost(true).await;
}

#[tokio::test]
async fn after_the_last_node_has_ended_the_next_begins_with_an_empty_room() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let toml = format!("{}\n[server]\nshutdown_grace_s = 0", told_at(&receiver));
    let toml = settings(&redis.url(), &toml);
    for round in 1..=2 {
        let mut node = Server::with(&toml).await;
        until_ready(&node).await;
        let mut client = node.client().await;
        client.join(ROOM, "7").await;
        receiver.has_taken(4 * round - 2).await;
        node.begin_shutdown();
        client.close_code().await;
        drop(client);
        node.ended().await;
        // Occupied and added, removed and vacated, whatever the round.
        receiver.has_taken(4 * round).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_is_never_older_than_what_its_node_has_published() {
    const ROUNDS: u64 = 100;
    let redis = Redis::start().await;
    let [node]: [Server; 1] = cluster(&redis, "").await;
    node.trigger("cache-a", "n", "first").await;
    let mut staying = node.client().await;
    staying.subscribe("cache-a").await;
    for round in 0..ROUNDS {
        let mut client = node.client().await;
        let event =
            |n| json!({ "name": "n", "channel": "cache-a", "data": format!("{round}-{n}") });
        let batch: Vec<Value> = (0..10).map(event).collect();
        let body = json!({ "batch": batch }).to_string();
        // Somewhere among the ten, another place each time.
        let subscribing = async {
            tokio::time::sleep(Duration::from_micros(150 * (round % 40))).await;
            client.subscribe("cache-a").await;
        };
        tokio::join!(node.post("/apps/app-id/batch_events", &body), subscribing);
        let last = format!("{round}-9");
        // The last of them comes to it as a replay or as an event, and nothing after it.
        while text_of(&client.event("n").await["data"]) != last {}
        client.nothing_before_pong().await;
    }
}

#[tokio::test]
async fn a_cached_event_lives_no_longer_where_it_was_read() {
    let redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, "").await;
    nodes[0].trigger("cache-a", "n", "1").await;
    let key = "gema:{app-id:c:cache-a}:c";
    until("Redis has it, for two seconds more", async || {
        redis.command::<i64>(&["PEXPIRE", key, "2000"]).await == 1
    })
    .await;
    let mut reader = nodes[1].client().await;
    reader.subscribe("cache-a").await;
    reader.event("n").await;
    until("it is over", async || {
        let mut late = nodes[1].client().await;
        late.subscribe("cache-a").await;
        late.next().await["event"] == "pusher:cache_miss"
    })
    .await;
    assert_eq!(redis.command::<i64>(&["EXISTS", key]).await, 0);
}
