//! What a cluster remembers is the same on every node: last events of cache channels, who has signed in, who watches
//! whom.

use serde_json::json;

use crate::support::client::{signed_in, watched};
use crate::support::node::cluster;
use crate::support::redis::Redis;
use crate::support::{Server, until};

#[tokio::test]
async fn the_last_event_of_a_cache_channel_is_replayed_by_every_node() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut early = nodes[1].client().await;
    early.subscribe("cache-a").await;
    early.event("pusher:cache_miss").await;
    let expected = json!({ "event": "n", "channel": "cache-a", "data": "{\"n\":2}" });
    nodes[0].trigger("cache-a", "n", "1").await;
    nodes[2].trigger("cache-a", "n", "{\"n\":2}").await;
    early.event("n").await;
    assert_eq!(early.next().await, expected);
    for node in &nodes {
        let mut late = node.client().await;
        late.subscribe("cache-a").await;
        assert_eq!(late.next().await, expected);
        let answer = node.get("/apps/app-id/channels/cache-a", "info=cache");
        let answer = answer.await.json();
        assert_eq!(answer["cache"]["data"], "{\"n\":2}");
        let ttl = answer["cache"]["ttl"].as_u64().unwrap();
        assert!((1700..=1800).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn the_cache_outlives_the_node_that_published() {
    let redis = Redis::start().await;
    let [mut first, second]: [Server; 2] = cluster(&redis, "").await;
    first.trigger("private-cache-a", "n", "1").await;
    first.begin_shutdown();
    first.ended().await;
    let mut client = second.client().await;
    client.subscribe_signed("private-cache-a", None).await;
    assert_eq!(client.event("n").await["data"], "1");
}

#[tokio::test]
async fn an_event_for_a_user_reaches_their_connections_on_all_nodes() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let own = "#server-to-user-7";
    let mut clients = Vec::new();
    for node in &nodes[1..] {
        let mut client = signed_in(node, "7", &[]).await;
        client.subscribe(own).await;
        clients.push(client);
    }
    let mut other = signed_in(&nodes[1], "8", &[]).await;
    for node in &nodes {
        node.trigger(own, "news", "1").await;
        for client in &mut clients {
            assert_eq!(client.event("news").await["channel"], own);
        }
    }
    other.nothing_before_pong().await;
    let channels = nodes[0].get("/apps/app-id/channels", "").await;
    assert_eq!(channels.text, r#"{"channels":{}}"#);
}

#[tokio::test]
async fn a_terminated_user_is_closed_with_4009_on_all_nodes_and_others_stay() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(signed_in(node, "7", &[]).await);
    }
    let mut other = signed_in(&nodes[1], "8", &[]).await;
    let path = "/apps/app-id/users/7/terminate_connections";
    assert_eq!(nodes[0].post(path, "{}").await.json(), json!({}));
    for client in &mut clients {
        let error = client.event("pusher:error").await;
        assert_eq!(error["data"]["code"], 4009);
        assert_eq!(client.close_code().await, Some(4009));
    }
    other.nothing_before_pong().await;
    // Who comes back is let in: it was those connections that were ended.
    signed_in(&nodes[2], "7", &[]).await;
}

#[tokio::test]
async fn watchers_hear_of_the_first_coming_and_the_last_going_on_any_node() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let eight = signed_in(&nodes[1], "8", &[]).await;
    let mut watcher = signed_in(&nodes[0], "7", &["8", "9"]).await;
    let expected = json!([
        { "name": "online", "user_ids": ["8"] }, { "name": "offline", "user_ids": ["9"] },
    ]);
    assert_eq!(watched(&mut watcher).await, expected);
    let nine = signed_in(&nodes[1], "9", &[]).await;
    let online = json!([{ "name": "online", "user_ids": ["9"] }]);
    assert_eq!(watched(&mut watcher).await, online);
    let again = signed_in(&nodes[2], "9", &[]).await;
    nine.close().await;
    // Were 9 offline with its first connection, that would be told before 8 goes.
    until("node 1 has no connection of 9", async || {
        let answer = nodes[1].get("/apps/app-id/connections", "").await;
        answer.json()["connections"] == 3
    })
    .await;
    eight.close().await;
    let offline = json!([{ "name": "offline", "user_ids": ["8"] }]);
    assert_eq!(watched(&mut watcher).await, offline);
    again.vanish();
    let offline = json!([{ "name": "offline", "user_ids": ["9"] }]);
    assert_eq!(watched(&mut watcher).await, offline);
}
