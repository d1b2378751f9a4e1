//! Connections and channels a page at a time, what is done to a client, and the event creator.

use serde_json::{Value, json};

use super::made;
use crate::support::client::signed_in;
use crate::support::console::answer;
use crate::support::page::Page;
use crate::support::{Raw, Server, until};

#[tokio::test]
async fn connections_come_a_page_at_a_time_the_newest_first_with_all_that_is_known_of_them() {
    let server = Server::with_admin("").await;
    let mut clients = Vec::new();
    for _ in 0..120 {
        clients.push(server.client().await);
    }
    let fallback = Page::connect(&server, "xhr_streaming").await;
    let mut signed = signed_in(&server, "Zoë", &[]).await;
    for channel in ["a", "b", "c", "d"] {
        signed.subscribe(channel).await;
    }
    let first = server.look("/api/connections?limit=1000").await;
    assert_eq!(
        (&first["total"], &first["more"]),
        (&json!(122), &json!(true))
    );
    let items = first["items"].as_array().expect("a list");
    assert_eq!(items.len(), 100);
    assert_eq!(items[0]["id"], signed.socket_id);
    assert_eq!(
        (&items[0]["user"], &items[0]["channel_count"]),
        (&json!("Zoë"), &json!(4))
    );
    assert_eq!(items[0]["channels"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (&items[1]["id"], &items[1]["gateway"]),
        (&json!(fallback.socket_id), &json!("fallback"))
    );
    assert_eq!(
        (&items[2]["gateway"], &items[2]["client"]),
        (&json!("pusher"), &json!("127.0.0.1"))
    );
    let last = items[99]["id"].as_str().expect("an id");
    let (_, before) = last.split_once('.').expect("two numbers");
    let second = server
        .look(&format!("/api/connections?before={before}"))
        .await;
    assert_eq!(
        (second["items"].as_array().map(Vec::len), &second["more"]),
        (Some(22), &json!(false))
    );

    for (query, total) in [
        ("q=zo%C3%8B", 1),
        ("q=fallback", 1),
        ("q=127.0.0.1", 122),
        ("app=app-id&channel=c", 1),
        ("app=app-id&channel=x", 0),
        ("q=nobody", 0),
    ] {
        let found = server.look(&format!("/api/connections?{query}")).await;
        assert_eq!(found["total"], total, "{query}");
    }
    let whole = server
        .look(&format!("/api/connections/{}", signed.socket_id))
        .await;
    assert_eq!(whole["channels"].as_array().map(Vec::len), Some(4));
    for (id, status) in [("1.2", 404), ("x", 400)] {
        let url = server.admin_url(&format!("/api/connections/{id}"));
        assert_eq!(answer(server.http.get(url)).await.status, status);
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_client_shows_at_its_connection() {
    let server = Server::with_admin(
        "[limits]\noutbox_bytes = 30000000\nevent_data_bytes = 1100000\nrequest_bytes = 2000000",
    )
    .await;
    let _slow = Raw::subscribed(server.address, "a").await;
    let padding = "x".repeat(1_000_000);
    for _ in 0..20 {
        server.trigger("a", "n", &padding).await;
    }
    let found = server.look("/api/connections").await;
    let waiting = found["items"][0]["outbox_bytes"].as_u64();
    assert!(waiting.is_some_and(|bytes| bytes > 1_000_000), "{found}");
}

#[tokio::test]
async fn a_client_is_sent_away_or_asked_to_come_back_by_the_code() {
    let server = Server::with_admin("").await;
    for code in [4009, 4200] {
        let mut client = server.client().await;
        let path = format!("/api/connections/{}/disconnect", client.socket_id);
        for wrong in [json!({ "code": 1000 }), json!({})] {
            assert_eq!(server.act(&path, wrong).await.status, 400);
        }
        assert_eq!(server.act(&path, json!({ "code": code })).await.status, 200);
        assert_eq!(client.close_code().await, Some(code));
        client.vanish();
        until("it has gone", async || {
            server.act(&path, json!({ "code": code })).await.status == 404
        })
        .await;
    }
}

#[tokio::test]
async fn channels_come_a_page_at_a_time_in_the_order_that_is_asked_for() {
    let server = Server::with_admin("").await;
    let mut one = server.client().await;
    let mut two = server.client().await;
    for number in 0..150 {
        one.subscribe(&format!("many.{number:03}")).await;
    }
    for channel in ["many.149", "other"] {
        two.subscribe(channel).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a list").iter();
        items
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let first = server.look("/api/channels?app=app-id").await;
    assert_eq!(
        (&first["total"], &first["more"]),
        (&json!(151), &json!(true))
    );
    let mut all = names(&first);
    assert_eq!(all.len(), 100);
    let path = format!("/api/channels?app=app-id&after={}", all[99]);
    let second = server.look(&path).await;
    assert_eq!(second["more"], false);
    all.extend(names(&second));
    assert!(all.is_sorted() && all.len() == 151);

    let busiest = "/api/channels?app=app-id&order=busiest&limit=2";
    let first = server.look(busiest).await;
    assert_eq!(names(&first), ["many.149", "many.000"]);
    assert_eq!(first["items"][0]["here"], 2);
    let second = server
        .look(&format!("{busiest}&after=many.000&after_count=1"))
        .await;
    assert_eq!(names(&second), ["many.001", "many.002"]);
    let found = server.look("/api/channels?app=app-id&q=THER").await;
    assert_eq!(
        (&found["total"], names(&found)),
        (&json!(1), vec!["other".to_owned()])
    );
    let nobody = server.http.get(server.admin_url("/api/channels?app=nope"));
    assert_eq!(answer(nobody).await.status, 400);
}

#[tokio::test]
async fn a_channel_shows_its_members_and_its_last_event() {
    let server = Server::with_admin("").await;
    let mut clients = [server.client().await, server.client().await];
    for (number, client) in clients.iter_mut().enumerate() {
        client.join("presence-cache-a", &number.to_string()).await;
    }
    server.trigger("presence-cache-a", "n", "{\"x\":1}").await;
    let channel = server
        .look("/api/channel?app=app-id&name=presence-cache-a")
        .await;
    assert_eq!(
        (&channel["kind"], &channel["here"]),
        (&json!("presence"), &json!(2))
    );
    assert_eq!(channel["members"], json!({ "count": 2, "ids": ["0", "1"] }));
    assert_eq!(
        (&channel["cached"]["event"], &channel["cached"]["data"]),
        (&json!("n"), &json!("{\"x\":1}"))
    );
}

#[tokio::test]
async fn an_event_is_published_under_the_rules_for_back_ends() {
    let server = Server::with_admin("[limits]\nevent_data_bytes = 20").await;
    let with = |field: &str, value: &str| {
        let mut event = made("a");
        event[field] = value.into();
        event
    };
    for (wrong, field) in [
        (with("app", "nope"), "app"),
        (with("channel", "a b"), "channel"),
        (with("channel", "private-encrypted-a"), "channel"),
        (with("event", ""), "event"),
        (with("event", "pusher_internal:x"), "event"),
        (with("data", "{"), "data"),
        (with("data", "\"0123456789012345678901\""), "data"),
        (json!([]), "body"),
    ] {
        let refused = server.act("/api/events", wrong.clone()).await;
        assert_eq!(refused.status, 400, "{wrong}");
        let said: Value = serde_json::from_str(&refused.text).expect("JSON");
        assert_eq!(said["field"], field, "{}", refused.text);
    }
    let mut client = server.client().await;
    client.subscribe("a").await;
    let published = server.act("/api/events", made("a")).await.json();
    assert_eq!(published["subscriptions"], 1);
    assert_eq!(client.event("made").await["data"], "{\"id\":1}");
    let figures = server.figures().await;
    assert_eq!(figures.of("publishes_total{source=\"console\"}"), 1.0);
}
