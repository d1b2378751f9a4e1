//! Client events: only among members, built anew by the server, never faster than allowed.

use serde_json::{Value, json};

use crate::support::{Client, Server};

const ROOM: &str = "presence-room.1";

async fn pair(server: &Server) -> (Client, Client) {
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.join(ROOM, "1").await;
    two.join(ROOM, "0").await;
    one.event("pusher_internal:member_added").await;
    (one, two)
}

#[tokio::test]
async fn the_others_hear_it_with_the_senders_id_and_the_sender_does_not() {
    let server = Server::start().await;
    let (mut one, mut two) = pair(&server).await;
    two.send(json!({ "event": "client-typing", "channel": ROOM, "data": { "at": 1 } }))
        .await;
    let event = one.next().await;
    let expected = json!({
        "event": "client-typing", "channel": ROOM, "data": "{\"at\":1}", "user_id": "0",
    });
    assert_eq!(event, expected);
    two.nothing_before_pong().await;
}

#[tokio::test]
async fn keys_that_the_sender_adds_are_not_relayed() {
    let server = Server::start().await;
    let (mut one, mut two) = pair(&server).await;
    let forged =
        json!({ "event": "client-x", "channel": ROOM, "data": "text", "user_id": "9", "extra": 1 });
    two.send(forged).await;
    let expected = json!({ "event": "client-x", "channel": ROOM, "data": "text", "user_id": "0" });
    assert_eq!(one.next().await, expected);
    two.send(json!({ "event": "client-y", "channel": ROOM }))
        .await;
    let expected = json!({ "event": "client-y", "channel": ROOM, "user_id": "0" });
    assert_eq!(one.next().await, expected);
}

#[tokio::test]
async fn private_channels_have_no_user_id() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.subscribe_signed("private-a", None).await;
    two.subscribe_signed("private-a", None).await;
    one.send(json!({ "event": "client-x", "channel": "private-a", "data": "1" }))
        .await;
    let expected = json!({ "event": "client-x", "channel": "private-a", "data": "1" });
    assert_eq!(two.next().await, expected);
}

#[tokio::test]
async fn neither_strangers_nor_public_channels_nor_other_names() {
    let server = Server::start().await;
    let (mut one, mut two) = pair(&server).await;
    let mut stranger = server.client().await;
    stranger.subscribe("public").await;
    two.subscribe("public").await;
    for (event, channel) in [
        ("client-x", ROOM),
        ("client-x", "public"),
        ("client-x", "private-unknown"),
        ("pusher:error", ROOM),
        ("pusher_internal:member_removed", ROOM),
        ("App\\Events\\Forged", ROOM),
        ("clientx", ROOM),
    ] {
        stranger
            .send(json!({ "event": event, "channel": channel, "data": {} }))
            .await;
        let error = stranger.event("pusher:error").await;
        assert_eq!(
            error["data"]["code"],
            Value::Null,
            "{event} {channel}: {error}"
        );
    }
    one.nothing_before_pong().await;
    two.nothing_before_pong().await;
}

#[tokio::test]
async fn an_app_can_switch_them_off() {
    let server = Server::with(
        "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\nclient_events = false",
    )
    .await;
    let (mut one, mut two) = pair(&server).await;
    two.send(json!({ "event": "client-x", "channel": ROOM, "data": {} }))
        .await;
    two.event("pusher:error").await;
    one.nothing_before_pong().await;
}

#[tokio::test]
async fn above_the_rate_they_are_dropped_with_4301_and_the_connection_stays() {
    let server = Server::with("[limits]\nclient_events_per_s = 3").await;
    let (mut one, mut two) = pair(&server).await;
    let mut dropped = 0;
    for number in 0..50 {
        two.send(json!({ "event": "client-n", "channel": ROOM, "data": number }))
            .await;
    }
    two.send(json!({ "event": "pusher:ping" })).await;
    loop {
        let event = two.next().await;
        if event["event"] == "pusher:pong" {
            break;
        }
        assert_eq!(event["data"]["code"], 4301);
        dropped += 1;
    }
    assert!(dropped > 0, "50 at once must be too many for 3 a second");
    // Those that passed arrive in order, and none besides.
    let mut last = -1;
    for _ in 0..50 - dropped {
        let number: i64 = one.event("client-n").await["data"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(number > last);
        last = number;
    }
    one.nothing_before_pong().await;
}

#[tokio::test]
async fn too_much_data_is_refused_with_the_setting_named() {
    let server = Server::with("[limits]\nevent_data_bytes = 100").await;
    let (mut one, mut two) = pair(&server).await;
    let data = "x".repeat(101);
    two.send(json!({ "event": "client-x", "channel": ROOM, "data": data }))
        .await;
    let error = two.event("pusher:error").await;
    assert!(
        error["data"]["message"]
            .as_str()
            .unwrap()
            .contains("limits.event_data_bytes"),
        "{error}"
    );
    one.nothing_before_pong().await;
}
