//! What happens is told as it happens, to those who read quickly enough; who does not is not waited for.

use std::time::{Duration, Instant};

use serde_json::json;

use super::made;
use crate::support::client::signed_in;
use crate::support::console::{Stream, answer};
use crate::support::node::{settings, until_ready};
use crate::support::redis::Redis;
use crate::support::{Server, until};

#[tokio::test]
async fn the_stream_tells_what_happens_and_where_it_comes_from() {
    let server = Server::with_admin("").await;
    let mut stream = Stream::open(&server, "").await;
    let mut one = server.client().await;
    let mut two = signed_in(&server, "7", &[]).await;
    let connected = stream.next_of("connected").await;
    assert_eq!(connected["socket"], one.socket_id);
    assert_eq!(
        (&connected["gateway"], &connected["client"]),
        (&json!("pusher"), &json!("127.0.0.1"))
    );
    assert_eq!(stream.next_of("signed_in").await["user"], "7");
    one.join("presence-a", "1").await;
    let subscribed = stream.next_of("subscribed").await;
    assert_eq!(
        (&subscribed["channel"], &subscribed["user"]),
        (&json!("presence-a"), &json!("1"))
    );
    two.join("presence-a", "2").await;
    stream.next_of("subscribed").await;
    one.event("pusher_internal:member_added").await;

    server
        .trigger("presence-a", "n\"ew", "{\"text\":\"ü\"}")
        .await;
    let event = stream.next().await;
    assert_eq!(event["source"], "api");
    assert_eq!(
        (&event["app"], &event["channel"]),
        (&json!("app-id"), &json!("presence-a"))
    );
    assert_eq!(
        (&event["event"], &event["data"]),
        (&json!("n\"ew"), &json!("{\"text\":\"ü\"}"))
    );
    let say = json!({ "event": "client-say", "channel": "presence-a", "data": { "x": 1 } });
    one.send(say).await;
    let event = stream.next().await;
    assert_eq!(
        (&event["source"], &event["data"]),
        (&json!("client"), &json!("{\"x\":1}"))
    );
    server.act("/api/events", made("presence-a")).await.json();
    assert_eq!(stream.next().await["source"], "console");

    let leave = json!({ "event": "pusher:unsubscribe", "data": { "channel": "presence-a" } });
    two.send(leave).await;
    assert_eq!(
        stream.next_of("unsubscribed").await["socket"],
        two.socket_id
    );
    let (first, second) = (one.socket_id.clone(), two.socket_id.clone());
    one.close().await;
    let gone = stream.next_of("disconnected").await;
    assert_eq!(
        (&gone["socket"], &gone["code"]),
        (&json!(first), &json!(1000))
    );
    two.vanish();
    let gone = stream.next_of("disconnected").await;
    assert_eq!(
        (&gone["socket"], &gone["code"]),
        (&json!(second), &json!(1006))
    );
    assert_eq!((&gone["user"], stream.left_out), (&json!("7"), 0));
}

