//! Several nodes behave as one: whoever is connected to whichever node, everyone hears and sees the same.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::client::data;
use crate::support::node::{app, cluster, member_of_cluster};
use crate::support::redis::Redis;
use crate::support::view::{View, users};
use crate::support::{Client, DEADLINE, Server, until};

const ROOM: &str = "presence-room.1";

/// One client of each node, subscribed to the channel.
async fn subscribers(nodes: &[Server], channel: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in nodes {
        let mut client = node.client().await;
        client.subscribe(channel).await;
        clients.push(client);
    }
    clients
}

/// One member of each node, with the user ids 0, 1, 2, and all of them in everyone's view.
async fn members(nodes: &[Server]) -> Vec<View> {
    let mut views = Vec::new();
    for (user, node) in nodes.iter().enumerate() {
        views.push(View::join(node, ROOM, &user.to_string()).await);
    }
    let all = users(0..nodes.len());
    for view in &mut views {
        view.agrees(&all, Instant::now() + DEADLINE).await;
    }
    views
}

#[tokio::test]
async fn what_any_node_publishes_is_heard_on_all_of_them_once() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut clients = subscribers(&nodes, "a").await;
    // What came twice would come before the next node's, whose way is the same.
    for round in 0..2 {
        for (number, node) in nodes.iter().enumerate() {
            let text = format!("{round}-{number} \"quoted\" é");
            node.trigger("a", "n", &text).await;
            for client in &mut clients {
                let expected = json!({ "event": "n", "channel": "a", "data": text });
                assert_eq!(client.next().await, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_node_without_subscribers_publishes_to_those_of_the_others() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut clients = subscribers(&nodes[1..], "a").await;
    let body = json!({ "batch": [
        { "name": "n", "channel": "a", "data": "0" }, { "name": "n", "channel": "other", "data": "1" },
        { "name": "n", "channel": "a", "data": "2" },
    ] });
    let body = body.to_string();
    let answer = nodes[0].post("/apps/app-id/batch_events", &body).await;
    assert_eq!(answer.json(), json!({}));
    for client in &mut clients {
        assert_eq!(client.event("n").await["data"], "0");
        assert_eq!(client.event("n").await["data"], "2");
    }
}

#[tokio::test]
async fn a_socket_is_left_out_on_whichever_node_it_is() {
    let redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, "").await;
    let [mut here, mut out, mut there] = [
        nodes[0].client().await,
        nodes[1].client().await,
        nodes[1].client().await,
    ];
    for client in [&mut here, &mut out, &mut there] {
        client.subscribe("a").await;
    }
    let body = json!({ "name": "first", "channel": "a", "data": "1", "socket_id": out.socket_id });
    let body = body.to_string();
    let answer = nodes[0].post("/apps/app-id/events", &body).await;
    assert_eq!(answer.json(), json!({}));
    nodes[0].trigger("a", "second", "2").await;
    here.event("first").await;
    there.event("first").await;
    for client in [&mut here, &mut out, &mut there] {
        client.event("second").await;
    }
}

#[tokio::test]
async fn a_joiner_on_any_node_sees_the_members_of_all_and_is_seen_once_by_each() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut clients = Vec::new();
    for (user, node) in nodes.iter().enumerate() {
        let mut client = node.client().await;
        let roster = client.join(ROOM, &user.to_string()).await;
        let ids: Vec<String> = (0..=user).map(|id| id.to_string()).collect();
        let infos = ids
            .iter()
            .map(|id| (id.clone(), json!({ "name": format!("User {id}") })));
        let hash: serde_json::Map<String, Value> = infos.collect();
        let expected = json!({ "count": ids.len(), "ids": ids, "hash": hash });
        assert_eq!(roster["presence"], expected);
        for earlier in &mut clients {
            let added: Value = Client::event(earlier, "pusher_internal:member_added").await;
            let name = format!("User {user}");
            let expected = json!({ "user_id": user.to_string(), "user_info": { "name": name } });
            assert_eq!(data(&added), expected);
        }
        clients.push(client);
    }
    let last = clients.pop().unwrap();
    last.close().await;
    for client in &mut clients {
        let removed = client.event("pusher_internal:member_removed").await;
        assert_eq!(data(&removed), json!({ "user_id": "2" }));
    }
    // Nothing came twice: the next that all hear is the next there is.
    nodes[1].trigger(ROOM, "marker", "1").await;
    for client in &mut clients {
        client.event("marker").await;
    }
}

#[tokio::test]
async fn a_user_on_two_nodes_is_one_member_who_leaves_with_the_last_connection() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut watcher = View::join(&nodes[2], ROOM, "watcher").await;
    let (mut one, mut two) = (nodes[0].client().await, nodes[1].client().await);
    one.join(ROOM, "7").await;
    let roster = two.join(ROOM, "7").await;
    assert_eq!(roster["presence"]["count"], 2);
    one.close().await;
    // Were 7 removed with its first connection, that would be told before 8 came.
    let _eight = View::join(&nodes[0], ROOM, "8").await;
    let deadline = Instant::now() + DEADLINE;
    watcher
        .agrees(&users(["watcher", "7", "8"]), deadline)
        .await;
    assert_eq!((watcher.additions("7"), watcher.removals("7")), (1, 0));
    two.vanish();
    watcher.agrees(&users(["watcher", "8"]), deadline).await;
    assert_eq!((watcher.additions("7"), watcher.removals("7")), (1, 1));
}

