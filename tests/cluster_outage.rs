//! Redis goes away and comes back: meanwhile each node serves its own clients and says that it is cut off; afterwards
//! all nodes agree with the truth within three seconds, and what was published meanwhile has arrived once, in order.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep_until;

use crate::support::client::{signed_in, watched};
use crate::support::node::{
    LEASE, cluster, member_of_cluster, settings, settings_with_lease, until_ready,
};
use crate::support::outage::{Cut, Scene};
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, by, until};

/// How long after the return all is as it should be.
const AGREED: Duration = Duration::from_secs(3);

const ROOM: &str = "presence-room.1";

/// Redis is killed, and started empty this long after.
async fn redis_killed_for(length: Duration) {
    let mut scene = Scene::set(Cut::All).await;
    scene.redis.kill();
    let end = Instant::now() + length;
    scene.goes_on().await;
    sleep_until(end.into()).await;
    scene.redis.start_again().await;
    scene.is_over(Instant::now()).await;
}

#[tokio::test]
async fn redis_killed_and_empty_after_2_s() {
    redis_killed_for(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn redis_killed_and_empty_after_10_s() {
    redis_killed_for(Duration::from_secs(10)).await;
}

/// Longer than any lease, retry or expiry of the registry: these are the sixty seconds that the promise names.
#[tokio::test]
async fn redis_killed_and_empty_after_60_s() {
    redis_killed_for(Duration::from_secs(60)).await;
}

/// Its connections stay: only silence says that it is away.
#[tokio::test]
async fn redis_silent_for_5_s() {
    let mut scene = Scene::set(Cut::All).await;
    scene.redis.freeze();
    let end = Instant::now() + Duration::from_secs(5);
    scene.goes_on().await;
    sleep_until(end.into()).await;
    scene.redis.thaw();
    scene.is_over(Instant::now()).await;
}

/// One node's way to Redis is closed for longer than its lease.
async fn one_node_cut_off_by(close: impl FnOnce(&Relay)) {
    let mut scene = Scene::set(Cut::First).await;
    close(&scene.relay);
    let end = Instant::now() + 3 * LEASE;
    scene.goes_on().await;
    sleep_until(end.into()).await;
    scene.relay.open();
    scene.is_over(Instant::now()).await;
}

#[tokio::test]
async fn one_node_cut_off_from_redis_for_longer_than_its_lease() {
    one_node_cut_off_by(Relay::stop).await;
}

#[tokio::test]
async fn one_node_hearing_nothing_of_redis_for_longer_than_its_lease() {
    one_node_cut_off_by(Relay::freeze).await;
}

#[tokio::test]
async fn a_cut_shorter_than_the_lease_is_no_change_to_anyone() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address());
    let far = Server::with(&settings_with_lease(30, &relay.url(), "")).await;
    let near = Server::with(&settings_with_lease(30, &redis.url(), "")).await;
    let mut views = Vec::new();
    for (node, user) in [(&far, "far"), (&near, "near")] {
        until_ready(node).await;
        views.push(View::join(node, ROOM, user).await);
    }
    let deadline = Instant::now() + DEADLINE;
    views[0].agrees(&users(["far", "near"]), deadline).await;
    for _ in 0..3 {
        relay.stop();
        until("it is cut off", async || far.ready().await.status == 503).await;
        relay.open();
        until_ready(&far).await;
    }
    // Who comes now is seen by both, after all that could have been said of the cuts.
    let _last = View::join(&near, ROOM, "last").await;
    let deadline = Instant::now() + AGREED;
    for view in &mut views {
        view.agrees(&users(["far", "near", "last"]), deadline).await;
    }
    let last = Instant::now() + AGREED;
    sleep_until(last.into()).await;
    for view in &mut views {
        view.catch_up().await;
        for user in ["far", "near"] {
            assert_eq!(view.removals(user), 0, "{user} for {}", view.user);
        }
    }
}

