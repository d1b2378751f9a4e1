//! Presence channels: one user is one member, whoever joins sees everyone, and leaving is told once.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::client::data;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server};

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

/// A user who comes and goes, by subscribing or by connecting, and checks what it is told each time.
async fn restless(server: Arc<Server>, user: String, reconnects: bool, visits: usize) {
    let mut view = View::join(&server, ROOM, &user).await;
    for _ in 0..visits {
        view.catch_up().await;
        if reconnects {
            view.client.close().await;
            view = View::join(&server, ROOM, &user).await;
        } else {
            view.leave().await;
            view.enter().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_joins_and_leaves_ends_with_the_truth_everywhere() {
    let server = Arc::new(Server::with("[server]\nshards = 4").await);
    let mut storm = JoinSet::new();
    for number in 0..16 {
        // Two connections of each user, who end at different moments.
        let user = format!("user{}", number / 2);
        let visits = 10 + 3 * number;
        storm.spawn(restless(server.clone(), user, number % 2 == 1, visits));
    }
    // While the storm goes on there come those who stay: with everyone who has ended one more.
    let mut staying = Vec::new();
    while let Some(ended) = storm.join_next().await {
        let name = format!("watcher{}", staying.len());
        staying.push(View::join(&server, ROOM, &name).await);
        ended.unwrap();
    }
    let truth = users(staying.iter().map(|view| &view.user));
    let deadline = Instant::now() + DEADLINE;
    server.agrees(ROOM, &truth, deadline).await;
    // The last to be told of have been told when the API knows.
    for view in &mut staying {
        view.catch_up().await;
        assert_eq!(view.members, truth, "{}", view.user);
    }
}