#[tokio::test]
async fn the_first_connections_info_stays_on_all_nodes() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut clients = Vec::new();
    for (node, name) in nodes.iter().zip(["old", "new", "newer"]) {
        let mut client = node.client().await;
        let member = json!({ "user_id": "1", "user_info": { "name": name } });
        let answer = client.subscribe_signed(ROOM, Some(&member)).await;
        let hash = &data(&answer)["presence"]["hash"];
        assert_eq!(*hash, json!({ "1": { "name": "old" } }));
        clients.push(client);
    }
}

#[tokio::test]
async fn client_events_reach_the_members_of_other_nodes_and_not_their_sender() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let mut views = members(&nodes).await;
    let event = json!({ "event": "client-typing", "channel": ROOM, "data": { "at": 1 } });
    views[1].client.send(event).await;
    let expected = json!({
        "event": "client-typing", "channel": ROOM, "data": "{\"at\":1}", "user_id": "1",
    });
    for hearer in [0, 2] {
        assert_eq!(views[hearer].client.next().await, expected);
    }
    nodes[0].trigger(ROOM, "marker", "1").await;
    for view in &mut views {
        view.client.event("marker").await;
    }
}

#[tokio::test]
async fn a_presence_channel_is_full_for_the_whole_cluster() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "[limits]\npresence_members = 2").await;
    let mut clients = Vec::new();
    // A second connection of a user who is there takes no place.
    for (node, user) in [(0, "1"), (1, "2"), (2, "1")] {
        let mut client = nodes[node].client().await;
        client.join(ROOM, user).await;
        clients.push(client);
    }
    for node in &nodes {
        let mut third = node.client().await;
        let member = json!({ "user_id": "3" });
        let answer = third.subscribe_signed(ROOM, Some(&member)).await;
        assert_eq!(answer["event"], "pusher:subscription_error", "{answer}");
        assert_eq!(answer["data"]["type"], "LimitReached");
    }
    clients.remove(1).close().await;
    until("2 has left", async || nodes[0].users(ROOM).await.len() == 1).await;
    nodes[0].client().await.join(ROOM, "3").await;
}

/// What the HTTP API says of the channels: all of them, one, and how many are in it.
async fn told(node: &Server) -> [Value; 5] {
    let get = async |path: &str, query: &str| node.get(path, query).await.json();
    let counted = "filter_by_prefix=presence-&info=user_count,subscription_count";
    [
        get("/apps/app-id/channels", "").await,
        get("/apps/app-id/channels", counted).await,
        get(
            "/apps/app-id/channels/presence-room.1",
            "info=user_count,subscription_count",
        )
        .await,
        get("/apps/app-id/channels/a", "info=subscription_count").await,
        get("/apps/app-id/connections", "").await,
    ]
}