#[tokio::test]
async fn a_cut_off_subscriber_of_a_cache_channel_gets_the_latest_value_after_it() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address());
    let far = member_of_cluster(&relay.url(), "").await;
    let near = member_of_cluster(&redis.url(), "").await;
    near.trigger("cache-a", "n", "1").await;
    let mut client = far.client().await;
    client.subscribe("cache-a").await;
    assert_eq!(client.event("n").await["data"], "1");
    relay.stop();
    until("it is cut off", async || far.ready().await.status == 503).await;
    near.trigger("cache-a", "n", "2").await;
    near.trigger("cache-a", "n", "3").await;
    // Cut off, it replays what it knows, which may be nothing.
    let mut late = far.client().await;
    late.subscribe("cache-a").await;
    let replay = late.next().await;
    assert!(replay["data"] == "1" || replay["event"] == "pusher:cache_miss");
    relay.open();
    let deadline = Instant::now() + AGREED;
    for client in [&mut client, &mut late] {
        assert_eq!(client.event("n").await["data"], "3");
        assert!(Instant::now() < deadline, "too late");
    }
    near.trigger("cache-a", "n", "4").await;
    for client in [&mut client, &mut late] {
        assert_eq!(client.event("n").await["data"], "4");
    }
}

#[tokio::test]
async fn a_cache_channel_published_to_without_redis_replays_on_all_nodes_after_it() {
    let mut redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, "").await;
    nodes[0].trigger("cache-a", "n", "1").await;
    redis.kill();
    until("it is cut off", async || {
        nodes[0].ready().await.status == 503
    })
    .await;
    nodes[0].trigger("cache-a", "n", "2").await;
    redis.start_again().await;
    let deadline = Instant::now() + AGREED;
    for node in &nodes {
        by(deadline, "the latest value", async || {
            let mut client = node.client().await;
            client.subscribe("cache-a").await;
            client.next().await["data"] == "2"
        })
        .await;
    }
}

#[tokio::test]
async fn who_has_signed_in_is_known_again_after_redis_was_emptied() {
    let mut redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, "").await;
    let mut seven = signed_in(&nodes[0], "7", &[]).await;
    let mut watcher = signed_in(&nodes[1], "8", &["7"]).await;
    let online = json!([{ "name": "online", "user_ids": ["7"] }]);
    assert_eq!(watched(&mut watcher).await, online);
    redis.kill();
    for node in &nodes {
        until("it is cut off", async || node.ready().await.status == 503).await;
    }
    redis.start_again().await;
    let deadline = Instant::now() + AGREED;
    by(
        deadline,
        "who comes now sees that 7 is online",
        async || {
            let mut late = signed_in(&nodes[1], "9", &["7"]).await;
            watched(&mut late).await == online
        },
    )
    .await;
    // Nobody said that 7 was away, and 7 can still be sent away from the other node.
    watcher.nothing_before_pong().await;
    let path = "/apps/app-id/users/7/terminate_connections";
    assert_eq!(nodes[1].post(path, "{}").await.json(), json!({}));
    assert_eq!(seven.close_code().await, Some(4009));
    let offline = json!([{ "name": "offline", "user_ids": ["7"] }]);
    assert_eq!(watched(&mut watcher).await, offline);
}

#[tokio::test]
async fn a_node_that_starts_without_redis_serves_and_joins_the_cluster_when_it_comes() {
    let mut redis = Redis::start().await;
    redis.kill();
    let mut nodes = Vec::new();
    let mut views = Vec::new();
    for number in 0..2 {
        let node = Server::with(&settings(&redis.url(), "")).await;
        let ready = node.ready().await;
        assert_eq!(ready.status, 503);
        assert!(ready.text.contains("Redis"), "{}", ready.text);
        let view = View::join(&node, ROOM, &number.to_string()).await;
        assert_eq!(view.members, users([number]));
        nodes.push(node);
        views.push(view);
    }
    redis.start_again().await;
    let deadline = Instant::now() + AGREED;
    let all = users(0..2);
    for (node, view) in nodes.iter().zip(&mut views) {
        view.agrees(&all, deadline).await;
        node.agrees(ROOM, &all, deadline).await;
        by(deadline, "the node is ready", async || {
            node.ready().await.status == 200
        })
        .await;
    }
}
