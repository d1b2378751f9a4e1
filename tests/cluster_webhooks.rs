//! A cluster tells an app's back end as one server would: each thing once, and no absence that a return on another
//! node has ended.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::node::{Node, app, cluster, member_of_cluster, settings};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, until};

const ROOM: &str = "presence-a";

/// Longer than an absence is held back, so what is told wrongly has been told by then.
const GRACE: Duration = Duration::from_millis(4500);

async fn nodes<const N: usize>(redis: &Redis, receiver: &Receiver, switches: &str) -> [Server; N] {
    let url = receiver.url();
    let app = app(&format!("{switches}\n[[apps.webhooks]]\nurl = '{url}'"));
    cluster(redis, &app).await
}

/// Events in an order of ours: those of different nodes come in none.
fn sorted(mut events: Vec<Value>) -> Vec<String> {
    let mut lines: Vec<String> = events.drain(..).map(|event| event.to_string()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn visits_on_several_nodes_are_told_once_from_the_first_to_the_last() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let nodes: [Server; 3] = nodes(&redis, &receiver, "").await;
    let (mut one, mut two, mut other) = (
        nodes[0].client().await,
        nodes[1].client().await,
        nodes[2].client().await,
    );
    one.join(ROOM, "7").await;
    two.join(ROOM, "7").await;
    other.join(ROOM, "8").await;
    one.event("pusher_internal:member_added").await;
    let event = json!({ "event": "client-x", "channel": ROOM, "data": { "n": 1 } });
    one.send(event).await;
    other.event("client-x").await;
    let socket = one.socket_id.clone();
    for client in [one, two, other] {
        client.close().await;
    }
    let expected = [
        json!({ "name": "channel_occupied", "channel": ROOM }),
        json!({ "name": "member_added", "channel": ROOM, "user_id": "7" }),
        json!({ "name": "member_added", "channel": ROOM, "user_id": "8" }),
        json!({
            "name": "client_event", "channel": ROOM, "event": "client-x",
            "data": "{\"n\":1}", "socket_id": socket, "user_id": "7",
        }),
        json!({ "name": "member_removed", "channel": ROOM, "user_id": "7" }),
        json!({ "name": "member_removed", "channel": ROOM, "user_id": "8" }),
        json!({ "name": "channel_vacated", "channel": ROOM }),
    ];
    receiver.has_taken(expected.len()).await;
    let told = receiver.taken_after(GRACE).await;
    assert_eq!(sorted(told), sorted(expected.to_vec()));
}

#[tokio::test]
async fn who_comes_back_on_another_node_within_the_grace_has_not_been_away() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let nodes: [Server; 2] = nodes(&redis, &receiver, "").await;
    let mut client = nodes[0].client().await;
    client.join(ROOM, "7").await;
    receiver.has_taken(2).await;
    // The only one there goes, so the channel is empty too, and comes back on the other node; and again.
    for node in [&nodes[1], &nodes[0]] {
        client.close().await;
        until("7 has left", async || node.users(ROOM).await.is_empty()).await;
        client = node.client().await;
        client.join(ROOM, "7").await;
    }
    let expected = [
        json!({ "name": "channel_occupied", "channel": ROOM }),
        json!({ "name": "member_added", "channel": ROOM, "user_id": "7" }),
    ];
    assert_eq!(receiver.taken_after(GRACE).await, expected);
    client.close().await;
    let expected = [
        json!({ "name": "member_removed", "channel": ROOM, "user_id": "7" }),
        json!({ "name": "channel_vacated", "channel": ROOM }),
    ];
    let told = receiver.has_taken(4).await;
    assert_eq!(sorted(told[2..].to_vec()), sorted(expected.to_vec()));
}

#[tokio::test]
async fn a_channel_that_moves_between_nodes_is_occupied_and_vacated_once() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let nodes: [Server; 2] = nodes(&redis, &receiver, "").await;
    let mut first = nodes[0].client().await;
    first.subscribe("a").await;
    let mut second = nodes[1].client().await;
    second.subscribe("a").await;
    first.close().await;
    let path = "/apps/app-id/channels/a";
    until("the first has left", async || {
        let answer = nodes[1].get(path, "info=subscription_count").await;
        answer.json()["subscription_count"] == 1
    })
    .await;
    second.close().await;
    receiver.has_taken(2).await;
    let expected = [
        json!({ "name": "channel_occupied", "channel": "a" }),
        json!({ "name": "channel_vacated", "channel": "a" }),
    ];
    assert_eq!(receiver.taken_after(GRACE).await, expected);
}

