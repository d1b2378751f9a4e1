//! The debug console on the admin listener: who may look and act, that what it tells is true and bounded, and that looking
//! slows nobody down. Its page is tested in a browser.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::client::signed_in;
use crate::support::console::{Stream, answer};
use crate::support::node::{app, settings, until_ready};
use crate::support::page::Page;
use crate::support::receiver::{Receiver, Treat};
use crate::support::redis::Redis;
use crate::support::{DEADLINE, Raw, Server, until};

const READS: [&str; 7] = [
    "/api/overview",
    "/api/stream",
    "/api/connections",
    "/api/connections/1.2",
    "/api/channels?app=app-id",
    "/api/channel?app=app-id&name=a",
    "/api/webhooks?app=app-id",
];

const ACTS: [&str; 4] = [
    "/api/events",
    "/api/connections/1.2/disconnect",
    "/api/webhooks/1/replay?app=app-id",
    "/api/logout",
];

fn made(channel: &str) -> Value {
    json!({ "app": "app-id", "channel": channel, "event": "made", "data": "{\"id\":1}" })
}

#[tokio::test]
async fn with_a_token_nothing_is_read_or_done_without_it() {
    let server = Server::with_admin("admin.token = 'hush'").await;
    for path in READS {
        for query in ["", "token=hush"] {
            let sign = if path.contains('?') { '&' } else { '?' };
            let url = server.admin_url(&format!("{path}{sign}{query}"));
            assert_eq!(answer(server.http.get(url)).await.status, 401, "{path}");
        }
        let wrong = server.http.get(server.admin_url(path));
        let wrong = wrong.header("Authorization", "Bearer hushh");
        assert_eq!(answer(wrong).await.status, 401, "{path}");
    }
    for path in ACTS {
        assert_eq!(server.act(path, json!({})).await.status, 401, "{path}");
    }
    let known = server.http.get(server.admin_url("/api/overview"));
    let known = answer(known.header("Authorization", "Bearer hush")).await;
    assert_eq!(known.status, 200);
    // The page itself says nothing of this server, and has to come before the login.
    let page = answer(server.http.get(server.admin_url("/"))).await;
    assert_eq!(page.status, 200);
    for secret in ["hush", "app-id", "app-key", "app-secret"] {
        assert!(!page.text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_login_opens_a_session_until_the_logout() {
    let server = Server::with_admin("admin.token = 'hush'").await;
    let login = async |token: &str| {
        let request = server.http.post(server.admin_url("/api/login"));
        let request = request.header("X-Gema-Console", "1");
        let request = request.body(json!({ "token": token }).to_string());
        request.send().await.expect("an answer")
    };
    let refused = login("hus").await;
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().get("set-cookie").is_none());
    let cookie = login("hush").await.headers()["set-cookie"].clone();
    let cookie = cookie.to_str().expect("text");
    assert!(
        cookie.contains("; HttpOnly; SameSite=Strict; Max-Age="),
        "{cookie}"
    );
    assert!(!cookie.contains("hush"), "{cookie}");
    let session = cookie.split(';').next().expect("a pair");
    let with_session = async |method: reqwest::Method, path: &str| {
        let request = server.http.request(method, server.admin_url(path));
        let request = request.header("Cookie", format!("other=1; {session}"));
        answer(request.header("X-Gema-Console", "1")).await.status
    };
    assert_eq!(
        with_session(reqwest::Method::GET, "/api/overview").await,
        200
    );
    assert_eq!(with_session(reqwest::Method::GET, "/metrics").await, 401);
    let url = server.admin_url("/api/stream");
    let stream = server.http.get(url).header("Cookie", session).send().await;
    let stream = stream.expect("an answer");
    assert_eq!(stream.status(), 200);
    assert_eq!(
        with_session(reqwest::Method::POST, "/api/logout").await,
        200
    );
    let ended = timeout(DEADLINE, stream.bytes()).await.expect("its end");
    ended.expect("whole");
    assert_eq!(
        with_session(reqwest::Method::GET, "/api/overview").await,
        401
    );
}

#[tokio::test]
async fn without_a_token_neither_another_sites_name_nor_a_proxy_gets_in() {
    let server = Server::with_admin("").await;
    for (name, value) in [
        ("Host", "evil.example"),
        ("Host", "evil.example:9601"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
    ] {
        for path in READS.into_iter().chain(["/", "/console/main.js"]) {
            let request = server.http.get(server.admin_url(path)).header(name, value);
            assert_eq!(answer(request).await.status, 403, "{path} {value}");
        }
    }
    server.look("/api/overview").await;
}

#[tokio::test]
async fn an_action_that_the_consoles_page_did_not_ask_for_is_not_done() {
    let server = Server::with_admin("").await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    let foreign: [&[(&str, &str)]; 5] = [
        &[],
        &[("X-Gema-Console", "1"), ("Origin", "http://evil.example")],
        &[("X-Gema-Console", "1"), ("Origin", "null")],
        &[("X-Gema-Console", "1"), ("Sec-Fetch-Site", "same-site")],
        &[
            ("Content-Type", "text/plain"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    ];
    for headers in foreign {
        for path in ACTS {
            let mut request = server.http.post(server.admin_url(path));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(made("a").to_string());
            assert_eq!(answer(request).await.status, 403, "{path} {headers:?}");
        }
    }
    client.nothing_before_pong().await;
    assert_eq!(server.act("/api/events", made("a")).await.status, 200);
    client.event("made").await;
}

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
    let mut slow = Raw::upgrade(server.address, "/app/app-key").await;
    let subscribe = br#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#;
    slow.write(&Raw::frame(0x81, subscribe)).await;
    slow.through("subscription_succeeded").await;
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

#[tokio::test]
async fn a_webhook_is_sent_again_once_the_same_and_signed() {
    let mut fails = true;
    let mut receiver = Receiver::that(move |_| match std::mem::take(&mut fails) {
        true => Treat::Answer(500),
        false => Treat::Answer(200),
    });
    let url = receiver.url();
    let webhooks =
        format!("[[apps.webhooks]]\nurl = '{url}?secret=hush'\nevents = ['channel_occupied']");
    let server = Server::with_admin(&app(&webhooks)).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    receiver.has_taken(1).await;
    let mut log = Value::Null;
    until("both attempts are written down", async || {
        log = server.look("/api/webhooks?app=app-id").await;
        log["items"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    assert!(!log.to_string().contains("hush"), "{log}");
    assert_eq!(
        (&log["items"][0]["status"], &log["items"][0]["ok"]),
        (&json!(200), &json!(true))
    );
    assert_eq!(
        (&log["items"][1]["status"], &log["items"][1]["ok"]),
        (&json!(500), &json!(false))
    );
    assert_eq!(log["items"][1]["events"], json!(["channel_occupied a"]));
    let number = &log["items"][1]["number"];
    let path = format!("/api/webhooks/{number}/replay?app=app-id");
    let again = server.act(&path, json!({})).await.json();
    assert_eq!(
        (&again["status"], &again["replay"]),
        (&json!(200), &json!(true))
    );
    let hits = receiver.hits();
    assert_eq!(hits.len(), 3);
    assert_eq!(hits[0].body, hits[2].body);
    assert_eq!(
        hits[0].headers["x-pusher-signature"],
        hits[2].headers["x-pusher-signature"]
    );
    let shown = server
        .look(&format!("/api/webhooks/{number}?app=app-id"))
        .await;
    assert_eq!(shown["body"], hits[0].json());
    let unknown = server
        .act("/api/webhooks/99/replay?app=app-id", json!({}))
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_replay_that_fails_is_written_down_and_not_tried_again() {
    let mut answers = [200, 500, 500].into_iter();
    let mut receiver = Receiver::that(move |_| Treat::Answer(answers.next().unwrap_or(200)));
    let url = receiver.url();
    let webhooks = format!("[[apps.webhooks]]\nurl = '{url}'\nevents = ['channel_occupied']");
    let server = Server::with_admin(&app(&webhooks)).await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    receiver.has_taken(1).await;
    until("it is written down", async || {
        let log = server.look("/api/webhooks?app=app-id").await;
        log["items"].as_array().map(Vec::len) == Some(1)
    })
    .await;
    let again = server
        .act("/api/webhooks/1/replay?app=app-id", json!({}))
        .await;
    assert_eq!(again.json()["status"], 500);
    // The queue's first retry would come within a second.
    assert_eq!(
        receiver
            .taken_after(Duration::from_millis(1500))
            .await
            .len(),
        1
    );
    assert_eq!(receiver.hits().len(), 2);
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
