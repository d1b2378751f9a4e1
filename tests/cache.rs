//! Cache channels: the last event of a back end is replayed to whoever comes after it.

use serde_json::{Value, json};

use crate::support::{Server, until};

#[tokio::test]
async fn the_last_event_is_replayed_as_it_was_after_the_acknowledgement() {
    let server = Server::start().await;
    server.trigger("cache-a", "first", "1").await;
    server.trigger("cache-a", "last", "{\"n\":2}").await;
    let mut client = server.client().await;
    client.subscribe("cache-a").await;
    let expected = json!({ "event": "last", "channel": "cache-a", "data": "{\"n\":2}" });
    assert_eq!(client.next().await, expected);
    // It survives its subscribers.
    client.close().await;
    until("a vacated channel", async || {
        let channel = server.get("/apps/app-id/channels/cache-a", "").await;
        channel.json()["occupied"] == false
    })
    .await;
    let mut later = server.client().await;
    later.subscribe("cache-a").await;
    assert_eq!(later.next().await, expected);
}

#[tokio::test]
async fn an_empty_cache_is_a_miss_and_other_channels_are_not_cached() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("cache-a").await;
    let expected = json!({ "event": "pusher:cache_miss", "channel": "cache-a", "data": "{}" });
    assert_eq!(client.next().await, expected);
    for name in ["cachet", "my-cache-x", "a"] {
        server.trigger(name, "n", "1").await;
        client.subscribe(name).await;
        client.nothing_before_pong().await;
    }
}

#[tokio::test]
async fn all_four_prefixes_replay() {
    let server = Server::start().await;
    for name in ["private-cache-a", "private-encrypted-cache-a"] {
        server.trigger(name, "n", "1").await;
        let mut client = server.client().await;
        let answer = client.subscribe_signed(name, None).await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded");
        assert_eq!(client.event("n").await["channel"], name);
    }
    let mut member = server.client().await;
    server.trigger("presence-cache-a", "n", "1").await;
    member.join("presence-cache-a", "1").await;
    member.event("n").await;
}

#[tokio::test]
async fn client_events_and_member_events_are_not_cached_and_excluded_sockets_still_leave_it() {
    let server = Server::start().await;
    let mut one = server.client().await;
    one.join("presence-cache-a", "1").await;
    one.event("pusher:cache_miss").await;
    let body = json!({ "name": "n", "data": "1", "channel": "presence-cache-a", "socket_id": one.socket_id });
    server
        .post("/apps/app-id/events", &body.to_string())
        .await
        .json();
    one.send(json!({ "event": "client-x", "channel": "presence-cache-a", "data": 2 }))
        .await;
    one.nothing_before_pong().await;
    let mut two = server.client().await;
    two.join("presence-cache-a", "2").await;
    assert_eq!(two.event("n").await["data"], "1");
}

#[tokio::test]
async fn the_api_shows_what_would_be_replayed() {
    let server = Server::start().await;
    let info = async |channel: &str| {
        let path = format!("/apps/app-id/channels/{channel}");
        server.get(&path, "info=cache").await
    };
    assert_eq!(
        info("cache-a").await.json(),
        json!({ "occupied": false, "cache": null })
    );
    server
        .trigger("cache-a", "n", "{\"big\":12345678901234567890}")
        .await;
    let answer = info("cache-a").await.json();
    assert_eq!(answer["cache"]["data"], "{\"big\":12345678901234567890}");
    let ttl = answer["cache"]["ttl"].as_u64().unwrap();
    assert!((1700..=1800).contains(&ttl), "{ttl}");
    assert_eq!(info("a").await.status, 400);
    let all = server.get("/apps/app-id/channels", "info=cache").await;
    assert_eq!(all.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_is_never_newer_than_what_follows_it() {
    let server = std::sync::Arc::new(Server::with("[server]\nshards = 2").await);
    server.trigger("cache-a", "n", "0").await;
    let publisher = {
        let server = server.clone();
        tokio::spawn(async move {
            for number in 1..200 {
                server.trigger("cache-a", "n", &number.to_string()).await;
            }
        })
    };
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = server.client().await;
        client.subscribe("cache-a").await;
        clients.push(client);
    }
    publisher.await.unwrap();
    let number = |event: &Value| event["data"].as_str().unwrap().parse::<u32>().unwrap();
    for mut client in clients {
        let mut last = number(&client.event("n").await);
        while last < 199 {
            let next = number(&client.event("n").await);
            assert_eq!(
                next,
                last + 1,
                "neither a gap nor a step back after the replay"
            );
            last = next;
        }
    }
}