#[tokio::test]
async fn each_count_of_the_cluster_is_told_once() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let nodes: [Server; 2] = nodes(&redis, &receiver, "subscription_count = true").await;
    let (mut one, mut two) = (nodes[0].client().await, nodes[1].client().await);
    one.subscribe("a").await;
    two.subscribe("a").await;
    let count = |count: u32| json!({ "name": "subscription_count", "channel": "a", "subscription_count": count });
    let mut expected = vec![
        json!({ "name": "channel_occupied", "channel": "a" }),
        count(1),
        count(2),
    ];
    receiver.has_taken(expected.len()).await;
    one.close().await;
    two.close().await;
    expected.extend([
        count(1),
        count(0),
        json!({ "name": "channel_vacated", "channel": "a" }),
    ]);
    receiver.has_taken(expected.len()).await;
    let told = receiver.taken_after(GRACE).await;
    assert_eq!(sorted(told), sorted(expected));
}

#[tokio::test]
async fn redis_that_comes_back_empty_is_no_news_but_who_came_meanwhile_is() {
    let mut redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let nodes: [Server; 2] = nodes(&redis, &receiver, "").await;
    let mut views = Vec::new();
    for (node, user) in nodes.iter().zip(["1", "2"]) {
        views.push(View::join(node, ROOM, user).await);
    }
    let mut public = Vec::new();
    for node in &nodes {
        let mut client = node.client().await;
        client.subscribe("a").await;
        public.push(client);
    }
    receiver.has_taken(4).await;
    redis.kill();
    for (node, user) in nodes.iter().zip(["3", "4"]) {
        until("it is cut off", async || node.ready().await.status == 503).await;
        views.push(View::join(node, ROOM, user).await);
    }
    redis.start_again().await;
    let all = users(1..=4);
    for node in &nodes {
        node.agrees(ROOM, &all, Instant::now() + DEADLINE).await;
    }
    let added = |user: &str| json!({ "name": "member_added", "channel": ROOM, "user_id": user });
    let mut expected = vec![
        json!({ "name": "channel_occupied", "channel": "a" }),
        json!({ "name": "channel_occupied", "channel": ROOM }),
    ];
    expected.extend(["1", "2", "3", "4"].map(added));
    receiver.has_taken(expected.len()).await;
    let told = receiver.taken_after(GRACE).await;
    assert_eq!(sorted(told), sorted(expected));
}

#[tokio::test]
async fn who_was_told_to_be_gone_with_a_hung_node_is_told_to_be_back_with_it() {
    let redis = Redis::start().await;
    let mut receiver = Receiver::start();
    let url = receiver.url();
    let toml = app(&format!("[[apps.webhooks]]\nurl = '{url}'"));
    let _staying = member_of_cluster(&redis.url(), &toml).await;
    let hanging = Node::start(&settings(&redis.url(), &toml)).await;
    let _view = View::join(&hanging, ROOM, "7").await;
    let mut client = hanging.client().await;
    client.subscribe("a").await;
    receiver.has_taken(3).await;
    hanging.freeze();
    receiver.has_taken(6).await;
    hanging.thaw();
    receiver.has_taken(9).await;
    let told = receiver.taken_after(GRACE).await;
    let (came, rest) = told.split_at(3);
    let (went, back) = rest.split_at(3);
    assert_eq!(sorted(came.to_vec()), sorted(back.to_vec()));
    let expected = [
        json!({ "name": "channel_vacated", "channel": "a" }),
        json!({ "name": "member_removed", "channel": ROOM, "user_id": "7" }),
        json!({ "name": "channel_vacated", "channel": ROOM }),
    ];
    assert_eq!(sorted(went.to_vec()), sorted(expected.to_vec()));
}