#[tokio::test]
async fn the_api_of_every_node_speaks_for_the_cluster() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    let views = members(&nodes).await;
    // A second connection of 0, on another node.
    let again = View::join(&nodes[1], ROOM, "0").await;
    let mut clients = subscribers(&nodes[..2], "a").await;
    clients.extend(subscribers(&nodes[2..], "b").await);
    let expected = [
        json!({ "channels": { "a": {}, "b": {}, ROOM: {} } }),
        json!({ "channels": { ROOM: { "user_count": 3, "subscription_count": 4 } } }),
        json!({ "occupied": true, "user_count": 3, "subscription_count": 4 }),
        json!({ "occupied": true, "subscription_count": 2 }),
        json!({ "connections": 7 }),
    ];
    for node in &nodes {
        until("the connections of all nodes are counted", async || {
            told(node).await[4] == expected[4]
        })
        .await;
        // The others are as their subscribers were told, without delay.
        assert_eq!(told(node).await, expected);
        assert_eq!(node.users(ROOM).await, users(0..3));
    }
    drop((views, again, clients));
    let nothing = [
        json!({ "channels": {} }),
        json!({ "channels": {} }),
        json!({ "occupied": false, "user_count": 0, "subscription_count": 0 }),
        json!({ "occupied": false, "subscription_count": 0 }),
        json!({ "connections": 0 }),
    ];
    for node in &nodes {
        until("all have left", async || told(node).await == nothing).await;
        assert_eq!(node.users(ROOM).await, BTreeSet::new());
    }
}

#[tokio::test]
async fn subscribers_on_all_nodes_are_told_how_many_they_are_together() {
    let redis = Redis::start().await;
    let nodes: [Server; 2] = cluster(&redis, &app("subscription_count = true")).await;
    let mut one = nodes[0].client().await;
    one.subscribe("a").await;
    let event = one.event("pusher_internal:subscription_count").await;
    assert_eq!(data(&event), json!({ "subscription_count": 1 }));
    let mut two = nodes[1].client().await;
    two.subscribe("a").await;
    for client in [&mut one, &mut two] {
        let event = client.event("pusher_internal:subscription_count").await;
        assert_eq!(event["channel"], "a");
        assert_eq!(data(&event), json!({ "subscription_count": 2 }));
    }
    two.close().await;
    let event = one.event("pusher_internal:subscription_count").await;
    assert_eq!(data(&event), json!({ "subscription_count": 1 }));
}

#[tokio::test]
async fn a_node_is_subscribed_at_redis_only_while_it_has_subscribers_itself() {
    let redis = Redis::start().await;
    let nodes: [Server; 3] = cluster(&redis, "").await;
    const PLACE: &str = "gema:{app-id:c:a}";
    assert_eq!(redis.subscribers(PLACE).await, 0);
    let mut clients = subscribers(&nodes[1..2], "a").await;
    // The acknowledgement says that it is.
    assert_eq!(redis.subscribers(PLACE).await, 1);
    nodes[0].trigger("a", "n", "1").await;
    clients[0].event("n").await;
    assert_eq!(redis.subscribers(PLACE).await, 1);
    clients.extend(subscribers(&nodes[..1], "a").await);
    assert_eq!(redis.subscribers(PLACE).await, 2);
    // What nobody's node has written does no harm.
    let reached: u64 = redis
        .command(&["PUBLISH", PLACE, "\0not an envelope"])
        .await;
    assert_eq!(reached, 2);
    nodes[2].trigger("a", "n", "2").await;
    for client in &mut clients {
        assert_eq!(client.event("n").await["data"], "2");
    }
    drop(clients);
    until("nobody listens after the linger", async || {
        redis.subscribers(PLACE).await == 0
    })
    .await;
}

/// A member and an event of either node stay there.
async fn are_strangers(ours: &Server, theirs: &Server) {
    let mut client = theirs.client().await;
    client.join(ROOM, "1").await;
    let mut view = View::join(ours, ROOM, "2").await;
    assert_eq!(view.members, users(["2"]));
    theirs.trigger(ROOM, "n", "1").await;
    client.event("n").await;
    ours.trigger(ROOM, "m", "1").await;
    view.client.event("m").await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn nodes_with_another_prefix_are_another_cluster() {
    let redis = Redis::start().await;
    let [ours]: [Server; 1] = cluster(&redis, "").await;
    let [theirs]: [Server; 1] = cluster(&redis, "prefix = 'other'").await;
    are_strangers(&ours, &theirs).await;
}

/// Redis' own publish and subscribe knows no databases.
#[tokio::test]
async fn nodes_with_another_database_are_another_cluster() {
    let redis = Redis::start().await;
    let [ours]: [Server; 1] = cluster(&redis, "").await;
    let theirs = member_of_cluster(&format!("{}/3", redis.url()), "").await;
    are_strangers(&ours, &theirs).await;
}