#[tokio::test]
async fn a_filtered_stream_tells_of_what_fits_alone() {
    let server = Server::with_admin("").await;
    let mut by_channel = Stream::open(&server, "channel=ORD").await;
    let mut by_event = Stream::open(&server, "event=paid").await;
    let mut by_text = Stream::open(&server, "app=app-id&text=%22id%22:3").await;
    for (number, (channel, name)) in [
        ("orders", "Made"),
        ("stock", "Moved"),
        ("stock", "Paid"),
        ("orders", "Sent"),
    ]
    .into_iter()
    .enumerate()
    {
        let data = json!({ "id": number }).to_string();
        server.trigger(channel, name, &data).await;
    }
    assert_eq!(by_channel.next().await["event"], "Made");
    assert_eq!(by_channel.next().await["event"], "Sent");
    assert_eq!(by_event.next().await["channel"], "stock");
    assert_eq!(by_text.next().await["event"], "Sent");
    let unknown = server.http.get(server.admin_url("/api/stream?app=nope"));
    let refused = answer(unknown).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("\"field\":\"app\""),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_console_that_does_not_read_slows_no_publish_and_hears_how_much_it_has_missed() {
    const EVENTS: u64 = 3000;
    let server = Server::with_admin("").await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let mut slow = Stream::open(&server, "channel=a").await;
    // 30 MB: more than the ring and the kernel's buffers hold.
    let data = "x".repeat(10_000);
    for _ in 0..EVENTS {
        server.trigger("a", "n", &data).await;
        client.event("n").await;
    }
    let mut last = None;
    let mut told = 0;
    while last.is_none_or(|last| last + 1 < EVENTS) {
        let entry = slow.next().await;
        let number = entry["n"].as_u64().expect("a number");
        assert!(last.is_none_or(|last| number > last), "in order");
        (last, told) = (Some(number), told + 1);
    }
    assert!(slow.left_out > 0);
    assert_eq!(told + slow.left_out, EVENTS);
}

#[tokio::test]
async fn consoles_are_so_many_at_most_and_one_that_goes_makes_room() {
    let server = Server::with_admin("").await;
    let mut open = Vec::new();
    for _ in 0..gema::live::WATCHERS {
        open.push(Stream::open(&server, "").await);
    }
    let full = answer(server.http.get(server.admin_url("/api/stream"))).await;
    assert_eq!(full.status, 503);
    open.clear();
    until("there is room", async || {
        let url = server.admin_url("/api/stream");
        server
            .http
            .get(url)
            .send()
            .await
            .expect("an answer")
            .status()
            == 200
    })
    .await;
}

#[tokio::test]
async fn large_data_is_shown_to_a_limit_and_its_length_is_told() {
    let server = Server::with_admin("[limits]\nevent_data_bytes = 100000").await;
    let mut stream = Stream::open(&server, "").await;
    server.trigger("a", "n", &"ü".repeat(20_000)).await;
    let event = stream.next().await;
    assert_eq!(event["cut_of"], 40_000);
    assert_eq!(event["data"].as_str().expect("text").len(), 16 * 1024);
}

#[tokio::test]
async fn two_nodes_show_each_other_and_events_of_the_other_come_from_the_cluster() {
    let redis = Redis::start().await;
    let here = Server::with_admin(&settings(&redis.url(), "")).await;
    let there = Server::with_admin(&settings(&redis.url(), "")).await;
    for node in [&here, &there] {
        until_ready(node).await;
    }
    let mut mine = here.client().await;
    let mut theirs = there.client().await;
    for client in [&mut mine, &mut theirs] {
        client.subscribe("a").await;
    }
    let mut stream = Stream::open(&here, "").await;
    there.trigger("a", "n", "{}").await;
    assert_eq!(stream.next().await["source"], "cluster");
    here.trigger("a", "n", "{}").await;
    assert_eq!(stream.next().await["source"], "api");

    until(
        "both nodes have said how many connections they have",
        async || {
            let overview = here.look("/api/overview").await;
            let nodes = overview["nodes"].as_array().cloned().unwrap_or_default();
            overview["bus"]["up"] == true
                && nodes.len() == 2
                && nodes.iter().filter(|node| node["self"] == true).count() == 1
                && nodes.iter().all(|node| {
                    node["connections"] == 1 && node["lease_left_ms"].as_i64() > Some(0)
                })
        },
    )
    .await;
    let channel = here.look("/api/channels?app=app-id").await;
    assert_eq!(
        (&channel["items"][0]["here"], &channel["items"][0]["all"]),
        (&json!(1), &json!(2))
    );
    let other = here
        .http
        .get(here.admin_url(&format!("/api/connections/{}", theirs.socket_id)));
    let other = answer(other).await;
    assert_eq!(other.status, 404);
    assert!(other.text.contains("another node"), "{}", other.text);
}

#[tokio::test]
async fn a_redis_that_is_away_shows_and_holds_the_stream_up_for_no_longer_than_a_second() {
    let mut redis = Redis::start().await;
    let server = Server::with_admin(&settings(&redis.url(), "")).await;
    until_ready(&server).await;
    let mut stream = Stream::open(&server, "").await;
    redis.kill();
    let began = Instant::now();
    while stream.overview["bus"]["up"] != false {
        stream.message().await;
    }
    assert!(
        stream.overview["bus"]["error"].is_string(),
        "{}",
        stream.overview
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    server.trigger("a", "n", "{}").await;
    assert_eq!(stream.next().await["event"], "n");
}
