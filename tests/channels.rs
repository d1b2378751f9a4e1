//! Subscribing to public, private and encrypted channels, and hearing what is published there.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test]
async fn an_event_arrives_as_it_was_published() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("availability").await;
    // Escapes, a big integer and spaces must not be touched on the way.
    let payload = r#"{ "id":12345678901234567890123, "text":"caf\u00e9 \/ ☕" }"#;
    server
        .trigger("availability", r"App\Events\AvailabilityUpdated", payload)
        .await;
    let event = client.next().await;
    assert_eq!(event["event"], r"App\Events\AvailabilityUpdated");
    assert_eq!(event["channel"], "availability");
    assert_eq!(event["data"], payload);
}

#[tokio::test]
async fn the_acknowledgement_has_an_empty_object_as_a_string() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let answer = client.subscribe_signed("private-booking.7", None).await;
    let expected = json!({
        "event": "pusher_internal:subscription_succeeded",
        "channel": "private-booking.7",
        "data": "{}",
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_wrong_signature_is_refused_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for auth in [
        json!("app-key:00"),
        json!("other-key:00"),
        json!(""),
        Value::Null,
        json!("x"),
    ] {
        let data = json!({ "channel": "private-a", "auth": auth });
        client
            .send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
        let error = client.event("pusher:subscription_error").await;
        assert_eq!(error["channel"], "private-a");
        assert_eq!(error["data"]["type"], "AuthError");
        assert_eq!(error["data"]["status"], 401);
    }
    server.trigger("private-a", "secret", "{}").await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn every_legal_character_is_legal() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let name = "aZ0-_=@,.;";
    client.subscribe(name).await;
    server.trigger(name, "x", "1").await;
    assert_eq!(client.next().await["channel"], name);
}

#[tokio::test]
async fn illegal_names_are_refused_by_name() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let long = "x".repeat(201);
    for name in ["", "a b", "a/b", "#a", "ä", "a:b", &long] {
        let data = json!({ "channel": name });
        client
            .send(json!({ "event": "pusher:subscribe", "data": data }))
            .await;
        let answer = client.next().await;
        assert!(
            answer["event"].as_str().unwrap().ends_with("error"),
            "{name}: {answer}"
        );
    }
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn after_unsubscribing_nothing_is_heard() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    let data = json!({ "channel": "a" });
    client
        .send(json!({ "event": "pusher:unsubscribe", "data": data }))
        .await;
    client.nothing_before_pong().await;
    server.trigger("a", "unheard", "1").await;
    server.trigger("b", "heard", "1").await;
    client.event("heard").await;
}

#[tokio::test]
async fn a_second_subscription_and_a_needless_unsubscription_are_errors_without_a_code() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    for event in ["pusher:subscribe", "pusher:unsubscribe"] {
        let channel = if event == "pusher:subscribe" {
            "a"
        } else {
            "never"
        };
        client
            .send(json!({ "event": event, "data": { "channel": channel } }))
            .await;
        let error = client.event("pusher:error").await;
        assert_eq!(error["data"]["code"], Value::Null);
        assert!(error["data"]["message"].as_str().unwrap().contains(channel));
        assert!(error.get("channel").is_none());
    }
    // Subscribed once: heard once.
    server.trigger("a", "once", "1").await;
    client.event("once").await;
    client.nothing_before_pong().await;
}

#[tokio::test]
async fn the_publisher_is_excluded_by_its_socket_id() {
    let server = Server::start().await;
    let (mut author, mut reader) = (server.client().await, server.client().await);
    author.subscribe("a").await;
    reader.subscribe("a").await;
    let body = json!({ "name": "n", "data": "1", "channel": "a", "socket_id": author.socket_id });
    server
        .post("/apps/app-id/events", &body.to_string())
        .await
        .json();
    reader.event("n").await;
    author.nothing_before_pong().await;
}

#[tokio::test]
async fn more_channels_than_allowed_are_refused_with_the_setting_named() {
    let server = Server::with("[limits]\nchannels_per_connection = 2").await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    client
        .send(json!({ "event": "pusher:subscribe", "data": { "channel": "c" } }))
        .await;
    let error = client.event("pusher:subscription_error").await;
    assert_eq!(error["data"]["type"], "LimitReached");
    assert!(
        error["data"]["error"]
            .as_str()
            .unwrap()
            .contains("limits.channels_per_connection")
    );
}

#[tokio::test]
async fn apps_do_not_hear_each_other() {
    let server = Server::with(
        "[[apps]]\nid = \"app-id\"\nkey = \"app-key\"\nsecret = \"app-secret\"\n\
         [[apps]]\nid = \"other\"\nkey = \"other-key\"\nsecret = \"other-secret\"",
    )
    .await;
    let mut ours = server.client().await;
    let mut theirs = crate::support::Client::connect(server.address, "/app/other-key").await;
    ours.subscribe("a").await;
    theirs.subscribe("a").await;
    server.trigger("a", "ours", "1").await;
    ours.event("ours").await;
    theirs.nothing_before_pong().await;
}
