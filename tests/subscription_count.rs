//! Subscribers are told how many they are: every change of a small channel, the latest state of a large one.

use serde_json::json;

use crate::support::Server;
use crate::support::client::data;

const COUNTING: &str = "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nsubscription_count = true";

#[tokio::test]
async fn each_change_is_told_to_all_the_new_one_included() {
    let server = Server::with(COUNTING).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.subscribe("a").await;
    let event = one.event("pusher_internal:subscription_count").await;
    assert_eq!(
        event,
        json!({
            "event": "pusher_internal:subscription_count", "channel": "a", "data": "{\"subscription_count\":1}",
        })
    );
    two.subscribe("a").await;
    for client in [&mut one, &mut two] {
        let event = client.event("pusher_internal:subscription_count").await;
        assert_eq!(data(&event), json!({ "subscription_count": 2 }));
    }
    two.close().await;
    let event = one.event("pusher_internal:subscription_count").await;
    assert_eq!(data(&event), json!({ "subscription_count": 1 }));
}

#[tokio::test]
async fn presence_channels_and_other_apps_are_not_told() {
    let server = Server::with(COUNTING).await;
    let mut member = server.client().await;
    member.join("presence-a", "1").await;
    member.nothing_before_pong().await;
    let quiet = Server::start().await;
    let mut client = quiet.client().await;
    client.subscribe("a").await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn a_large_channel_hears_the_latest_count_and_not_every_one() {
    let server = Server::with(COUNTING).await;
    let mut first = server.client().await;
    first.subscribe("a").await;
    let mut others = Vec::new();
    for _ in 1..150 {
        let mut client = server.client().await;
        client.subscribe("a").await;
        others.push(client);
    }
    let mut told = 0;
    loop {
        let event = first.event("pusher_internal:subscription_count").await;
        told += 1;
        if data(&event)["subscription_count"] == 150 {
            break;
        }
    }
    assert!(told <= 105, "{told} tellings of 150 changes");
}
