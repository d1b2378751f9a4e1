//! Presence channels: one user is one member, whoever joins sees everyone, and leaving is told once.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Server;
use crate::support::client::{data, text_of};

const ROOM: &str = "presence-room.1";

#[tokio::test]
async fn a_joiner_sees_everyone_itself_included() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    let roster = first.join(ROOM, "1").await;
    assert_eq!(
        roster,
        json!({ "presence": { "count": 1, "ids": ["1"], "hash": { "1": { "name": "User 1" } } } })
    );
    let roster = second.join(ROOM, "2").await;
    assert_eq!(roster["presence"]["count"], 2);
    assert_eq!(roster["presence"]["ids"], json!(["1", "2"]));
    assert_eq!(roster["presence"]["hash"]["1"], json!({ "name": "User 1" }));
    let added = first.event("pusher_internal:member_added").await;
    assert_eq!(added["channel"], ROOM);
    assert_eq!(
        data(&added),
        json!({ "user_id": "2", "user_info": { "name": "User 2" } })
    );
    second.nothing_before_pong().await;
}

#[tokio::test]
async fn a_user_is_added_with_the_first_connection_and_removed_with_the_last() {
    let server = Server::start().await;
    let mut watcher = server.client().await;
    watcher.join(ROOM, "watcher").await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.join(ROOM, "7").await;
    watcher.event("pusher_internal:member_added").await;
    let roster = two.join(ROOM, "7").await;
    assert_eq!(roster["presence"]["count"], 2);
    one.close().await;
    // Were the user removed with its first connection, that would come before this user's arrival.
    let mut other = server.client().await;
    other.join(ROOM, "8").await;
    let added = watcher.event("pusher_internal:member_added").await;
    assert_eq!(data(&added)["user_id"], "8");
    two.vanish();
    let removed = watcher.event("pusher_internal:member_removed").await;
    assert_eq!(data(&removed), json!({ "user_id": "7" }));
}

#[tokio::test]
async fn unsubscribing_and_then_closing_removes_once() {
    let server = Server::start().await;
    let (mut watcher, mut member) = (server.client().await, server.client().await);
    watcher.join(ROOM, "1").await;
    member.join(ROOM, "2").await;
    watcher.event("pusher_internal:member_added").await;
    let channel = json!({ "channel": ROOM });
    member
        .send(json!({ "event": "pusher:unsubscribe", "data": channel }))
        .await;
    watcher.event("pusher_internal:member_removed").await;
    member.close().await;
    let mut last = server.client().await;
    last.join(ROOM, "3").await;
    watcher.event("pusher_internal:member_added").await;
}

#[tokio::test]
async fn the_number_10_and_the_text_10_are_one_user() {
    let server = Server::start().await;
    let (mut number, mut text) = (server.client().await, server.client().await);
    let answer = number
        .subscribe_signed(ROOM, Some(&json!({ "user_id": 10 })))
        .await;
    let roster = &data(&answer)["presence"];
    assert_eq!(
        roster,
        &json!({ "count": 1, "ids": ["10"], "hash": { "10": null } })
    );
    let answer = text
        .subscribe_signed(ROOM, Some(&json!({ "user_id": "10" })))
        .await;
    assert_eq!(data(&answer)["presence"]["count"], 1);
    number.nothing_before_pong().await;
}

#[tokio::test]
async fn the_first_connections_info_stays() {
    let server = Server::start().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    let info = |name: &str| json!({ "user_id": "1", "user_info": { "name": name } });
    first.subscribe_signed(ROOM, Some(&info("old"))).await;
    let answer = second.subscribe_signed(ROOM, Some(&info("new"))).await;
    assert_eq!(
        data(&answer)["presence"]["hash"]["1"],
        json!({ "name": "old" })
    );
}

#[tokio::test]
async fn a_full_channel_refuses_new_users_but_not_more_connections_of_its_own() {
    let server = Server::with("[limits]\npresence_members = 2").await;
    let mut clients = Vec::new();
    for user in ["1", "2", "1"] {
        let mut client = server.client().await;
        client.join(ROOM, user).await;
        clients.push(client);
    }
    let mut third = server.client().await;
    let answer = third
        .subscribe_signed(ROOM, Some(&json!({ "user_id": "3" })))
        .await;
    assert_eq!(answer["event"], "pusher:subscription_error");
    assert_eq!(answer["data"]["type"], "LimitReached");
    assert!(
        answer["data"]["error"]
            .as_str()
            .unwrap()
            .contains("limits.presence_members")
    );
    // The refused one is not half inside.
    server.trigger(ROOM, "n", "1").await;
    third.nothing_before_pong().await;
    let users = server
        .get("/apps/app-id/channels/presence-room.1/users", "")
        .await
        .json();
    assert_eq!(users, json!({ "users": [{ "id": "1" }, { "id": "2" }] }));
}

#[tokio::test]
async fn bad_channel_data_is_refused_with_its_reason() {
    let server = Server::with("[limits]\npresence_info_bytes = 20").await;
    let mut client = server.client().await;
    let big = json!({ "user_id": "1", "user_info": "x".repeat(30) });
    for channel_data in [
        json!({}),
        json!([]),
        json!({ "user_id": null }),
        json!({ "user_id": "" }),
        big,
    ] {
        let answer = client.subscribe_signed(ROOM, Some(&channel_data)).await;
        assert_eq!(
            answer["event"], "pusher:subscription_error",
            "{channel_data}"
        );
    }
    let answer = client.subscribe_signed(ROOM, None).await;
    assert_eq!(answer["event"], "pusher:subscription_error");
}

#[tokio::test]
async fn a_storm_of_joins_and_leaves_ends_with_the_truth_everywhere() {
    let server = Server::with("[limits]\npresence_members = 100\n[server]\nshards = 4").await;
    let mut watcher = server.client().await;
    watcher.join(ROOM, "watcher").await;
    let storm = (0..60).map(|user| {
        let address = server.address;
        tokio::spawn(async move {
            let mut client = crate::support::Client::connect(address, "/app/app-key").await;
            client.join(ROOM, &format!("user{}", user / 2)).await;
            // Every third one leaves in its own way.
            match user % 3 {
                0 => None,
                1 => {
                    client.close().await;
                    None
                }
                _ => Some(client),
            }
        })
    });
    let mut staying = Vec::new();
    for task in storm.collect::<Vec<_>>() {
        staying.extend(task.await.unwrap());
    }
    let mut expected: Vec<String> = (0..60)
        .filter(|user| user % 3 == 2)
        .map(|user| format!("user{}", user / 2))
        .chain(["watcher".into()])
        .collect();
    expected.sort();
    expected.dedup();
    // All have joined; those who left are missed one by one, down to the truth.
    let users = async || {
        let users = server
            .get("/apps/app-id/channels/presence-room.1/users", "")
            .await
            .json();
        let users = users["users"].as_array().unwrap().clone();
        users
            .iter()
            .map(|user| text_of(&user["id"]))
            .collect::<Vec<_>>()
    };
    while users().await != expected {}
    // What the watcher was told until then, added up, must come to the same.
    let mut seen = BTreeSet::from(["watcher".to_owned()]);
    watcher.send(json!({ "event": "pusher:ping" })).await;
    loop {
        let event = watcher.next().await;
        let user = || text_of(&data(&event)["user_id"]);
        match event["event"].as_str().unwrap() {
            "pusher_internal:member_added" => assert!(seen.insert(user()), "added twice"),
            "pusher_internal:member_removed" => assert!(seen.remove(&user()), "removed twice"),
            _ => break,
        }
    }
    assert!(seen.iter().eq(&expected), "{seen:?}");
}
