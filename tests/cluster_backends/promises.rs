//! What is promised of channels and users, asked of three nodes under each name.

use serde_json::{Value, json};

use super::scene::{NAMES, hears};
use crate::support::client::{Client, data, signed_in, watched};
use crate::support::http::Api;
use crate::support::until;

/// One client of each node, subscribed.
async fn subscribers(nodes: [&Api; 3], channel: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in nodes {
        let mut client = node.client().await;
        client.subscribe(channel).await;
        clients.push(client);
    }
    clients
}

/// Every node's events are heard on all nodes, once, save by who is left out.
pub async fn events(nodes: [&Api; 3]) {
    let channels: Vec<String> = NAMES.map(|name| format!("a-{name}")).collect();
    let mut all = Vec::new();
    for channel in &channels {
        let mut clients = subscribers(nodes, channel).await;
        for (number, node) in nodes.iter().enumerate() {
            let text = format!("of {number} \"quoted\" é");
            node.trigger(channel, "n", &text).await;
            for client in &mut clients {
                let expected = json!({ "event": "n", "channel": channel, "data": text });
                assert_eq!(hears(client, "n").await, expected);
            }
        }
        let out = &clients[1].socket_id;
        let body = json!({ "name": "others", "channel": channel, "data": "", "socket_id": out });
        let body = body.to_string();
        let answer = nodes[0].post("/apps/app-id/events", &body).await;
        assert_eq!(answer.json(), json!({}));
        hears(&mut clients[0], "others").await;
        hears(&mut clients[2], "others").await;
        all.extend(clients);
    }
    let body = json!({ "name": "all", "channels": channels, "data": "" }).to_string();
    let answer = nodes[2].post("/apps/app-id/events", &body).await;
    assert_eq!(answer.json(), json!({}));
    for client in &mut all {
        hears(client, "all").await;
    }
}

/// Subscribers are told how many they are, and so is who asks.
pub async fn counts(nodes: [&Api; 3]) {
    for name in NAMES {
        let channel = format!("counted-{name}");
        let mut clients = subscribers(nodes, &channel).await;
        counted(&mut clients, 3).await;
        let path = format!("/apps/app-id/channels/{channel}");
        for node in nodes {
            let answer = node.get(&path, "info=subscription_count").await;
            assert_eq!(answer.json()["subscription_count"], 3);
        }
        clients.remove(1).close().await;
        counted(&mut clients, 2).await;
    }
}

/// All are told this number, after others that lead there.
async fn counted(clients: &mut [Client], number: usize) {
    for client in clients {
        let mut count = Value::Null;
        while count != json!({ "subscription_count": number }) {
            count = data(&client.event("pusher_internal:subscription_count").await);
        }
    }
}

/// The last event is replayed by every node.
pub async fn caches(nodes: [&Api; 3]) {
    for name in NAMES {
        let channel = format!("cache-{name}");
        nodes[0].trigger(&channel, "n", "1").await;
        nodes[0].trigger(&channel, "n", "2").await;
        let path = format!("/apps/app-id/channels/{channel}");
        for node in nodes {
            until("the last event is known", async || {
                let answer = node.get(&path, "info=cache").await;
                answer.json()["cache"]["data"] == "2"
            })
            .await;
        }
        for mut client in subscribers(nodes, &channel).await {
            assert_eq!(hears(&mut client, "n").await["data"], "2");
        }
    }
}

/// A user is reached, watched and sent away wherever they are.
pub async fn sign_ins(nodes: [&Api; 3]) {
    for name in NAMES {
        let user = name.to_string();
        let own = format!("#server-to-user-{user}");
        let mut theirs = Vec::new();
        for node in &nodes[1..] {
            let mut client = signed_in(node, &user, &[]).await;
            client.subscribe(&own).await;
            theirs.push(client);
        }
        let mut watcher = signed_in(nodes[0], &format!("watcher-{name}"), &[&user]).await;
        let online = json!([{ "name": "online", "user_ids": [user] }]);
        assert_eq!(watched(&mut watcher).await, online);
        nodes[0].trigger(&own, "news", "1").await;
        for client in &mut theirs {
            hears(client, "news").await;
        }
        let path = format!("/apps/app-id/users/{user}/terminate_connections");
        assert_eq!(nodes[0].post(&path, "{}").await.json(), json!({}));
        for mut client in theirs {
            assert_eq!(client.close_code().await, Some(4009));
            client.vanish();
        }
        let offline = json!([{ "name": "offline", "user_ids": [user] }]);
        assert_eq!(watched(&mut watcher).await, offline);
    }
}
